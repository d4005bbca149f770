use std::path::Path;

use serde::de::DeserializeOwned;

use super::sheet::open_text;
use crate::{Error, Result};

/// Reads a JSON file, packed with gzip or not.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_reader(open_text(path)?)
        .map_err(|error| Error::Json { path: path.into(), reason: error.to_string() })
}
