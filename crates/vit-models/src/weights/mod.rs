//! Weight files: reading, fitting to a model with a report, writing.

mod card;
mod contents;
mod doctor;
mod export;
mod family;
mod fit;
mod guess;
mod health;
mod hf_out;
mod pattern;
mod pickle;
mod pth;
mod read;
mod recipe;
mod report;
mod safetensors_file;
mod sections;
mod shards;
mod sidecar;
mod tables;
mod timm_out;
mod values;
mod view;
mod write;

pub use card::{CARD_PART, ModelCard, SourceFile};
pub use contents::Container;
pub use doctor::{Coverage, Diagnosis, DoctorOptions, DoctorRow};
pub use export::{Layout, MODEL_FILE, export_weights};
pub use family::Family;
pub use fit::LoadOptions;
pub use guess::{Architecture, Guess};
pub use health::TensorHealth;
pub use read::WeightFile;
pub use report::{LoadReport, Outcome, TensorReport};
pub use values::StoredType;
pub use write::{METADATA_KEY, save_weights, write_atomic};
