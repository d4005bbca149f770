//! From pictures to files.

use image::{ExtendedColorType, ImageEncoder};

use crate::{Error, Image, Pixels, Result};

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
