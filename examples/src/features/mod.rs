//! Feature files: numbers, a table of what each row is, and where both come from.
//!
//! `x.npy` (or `.safetensors`, `.parquet`) holds `[rows, dim]` numbers of 32 bits, `x.npy.csv` one
//! line per row (id, group, labels), `x.npy.json` the rest. The last is written last: where it is, the others
//! are whole.

mod parquet;
mod read;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use vit_datasets::{Record, Task};
use vit_models::ModelConfig;

use crate::embedder::Features;

pub(crate) use write::{Writer, already_there};

/// Name of the tensor in a safetensors file.
const TENSOR: &str = "features";

/// A picture that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Where features come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The model's name.
    pub model: String,
    /// SHA-256 of its weights.
    pub model_sha256: String,
    /// How the model was built: not all of it is in the weights.
    pub configuration: ModelConfig,
    /// SHA-256 of the pipeline's JSON.
    pub preprocessing: String,
    /// Which numbers of the model they are.
    pub features: Features,
    /// Pictures per batch: rounding depends on it.
    pub batch_size: usize,
    /// SHA-256 of the ids, groups and labels of all pictures, the skipped ones too, and of where they
    /// are.
    pub pictures: String,
}

/// Features of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureTable {
    /// Row-major rows × `dim`.
    pub values: Vec<f32>,
    /// Numbers per row.
    pub dim: usize,
    /// What each row is.
    pub records: Vec<Record>,
    /// What the labels mean.
    pub task: Task,
    /// Where they come from.
    pub origin: Origin,
}

/// The `.json` file.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    origin: Origin,
    rows: usize,
    dim: usize,
    task: Task,
    skipped: Vec<Skipped>,
    features_sha256: String,
    table_sha256: String,
}

/// How the numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Npy,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{}: there are .safetensors, .npy and .parquet", path.display()),
        }
    }

    /// What stands before the numbers; nothing that could be told beforehand in Parquet.
    fn header(self, rows: usize, dim: usize) -> Result<Vec<u8>> {
        match self {
            Self::Parquet => Ok(Vec::new()),
            Self::Safetensors => {
                let end = rows * dim * 4;
                let entry = serde_json::json!({
                    TENSOR: {"dtype": "F32", "shape": [rows, dim], "data_offsets": [0, end]}
                });
                let mut text = entry.to_string();
                // The numbers begin at a multiple of 8.
                text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
                let length = text.len() as u64;
                Ok([&length.to_le_bytes()[..], text.as_bytes()].concat())
            }
            // NumPy's format 1.0: the header's length is a multiple of 64 and it ends in a newline.
            Self::Npy => {
                const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
                let mut text = format!(
                    "{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
                );
                let before = MAGIC.len() + 2;
                let length = (before + text.len() + 1).next_multiple_of(64);
                text.push_str(&" ".repeat(length - before - text.len() - 1));
                text.push('\n');
                let bytes = u16::try_from(text.len())?.to_le_bytes();
                Ok([MAGIC, &bytes, text.as_bytes()].concat())
            }
        }
    }
}

/// The table and the origin beside a feature file.
fn beside(path: &Path) -> (PathBuf, PathBuf) {
    let with = |end: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    (with(".csv"), with(".json"))
}
