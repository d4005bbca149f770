//! Writing a cache: whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::format::{Entry, HEADER, Index, Kind, Picture, header};
use super::source::{Container, FileState, Settings, Source, containers, content, key};
use super::{CacheOptions, Progress};
use crate::guard::{guarded, name};
use crate::hash::{little_endian, of_image};
use crate::parallel::ordered;
use crate::{Dataset, Error, Result};

/// The right to write a cache file, waited for; given back when dropped, and by the system when
/// the process ends.
pub(super) struct Lock {
    /// `None` on file systems without locks.
    held: Option<File>,
}

impl Lock {
    pub(super) fn wait(path: &Path) -> Result<Self> {
        let place = with_suffix(path, ".lock");
        let io = |source| Error::Io { path: place.clone(), source };
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&place).map_err(io)?;
        match file.lock() {
            Ok(()) => Ok(Self { held: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::warn!(path = %place.display(), "no file locks here: caches may be written twice");
                Ok(Self { held: None })
            }
            Err(error) => Err(io(error)),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file that is removed again unless it was finished.
struct Partial {
    path: PathBuf,
    finished: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the cache of a data set to `path`, in place of what stands there.
pub(super) fn write(
    lock: &Lock,
    path: &Path,
    dataset: &dyn Dataset,
    settings: &Settings,
    options: &CacheOptions,
    progress: Progress<'_>,
) -> Result<()> {
    if lock.held.is_some() {
        remove_leftovers(path);
    }
    // Containers that share a folder may share process numbers as well.
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let place = with_suffix(path, &format!("{PARTIAL}{}-{now}", std::process::id()));
    let io = |source| Error::Io { path: place.clone(), source };
    let file = OpenOptions::new().write(true).create_new(true).open(&place).map_err(io)?;
    let mut partial = Partial { path: place.clone(), finished: false };
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&[0; HEADER]).map_err(io)?;

    let paths = containers(dataset);
    let before: Vec<Container> = paths.iter().map(|path| Container::of(path)).collect();
    let mut offset = HEADER as u64;
    let mut entries = Vec::with_capacity(dataset.len());
    let make = |at: usize| make(dataset, settings, at);
    ordered(dataset.len(), options.workers, make, |at, made| {
        let (source, picture) = made?;
        let picture = match picture {
            Some((mut picture, bytes)) => {
                picture.offset = offset;
                out.write_all(&bytes).map_err(io)?;
                offset += bytes.len() as u64;
                Some(picture)
            }
            None => None,
        };
        entries.push(Entry { source, picture });
        progress(at + 1, dataset.len());
        Ok(())
    })?;

    let mut pairs = before.iter().zip(&paths);
    if let Some((_, path)) = pairs.find(|(was, path)| !was.is_still(path, false)) {
        let reason = "the file changed while its pictures were read".into();
        return Err(Error::Cache { path: path.clone(), reason });
    }
    let key = key(settings, entries.iter().map(|entry| &entry.source))?;
    let index = Index { key, settings: settings.clone(), containers: before, entries };
    let text = serde_json::to_vec(&index)
        .map_err(|error| Error::Cache { path: path.into(), reason: error.to_string() })?;
    out.write_all(&text).map_err(io)?;
    out.seek(SeekFrom::Start(0)).map_err(io)?;
    out.write_all(&header(offset, &text)).map_err(io)?;
    out.flush().map_err(io)?;
    out.get_ref().sync_all().map_err(io)?;
    drop(out);
    std::fs::rename(&place, path).map_err(io)?;
    partial.finished = true;
    sync_folder(path);
    Ok(())
}

/// What the name of an unfinished file has between that of the cache and the process's number.
const PARTIAL: &str = ".partial-";

/// Removes what killed writers left. The lock says that none is at work.
fn remove_leftovers(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!("{}{PARTIAL}", name.to_string_lossy());
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            tracing::info!(path = %entry.path().display(), "removing an unfinished cache");
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// So that the new name outlasts a power cut. Not every system can; the file itself is safe.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

type Made = (Source, Option<(Picture, Vec<u8>)>);

/// One picture and where it came from. A picture that cannot be read is no error here: the cache
/// passes such samples on to the data set.
fn make(dataset: &dyn Dataset, settings: &Settings, at: usize) -> Result<Made> {
    let id = guarded(dataset, at, || dataset.record(at))?.id;
    let path = dataset.file(at);
    let file = path.as_deref().and_then(FileState::of);
    let sample = guarded(dataset, at, || dataset.get(at));
    let hash = match (&path, &sample) {
        (None, Ok(sample)) => of_image(&sample.image),
        (None, Err(_)) => String::new(),
        (Some(path), _) => content(dataset, at, Some(path)),
    };
    if path.as_deref().and_then(FileState::of) != file {
        let path = path.unwrap_or_default();
        return Err(Error::Cache { path, reason: "the picture changed while it was read".into() });
    }
    let image = match sample.map(|sample| settings.shrink(sample.image)) {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => {
            tracing::warn!(id, %error, "not cached");
            return Ok((Source { id, file, hash }, None));
        }
        Err(error) => {
            tracing::warn!(id, %error, "not cached");
            return Ok((Source { id, file, hash }, None));
        }
    };
    let side = |side: usize| {
        u32::try_from(side).map_err(|_| Error::Cache {
            path: name(dataset, at).into(),
            reason: format!("a side of {side} pixels is too long"),
        })
    };
    let bytes = little_endian(image.pixels());
    let picture = Kind::of(image.pixels()).map(|kind| -> Result<_> {
        Ok(Picture {
            offset: 0,
            width: side(image.width())?,
            height: side(image.height())?,
            channels: image.channels() as u8,
            kind,
            checksum: crc32fast::hash(&bytes),
        })
    });
    let picture = picture.transpose()?;
    Ok((Source { id, file, hash }, picture.map(|picture| (picture, bytes))))
}
