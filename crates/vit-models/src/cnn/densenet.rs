use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use vit_kernels::{
    BatchNormOptions, Conv2dOptions, DenseLayer, batch_norm, conv_norm_pool, conv2d, dense_block,
    global_avg_pool, transition,
};

use super::Preset;
use super::layers::{
    BatchNorm, Convolution, as_tokens, channels_last, check_common, chosen, kaiming_normal,
    norm_options, same, scores,
};
use crate::{Backbone, Classifier, Context, Error, Linear, ParamInit, ParamSpec, Result};

/// Shape of a densely connected network (Huang et al., arXiv 1608.06993).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseNetConfig {
    /// Rows and columns of the pictures, of which [`Backbone::patch_grid`] speaks; the network takes
    /// any size.
    pub img_size: [usize; 2],
    /// Channels of the pictures.
    pub in_chans: usize,
    /// Channels that each layer adds.
    pub growth_rate: usize,
    /// Layers of each block.
    pub block_config: Vec<usize>,
    /// Channels of the first convolution.
    pub num_init_features: usize,
    /// Hidden channels of a layer over `growth_rate`.
    pub bn_size: usize,
    /// Dropout of what each layer adds, as torchvision's; it costs the fused block.
    pub drop_rate: f64,
    /// Outputs of the head; 0 for no head.
    pub num_classes: usize,
}

impl DenseNetConfig {
    /// Presets by torchvision's names.
    pub(crate) const PRESETS: [Preset<Self>; 4] = [
        ("densenet121", Self::densenet121),
        ("densenet161", Self::densenet161),
        ("densenet169", Self::densenet169),
        ("densenet201", Self::densenet201),
    ];

    fn preset(growth_rate: usize, block_config: [usize; 4], num_init_features: usize) -> Self {
        Self {
            img_size: [224, 224],
            in_chans: 3,
            growth_rate,
            block_config: block_config.to_vec(),
            num_init_features,
            bn_size: 4,
            drop_rate: 0.,
            num_classes: 0,
        }
    }

    /// DenseNet-121.
    #[must_use]
    pub fn densenet121() -> Self {
        Self::preset(32, [6, 12, 24, 16], 64)
    }

    /// DenseNet-161.
    #[must_use]
    pub fn densenet161() -> Self {
        Self::preset(48, [6, 12, 36, 24], 96)
    }

    /// DenseNet-169.
    #[must_use]
    pub fn densenet169() -> Self {
        Self::preset(32, [6, 12, 32, 32], 64)
    }

    /// DenseNet-201.
    #[must_use]
    pub fn densenet201() -> Self {
        Self::preset(32, [6, 12, 48, 32], 64)
    }

    /// A preset by torchvision's name, such as `densenet121`.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none of that name.
    pub fn by_name(name: &str) -> Result<Self> {
        let known = Self::PRESETS.iter().find(|(known, _)| *known == name);
        let (_, preset) =
            known.ok_or_else(|| Error::Config(format!("there is no dense network '{name}'")))?;
        Ok(preset())
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field at fault.
    pub fn check(&self) -> Result<()> {
        check_common(self.in_chans, self.drop_rate, self.img_size)?;
        if self.block_config.is_empty() || self.block_config.contains(&0) {
            let blocks = &self.block_config;
            return Err(Error::Config(format!("block_config {blocks:?}: every block has layers")));
        }
        let Self { growth_rate, num_init_features, bn_size, .. } = *self;
        if growth_rate == 0 || bn_size == 0 || num_init_features < 2 {
            return Err(Error::Config(format!(
                "growth_rate {growth_rate}, bn_size {bn_size}, num_init_features \
                 {num_init_features}"
            )));
        }
        Ok(())
    }

    /// Channels before and behind each block. Transitions halve them.
    fn widths(&self) -> Vec<(usize, usize)> {
        let mut channels = self.num_init_features;
        let block = |layers: &usize| {
            let before = channels;
            let behind = before + layers * self.growth_rate;
            channels = behind / 2;
            (before, behind)
        };
        self.block_config.iter().map(block).collect()
    }

    /// Channels of the last block.
    #[must_use]
    pub fn embed_dim(&self) -> usize {
        self.widths().last().map_or(0, |(_, behind)| *behind)
    }

    fn hidden(&self) -> usize {
        self.bn_size * self.growth_rate
    }
}

#[derive(Debug, Clone)]
struct Layer {
    norm1: BatchNorm,
    conv1: Tensor,
    norm2: BatchNorm,
    conv2: Tensor,
}

impl Layer {
    fn specs(name: &str, channels: usize, config: &DenseNetConfig) -> Vec<ParamSpec> {
        let (hidden, growth) = (config.hidden(), config.growth_rate);
        let conv = |part: &str, shape: [usize; 4]| {
            let init = kaiming_normal(shape[1] * shape[2] * shape[3]);
            vec![ParamSpec::new(format!("{name}.{part}.weight"), &shape, init)]
        };
        [
            BatchNorm::specs(&format!("{name}.norm1"), channels),
            conv("conv1", [hidden, channels, 1, 1]),
            BatchNorm::specs(&format!("{name}.norm2"), hidden),
            conv("conv2", [growth, hidden, 3, 3]),
        ]
        .concat()
    }

