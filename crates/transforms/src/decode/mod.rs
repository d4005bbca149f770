//! From files to pictures and back.

#[cfg(feature = "dicom")]
pub(crate) mod dicom;
mod encode;
mod jpeg;
#[cfg(feature = "turbojpeg")]
mod turbo;

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat};
use serde::{Deserialize, Serialize};

use crate::image::map_pixels;
use crate::{Error, Image, Pixels, Result};

pub use encode::encode_png;

/// How much a file may ask for, checked from its header before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// Most pixels (width × height) of a picture.
    pub max_pixels: u64,
    /// Most bytes of the file, and most bytes of the decoded values.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    /// 100 million pixels and 512 MiB.
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_bytes: 512 << 20 }
    }
}

/// What a decoder may do, and what becomes of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// Limits.
    pub limits: DecodeLimits,
    /// Whether the EXIF orientation is applied. Off by default, as in Pillow's `Image.open` and
    /// torchvision's `ImageFolder`.
    pub orientation: bool,
    /// What becomes of the values of DICOM files. Their first frame is read.
    #[cfg(feature = "dicom")]
    pub dicom: dicom::DicomRule,
}

/// Decodes a file; the format is told from the contents, not from the name.
///
/// See [`decode_bytes`] for what becomes of each kind of picture.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Limit`] when it or its picture is too
/// large, [`Error::Decode`] when it is a folder or not a whole picture of a known format.
pub fn decode_file(path: &Path, limits: &DecodeLimits) -> Result<Image> {
    decode_file_with(path, &DecodeOptions { limits: *limits, ..DecodeOptions::default() })
}

/// As [`decode_file`], with all options.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_file_with(path: &Path, options: &DecodeOptions) -> Result<Image> {
    let name = path.display().to_string();
    let bytes = read_limited(path, &name, &options.limits)?;
    decode_bytes_with(&name, &bytes, options)
}

fn read_limited(path: &Path, name: &str, limits: &DecodeLimits) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    // Before opening: to open a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "not a regular file" };
        return Err(Error::Decode { name: name.to_owned(), reason: format!("it is {what}") });
    }
    check_limit(name, "bytes", metadata.len(), limits.max_bytes)?;
    let mut bytes = Vec::new();
    // The file may grow between the two calls, so the reading itself is limited as well.
    let file = File::open(path).map_err(io)?;
    file.take(limits.max_bytes).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Decodes a picture in memory: PNG, JPEG, WebP, BMP, TIFF (the first picture) and, with the
/// feature `dicom`, DICOM (the first frame, for display). `name` is only used in errors.
///
/// Grey pictures get 1 channel, all others 3; palettes are resolved and alpha is dropped without
/// blending, as Pillow's `convert("RGB")` does. 16-bit PNG and TIFF give [`Pixels::U16`],
/// everything else [`Pixels::U8`] (1-, 2- and 4-bit grey is stretched to 0..=255). An EXIF
/// orientation is not applied.
///
/// # Errors
/// [`Error::Limit`] when the data or the picture announced in the header is too large,
/// [`Error::Decode`] when the bytes are not a whole picture of one of the formats.
pub fn decode_bytes(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<Image> {
    let options = DecodeOptions { limits: *limits, ..DecodeOptions::default() };
    decode_bytes_with(name, bytes, &options)
}

/// As [`decode_bytes`], with all options.
///
/// # Errors
/// As [`decode_bytes`].
pub fn decode_bytes_with(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    check_limit(name, "bytes", bytes.len() as u64, options.limits.max_bytes)?;
    if bytes.is_empty() {
        return Err(fail(name, "it is empty"));
    }
    // Decoders of other people may stop the program at files they did not expect; a file must not
    // be able to do that. Nothing that the decoder was changing is looked at afterwards.
    catch_unwind(AssertUnwindSafe(|| decode_any(name, bytes, options)))
        .unwrap_or_else(|_| Err(fail(name, "the file is malformed (its decoder gave up)")))
}

fn fail(name: &str, reason: &str) -> Error {
    Error::Decode { name: name.to_owned(), reason: reason.to_owned() }
}

fn decode_any(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    #[cfg(feature = "dicom")]
    if dicom::is_dicom(bytes) {
        return dicom::read_dicom(name, bytes, &options.limits, 0)?.render(options.dicom);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            // The decoders fill what is missing with grey and say nothing.
            jpeg::check_complete(bytes).map_err(|reason| fail(name, reason))?;
            decode_jpeg(name, bytes, options)
        }
        Ok(
            format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp | ImageFormat::Tiff),
        ) => decode_format(name, bytes, format, options),
        _ if bytes.get(128..132) == Some(b"DICM") => {
            Err(fail(name, "it is a DICOM file, which needs this crate's feature \"dicom\""))
        }
        _ => Err(fail(name, "it is neither PNG, JPEG, WebP, BMP, TIFF nor DICOM")),
    }
}

#[cfg(not(feature = "turbojpeg"))]
fn decode_jpeg(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    decode_format(name, bytes, ImageFormat::Jpeg, options)
}

