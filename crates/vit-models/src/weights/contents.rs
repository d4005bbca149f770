use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::values::{Entry, Source};

/// What one file was found to hold, before anything of a tensor is read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) sources: Vec<Source>,
    pub(super) entries: BTreeMap<String, Entry>,
    /// Ours: the JSON under [`super::METADATA_KEY`].
    pub(super) metadata: Map<String, Value>,
    /// Texts of a safetensors header.
    pub(super) header: BTreeMap<String, String>,
    pub(super) container: Container,
    /// The dictionary the tensors were taken from; empty for the file itself.
    pub(super) section: String,
    /// Dictionaries that hold tensors, with how many.
    pub(super) sections: Vec<(String, usize)>,
    /// What a training program left beside the weights.
    pub(super) training: Map<String, Value>,
}

/// The way a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Container {
    /// One safetensors file.
    #[default]
    Safetensors,
    /// Several files and an index.
    Sharded,
    /// PyTorch's zip file, since 1.6.
    TorchZip,
    /// PyTorch's format before 1.6.
    TorchLegacy,
}
