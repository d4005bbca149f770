//! What an audit learns of one picture.

use std::io::Read;
use std::path::Path;

use vit_random::Streams;
use vit_transforms::{Filter, Image, Pixels, Resize, ResizeSize, ToGrey, Transform};

use super::report::FindingKind;
use crate::guard::guarded;
use crate::hash::{of_bytes, of_image};
use crate::{Dataset, Result};

/// Side of the small grey picture that near duplicates are compared on.
const SMALL: usize = 32;

/// Bits of the hash that near duplicates are compared on.
pub(super) const HASH_BITS: u32 = 256;

/// What is kept of a picture.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// SHA-256 of the decoded picture; of the file's bytes where it cannot be decoded.
    pub(super) pixels: String,
    /// SHA-256 of the file's bytes, if there is a file.
    pub(super) file: Option<String>,
    /// Channels and depth.
    pub(super) mode: Option<String>,
    /// Absent for pictures without contrast, which all look the same.
    pub(super) look: Option<Look>,
    /// What is wrong with it.
    pub(super) faults: Vec<(FindingKind, String)>,
}

/// What a picture looks like from afar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    /// Bit y · 16 + x: whether the picture, shrunk to 17 × 16 grey values, is brighter at x + 1
    /// than at x. The "difference hash" of N. Krawetz, "Kind of like that", hackerfactor.com, 2013,
    /// with 256 bits instead of 64: radiographs of different patients are alike in 64.
    pub(super) bits: [u64; 4],
    /// 32 × 32 values of mean 0 and norm 1.
    pub(super) small: Vec<f32>,
}

impl Look {
    /// Bits that differ.
    pub(super) fn distance(&self, other: &Self) -> u32 {
        self.bits.iter().zip(&other.bits).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Correlation of the small pictures, -1 to 1.
    pub(super) fn correlation(&self, other: &Self) -> f32 {
        self.small.iter().zip(&other.small).map(|(a, b)| a * b).sum()
    }
}

/// Reads one picture. Whatever is wrong with it is in the result.
pub(super) fn examine(dataset: &dyn Dataset, index: usize) -> Facts {
    let path = dataset.file(index);
    let bytes = path.as_deref().map(read_file);
    let file = bytes.as_ref().and_then(|bytes| bytes.as_ref().ok()).map(|bytes| of_bytes(bytes));
    let mut faults = Vec::new();
    if let (Some(path), Some(Ok(bytes))) = (&path, &bytes)
        && let Some(fault) = wrong_extension(path, bytes)
    {
        faults.push((FindingKind::WrongExtension, fault));
    }
    match guarded(dataset, index, || dataset.get(index)) {
        Ok(sample) => {
            let image = sample.image;
            if is_constant(&image) {
                faults.push((FindingKind::Constant, "all pixels have one value".into()));
            }
            let (mode, look) = (Some(mode(&image)), Look::of(&image).ok().flatten());
            Facts { pixels: of_image(&image), file, mode, look, faults }
        }
        Err(error) => {
            let kind = match &bytes {
                Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    FindingKind::Missing
                }
                Some(Ok(bytes)) if bytes.is_empty() => FindingKind::EmptyFile,
                Some(Ok(bytes)) if is_cut(bytes) => FindingKind::Truncated,
                _ => FindingKind::Unreadable,
            };
            let reason = path.map_or_else(
                || error.to_string(),
                // The same report wherever the files lie.
                |path| error.to_string().replace(&path.display().to_string(), "the file"),
            );
            faults.push((kind, reason));
            Facts { pixels: file.clone().unwrap_or_default(), file, mode: None, look: None, faults }
        }
    }
}

/// Files beyond this size are not looked at byte by byte; decoding has limits of its own.
const LARGEST: u64 = 1 << 30;

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if std::fs::metadata(path)?.is_file() {
        std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// First bytes of the formats, as in their specifications.
fn format_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        [b'B', b'M', ..] => Some("bmp"),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some("tiff"),
        _ if bytes.get(128..132) == Some(b"DICM") => Some("dcm"),
        _ => None,
    }
}

fn wrong_extension(path: &Path, bytes: &[u8]) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let named = match extension.as_str() {
        "jpeg" => "jpg",
        "tif" => "tiff",
        "dicom" => "dcm",
        other => other,
    };
    let found = format_of(bytes)?;
    (found != named).then(|| format!("named .{extension}, but the contents are {found}"))
}