/// Pixels through libjpeg-turbo; the orientation, where it is asked for, through the other decoder.
#[cfg(feature = "turbojpeg")]
fn decode_jpeg(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Image> {
    let image = turbo::decode_picture(name, bytes, &options.limits)?;
    if !options.orientation {
        return Ok(image);
    }
    let mut decoder = open(name, bytes, ImageFormat::Jpeg, &options.limits)?;
    let orientation = decoder.orientation().map_err(|error| fail(name, &error.to_string()))?;
    oriented(image, orientation)
}

/// Brings the picture into the orientation its metadata tell.
#[cfg(feature = "turbojpeg")]
fn oriented(image: Image, orientation: image::metadata::Orientation) -> Result<Image> {
    use crate::flip::{mirror_columns, mirror_rows, quarter_turns};
    use image::metadata::Orientation;
    match orientation {
        Orientation::NoTransforms => Ok(image),
        Orientation::Rotate90 => quarter_turns(image, 3),
        Orientation::Rotate180 => quarter_turns(image, 2),
        Orientation::Rotate270 => quarter_turns(image, 1),
        Orientation::FlipHorizontal => mirror_columns(&image),
        Orientation::FlipVertical => mirror_rows(&image),
        Orientation::Rotate90FlipH => mirror_columns(&quarter_turns(image, 3)?),
        Orientation::Rotate270FlipH => mirror_columns(&quarter_turns(image, 1)?),
    }
}

/// A decoder that has read the header and found it within the limits.
fn open<'a>(
    name: &str,
    bytes: &'a [u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<impl ImageDecoder + 'a> {
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_bytes);
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(|error| fail(name, &error.to_string()))?;
    let (width, height) = decoder.dimensions();
    check_limit(name, "pixels", u64::from(width) * u64::from(height), limits.max_pixels)?;
    check_limit(name, "bytes", decoder.total_bytes(), limits.max_bytes)?;
    Ok(decoder)
}

fn decode_format(
    name: &str,
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<Image> {
    let fail = |error: image::ImageError| fail(name, &error.to_string());
    let mut decoder = open(name, bytes, format, &options.limits)?;
    let orientation =
        if options.orientation { Some(decoder.orientation().map_err(fail)?) } else { None };
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(fail)?;
    if let Some(orientation) = orientation {
        decoded.apply_orientation(orientation);
    }
    let image = from_dynamic(name, decoded)?;
    if format == ImageFormat::Bmp && image.channels() == 3 && has_grey_ramp(bytes) {
        return first_channel(&image);
    }
    Ok(image)
}

/// Whether a BMP file of 8 bits has the palette of a grey picture, which Pillow reads as such:
/// entry i is (i, i, i).
fn has_grey_ramp(bytes: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    // After the file header of 14 bytes: length of the header, ..., bits per pixel at 14.
    let bits = bytes.get(28..30);
    let palette = number(14).and_then(|length| bytes.get(14usize.checked_add(length)?..));
    let Some((entries, _)) = palette.map(|palette| palette.as_chunks::<4>()) else { return false };
    bits == Some(&[8, 0])
        && entries.len() >= 256
        && entries.iter().take(256).zip(0u8..=255).all(|(entry, i)| entry.starts_with(&[i; 3]))
}

fn first_channel(image: &Image) -> Result<Image> {
    let pixels = map_pixels!(image.pixels(), values => values.iter().step_by(3).copied().collect());
    Image::new(image.width(), image.height(), 1, pixels)
}

pub(crate) fn check_limit(name: &str, unit: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit {
        return Err(Error::Limit { name: name.to_owned(), unit, value, limit });
    }
    Ok(())
}

fn from_dynamic(name: &str, decoded: DynamicImage) -> Result<Image> {
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let (channels, pixels) = match decoded {
        DynamicImage::ImageLuma8(grey) => (1, Pixels::U8(grey.into_raw())),
        DynamicImage::ImageRgb8(rgb) => (3, Pixels::U8(rgb.into_raw())),
        DynamicImage::ImageLumaA8(grey) => (1, Pixels::U8(drop_alpha(grey.as_raw(), 1))),
        DynamicImage::ImageRgba8(rgb) => (3, Pixels::U8(drop_alpha(rgb.as_raw(), 3))),
        DynamicImage::ImageLuma16(grey) => (1, Pixels::U16(grey.into_raw())),
        DynamicImage::ImageRgb16(rgb) => (3, Pixels::U16(rgb.into_raw())),
        DynamicImage::ImageLumaA16(grey) => (1, Pixels::U16(drop_alpha(grey.as_raw(), 1))),
        DynamicImage::ImageRgba16(rgb) => (3, Pixels::U16(drop_alpha(rgb.as_raw(), 3))),
        other => {
            let reason = format!("pictures of {:?} are not supported", other.color());
            return Err(fail(name, &reason));
        }
    };
    Image::new(width, height, channels, pixels)
}

/// Leaves out the last of each `channels + 1` values.
fn drop_alpha<T: Copy>(values: &[T], channels: usize) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len() / (channels + 1) * channels);
    for pixel in values.chunks_exact(channels + 1) {
        kept.extend(pixel.iter().take(channels));
    }
    kept
}
