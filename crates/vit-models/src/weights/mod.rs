//! Weight files: reading, fitting to a model with a report, writing.

mod contents;
mod family;
mod fit;
mod pattern;
mod pickle;
mod pth;
mod read;
mod recipe;
mod report;
mod safetensors_file;
mod sections;
mod shards;
mod tables;
mod values;
mod view;
mod write;

pub use contents::Container;
pub use family::Family;
pub use fit::LoadOptions;
pub use read::WeightFile;
pub use report::{LoadReport, Outcome, TensorReport};
pub use values::StoredType;
pub use write::{METADATA_KEY, save_weights, write_atomic};
