use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::pickle::PthTensors;
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::METADATA_KEY;
use crate::{Error, Result};

/// Keys under which PyTorch checkpoints nest their state dictionary, most specific first.
const NESTING: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// An open weight file: names and shapes are known, values are read one tensor at a time.
///
/// The kind is told by the content, not by the name: safetensors (memory-mapped) or PyTorch's zip
/// format, whose pickle is interpreted by an allow-list and never executed.
pub struct WeightFile {
    path: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
    metadata: Map<String, Value>,
    source: Source,
}

enum Source {
    Safetensors(MmapedSafetensors),
    /// Names here are those in the file, without a `module.` prefix taken off.
    Pth(PthTensors),
}

impl WeightFile {
    /// Opens a file and reads its table of contents.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::File`] when it is cut off, is neither format,
    /// or holds no tensors.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut start = [0u8; 9];
        let read = read_up_to(&mut file, &mut start).map_err(io)?;
        let opened = match start.get(..read).unwrap_or_default() {
            // First, because the length before it may begin with the bytes of any other format; in
            // a zip file this place is a compression method, which is a small number.
            [.., b'{'] if read == 9 => Self::open_safetensors(path, length)?,
            [b'P', b'K', ..] => Self::open_pth(path, length)?,
            // A pickle outside a zip: PyTorch before 1.6.
            [0x80, ..] => {
                return Err(fault(path, "PyTorch's legacy format (before 1.6) is not read; load it in PyTorch and save it again".to_string()));
            }
            _ => return Err(fault(path, "neither safetensors nor a PyTorch zip file".to_string())),
        };
        if opened.shapes.is_empty() {
            return Err(fault(
                path,
                format!("no tensors, neither at the top nor under {NESTING:?}"),
            ));
        }
        Ok(opened)
    }

    fn open_safetensors(path: &Path, length: u64) -> Result<Self> {
        let metadata = read_metadata(path, length)?;
        // SAFETY: the map is read-only. Another process that cuts the file short while it is open
        // can end this one with a bus error; that is the price of not copying weights.
        #[allow(unsafe_code)]
        let tensors = unsafe { MmapedSafetensors::new(path) };
        let tensors = tensors.map_err(|e| fault(path, format!("cut off or damaged: {e}")))?;
        let shape =
            |(name, view): (String, safetensors::tensor::TensorView)| (name, view.shape().to_vec());
        let shapes = tensors.tensors().into_iter().map(shape).collect();
        Ok(Self {
            path: path.to_path_buf(),
            shapes,
            metadata,
            source: Source::Safetensors(tensors),
        })
    }

    fn open_pth(path: &Path, length: u64) -> Result<Self> {
        let damaged = |e: candle_core::Error| fault(path, format!("cut off or damaged: {e}"));
        // Asking for an absent key is an error for a dictionary; the file itself may then be the
        // state dictionary.
        let open = |key: Option<&str>| contained(|| PthTensors::new(path, key));
        let nested = NESTING.iter().find_map(|key| open(Some(key)).ok());
        let tensors = match nested.filter(|tensors| !tensors.tensor_infos().is_empty()) {
            Some(tensors) => tensors,
            None => open(None).map_err(damaged)?,
        };
        let mut shapes = BTreeMap::new();
        for (name, info) in tensors.tensor_infos() {
            let bytes = info
                .layout
                .dims()
                .iter()
                .try_fold(info.dtype.size_in_bytes(), |n, d| n.checked_mul(*d));
            // Weights are stored uncompressed: a tensor larger than its file is a false claim.
            if bytes.is_none_or(|bytes| bytes as u64 > length) {
                return Err(fault(
                    path,
                    format!(
                        "tensor '{name}' claims shape {:?}, more than the file holds",
                        info.layout.dims()
                    ),
                ));
            }
            shapes.insert(name.clone(), info.layout.dims().to_vec());
        }
        Ok(Self {
            path: path.to_path_buf(),
            shapes,
            metadata: Map::new(),
            source: Source::Pth(tensors),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shapes by name, sorted.
    #[must_use]
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// What [`crate::save_weights`] wrote beside the tensors; empty for foreign files.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// One part of the metadata.
    ///
    /// # Errors
    /// [`Error::File`] when the part is missing or is of another form.
    pub fn metadata_part<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let part = self.metadata.get(key).ok_or_else(|| {
            fault(
                &self.path,
                format!("has no '{key}' in its metadata: it was not written by this library"),
            )
        })?;
        serde_json::from_value(part.clone())
            .map_err(|e| fault(&self.path, format!("'{key}' in its metadata: {e}")))
    }

    /// The values of one tensor.
    ///
    /// # Errors
    /// [`Error::File`] when it does not exist or its values cannot be read.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let damaged = |e: candle_core::Error| fault(&self.path, format!("tensor '{name}': {e}"));
        match &self.source {
            Source::Safetensors(tensors) => tensors.load(name, device).map_err(damaged),
            Source::Pth(tensors) => match contained(|| tensors.get(name)).map_err(damaged)? {
                Some(tensor) => tensor.to_device(device).map_err(damaged),
                None => Err(fault(&self.path, format!("no tensor '{name}'"))),
            },
        }
    }
}

/// candle's pickle reader stops the program at some damaged files (it takes the arguments of a
/// tensor from a list without looking at its length); a file must not be able to do that.
fn contained<T>(read: impl FnOnce() -> candle_core::Result<T>) -> candle_core::Result<T> {
    // Nothing that `read` was changing is looked at afterwards.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(candle_core::Error::msg("the pickle is malformed")))
}

fn fault(path: &Path, reason: String) -> Error {
    Error::File { path: path.to_path_buf(), reason }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => read += n,
        }
    }
    Ok(read)
}

/// Reads our part of the header's `__metadata__`. The header's length is checked against the file
/// before anything is allocated.
fn read_metadata(path: &Path, length: u64) -> Result<Map<String, Value>> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut size = [0u8; 8];
    file.read_exact(&mut size).map_err(io)?;
    let size = u64::from_le_bytes(size);
    if size.checked_add(8).is_none_or(|end| end > length) {
        return Err(fault(
            path,
            format!("cut off: a header of {size} bytes in a file of {length}"),
        ));
    }
    let mut header = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    file.read_exact(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header)
        .map_err(|e| fault(path, format!("the header is not JSON: {e}")))?;
    let ours = header.get("__metadata__").and_then(|m| m.get(METADATA_KEY)).and_then(Value::as_str);
    match ours {
        None => Ok(Map::new()),
        Some(text) => serde_json::from_str(text)
            .map_err(|e| fault(path, format!("metadata '{METADATA_KEY}': {e}"))),
    }
}
