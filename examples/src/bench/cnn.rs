//! Convolutional networks as models of the jobs: `densenet121`, `resnet50` and their kin.

use anyhow::{Result, bail};
use vit_models::candle_nn::VarBuilder;
use vit_models::{
    Classifier, DenseNet, DenseNetConfig, ParamSpec, ParamStore, ResNet, ResNetConfig,
};
use vit_train::{Labels, Supervised, Task};

use super::job::CLASSES;
use super::{Job, Setting};

/// A network of either kind.
pub(crate) enum Network {
    Res(ResNetConfig),
    Dense(DenseNetConfig),
}

/// A convolution as a matrix product: each pixel of the output from `depth` values to `channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub(crate) pixels: usize,
    pub(crate) depth: usize,
    pub(crate) channels: usize,
}

impl Network {
    /// The network of a setting; `None` if its model is none.
    pub(crate) fn of(setting: &Setting) -> Result<Option<Self>> {
        let (name, img_size) = (setting.model.as_str(), [setting.img_size; 2]);
        let network = if name.starts_with("resnet") {
            let preset = ResNetConfig::by_name(name)?;
            Self::Res(ResNetConfig { img_size, num_classes: CLASSES, ..preset })
        } else if name.starts_with("densenet") {
            let preset = DenseNetConfig::by_name(name)?;
            Self::Dense(DenseNetConfig { img_size, num_classes: CLASSES, ..preset })
        } else {
            return Ok(None);
        };
        if matches!(setting.job, Job::Mae | Job::Lora) {
            bail!("there is no such job for '{name}'");
        }
        Ok(Some(network))
    }

    pub(crate) fn specs(&self) -> Result<Vec<ParamSpec>> {
        Ok(match self {
            Self::Res(config) => ResNet::specs(config)?,
            Self::Dense(config) => DenseNet::specs(config)?,
        })
    }

    pub(crate) fn model(&self, vb: &VarBuilder) -> Result<Box<dyn Classifier>> {
        Ok(match self {
            Self::Res(config) => Box::new(ResNet::new(config, vb)?),
            Self::Dense(config) => Box::new(DenseNet::new(config, vb)?),
        })
    }

    pub(crate) fn task(&self, store: &ParamStore, labels: Labels) -> Result<Box<dyn Task>> {
        let (train, eval) = (store.var_builder(), store.frozen());
        Ok(match self {
            Self::Res(config) => {
                let (train, eval) = (ResNet::new(config, &train)?, ResNet::new(config, &eval)?);
                Box::new(Supervised::new(train, eval, labels)?)
            }
            Self::Dense(config) => {
                let (train, eval) = (DenseNet::new(config, &train)?, DenseNet::new(config, &eval)?);
                Box::new(Supervised::new(train, eval, labels)?)
            }
        })
    }

    /// Every convolution, by the published architecture: a transition's comes before its pool.
    pub(crate) fn convolutions(&self, side: usize) -> Result<Vec<Convolution>> {
        let stem = side.div_ceil(2);
        let specs = self.specs()?;
        let weights = specs.iter().filter(|spec| spec.shape.len() == 4);
        let convolution = |spec: &ParamSpec| {
            let side = match self.stage(&spec.name) {
                None => stem,
                Some((stage, false)) => self.side(stem, stage),
                Some((stage, true)) => self.side(stem, stage - 1),
            };
            Convolution {
                pixels: side * side,
                depth: spec.shape[1..].iter().product(),
                channels: spec.shape[0],
            }
        };
        Ok(weights.map(convolution).collect())
    }

    /// The stage of a convolution, from 0, and whether it still works on the maps of the one
    /// before; `None` for the stem's.
    fn stage(&self, name: &str) -> Option<(usize, bool)> {
        let number = |part: &str, prefix: &str| part.strip_prefix(prefix)?.parse::<usize>().ok();
        let mut parts = name.split('.');
        match self {
            Self::Res(_) => {
                let stage = number(parts.next()?, "layer")? - 1;
                let (block, layer) = (parts.next()?, parts.next()?);
                // The first convolution of a bottleneck comes before the stride.
                let bottleneck = self.has(&name.replace(layer, "conv3"));
                Some((stage, stage > 0 && block == "0" && layer == "conv1" && bottleneck))
            }
            Self::Dense(_) => {
                let part = parts.nth(1)?;
                let block = number(part, "denseblock").or_else(|| number(part, "transition"))?;
                Some((block - 1, false))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.specs().is_ok_and(|specs| specs.iter().any(|spec| spec.name == name))
    }

    /// Side of the maps of a stage: pooled once, then halved by each stage, rounding as the network
    /// does.
    fn side(&self, stem: usize, stage: usize) -> usize {
        let first = stem.div_ceil(2);
        (0..stage).fold(first, |side, _| match self {
            Self::Res(_) => side.div_ceil(2),
            Self::Dense(_) => side / 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiply-adds that torchvision states for its weights, head included.
    #[test]
    fn operations_are_the_published_ones() {
        for (model, giga) in [
            ("resnet18", 1.814),
            ("resnet50", 4.089),
            ("densenet121", 2.834),
            ("densenet169", 3.36),
        ] {
            let setting = Setting {
                job: Job::Infer,
                model: model.to_string(),
                img_size: 224,
                batch_size: 1,
                checkpointing: false,
            };
            let network = Network::of(&setting).unwrap().unwrap();
            let convolutions = network.convolutions(224).unwrap();
            let sum: usize = convolutions.iter().map(|c| c.pixels * c.depth * c.channels).sum();
            assert!((sum as f64 / 1e9 - giga).abs() < 0.01, "{model}: {sum}");
        }
    }
}
