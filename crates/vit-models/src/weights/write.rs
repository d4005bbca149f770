use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The one key of a safetensors header's `__metadata__` that we write; its value is JSON text.
/// One key only, because the header does not keep an order among several.
pub const METADATA_KEY: &str = "vitalight";

/// Writes a file whole or not at all: into a temporary file beside it, synced, then renamed.
///
/// # Errors
/// [`Error::Io`] naming `path`; an existing file then is as it was.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>,
) -> Result<()> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // A temporary file is its owner's alone unless told otherwise; the process's mask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder).map_err(io)?;
    write(temporary.as_file_mut()).map_err(io)?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    // The rename itself must survive a crash too; not every platform can open a folder.
    if let Ok(folder) = std::fs::File::open(folder) {
        folder.sync_all().ok();
    }
    Ok(())
}

/// Writes tensors and metadata as safetensors, whole or not at all. The same input gives the same
/// bytes.
///
/// # Errors
/// [`Error::File`] when the tensors cannot be stored, [`Error::Io`] when the file cannot be
/// written.
pub fn save_weights(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &Map<String, Value>,
) -> Result<()> {
    let fault = |reason: String| Error::File { path: path.to_path_buf(), reason };
    let text = serde_json::to_string(metadata).map_err(|e| fault(e.to_string()))?;
    let header = HashMap::from([(METADATA_KEY.to_string(), text)]);
    let bytes = safetensors::serialize(tensors, Some(header)).map_err(|e| fault(e.to_string()))?;
    write_atomic(path, |file| file.write_all(&bytes))
}
