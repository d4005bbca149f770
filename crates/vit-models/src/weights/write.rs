use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::Tensor;
use safetensors::View;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// The one key of a safetensors header's `__metadata__` that we write; its value is JSON text.
pub const METADATA_KEY: &str = "vitalight";

/// Bytes that text may have: as a document in memory it takes many times as much.
pub(super) const MAX_METADATA: usize = 8 << 20;

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
    write_safetensors(path, tensors, &texts(path, metadata)?)
}

/// Our metadata as the one text that stands for it in a header.
pub(super) fn texts(
    path: &Path,
    metadata: &Map<String, Value>,
) -> Result<BTreeMap<String, String>> {
    let fault = |reason: String| Error::File { path: path.to_path_buf(), reason };
    let text = serde_json::to_string(metadata).map_err(|e| fault(e.to_string()))?;
    if text.len() > MAX_METADATA {
        return Err(fault(format!("metadata of {} bytes, more than {MAX_METADATA}", text.len())));
    }
    Ok(BTreeMap::from([(METADATA_KEY.to_string(), text)]))
}

/// Writes a safetensors file with these texts in its header, a tensor at a time: there is no second
/// copy of the model in memory. Widest types first, as the format's own library orders them, so that
/// every tensor is aligned; then by name.
pub(super) fn write_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    texts: &BTreeMap<String, String>,
) -> Result<()> {
    let fault = |reason: String| Error::File { path: path.to_path_buf(), reason };
    let mut order: Vec<(&String, &Tensor)> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(Tensor::dtype(tensor).size_in_bytes()));
    let mut header = Map::new();
    if !texts.is_empty() {
        header.insert("__metadata__".to_string(), json!(texts));
    }
    let mut end = 0;
    for (name, tensor) in &order {
        let bytes = View::data_len(tensor);
        let dtype = serde_json::to_value(View::dtype(tensor)).map_err(|e| fault(e.to_string()))?;
        let about = json!({
            "dtype": dtype, "shape": tensor.dims(), "data_offsets": [end, end + bytes],
        });
        header.insert((*name).clone(), about);
        end += bytes;
    }
    let mut text = serde_json::to_vec(&header).map_err(|e| fault(e.to_string()))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    write_atomic(path, |file| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        for (_, tensor) in &order {
            file.write_all(&View::data(tensor))?;
        }
        file.flush()
    })
}