    fn new(channels: usize, config: &DenseNetConfig, vb: &VarBuilder) -> Result<Self> {
        let (hidden, growth) = (config.hidden(), config.growth_rate);
        Ok(Self {
            norm1: BatchNorm::new(channels, &vb.pp("norm1"))?,
            conv1: vb.get((hidden, channels, 1, 1), "conv1.weight")?,
            norm2: BatchNorm::new(hidden, &vb.pp("norm2"))?,
            conv2: vb.get((growth, hidden, 3, 3), "conv2.weight")?,
        })
    }

    fn dense(&self) -> DenseLayer<'_> {
        DenseLayer {
            norm1: self.norm1.params(),
            conv1: &self.conv1,
            norm2: self.norm2.params(),
            conv2: &self.conv2,
        }
    }

    /// What the layer adds to `x`.
    fn added(&self, x: &Tensor, options: &BatchNormOptions) -> Result<Tensor> {
        let y = batch_norm(x, &self.norm1.params(), options, true)?;
        let y = conv2d(&y, &self.conv1, None, Conv2dOptions::default())?;
        let y = batch_norm(&y, &self.norm2.params(), options, true)?;
        Ok(conv2d(&y, &self.conv2, None, same(3, 1))?)
    }
}

/// What lies between blocks.
#[derive(Debug, Clone)]
struct Transition {
    norm: BatchNorm,
    conv: Tensor,
}

/// A densely connected network with torchvision's parameter names.
///
/// Blocks are operators of their own that keep little; activation checkpointing has no effect.
#[derive(Debug, Clone)]
pub struct DenseNet {
    config: DenseNetConfig,
    stem: Convolution,
    blocks: Vec<Vec<Layer>>,
    transitions: Vec<Transition>,
    norm: BatchNorm,
    head: Option<Linear>,
}

/// The norm behind the last block; torchvision calls it so for any number of blocks.
const LAST_NORM: &str = "features.norm5";

