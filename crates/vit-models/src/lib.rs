#![doc = include_str!("../README.md")]

mod backbone;
mod block;
pub mod cnn;
mod config;
mod context;
mod error;
mod layers;
mod params;
mod position;
mod vit;
mod weights;

pub use backbone::{Backbone, Classifier};
pub use block::{Block, BlockConfig};
pub use candle_core;
pub use candle_nn;
pub use cnn::{DenseNet, DenseNetConfig, ResNet, ResNetConfig, ResidualKind};
pub use config::{InitScheme, Pooling, PositionTable, VitConfig};
pub use context::Context;
pub use error::{Error, Result};
pub use layers::{Adapter, LayerNorm, Linear};
pub use params::{Param, ParamInit, ParamSpec, ParamStore};
pub use position::{resize_position_table, sin_cos_table};
pub use vit::Vit;
pub use vit_kernels::TokenRows;
pub use weights::{
    LoadOptions, LoadReport, METADATA_KEY, Outcome, TensorReport, WeightFile, save_weights,
    write_atomic,
};
