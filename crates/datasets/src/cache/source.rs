//! What a cache is made of, and whether it still is that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use vit_random::Streams;
use vit_transforms::{DecodeLimits, Filter, Image, Resize, ResizeSize, Transform, decode_bytes};

use super::CacheOptions;
use super::format::{CacheFile, Index};
use crate::guard::guarded;
use crate::hash::{self, Hasher};
use crate::parallel::ordered;
use crate::{Dataset, Error, Result};

/// A picture that decoders and resamplers of different versions turn into different values
/// (made by `tests/fixtures/make_probe.py`).
const PROBE: &[u8] = include_bytes!("probe.jpg");

/// Pictures that are made anew to see whether the data set still gives what the cache holds.
const SPOT_CHECKS: usize = 16;

/// How pictures become what the cache holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    short_side: Option<usize>,
    filter: Filter,
    /// What the data set says of its decoding.
    decoding: String,
    /// Hash of what decoder and resampler make of the probe.
    decoder: String,
}

impl Settings {
    pub(super) fn new(dataset: &dyn Dataset, options: &CacheOptions) -> Result<Self> {
        let fail = |source| Error::Transform { id: "probe of the decoder".into(), source };
        let probe = decode_bytes("probe.jpg", PROBE, &DecodeLimits::default()).map_err(fail)?;
        let size = ResizeSize::Exact { height: 11, width: 31 };
        let resized = Resize { size, filter: options.filter }
            .apply(probe.clone(), &mut Streams::new(0).stream("none", 0, 0))
            .map_err(fail)?;
        let images = [hash::of_image(&probe), hash::of_image(&resized)];
        let decoder = hash::of_bytes(images.concat().as_bytes());
        let (short_side, filter) = (options.short_side, options.filter);
        Ok(Self { short_side, filter, decoding: dataset.decoding(), decoder })
    }

    /// The picture as the cache holds it. One that is not larger is kept as it is.
    pub(super) fn shrink(&self, image: Image) -> vit_transforms::Result<Image> {
        match self.short_side {
            Some(side) if image.width().min(image.height()) > side => {
                let size = ResizeSize::ShorterSide(side);
                let mut unused = Streams::new(0).stream("none", 0, 0);
                Resize { size, filter: self.filter }.apply(image, &mut unused)
            }
            _ => Ok(image),
        }
    }
}

/// One sample's source as it was when the cache was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) id: String,
    /// Of a sample that is read from a file.
    pub(super) file: Option<FileState>,
    /// SHA-256 of the file's bytes, or else of the picture's values; empty where neither could be
    /// read.
    pub(super) hash: String,
}

/// What changes when a file is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileState {
    pub(super) bytes: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
}

impl FileState {
    /// `None` where there is no such file, or no way to tell.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { bytes: metadata.len(), modified: since.as_nanos() as u64 })
    }
}

/// A file that holds several pictures, as it was when the cache was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    file: Option<FileState>,
    /// SHA-256 of its bytes; empty where they cannot be read.
    hash: String,
}

impl Container {
    pub(super) fn of(path: &Path) -> Self {
        Self { file: FileState::of(path), hash: hash::of_file(path).unwrap_or_default() }
    }

    /// Whether the file is still this one. Its bytes are read only if size or time tell nothing.
    pub(super) fn is_still(&self, path: &Path, verify_all: bool) -> bool {
        let now = FileState::of(path);
        if now == self.file && !verify_all {
            return true;
        }
        let bytes = |state: &Option<FileState>| state.as_ref().map(|state| state.bytes);
        bytes(&now) == bytes(&self.file) && hash::of_file(path).unwrap_or_default() == self.hash
    }
}

/// Each of the files that hold several pictures of the data set once, in the order of the samples.
pub(super) fn containers(dataset: &dyn Dataset) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let paths = (0..dataset.len()).filter_map(|at| dataset.container(at));
    paths.filter(|path| seen.insert(path.clone())).collect()
}

