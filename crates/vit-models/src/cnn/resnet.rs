use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use vit_kernels::{ResidualBlock, conv_norm_pool, global_avg_pool, residual_blocks};

use super::Preset;
use super::layers::{
    BatchNorm, Convolution, as_tokens, channels_last, check_common, chosen, kaiming_normal,
    norm_options, same, scores,
};
use crate::{Backbone, Classifier, Context, Error, Linear, ParamInit, ParamSpec, Result};

/// What a residual block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResidualKind {
    /// Two 3×3 convolutions (ResNet-18 and 34).
    Basic,
    /// 1×1, 3×3, 1×1, the last four times as wide (ResNet-50 and deeper). The 3×3 convolution has
    /// the stride, as in torchvision.
    Bottleneck,
}

impl ResidualKind {
    /// Width of a block's output over that of its convolutions.
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Shape of a residual network (He et al., arXiv 1512.03385).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Rows and columns of the pictures, of which [`Backbone::patch_grid`] speaks; the network takes
    /// any size.
    pub img_size: [usize; 2],
    /// Channels of the pictures.
    pub in_chans: usize,
    /// What blocks are made of.
    pub block: ResidualKind,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Channels of the first convolution.
    pub stem_width: usize,
    /// Width of the first stage's convolutions; each further stage doubles it.
    pub width: usize,
    /// Dropout before the head.
    pub drop_rate: f64,
    /// Outputs of the head; 0 for no head.
    pub num_classes: usize,
}

impl ResNetConfig {
    /// Presets by torchvision's names.
    pub(crate) const PRESETS: [Preset<Self>; 5] = [
        ("resnet18", Self::resnet18),
        ("resnet34", Self::resnet34),
        ("resnet50", Self::resnet50),
        ("resnet101", Self::resnet101),
        ("resnet152", Self::resnet152),
    ];

    fn preset(block: ResidualKind, depths: [usize; 4]) -> Self {
        Self {
            img_size: [224, 224],
            in_chans: 3,
            block,
            depths: depths.to_vec(),
            stem_width: 64,
            width: 64,
            drop_rate: 0.,
            num_classes: 0,
        }
    }

    /// ResNet-18.
    #[must_use]
    pub fn resnet18() -> Self {
        Self::preset(ResidualKind::Basic, [2, 2, 2, 2])
    }

    /// ResNet-34.
    #[must_use]
    pub fn resnet34() -> Self {
        Self::preset(ResidualKind::Basic, [3, 4, 6, 3])
    }

    /// ResNet-50.
    #[must_use]
    pub fn resnet50() -> Self {
        Self::preset(ResidualKind::Bottleneck, [3, 4, 6, 3])
    }

    /// ResNet-101.
    #[must_use]
    pub fn resnet101() -> Self {
        Self::preset(ResidualKind::Bottleneck, [3, 4, 23, 3])
    }

    /// ResNet-152.
    #[must_use]
    pub fn resnet152() -> Self {
        Self::preset(ResidualKind::Bottleneck, [3, 8, 36, 3])
    }

