//! What the networks share: batch norms, convolutions, the way from a map to a score.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use vit_kernels::{BatchNormOptions, BatchNormParams, Conv2dOptions, ConvNorm};

use crate::{Context, Error, Linear, ParamInit, ParamSpec, Result};

/// A batch norm's parameters and running statistics. Those share the memory of the store they were
/// read from, so that what a training pass makes of them is saved with the weights.
#[derive(Debug, Clone)]
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    /// `weight` and `running_var` one, `bias` and `running_mean` zero. Training changes running
    /// statistics, but no gradient does.
    pub(super) fn specs(name: &str, channels: usize) -> Vec<ParamSpec> {
        let spec = |part: &str, value: f64, trainable: bool| ParamSpec {
            trainable,
            ..ParamSpec::new(format!("{name}.{part}"), &[channels], ParamInit::Constant(value))
        };
        vec![
            spec("weight", 1., true),
            spec("bias", 0., true),
            spec("running_mean", 0., false),
            spec("running_var", 1., false),
        ]
    }

    pub(super) fn new(channels: usize, vb: &VarBuilder) -> Result<Self> {
        let get = |part: &str| vb.get(channels, part);
        Ok(Self {
            weight: get("weight")?,
            bias: get("bias")?,
            running_mean: get("running_mean")?,
            running_var: get("running_var")?,
        })
    }

    pub(super) fn params(&self) -> BatchNormParams<'_> {
        let Self { weight, bias, running_mean, running_var } = self;
        BatchNormParams { weight, bias, running_mean, running_var }
    }
}

/// A convolution and the batch norm behind it.
#[derive(Debug, Clone)]
pub(super) struct Convolution {
    pub(super) weight: Tensor,
    pub(super) norm: BatchNorm,
    pub(super) options: Conv2dOptions,
}

impl Convolution {
    pub(super) fn layer(&self) -> ConvNorm<'_> {
        ConvNorm { weight: &self.weight, norm: self.norm.params(), conv: self.options }
    }
}

/// Step and a border that keeps the size at step 1.
pub(super) fn same(kernel: usize, stride: usize) -> Conv2dOptions {
    Conv2dOptions { stride, padding: kernel / 2, dilation: 1 }
}

/// He et al., arXiv 1502.01852: normal with variance `2 / fan`.
pub(super) fn kaiming_normal(fan: usize) -> ParamInit {
    ParamInit::Normal((2. / fan.max(1) as f64).sqrt())
}

/// Batch norms with torchvision's settings in this pass.
pub(super) fn norm_options(ctx: &Context) -> BatchNormOptions {
    BatchNormOptions { train: ctx.is_train(), ..BatchNormOptions::default() }
}

/// Pictures `[B, C, H, W]` with the channels last.
pub(super) fn channels_last(
    images: &Tensor,
    in_chans: usize,
    [height, width]: [usize; 2],
) -> Result<Tensor> {
    match images.dims() {
        [_, channels, ..] if *channels == in_chans && images.rank() == 4 => {
            Ok(images.permute((0, 2, 3, 1))?.contiguous()?)
        }
        got => Err(Error::Input {
            channels: in_chans,
            height,
            width,
            multiples_of: None,
            got: got.to_vec(),
        }),
    }
}

/// A map `[B, rows, columns, C]` as tokens `[B, rows · columns, C]`.
pub(super) fn as_tokens(map: &Tensor) -> Result<Tensor> {
    Ok(map.flatten(1, 2)?)
}

/// Chosen ones of a network's stages.
pub(super) fn chosen(stages: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>> {
    let stage = |&i: &usize| match stages.get(i) {
        Some(map) => as_tokens(map),
        None => Err(Error::Config(format!("stage {i} of a network with {} stages", stages.len()))),
    };
    wanted.iter().map(stage).collect()
}

/// Scores from embeddings.
pub(super) fn scores(head: Option<&Linear>, embedding: &Tensor, ctx: &Context) -> Result<Tensor> {
    match head {
        Some(head) => head.forward(embedding, ctx),
        None => Err(Error::Config("the model has no head (num_classes is 0)".to_string())),
    }
}

/// Checks of fields that every configuration has.
pub(super) fn check_common(in_chans: usize, drop_rate: f64, img_size: [usize; 2]) -> Result<()> {
    if in_chans == 0 || img_size.contains(&0) {
        let reason = format!("{in_chans} channels, pictures of {img_size:?}");
        return Err(Error::Config(reason));
    }
    if !(0. ..1.).contains(&drop_rate) {
        return Err(Error::Config(format!("drop_rate {drop_rate} is not in 0..1")));
    }
    Ok(())
}
