//! Pictures decoded and shrunk once, for all epochs and processes.

mod format;
mod source;
mod writer;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vit_transforms::Filter;

use crate::{Card, Dataset, Error, Record, Result, Sample, Task};
use format::{CacheFile, MAGIC};
use source::{Settings, difference};
use writer::Lock;

/// How a [`Cached`] data set keeps its pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheOptions {
    /// Pictures with a longer shorter side are shrunk to this one; the others and, with `None`,
    /// all stay as they are. Random crops of shrunk pictures are not the values that crops of the
    /// originals would be.
    pub short_side: Option<usize>,
    /// Filter of the shrinking.
    pub filter: Filter,
    /// Threads that make or check the cache; 0 for the calling one.
    pub workers: usize,
    /// Compares the contents of all sources with those the cache was made of, instead of only the
    /// size and time of each file (and the contents where these differ) and a few pictures.
    /// Pictures that are in no file ([`Dataset::file`], [`Dataset::container`]) are all compared
    /// in any case.
    pub verify_all: bool,
}

impl Default for CacheOptions {
    /// Shorter side 256, bicubic, 2 workers, sizes and times.
    fn default() -> Self {
        Self { short_side: Some(256), filter: Filter::Bicubic, workers: 2, verify_all: false }
    }
}

/// Told how many of how many pictures are done.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

/// A data set whose pictures are read from one memory-mapped file.
///
/// Labels and ids still come from the data set itself. The file holds the values in the kind they
/// were decoded to (8 or 16 bits), a checksum for each, and says what it was made of: resize rule,
/// what the decoder makes of a known file, and name, size, time and SHA-256 of every
/// source and of every file that holds several pictures (npz, Parquet, tar). When
/// any of that has changed it is made anew. Samples that could not be read when it was made are
/// passed on to the data set, so they give the same error as without a cache.
///
/// Any number of processes may open the same file at once. One writes, under a lock
/// (`<file>.lock`, which stays); the others wait for it. The file appears under its name when it
/// is whole; what a killed writer leaves is called `<file>.partial-<process>-<time>`, is never read, and
/// is removed by the next writer.
pub struct Cached {
    dataset: Arc<dyn Dataset>,
    path: PathBuf,
    file: CacheFile,
}

impl Cached {
    /// Opens the cache at `path`, after making it if it is not there or not of these data.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Cache`] when the file cannot be read or written,
    /// [`Error::Cache`] when another file than a cache has the name, [`Error::Config`] for a
    /// shorter side of 0, or the error of a record that cannot be read.
    pub fn open(dataset: Arc<dyn Dataset>, path: &Path, options: &CacheOptions) -> Result<Self> {
        Self::open_with_progress(dataset, path, options, &|_, _| {})
    }

    /// As [`Cached::open`], telling how far the writing is, if there is anything to write.
    ///
    /// # Errors
    /// As [`Cached::open`].
    pub fn open_with_progress(
        dataset: Arc<dyn Dataset>,
        path: &Path,
        options: &CacheOptions,
        progress: Progress<'_>,
    ) -> Result<Self> {
        if options.short_side == Some(0) {
            let reason = "0, must be at least 1".into();
            return Err(Error::Config { option: "CacheOptions::short_side", reason });
        }
        let settings = Settings::new(dataset.as_ref(), options)?;
        let ready = || -> Result<Option<CacheFile>> {
            if !holds_a_cache(path)? {
                return Ok(None);
            }
            let file = match CacheFile::open(path) {
                Ok(file) => file,
                // Cut, damaged or of another version: a cache all the same.
                Err(error @ Error::Cache { .. }) => {
                    tracing::info!(%error, "no cache to use");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            match difference(&file, dataset.as_ref(), &settings, options)? {
                None => Ok(Some(file)),
                Some(reason) => {
                    tracing::warn!(path = %path.display(), reason, "the cache is made anew");
                    Ok(None)
                }
            }
        };
        let file = match ready()? {
            Some(file) => file,
            None => {
                let lock = Lock::wait(path)?;
                // Another process may have made it while this one waited.
                match ready()? {
                    Some(file) => file,
                    None => {
                        writer::write(&lock, path, dataset.as_ref(), &settings, options, progress)?;
                        CacheFile::open(path)?
                    }
                }
            }
        };
        Ok(Self { dataset, path: path.into(), file })
    }

    /// SHA-256 of the settings, the decoder and every source, in hexadecimal: equal keys mean equal
    /// pictures.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.file.index.key
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of pictures the cache holds: all but those that could not be read.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.file.index.entries.iter().filter(|entry| entry.picture.is_some()).count()
    }
}

/// Whether there is something in the file; what is there must be the beginning of a cache, since it
/// is written over when it is out of date.
fn holds_a_cache(path: &Path) -> Result<bool> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io)?;
    if !MAGIC.starts_with(&start) {
        let reason =
            "the file is there and is no cache; it is left as it is: give another name for \
                      the cache, or delete the file"
                .into();
        return Err(Error::Cache { path: path.into(), reason });
    }
    Ok(!start.is_empty())
}

impl Dataset for Cached {
    fn len(&self) -> usize {
        self.file.index.entries.len()
    }

    fn task(&self) -> &Task {
        self.dataset.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.dataset.record(index)
    }

    fn get(&self, index: usize) -> Result<Sample> {
        match self.file.picture(index)? {
            Some(image) => Ok(Sample { record: self.dataset.record(index)?, image }),
            None => self.dataset.get(index),
        }
    }

    crate::forward_provenance!(dataset);

    fn card(&self) -> Option<&'static Card> {
        self.dataset.card()
    }

    fn part(&self) -> &str {
        self.dataset.part()
    }
}
