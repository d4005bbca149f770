//! The file of a cache: header, pixels, index.
//!
//! ```text
//! 0   "VITCACHE"                    8 bytes
//! 8   version of the format         u32, little endian, as all numbers
//! 12  0                             u32
//! 16  place of the index            u64
//! 24  bytes of the index            u64
//! 32  SHA-256 of the index          32 bytes
//! 64  pixels, one picture after the other
//!     index: JSON of `Index`, to the end of the file
//! ```

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vit_transforms::{Image, Pixels};

use super::source::{Container, Settings, Source};
use crate::{Error, Result};

pub(super) const HEADER: usize = 64;
pub(super) const MAGIC: &[u8; 8] = b"VITCACHE";
const VERSION: u32 = 2;

/// What a cache holds and what it was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    /// Hash of the settings and all sources.
    pub(super) key: String,
    pub(super) settings: Settings,
    /// The files that hold several pictures, in the order of the samples.
    pub(super) containers: Vec<Container>,
    pub(super) entries: Vec<Entry>,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) source: Source,
    /// Absent where the picture could not be read.
    pub(super) picture: Option<Picture>,
}

/// Where a picture's values stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Picture {
    pub(super) offset: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: u8,
    pub(super) kind: Kind,
    /// CRC-32 of the values' bytes.
    pub(super) checksum: u32,
}

/// Kind of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    U8,
    U16,
    F32,
}

impl Kind {
    pub(super) fn of(pixels: &Pixels) -> Option<Self> {
        match pixels {
            Pixels::U8(_) => Some(Self::U8),
            Pixels::U16(_) => Some(Self::U16),
            Pixels::F32(_) => Some(Self::F32),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

impl Picture {
    /// The bytes of the values within the file, if there can be such a picture.
    fn range(&self) -> Option<Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        let pixels = (self.width as usize).checked_mul(self.height as usize)?;
        let length = pixels.checked_mul(self.channels as usize)?.checked_mul(self.kind.bytes())?;
        Some(start..start.checked_add(length)?)
    }
}

/// A cache file that was found to be whole, mapped into memory.
pub(super) struct CacheFile {
    path: PathBuf,
    map: Mmap,
    pub(super) index: Index,
    /// Pictures whose checksum was found right: once is enough.
    checked: Vec<AtomicBool>,
}

impl CacheFile {
    /// Opens a file and checks everything but the pixels.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let fail = |reason: &str| Error::Cache { path: path.into(), reason: reason.into() };
        let file = File::open(path).map_err(io)?;
        let map = map(&file).map_err(io)?;
        let index = read_index(&map).map_err(fail)?;
        let checked = index.entries.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { path: path.into(), map, index, checked })
    }

    /// The picture of a sample, or `None` where it could not be read when the cache was made.
    pub(super) fn picture(&self, index: usize) -> Result<Option<Image>> {
        let fail = |reason: String| Error::Cache { path: self.path.clone(), reason };
        let entry = self.index.entries.get(index);
        let Some(picture) = entry.and_then(|entry| entry.picture.as_ref()) else { return Ok(None) };
        let bytes = picture.range().and_then(|range| self.map.get(range)).unwrap_or_default();
        let checked = self.checked.get(index);
        if !checked.is_some_and(|checked| checked.load(Ordering::Relaxed)) {
            if crc32fast::hash(bytes) != picture.checksum {
                let reason = format!("the values of sample {index} are damaged; delete the file");
                return Err(fail(reason));
            }
            if let Some(checked) = checked {
                checked.store(true, Ordering::Relaxed);
            }
        }
        let (width, height) = (picture.width as usize, picture.height as usize);
        Image::new(width, height, picture.channels.into(), pixels(picture.kind, bytes))
            .map(Some)
            .map_err(|error| fail(error.to_string()))
    }
}

/// Maps a file for reading.
#[expect(unsafe_code, reason = "a memory map")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map must not change under its readers. Writers only ever make a new file and
    // rename it over this one (`writer.rs`), which leaves the mapped one as it is. Nobody else has
    // a reason to write here; if somebody cuts the file short all the same, the system ends the
    // program (SIGBUS), and if somebody changes it, the checksums tell.
    unsafe { Mmap::map(file) }
}

pub(super) fn header(index_offset: u64, index: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts: [&[u8]; 6] = [
        MAGIC,
        &VERSION.to_le_bytes(),
        &0u32.to_le_bytes(),
        &index_offset.to_le_bytes(),
        &(index.len() as u64).to_le_bytes(),
        &Sha256::digest(index),
    ];
    let bytes = parts.into_iter().flatten();
    header.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
    header
}

fn read_index(map: &[u8]) -> std::result::Result<Index, &'static str> {
    const SHORT: &str = "the file is shorter than its header says";
    let header = map.get(..HEADER).ok_or(SHORT)?;
    let (magic, rest) = header.split_at(8);
    if magic != MAGIC {
        return Err("it is not a cache file");
    }
    if !rest.starts_with(&VERSION.to_le_bytes()) {
        return Err("it has another version of the format");
    }
    let number = |at: usize| {
        let bytes = header.get(at..).and_then(<[u8]>::first_chunk::<8>)?;
        usize::try_from(u64::from_le_bytes(*bytes)).ok()
    };
    let (start, length) = number(16).zip(number(24)).ok_or(SHORT)?;
    let end = start.checked_add(length).ok_or(SHORT)?;
    if end != map.len() {
        return Err(SHORT);
    }
    let text = map.get(start..end).ok_or(SHORT)?;
    if header.get(32..) != Some(Sha256::digest(text).as_slice()) {
        return Err("its index is damaged");
    }
    let index: Index = serde_json::from_slice(text).map_err(|_| "its index cannot be read")?;
    let inside = |picture: &Picture| {
        picture.range().is_some_and(|range| range.start >= HEADER && range.end <= start)
    };
    if index.entries.iter().filter_map(|entry| entry.picture.as_ref()).all(inside) {
        Ok(index)
    } else {
        Err("its index points outside the pixels")
    }
}

fn pixels(kind: Kind, bytes: &[u8]) -> Pixels {
    match kind {
        Kind::U8 => Pixels::U8(bytes.to_vec()),
        Kind::U16 => {
            Pixels::U16(bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect())
        }
        Kind::F32 => {
            Pixels::F32(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
    }
}
