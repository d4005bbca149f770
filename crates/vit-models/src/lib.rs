#![doc = include_str!("../README.md")]

mod backbone;
mod block;
mod cnn;
mod config;
mod context;
mod error;
#[cfg(feature = "hub")]
mod hub;
mod layers;
mod model;
mod params;
#[cfg(feature = "transforms")]
mod pictures;
mod position;
mod preprocessing;
mod presets;
mod size;
mod stem;
mod vit;
mod weights;

pub use backbone::{Backbone, Classifier};
pub use block::{Block, BlockConfig};
pub use candle_core;
pub use candle_nn;
pub use cnn::{DenseNet, DenseNetConfig, ResNet, ResNetConfig, ResidualKind};
pub use config::{InitScheme, Mlp, Pooling, PositionTable, VitConfig};
pub use context::Context;
pub use error::{Error, Result};
#[cfg(feature = "hub")]
pub use hub::{Hub, HubAddress, HubFault, HubFile, HubModel, HubOptions, HubProgress};
pub use layers::{Adapter, LayerNorm, Linear};
pub use model::{Model, ModelConfig};
pub use params::{Param, ParamInit, ParamSpec, ParamStore};
pub use position::{PositionFilter, resize_position_table, sin_cos_table};
pub use preprocessing::{CropMode, Interpolation, Preprocessing};
pub use presets::Preset;
pub use size::ImageSize;
pub use vit::{FeatureForm, Vit};
pub use vit_kernels::TokenRows;
pub use weights::{
    Architecture, CARD_PART, Container, Coverage, Diagnosis, DoctorOptions, DoctorRow, Family,
    Guess, Layout, LoadOptions, LoadReport, METADATA_KEY, MODEL_FILE, ModelCard, Outcome,
    SourceFile, StoredType, TensorHealth, TensorReport, WeightFile, export_weights, save_weights,
    write_atomic,
};
