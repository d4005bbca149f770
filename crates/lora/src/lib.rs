#![doc = include_str!("../README.md")]

mod adapter;
mod attach;
mod config;
mod error;
mod file;
mod fingerprint;
mod foreign;
mod merge;
mod peft;
mod report;
mod sites;
mod trainable;

pub use attach::{attach, detach, specs};
pub use config::{LoraConfig, Target};
pub use error::{Error, Result};
pub use file::{
    AdapterOptions, AdapterReport, METADATA_PART, load_adapter, read_adapter_config, save_adapter,
};
pub use fingerprint::{BaseCheck, Fingerprint, TensorPrint};
pub use foreign::{load_loralib, load_peft};
pub use merge::{Merged, delta_weights, merge};
pub use peft::save_peft;
pub use report::{MergeReport, max_difference, merge_report};
pub use trainable::{CLASS_TOKEN_NORM, Counts, count_trainable, mark_only_lora_trainable};
pub use vit_models;
