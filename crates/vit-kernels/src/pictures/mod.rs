//! Operators of convolutional networks on pictures with the channels last, `[B, H, W, C]`.

mod dense;
mod layer;
mod norm;
mod pool;
mod residual;
mod stem;

pub(crate) use dense::SECOND;
pub use dense::{DenseLayer, dense_block, transition};
pub use norm::{BatchNormOptions, BatchNormParams, batch_norm};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d};
pub use residual::{ConvNorm, ResidualBlock, residual_blocks};
pub use stem::conv_norm_pool;
