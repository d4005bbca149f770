//! From files to pictures and back.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat};

use crate::{Error, Image, Pixels, Result, jpeg};

/// How much a file may ask for, checked from its header before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Decodes a PNG or JPEG file; the format is told from the contents, not from the name.
///
/// See [`decode_bytes`] for what becomes of each kind of picture.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Limit`] when it or its picture is too
/// large, [`Error::Decode`] when it is a folder or not a whole PNG or JPEG picture.
pub fn decode_file(path: &Path, limits: &DecodeLimits) -> Result<Image> {
    let name = path.display().to_string();
    let bytes = read_limited(path, &name, limits)?;
    decode_bytes(&name, &bytes, limits)
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

/// Decodes a PNG or JPEG picture in memory. `name` is only used in errors.
///
/// Grey pictures get 1 channel, all others 3; palettes are resolved and alpha is dropped without
/// blending, as Pillow's `convert("RGB")` does. 16-bit PNG gives [`Pixels::U16`], everything else
/// [`Pixels::U8`] (1-, 2- and 4-bit grey is stretched to 0..=255). An EXIF orientation is not
/// applied, as in Pillow and torchvision's `ImageFolder`.
///
/// # Errors
/// [`Error::Limit`] when the data or the picture announced in the header is too large,
/// [`Error::Decode`] when the bytes are not a whole PNG or JPEG picture.
pub fn decode_bytes(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<Image> {
    let fail = |reason: String| Error::Decode { name: name.to_owned(), reason };
    check_limit(name, "bytes", bytes.len() as u64, limits.max_bytes)?;
    if bytes.is_empty() {
        return Err(fail("it is empty".to_owned()));
    }
    let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = image::guess_format(bytes) else {
        return Err(fail("it is neither PNG nor JPEG".to_owned()));
    };
    if format == ImageFormat::Jpeg {
        // The decoder fills what is missing with grey and says nothing.
        jpeg::check_complete(bytes).map_err(|reason| fail(reason.to_owned()))?;
    }

    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_bytes);
    reader.limits(memory);
    let decoder = reader.into_decoder().map_err(|error| fail(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    check_limit(name, "pixels", u64::from(width) * u64::from(height), limits.max_pixels)?;
    check_limit(name, "bytes", decoder.total_bytes(), limits.max_bytes)?;
    let decoded = DynamicImage::from_decoder(decoder).map_err(|error| fail(error.to_string()))?;
    from_dynamic(decoded).map_err(|error| fail(error.to_string()))
}

fn check_limit(name: &str, unit: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit {
        return Err(Error::Limit { name: name.to_owned(), unit, value, limit });
    }
    Ok(())
}

fn from_dynamic(decoded: DynamicImage) -> Result<Image> {
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
        // Neither format has others today.
        other => (3, Pixels::U8(other.into_rgb8().into_raw())),
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

/// Encodes an 8- or 16-bit picture as PNG, without loss.
///
/// # Errors
/// [`Error::Kind`] for real values (which range they have is not known here), [`Error::Encode`]
/// when a side does not fit the format.
pub fn encode_png(image: &Image) -> Result<Vec<u8>> {
    let bytes = match image.pixels() {
        Pixels::U8(values) => values.clone(),
        // The encoder wants the machine's byte order and swaps it itself.
        Pixels::U16(values) => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Pixels::F32(_) => {
            return Err(Error::Kind {
                transform: "encode_png",
                expected: "a u8 or u16 picture".to_owned(),
                got: image.describe(),
            });
        }
    };
    let color = match (image.channels(), image.pixels()) {
        (1, Pixels::U8(_)) => ExtendedColorType::L8,
        (1, _) => ExtendedColorType::L16,
        (_, Pixels::U8(_)) => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgb16,
    };
    let side = |side: usize| {
        u32::try_from(side)
            .map_err(|_| Error::Encode { reason: format!("a side of {side} pixels is too long") })
    };
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new(&mut out)
        .write_image(&bytes, side(image.width())?, side(image.height())?, color)
        .map_err(|error| Error::Encode { reason: error.to_string() })?;
    Ok(out)
}
