//! Weight files: reading, fitting to a model with a report, writing.

mod fit;
mod read;
mod report;
mod write;

pub use fit::LoadOptions;
pub use read::WeightFile;
pub use report::{LoadReport, Outcome, TensorReport};
pub use write::{METADATA_KEY, save_weights, write_atomic};
