//! Convolutional networks under torchvision's names.

mod densenet;
mod layers;
pub mod names;
mod resnet;

pub use densenet::{DenseNet, DenseNetConfig};
pub use resnet::{ResNet, ResNetConfig, ResidualKind};