    /// A preset by torchvision's name, such as `resnet50`.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none of that name.
    pub fn by_name(name: &str) -> Result<Self> {
        let known = Self::PRESETS.iter().find(|(known, _)| *known == name);
        let (_, preset) =
            known.ok_or_else(|| Error::Config(format!("there is no residual network '{name}'")))?;
        Ok(preset())
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field at fault.
    pub fn check(&self) -> Result<()> {
        check_common(self.in_chans, self.drop_rate, self.img_size)?;
        if self.depths.is_empty() || self.depths.contains(&0) {
            return Err(Error::Config(format!("depths {:?}: every stage has blocks", self.depths)));
        }
        if self.stem_width == 0 || self.width == 0 {
            let Self { stem_width, width, .. } = self;
            return Err(Error::Config(format!("stem_width {stem_width}, width {width}")));
        }
        Ok(())
    }

    /// Channels of the last stage.
    #[must_use]
    pub fn embed_dim(&self) -> usize {
        (self.width << (self.depths.len().max(1) - 1)) * self.block.expansion()
    }

    /// The convolutions of the network behind the first.
    fn stages(&self) -> Vec<Vec<BlockShape>> {
        let mut channels = self.stem_width;
        let stage = |(stage, &depth): (usize, &usize)| {
            let width = self.width << stage;
            let out = width * self.block.expansion();
            (0..depth)
                .map(|i| {
                    let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                    let block = self.block_shape(channels, width, stride);
                    channels = out;
                    block
                })
                .collect()
        };
        self.depths.iter().enumerate().map(stage).collect()
    }

    fn block_shape(&self, channels: usize, width: usize, stride: usize) -> BlockShape {
        let out = width * self.block.expansion();
        let layer = |from, to, kernel, stride| LayerShape { from, to, kernel, stride };
        let layers = match self.block {
            ResidualKind::Basic => {
                vec![layer(channels, width, 3, stride), layer(width, width, 3, 1)]
            }
            ResidualKind::Bottleneck => vec![
                layer(channels, width, 1, 1),
                layer(width, width, 3, stride),
                layer(width, out, 1, 1),
            ],
        };
        let shortcut = (stride != 1 || channels != out).then(|| layer(channels, out, 1, stride));
        BlockShape { layers, shortcut }
    }
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
struct LayerShape {
    from: usize,
    to: usize,
    kernel: usize,
    stride: usize,
}

impl LayerShape {
    /// Kaiming-normal over the fan-out, as torchvision.
    fn specs(&self, conv: &str, norm: &str) -> Vec<ParamSpec> {
        let Self { from, to, kernel, .. } = *self;
        let weight = kaiming_normal(to * kernel * kernel);
        let shape = [to, from, kernel, kernel];
        let mut specs = vec![ParamSpec::new(format!("{conv}.weight"), &shape, weight)];
        specs.extend(BatchNorm::specs(norm, to));
        specs
    }

    fn read(&self, conv: &VarBuilder, norm: &VarBuilder) -> Result<Convolution> {
        let Self { from, to, kernel, stride } = *self;
        Ok(Convolution {
            weight: conv.get((to, from, kernel, kernel), "weight")?,
            norm: BatchNorm::new(to, norm)?,
            options: same(kernel, stride),
        })
    }
}

#[derive(Debug, Clone)]
struct BlockShape {
    layers: Vec<LayerShape>,
    shortcut: Option<LayerShape>,
}

#[derive(Debug, Clone)]
struct Block {
    layers: Vec<Convolution>,
    shortcut: Option<Convolution>,
}

impl Block {
    fn residual(&self) -> ResidualBlock<'_> {
        ResidualBlock {
            layers: self.layers.iter().map(Convolution::layer).collect(),
            shortcut: self.shortcut.as_ref().map(Convolution::layer),
        }
    }
}

/// A residual network with torchvision's parameter names.
///
/// Stages are operators of their own that keep the outputs of convolutions only; activation
/// checkpointing has no effect.
#[derive(Debug, Clone)]
pub struct ResNet {
    config: ResNetConfig,
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    head: Option<Linear>,
}

impl ResNet {
    fn stem_shape(config: &ResNetConfig) -> LayerShape {
        LayerShape { from: config.in_chans, to: config.stem_width, kernel: 7, stride: 2 }
    }

