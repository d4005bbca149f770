//! What an audit learns of one picture.

use std::io::Read;
use std::path::Path;

use vit_random::Streams;
use vit_transforms::{Filter, Image, Pixels, Resize, ResizeSize, Transform};

use super::look::Look;
use super::mode::{mode, plainest, stored};
use super::report::FindingKind;
use crate::guard::guarded;
use crate::hash::{of_bytes, of_image};
use crate::{Dataset, Result};

/// What is kept of a picture.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// SHA-256 of the decoded picture in its plainest mode; of the file's bytes where it cannot be
    /// decoded.
    pub(super) pixels: String,
    /// SHA-256 of the file's bytes, if there is a file.
    pub(super) file: Option<String>,
    /// Channels and depth, and how the file stores them.
    pub(super) mode: Option<String>,
    /// Absent for pictures without contrast, which all look the same.
    pub(super) look: Option<Look>,
    /// What is wrong with it.
    pub(super) faults: Vec<(FindingKind, String)>,
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
    #[cfg(feature = "dicom")]
    if let Some(Ok(bytes)) = &bytes
        && let Some(fault) = super::identity::identifying(bytes)
    {
        faults.push((FindingKind::Identifying, fault));
    }
    match guarded(dataset, index, || dataset.get(index)) {
        Ok(sample) => {
            let image = sample.image;
            if is_constant(&image) {
                faults.push((FindingKind::Constant, "all pixels have one value".into()));
            }
            let stored = bytes.and_then(std::io::Result::ok).and_then(|bytes| stored(&bytes));
            let mode = Some(match stored {
                Some(stored) => format!("{} ({stored})", mode(&image)),
                None => mode(&image),
            });
            let look = Look::of(&image).ok().flatten();
            Facts { pixels: of_image(&plainest(&image)), file, mode, look, faults }
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
pub(super) fn format_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        // First, since the preamble may look like a TIFF file (DICOM PS3.10, 7.1).
        _ if bytes.get(128..132) == Some(b"DICM") => Some("dcm"),
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        [b'B', b'M', ..] => Some("bmp"),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some("tiff"),
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
