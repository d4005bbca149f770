//! Convolutional networks under torchvision's names.

mod densenet;
mod layers;
mod resnet;

pub use densenet::{DenseNet, DenseNetConfig};
pub use resnet::{ResNet, ResNetConfig, ResidualKind};

/// A published configuration and its name.
type Preset<T> = (&'static str, fn() -> T);
