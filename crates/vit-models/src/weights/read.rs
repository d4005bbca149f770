use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};

use super::contents::{Container, Contents};
use super::values::{Entry, Source, StoredType};
use super::{pth, safetensors_file, shards};
use crate::{Error, Result};

/// Files looked for in a folder, the best first.
const IN_FOLDER: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// An open weight file: names and shapes are known, values are read one tensor at a time.
///
/// The kind is told by the content, not by the name: safetensors, PyTorch's zip format and the one
/// before it, an index of several files, or a folder with one of these. A pickle is interpreted by
/// an allow-list and never executed; every size is checked against the file before memory is asked
/// for. Values go from the file into the tensor's own memory, without a copy in between.
pub struct WeightFile {
    path: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
    contents: Contents,
}

impl WeightFile {
    /// Opens a file and reads its table of contents.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::File`] when it is cut off, damaged, of another
    /// format, tries to run something, or holds no tensors.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_section(path, None)
    }

    /// [`WeightFile::open`], with the dictionary of a PyTorch file to take: `model_ema`,
    /// `optimizer.state`; [`WeightFile::sections`] lists them.
    ///
    /// # Errors
    /// As [`WeightFile::open`]; [`Error::File`] when there is no such dictionary.
    pub fn open_section(path: &Path, section: Option<&str>) -> Result<Self> {
        let inside = IN_FOLDER.iter().map(|name| path.join(name)).find(|file| file.is_file());
        let file = if path.is_dir() { inside } else { None };
        let contents = open_one(file.as_deref().unwrap_or(path), section)?;
        if contents.entries.is_empty() {
            let reason = "no tensors in it".to_string();
            return Err(Error::File { path: path.to_path_buf(), reason });
        }
        let shape = |(name, entry): (&String, &Entry)| (name.clone(), entry.shape.clone());
        let shapes = contents.entries.iter().map(shape).collect();
        Ok(Self { path: path.to_path_buf(), shapes, contents })
    }

    /// The file, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are read: more than one where there are shards.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.contents.sources.iter().map(|source| source.path.as_path())
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.contents.sources.iter().map(|source| source.length).sum()
    }

    /// The way it is written.
    #[must_use]
    pub fn container(&self) -> Container {
        self.contents.container
    }

    /// The dictionary of a PyTorch file that was taken; empty where it is the file itself.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.contents.section
    }

    /// Every dictionary that holds tensors, with how many.
    #[must_use]
    pub fn sections(&self) -> &[(String, usize)] {
        &self.contents.sections
    }

    /// What a training program left beside the weights: epoch, arguments; plain values only.
    #[must_use]
    pub fn training(&self) -> &Map<String, Value> {
        &self.contents.training
    }

    /// Shapes by name, sorted.
    #[must_use]
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// The type of a tensor's numbers in the file.
    #[must_use]
    pub fn stored_type(&self, name: &str) -> Option<StoredType> {
        self.contents.entries.get(name).map(|entry| entry.dtype)
    }

    /// What [`crate::save_weights`] wrote beside the tensors; empty for foreign files.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.contents.metadata
    }

    /// The other texts of a safetensors header, such as `format`.
    #[must_use]
    pub fn header(&self) -> &BTreeMap<String, String> {
        &self.contents.header
    }

    /// One part of the metadata.
    ///
    /// # Errors
    /// [`Error::File`] when the part is missing or is of another form.
    pub fn metadata_part<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let part = self.metadata().get(key).ok_or_else(|| {
            self.fault(format!(
                "has no '{key}' in its metadata: it was not written by this library"
            ))
        })?;
        serde_json::from_value(part.clone())
            .map_err(|e| self.fault(format!("'{key}' in its metadata: {e}")))
    }

    /// The values of one tensor, in the file's type of numbers or the next larger that candle has.
    ///
    /// # Errors
    /// [`Error::File`] when it does not exist or its values cannot be read.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.read(name, None, device)
    }

    /// The values of one tensor as `dtype`, converted while they are read.
    ///
    /// # Errors
    /// As [`WeightFile::tensor`].
    pub fn tensor_as(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.read(name, Some(dtype), device)
    }

    fn read(&self, name: &str, dtype: Option<DType>, device: &Device) -> Result<Tensor> {
        let entry = self.contents.entries.get(name);
        let entry = entry.ok_or_else(|| self.fault(format!("no tensor '{name}'")))?;
        let source = self.contents.sources.get(entry.file);
        let source = source.ok_or_else(|| self.fault(format!("no file for '{name}'")))?;
        let damaged = |e: Error| self.fault(format!("tensor '{name}': {e}"));
        let tensor = entry.read(source, dtype).map_err(damaged)?;
        tensor.to_device(device).map_err(|e| self.fault(format!("tensor '{name}': {e}")))
    }

    pub(super) fn fault(&self, reason: String) -> Error {
        Error::File { path: self.path.clone(), reason }
    }
}

/// Opens one file that is no folder.
pub(super) fn open_one(path: &Path, section: Option<&str>) -> Result<Contents> {
    let source = Source::open(path)?;
    let mut start = [0u8; 1];
    if source.length > 0 {
        source.read_at(&mut start, 0)?;
    }
    let contents = if start == *b"{" && shards::is_index(path) {
        shards::open(&source)?
    } else {
        open_plain(source, section)?
    };
    if section.is_some()
        && matches!(contents.container, Container::Safetensors | Container::Sharded)
    {
        let reason = "a safetensors file has no dictionaries to choose from".to_string();
        return Err(Error::File { path: path.to_path_buf(), reason });
    }
    Ok(contents)
}

/// Opens a file that is no index. Shards are opened by this one, so that an index cannot lead to
/// itself.
pub(super) fn open_plain(source: Source, section: Option<&str>) -> Result<Contents> {
    let path = source.path.clone();
    let fault = |reason: &str| Error::File { path: path.clone(), reason: reason.to_string() };
    let mut start = [0u8; 9];
    let read = usize::try_from(source.length).unwrap_or(usize::MAX).min(start.len());
    source.read_at(start.get_mut(..read).unwrap_or_default(), 0)?;
    match start.get(..read).unwrap_or_default() {
        // Before the others, because the length before it may begin with the bytes of any other format; in
        // a zip file this place is a compression method, which is a small number.
        [.., b'{'] if read == 9 => safetensors_file::open(source),
        [b'P', b'K', ..] => pth::open_zip(source, section),
        // A pickle outside a zip file.
        [0x80, ..] => pth::open_legacy(source, section),
        _ if pth::is_tar(&source) => Err(fault(
            "PyTorch's tar format of 2016 is not read; load it in PyTorch and save it again",
        )),
        _ => Err(fault("neither safetensors nor a PyTorch file")),
    }
}