    /// The parameters of a configuration, in the order of torchvision's state dictionary, less
    /// `num_batches_tracked`, which nothing depends on.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(config: &ResNetConfig) -> Result<Vec<ParamSpec>> {
        config.check()?;
        let mut specs = Self::stem_shape(config).specs("conv1", "bn1");
        for (stage, blocks) in config.stages().iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                let name = format!("layer{}.{i}", stage + 1);
                for (i, layer) in (1..).zip(&block.layers) {
                    specs.extend(layer.specs(&format!("{name}.conv{i}"), &format!("{name}.bn{i}")));
                }
                if let Some(layer) = &block.shortcut {
                    let name = format!("{name}.downsample");
                    specs.extend(layer.specs(&format!("{name}.0"), &format!("{name}.1")));
                }
            }
        }
        if config.num_classes > 0 {
            let init = ParamInit::fan_in_uniform(config.embed_dim());
            let head =
                Linear::specs("fc", config.embed_dim(), config.num_classes, true, init.clone());
            specs.extend(head.into_iter().map(|spec| ParamSpec { init: init.clone(), ..spec }));
        }
        Ok(specs)
    }

    /// Reads the model from a parameter store or whatever else a `VarBuilder` stands for.
    ///
    /// # Errors
    /// [`Error::Config`] for a contradictory configuration, [`Error::Candle`] naming the parameter
    /// that is missing or has another shape.
    pub fn new(config: &ResNetConfig, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        let read = |stage: usize, i: usize, block: &BlockShape| -> Result<Block> {
            let vb = vb.pp(format!("layer{}", stage + 1)).pp(i);
            let layers = (1..)
                .zip(&block.layers)
                .map(|(i, layer)| layer.read(&vb.pp(format!("conv{i}")), &vb.pp(format!("bn{i}"))));
            let down = vb.pp("downsample");
            let shortcut = match &block.shortcut {
                Some(layer) => Some(layer.read(&down.pp(0), &down.pp(1))?),
                None => None,
            };
            Ok(Block { layers: layers.collect::<Result<_>>()?, shortcut })
        };
        let stage = |(stage, blocks): (usize, &Vec<BlockShape>)| {
            blocks.iter().enumerate().map(|(i, block)| read(stage, i, block)).collect()
        };
        let head = match config.num_classes {
            0 => None,
            classes => Some(Linear::new(config.embed_dim(), classes, true, &vb.pp("fc"))?),
        };
        Ok(Self {
            stem: Self::stem_shape(config).read(&vb.pp("conv1"), &vb.pp("bn1"))?,
            stages: config.stages().iter().enumerate().map(stage).collect::<Result<_>>()?,
            head,
            config: config.clone(),
        })
    }

    /// The configuration the model was built from.
    #[must_use]
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// The linear layers with their names, for attaching adapters.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        self.head.iter_mut().map(|head| ("fc".to_string(), head)).collect()
    }

    /// The maps of every stage, `[B, rows, columns, C]`.
    fn maps(&self, images: &Tensor, ctx: &Context) -> Result<Vec<Tensor>> {
        let x = channels_last(images, self.config.in_chans, self.config.img_size)?;
        let options = norm_options(ctx);
        let mut x = conv_norm_pool(&x, &self.stem.layer(), (3, 2, 1), &options)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let blocks: Vec<ResidualBlock> = stage.iter().map(Block::residual).collect();
            x = residual_blocks(&x, &blocks, &options)?;
            maps.push(x.clone());
        }
        Ok(maps)
    }

    fn map(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let last = self.maps(images, ctx)?.pop();
        last.ok_or_else(|| Error::Config("a network without stages".to_string()))
    }
}

impl Backbone for ResNet {
    fn embed_dim(&self) -> usize {
        self.config.embed_dim()
    }

    fn patch_grid(&self) -> (usize, usize) {
        // Stem, pool and every stage but the first halve, rounding up.
        let halvings = self.config.depths.len() + 1;
        let side = |size: usize| (0..halvings).fold(size, |size, _| size.div_ceil(2));
        (side(self.config.img_size[0]), side(self.config.img_size[1]))
    }

    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        as_tokens(&self.map(images, ctx)?)
    }

    /// Outputs of stages.
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

impl Classifier for ResNet {
    fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let embedding = self.embed(images, ctx)?;
        let embedding = ctx.dropout(&embedding, self.config.drop_rate, "dropout/head")?;
        scores(self.head.as_ref(), &embedding, ctx)
    }
}
