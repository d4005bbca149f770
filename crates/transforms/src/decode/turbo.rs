//! JPEG through libjpeg-turbo, whose values are those of Pillow.

use turbojpeg::{Decompressor, Image as Frame, PixelFormat};

use super::{check_limit, fail};
use crate::{DecodeLimits, Image, Pixels, Result};

/// Decodes a whole JPEG file: grey stays grey, everything else becomes RGB.
pub(super) fn decode_picture(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<Image> {
    let header = turbojpeg::read_header(bytes).map_err(|error| fail(name, &error.to_string()))?;
    let pixels = header.width as u64 * header.height as u64;
    check_limit(name, "pixels", pixels, limits.max_pixels)?;
    let grey = header.colorspace == turbojpeg::Colorspace::Gray;
    let cmyk =
        matches!(header.colorspace, turbojpeg::Colorspace::CMYK | turbojpeg::Colorspace::YCCK);
    let channels = if grey { 1 } else { 3 };
    let samples = if cmyk { 4 } else { channels };
    check_limit(name, "bytes", pixels.saturating_mul(samples), limits.max_bytes)?;
    let values = decompress(name, bytes, samples as usize)?;
    let values = if cmyk { cmyk_to_rgb(&values) } else { values };
    Image::new(header.width, header.height, channels as usize, Pixels::U8(values))
}

/// Decodes the frame of a file that knows its own size and channels (1 or 3).
#[cfg(feature = "dicom")]
pub(super) fn decode(name: &str, bytes: &[u8], channels: usize) -> Result<Vec<u8>> {
    decompress(name, bytes, channels)
}

fn decompress(name: &str, bytes: &[u8], samples: usize) -> Result<Vec<u8>> {
    let error = |error: turbojpeg::Error| fail(name, &error.to_string());
    let mut decompressor = Decompressor::new().map_err(error)?;
    let header = decompressor.read_header(bytes).map_err(error)?;
    // A progressive file may ask for any number of passes over the picture.
    decompressor.set_scan_limit(500).map_err(error)?;
    let format = match samples {
        1 => PixelFormat::GRAY,
        3 => PixelFormat::RGB,
        _ => PixelFormat::CMYK,
    };
    let pitch = header.width * samples;
    let mut values = vec![0; pitch * header.height];
    let frame = Frame {
        pixels: values.as_mut_slice(),
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    decompressor.decompress(bytes, frame).map_err(error)?;
    Ok(values)
}

/// Pillow's conversion: `(255 - k) - c (255 - k) / 255`, rounded, of the complement, which is what
/// Adobe's programs store and Pillow always takes for stored.
fn cmyk_to_rgb(values: &[u8]) -> Vec<u8> {
    let (pixels, _) = values.as_chunks::<4>();
    let mut out = Vec::with_capacity(pixels.len());
    for pixel in pixels {
        let [c, m, y, k] = pixel.map(|value| 255 - value);
        let light = 255 - u32::from(k);
        out.push([c, m, y].map(|ink| {
            let product = u32::from(ink) * light + 128;
            (light - (((product >> 8) + product) >> 8).min(light)) as u8
        }));
    }
    out.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Image.frombytes("CMYK", ...)` of the complements, `convert("RGB")`: no ink is white.
    #[test]
    fn stored_inks_are_complements() {
        let rgb = cmyk_to_rgb(&[255, 255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 0]);
        assert_eq!(rgb, [255, 255, 255, 0, 255, 255, 0, 0, 0]);
    }
}