impl DenseNet {
    /// The parameters of a configuration, in the order of torchvision's state dictionary, less
    /// `num_batches_tracked`, which nothing depends on.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(config: &DenseNetConfig) -> Result<Vec<ParamSpec>> {
        config.check()?;
        let conv = |name: &str, shape: [usize; 4]| {
            let init = kaiming_normal(shape[1] * shape[2] * shape[3]);
            ParamSpec::new(format!("features.{name}.weight"), &shape, init)
        };
        let first = config.num_init_features;
        let mut specs = vec![conv("conv0", [first, config.in_chans, 7, 7])];
        specs.extend(BatchNorm::specs("features.norm0", first));
        let widths = config.widths();
        for (i, (layers, (before, behind))) in (1..).zip(config.block_config.iter().zip(&widths)) {
            for layer in 0..*layers {
                let name = format!("features.denseblock{i}.denselayer{}", layer + 1);
                specs.extend(Layer::specs(&name, before + layer * config.growth_rate, config));
            }
            if i < widths.len() {
                let name = format!("transition{i}");
                specs.extend(BatchNorm::specs(&format!("features.{name}.norm"), *behind));
                specs.push(conv(&format!("{name}.conv"), [behind / 2, *behind, 1, 1]));
            }
        }
        let width = config.embed_dim();
        specs.extend(BatchNorm::specs(LAST_NORM, width));
        if config.num_classes > 0 {
            let weight = ParamInit::fan_in_uniform(width);
            specs.extend(Linear::specs("classifier", width, config.num_classes, true, weight));
        }
        Ok(specs)
    }

    /// Reads the model from a parameter store or whatever else a `VarBuilder` stands for.
    ///
    /// # Errors
    /// [`Error::Config`] for a contradictory configuration, [`Error::Candle`] naming the parameter
    /// that is missing or has another shape.
    pub fn new(config: &DenseNetConfig, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        let (features, first) = (vb.pp("features"), config.num_init_features);
        let stem = Convolution {
            weight: features.get((first, config.in_chans, 7, 7), "conv0.weight")?,
            norm: BatchNorm::new(first, &features.pp("norm0"))?,
            options: same(7, 2),
        };
        let widths = config.widths();
        let (mut blocks, mut transitions) = (Vec::new(), Vec::new());
        for (i, (layers, (before, behind))) in (1..).zip(config.block_config.iter().zip(&widths)) {
            let block = features.pp(format!("denseblock{i}"));
            let layer = |layer: usize| {
                let channels = before + layer * config.growth_rate;
                Layer::new(channels, config, &block.pp(format!("denselayer{}", layer + 1)))
            };
            blocks.push((0..*layers).map(layer).collect::<Result<Vec<_>>>()?);
            if i < widths.len() {
                let vb = features.pp(format!("transition{i}"));
                transitions.push(Transition {
                    norm: BatchNorm::new(*behind, &vb.pp("norm"))?,
                    conv: vb.get((behind / 2, *behind, 1, 1), "conv.weight")?,
                });
            }
        }
        let width = config.embed_dim();
        let head = match config.num_classes {
            0 => None,
            classes => Some(Linear::new(width, classes, true, &vb.pp("classifier"))?),
        };
        let norm = BatchNorm::new(width, &vb.pp(LAST_NORM))?;
        Ok(Self { stem, blocks, transitions, norm, head, config: config.clone() })
    }

    /// The configuration the model was built from.
    #[must_use]
    pub fn config(&self) -> &DenseNetConfig {
        &self.config
    }

    /// The linear layers with their names, for attaching adapters.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        self.head.iter_mut().map(|head| ("classifier".to_string(), head)).collect()
    }

    /// The maps of every block, `[B, rows, columns, C]`.
    fn maps(&self, images: &Tensor, ctx: &Context) -> Result<Vec<Tensor>> {
        let x = channels_last(images, self.config.in_chans, self.config.img_size)?;
        let options = norm_options(ctx);
        let mut x = conv_norm_pool(&x, &self.stem.layer(), (3, 2, 1), &options)?;
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.blocks.len());
        for (i, block) in self.blocks.iter().enumerate() {
            if let Some(Transition { norm, conv }) =
                i.checked_sub(1).and_then(|i| self.transitions.get(i))
            {
                x = transition(&x, &norm.params(), conv, &options)?;
            }
            x = self.block(i, block, &x, ctx)?;
            maps.push(x.clone());
        }
        Ok(maps)
    }

    fn block(&self, number: usize, layers: &[Layer], x: &Tensor, ctx: &Context) -> Result<Tensor> {
        let (options, rate) = (norm_options(ctx), self.config.drop_rate);
        if rate <= 0. || !ctx.is_train() {
            let layers: Vec<DenseLayer> = layers.iter().map(Layer::dense).collect();
            return Ok(dense_block(x, &layers, &options)?);
        }
        let mut x = x.clone();
        for (i, layer) in layers.iter().enumerate() {
            let purpose = format!("dropout/denseblock{}.denselayer{}", number + 1, i + 1);
            let added = ctx.dropout(&layer.added(&x, &options)?, rate, &purpose)?;
            x = Tensor::cat(&[&x, &added], 3)?;
        }
        Ok(x)
    }

    /// The last map, normed and cut off at zero.
    fn map(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        match self.maps(images, ctx)?.pop() {
            Some(map) => Ok(batch_norm(&map, &self.norm.params(), &norm_options(ctx), true)?),
            None => Err(Error::Config("a network without blocks".to_string())),
        }
    }
}

impl Backbone for DenseNet {
    fn embed_dim(&self) -> usize {
        self.config.embed_dim()
    }

    fn patch_grid(&self) -> (usize, usize) {
        // Stem and pool halve rounding up, transitions rounding down.
        let transitions = self.config.block_config.len() - 1;
        let side = |size: usize| size.div_ceil(2).div_ceil(2) >> transitions;
        (side(self.config.img_size[0]), side(self.config.img_size[1]))
    }

    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        as_tokens(&self.map(images, ctx)?)
    }

    /// Outputs of dense blocks.
    fn intermediates(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>> {
        chosen(&self.maps(images, ctx)?, blocks)
    }

    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        Ok(global_avg_pool(&self.map(images, ctx)?)?)
    }
}

impl Classifier for DenseNet {
    fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        scores(self.head.as_ref(), &self.embed(images, ctx)?, ctx)
    }
}
