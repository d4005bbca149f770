//! What a written model says of itself.

use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::WeightFile;
use crate::{Error, Preprocessing, Result, VitConfig};

/// The part of a file's metadata with a [`ModelCard`].
pub const CARD_PART: &str = "model_card";

/// What travels with weights: how they are built, what pictures need, what outputs mean, where they
/// come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The model's name.
    pub name: String,
    /// Its configuration.
    pub config: VitConfig,
    /// What is done to pictures.
    #[serde(default)]
    pub preprocessing: Option<Preprocessing>,
    /// Names of the outputs, in their order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether several labels may be true at once: scores then go through a sigmoid each.
    #[serde(default)]
    pub multi_label: bool,
    /// The licence of the weights, as SPDX names it.
    #[serde(default)]
    pub licence: Option<String>,
    /// The files they were made from.
    #[serde(default)]
    pub sources: Vec<SourceFile>,
}

/// A file that weights were made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name, without folder.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

impl WeightFile {
    /// Names and hashes of the files that are read.
    ///
    /// # Errors
    /// [`Error::Io`] when one cannot be read again.
    pub fn hashes(&self) -> Result<Vec<SourceFile>> {
        self.files().map(hash).collect()
    }

    /// The card that was written with the weights, if there is one.
    ///
    /// # Errors
    /// [`Error::File`] when there is one that cannot be read.
    pub fn card(&self) -> Result<Option<ModelCard>> {
        match self.metadata().contains_key(CARD_PART) {
            true => self.metadata_part(CARD_PART).map(Some),
            false => Ok(None),
        }
    }
}

fn hash(path: &std::path::Path) -> Result<SourceFile> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(SourceFile { name: name.unwrap_or_default(), sha256 })
}
