#![doc = include_str!("../README.md")]

mod config;
mod error;
mod masking;
mod model;
mod picture;
mod task;

pub use config::MaeConfig;
pub use error::{Error, Result};
pub use masking::{Masking, keep_count};
pub use model::{Mae, MaeOutput};
pub use picture::reconstruction_sheet;
pub use task::MaeTask;
