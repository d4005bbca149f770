#![doc = include_str!("../README.md")]

mod attention;
mod block;
mod checkpoint;
pub mod composite;
mod conv;
mod cpu;
mod gradients;
mod layers;
mod losses;
mod optim;
mod patches;
mod pictures;
mod record;
mod tokens;

pub use attention::{attention, cross_attention};
pub use block::{BlockOptions, BlockParams, block};
pub use candle_core;
pub use checkpoint::checkpoint;
pub use conv::{Conv2dOptions, conv2d};
pub use gradients::GradAccumulator;
pub use layers::{gelu, layer_norm, linear, log_softmax, residual, softmax};
pub use losses::{bce_with_logits, cross_entropy, mean_squared_error};
pub use optim::{AdamWStep, SgdStep, adamw_step, lars_step, sgd_step, sum_of_squares};
pub use patches::{PatchOrder, patchify, patchify_rows, unpatchify};
pub use pictures::{
    BatchNormOptions, BatchNormParams, ConvNorm, DenseLayer, ResidualBlock, avg_pool2d, batch_norm,
    conv_norm_pool, dense_block, global_avg_pool, max_pool2d, residual_blocks, transition,
};
pub use tokens::{TokenAssembly, TokenRows, assemble_tokens, gather_tokens};