/// The content key: a hash of the settings and of every source.
pub(super) fn key<'a>(
    settings: &Settings,
    sources: impl Iterator<Item = &'a Source>,
) -> Result<String> {
    let text = serde_json::to_string(settings)
        .map_err(|error| Error::Config { option: "CacheOptions", reason: error.to_string() })?;
    let mut hasher = Hasher::default();
    hasher.text(&text);
    for source in sources {
        hasher.text(&source.id).text(&source.hash);
    }
    Ok(hasher.finish())
}

/// Why a cache is not one of this data set as it is now; `None` where it is.
pub(super) fn difference(
    file: &CacheFile,
    dataset: &dyn Dataset,
    settings: &Settings,
    options: &CacheOptions,
) -> Result<Option<String>> {
    let index = &file.index;
    if index.settings != *settings {
        return Ok(Some("it was made with other settings or by another decoder".into()));
    }
    if index.entries.len() != dataset.len() {
        let (has, len) = (index.entries.len(), dataset.len());
        return Ok(Some(format!("it has {has} samples, the data set {len}")));
    }
    let paths = containers(dataset);
    if index.containers.len() != paths.len() {
        let (has, len) = (index.containers.len(), paths.len());
        return Ok(Some(format!("its pictures came from {has} files, now from {len}")));
    }
    let mut pairs = index.containers.iter().zip(&paths);
    if let Some((_, path)) = pairs.find(|(was, path)| !was.is_still(path, options.verify_all)) {
        return Ok(Some(format!("{} has changed", path.display())));
    }
    let mut found = None;
    let check = |at: usize| guarded(dataset, at, || changed(index, dataset, options, at));
    ordered(dataset.len(), options.workers, check, |_, changed| {
        let changed = changed?;
        if found.is_none() {
            found = changed;
        }
        Ok(())
    })?;
    if found.is_some() { Ok(found) } else { spot_check(file, dataset, settings) }
}

/// Whether one source is another than it was.
fn changed(
    index: &Index,
    dataset: &dyn Dataset,
    options: &CacheOptions,
    at: usize,
) -> Result<Option<String>> {
    let Some(source) = index.entries.get(at).map(|entry| &entry.source) else { return Ok(None) };
    let id = dataset.record(at)?.id;
    if id != source.id {
        return Ok(Some(format!("sample {at} is '{id}', it was '{}'", source.id)));
    }
    let path = dataset.file(at);
    let now = path.as_deref().and_then(FileState::of);
    // What is in no file at all can only be compared by looking at it.
    let watched = path.is_some() || dataset.container(at).is_some();
    if now == source.file && watched && !options.verify_all {
        return Ok(None);
    }
    // Only the time of writing differs, as after a copy: the contents decide.
    let bytes = |state: &Option<FileState>| state.as_ref().map(|state| state.bytes);
    let same_size = bytes(&now) == bytes(&source.file);
    Ok(if same_size && content(dataset, at, path.as_deref()) == source.hash {
        None
    } else {
        Some(format!("the picture of '{id}' has changed"))
    })
}

/// See [`Source::hash`].
pub(super) fn content(dataset: &dyn Dataset, at: usize, path: Option<&Path>) -> String {
    let hash = match path {
        Some(path) => hash::of_file(path),
        None => {
            let sample = guarded(dataset, at, || dataset.get(at));
            sample.map(|sample| hash::of_image(&sample.image))
        }
    };
    hash.unwrap_or_default()
}

/// Settings of the data set that change its pictures (how it decodes, what it draws) do not show
/// in its files, so a few pictures are made anew.
fn spot_check(
    file: &CacheFile,
    dataset: &dyn Dataset,
    settings: &Settings,
) -> Result<Option<String>> {
    let stride = dataset.len().div_ceil(SPOT_CHECKS).max(1);
    for at in (0..dataset.len()).step_by(stride) {
        let fresh = guarded(dataset, at, || dataset.get(at)).ok();
        let fresh = fresh.and_then(|sample| settings.shrink(sample.image).ok());
        if file.picture(at).ok() != Some(fresh) {
            return Ok(Some(format!("sample {at} is another picture now")));
        }
    }
    Ok(None)
}