/// Whether a file of a format with an end mark has none.
fn is_cut(bytes: &[u8]) -> bool {
    let ends = |mark: &[u8]| bytes.windows(mark.len()).rev().take(1 << 16).any(|part| part == mark);
    match format_of(bytes) {
        Some("png") => !ends(b"IEND"),
        Some("jpg") => !ends(&[0xff, 0xd9]),
        Some("webp") => {
            let claimed = bytes.get(4..8).and_then(<[u8]>::first_chunk::<4>);
            claimed.is_some_and(|size| u32::from_le_bytes(*size) as usize + 8 > bytes.len())
        }
        Some("bmp") => {
            let claimed = bytes.get(2..6).and_then(<[u8]>::first_chunk::<4>);
            claimed.is_some_and(|size| u32::from_le_bytes(*size) as usize > bytes.len())
        }
        _ => false,
    }
}

fn is_constant(image: &Image) -> bool {
    fn all_equal<T: PartialEq>(values: &[T], channels: usize) -> bool {
        let first = values.get(..channels);
        values.chunks_exact(channels.max(1)).all(|pixel| Some(pixel) == first)
    }
    match image.pixels() {
        Pixels::U8(values) => all_equal(values, image.channels()),
        Pixels::U16(values) => all_equal(values, image.channels()),
        Pixels::F32(values) => all_equal(values, image.channels()),
        _ => false,
    }
}

/// `"grey u8"`, `"RGB u16"`, `"grey u8 stored as RGB"`.
fn mode(image: &Image) -> String {
    fn grey<T: PartialEq>(values: &[T]) -> bool {
        values.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b)
    }
    let kind = image.pixels().kind();
    let equal = match image.pixels() {
        Pixels::U8(values) => grey(values),
        Pixels::U16(values) => grey(values),
        Pixels::F32(values) => grey(values),
        _ => false,
    };
    match image.channels() {
        1 => format!("grey {kind}"),
        _ if equal => format!("grey {kind} stored as RGB"),
        _ => format!("RGB {kind}"),
    }
}

impl Look {
    fn of(image: &Image) -> vit_transforms::Result<Option<Self>> {
        let mut unused = Streams::new(0).stream("none", 0, 0);
        let mut shrink = |image: Image, width, height| {
            let size = ResizeSize::Exact { height, width };
            Resize { size, filter: Filter::Bilinear }.apply(image, &mut unused)
        };
        // Shrunk first: the other steps are then done on few pixels.
        let small = shrink(image.to_f32(), SMALL, SMALL)?;
        let small = ToGrey.apply(small, &mut Streams::new(0).stream("none", 0, 0))?;
        let differences = shrink(small.clone(), 17, 16)?;
        let (Pixels::F32(values), Pixels::F32(steps)) = (small.pixels(), differences.pixels())
        else {
            return Ok(None);
        };
        let Some(small) = standardise(values) else { return Ok(None) };
        let mut bits = [0u64; 4];
        let brighter =
            steps.chunks_exact(17).flat_map(|row| row.windows(2)).map(|pair| match pair {
                [left, right] => u64::from(right > left),
                _ => 0,
            });
        for (place, bit) in brighter.enumerate() {
            if let Some(word) = bits.get_mut(place / 64) {
                *word |= bit << (place % 64);
            }
        }
        Ok(Some(Self { bits, small }))
    }
}

/// Mean 0 and norm 1; `None` without contrast.
fn standardise(values: &[f32]) -> Option<Vec<f32>> {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let norm = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>().sqrt();
    // Half a grey level of 8 bits, on average.
    let least = (values.len() as f32).sqrt() * 0.5 / 255.0;
    (norm > least).then(|| values.iter().map(|value| (value - mean) / norm).collect())
}

/// The picture of a sample for a report: at most `side` pixels wide and high, 8 bits.
pub(super) fn thumbnail(dataset: &dyn Dataset, index: usize, side: usize) -> Result<Image> {
    guarded(dataset, index, || {
        let sample = dataset.get(index)?;
        let id = sample.record.id;
        let image = sample.image.to_u8();
        let longest = image.width().max(image.height());
        let scaled = |length: usize| (length * side / longest.max(1)).max(1);
        let size =
            ResizeSize::Exact { height: scaled(image.height()), width: scaled(image.width()) };
        Resize { size, filter: Filter::Bilinear }
            .apply(image, &mut Streams::new(0).stream("none", 0, 0))
            .map_err(|source| crate::Error::Transform { id, source })
    })
}
