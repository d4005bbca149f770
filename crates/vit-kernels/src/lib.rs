#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod linear;
mod norm;
mod optim;
mod patches;
mod softmax;

pub use activation::gelu;
pub use attention::attention;
pub use candle_core;
pub use linear::linear;
pub use norm::layer_norm;
pub use optim::{AdamWStep, adamw_step};
pub use patches::{PatchOrder, patchify, unpatchify};
pub use softmax::{log_softmax, softmax};
