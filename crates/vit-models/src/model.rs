use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    Backbone, Classifier, Context, DenseNet, DenseNetConfig, Error, ImageSize, Linear, ParamSpec,
    Preset, ResNet, ResNetConfig, Result, Vit, VitConfig,
};

/// A network of any kind that this crate has: what a program keeps that takes them all.
///
/// In files `architecture` says the kind. A configuration without it is a [`VitConfig`], as files
/// hold that were written before there were others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelConfig {
    /// A vision transformer.
    Vit(VitConfig),
    /// A densely connected convolutional network.
    DenseNet(DenseNetConfig),
    /// A residual convolutional network.
    ResNet(ResNetConfig),
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let kind = value.as_object_mut().and_then(|fields| fields.remove("architecture"));
        let found = match kind.as_ref().map(Value::as_str) {
            None | Some(Some("vit")) => serde_json::from_value(value).map(Self::Vit),
            Some(Some("densenet")) => serde_json::from_value(value).map(Self::DenseNet),
            Some(Some("resnet")) => serde_json::from_value(value).map(Self::ResNet),
            Some(_) => {
                let kind = kind.unwrap_or_default();
                return Err(D::Error::custom(format!(
                    "architecture {kind}; there are vit, densenet, resnet"
                )));
            }
        };
        found.map_err(D::Error::custom)
    }
}

impl ModelConfig {
    /// A published model by name: those of [`Preset::by_name`], and `densenet121`, `resnet50`, …
    /// without a head.
    ///
    /// # Errors
    /// [`Error::Config`] for another name.
    pub fn by_name(name: &str) -> Result<Self> {
        if let Ok(config) = DenseNetConfig::by_name(name) {
            return Ok(Self::DenseNet(config));
        }
        if let Ok(config) = ResNetConfig::by_name(name) {
            return Ok(Self::ResNet(config));
        }
        match Preset::by_name(name) {
            Ok(preset) => Ok(Self::Vit(preset.config)),
            Err(error) => Err(Error::Config(format!("{error}; and densenet121, resnet50, …"))),
        }
    }

    /// Channels of the pictures.
    #[must_use]
    pub fn in_chans(&self) -> usize {
        match self {
            Self::Vit(config) => config.in_chans,
            Self::DenseNet(config) => config.in_chans,
            Self::ResNet(config) => config.in_chans,
        }
    }

    /// Height and width of the pictures.
    #[must_use]
    pub fn img_size(&self) -> ImageSize {
        match self {
            Self::Vit(config) => config.img_size,
            Self::DenseNet(DenseNetConfig { img_size: [height, width], .. })
            | Self::ResNet(ResNetConfig { img_size: [height, width], .. }) => {
                (*height, *width).into()
            }
        }
    }

    /// Outputs of the head; 0 for no head.
    #[must_use]
    pub fn num_classes(&self) -> usize {
        match self {
            Self::Vit(config) => config.num_classes,
            Self::DenseNet(config) => config.num_classes,
            Self::ResNet(config) => config.num_classes,
        }
    }

    /// For pictures of this size and number of channels.
    #[must_use]
    pub fn for_pictures(mut self, size: ImageSize, in_chans: usize) -> Self {
        let sides = [size.height, size.width];
        match &mut self {
            Self::Vit(config) => (config.img_size, config.in_chans) = (size, in_chans),
            Self::DenseNet(config) => (config.img_size, config.in_chans) = (sides, in_chans),
            Self::ResNet(config) => (config.img_size, config.in_chans) = (sides, in_chans),
        }
        self
    }

    /// The parameters, in the order of the reference's state dictionary.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(&self) -> Result<Vec<ParamSpec>> {
        match self {
            Self::Vit(config) => Vit::specs(config),
            Self::DenseNet(config) => DenseNet::specs(config),
            Self::ResNet(config) => ResNet::specs(config),
        }
    }

    /// The network over parameters.
    ///
    /// # Errors
    /// [`Error::Config`] for a contradictory configuration, [`Error::Candle`] naming the parameter
    /// that is missing or has another shape.
    pub fn build(&self, vb: &VarBuilder) -> Result<Model> {
        Ok(match self {
            Self::Vit(config) => Model::Vit(Box::new(Vit::new(config, vb)?)),
            Self::DenseNet(config) => Model::DenseNet(Box::new(DenseNet::new(config, vb)?)),
            Self::ResNet(config) => Model::ResNet(Box::new(ResNet::new(config, vb)?)),
        })
    }
}

/// A network that a [`ModelConfig`] describes. As [`Classifier`] it is what it holds.
#[derive(Debug)]
#[non_exhaustive]
pub enum Model {
    /// A vision transformer.
    Vit(Box<Vit>),
    /// A densely connected convolutional network.
    DenseNet(Box<DenseNet>),
    /// A residual convolutional network.
    ResNet(Box<ResNet>),
}

impl Model {
    /// The linear layers with their names, for attaching adapters. Of a convolutional network that
    /// is the head.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        match self {
            Self::Vit(model) => model.linears_mut(),
            Self::DenseNet(model) => model.linears_mut(),
            Self::ResNet(model) => model.linears_mut(),
        }
    }

    fn network(&self) -> &dyn Classifier {
        match self {
            Self::Vit(model) => model.as_ref(),
            Self::DenseNet(model) => model.as_ref(),
            Self::ResNet(model) => model.as_ref(),
        }
    }
}

impl Backbone for Model {
    fn embed_dim(&self) -> usize {
        self.network().embed_dim()
    }

    fn num_features(&self) -> usize {
        self.network().num_features()
    }

    fn prefix_tokens(&self) -> usize {
        self.network().prefix_tokens()
    }

    fn patch_grid(&self) -> (usize, usize) {
        self.network().patch_grid()
    }

    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.network().tokens(images, ctx)
    }

    fn intermediates(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>> {
        self.network().intermediates(images, blocks, ctx)
    }

    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.network().embed(images, ctx)
    }
}

impl Classifier for Model {
    fn num_classes(&self) -> usize {
        self.network().num_classes()
    }

    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.network().logits(images, ctx)
    }
}
