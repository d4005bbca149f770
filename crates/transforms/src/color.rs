//! Channels and value ranges.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::image::{map_pixels, unit_u8, unit_u16, write_planes};
use crate::level::Level;
use crate::{Error, Image, Pixels, Result, Transform};

/// Mean of ImageNet's red, green and blue on the scale 0 to 1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];

/// Standard deviation of ImageNet's red, green and blue on the scale 0 to 1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Makes a grey picture RGB by repeating its values; an RGB picture stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToRgb;

impl ToRgb {
    /// There is nothing to check.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for ToRgb {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        if image.channels() != 1 {
            return Ok(image);
        }
        let pixels = map_pixels!(image.pixels(), values => {
            values.iter().flat_map(|&value| [value; 3]).collect()
        });
        Image::new(image.width(), image.height(), 3, pixels)
    }
}

/// Makes an RGB picture grey; a grey picture stays as it is.
///
/// Integers: `(19595 R + 38470 G + 7471 B + 32768) >> 16`, the luma of ITU-R BT.601 as Pillow's
/// `convert("L")` computes it. Real values: the same weights without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToGrey;

impl ToGrey {
    /// There is nothing to check.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for ToGrey {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        if image.channels() != 3 {
            return Ok(image);
        }
        let pixels = match image.pixels() {
            Pixels::U8(values) => Pixels::U8(luma(values, Level::luma)),
            Pixels::U16(values) => Pixels::U16(luma(values, Level::luma)),
            Pixels::F32(values) => Pixels::F32(luma(values, |[r, g, b]: [f32; 3]| {
                (19595.0 * r + 38470.0 * g + 7471.0 * b) / 65536.0
            })),
        };
        Image::new(image.width(), image.height(), 1, pixels)
    }
}

fn luma<T: Copy>(values: &[T], weigh: impl Fn([T; 3]) -> T) -> Vec<T> {
    let (pixels, _) = values.as_chunks::<3>();
    pixels.iter().map(|&pixel| weigh(pixel)).collect()
}

/// Brings pictures to 8 bits: see [`Image::to_u8`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToU8;

impl Transform for ToU8 {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        Ok(if matches!(image.pixels(), Pixels::U8(_)) { image } else { image.to_u8() })
    }
}

impl ToU8 {
    /// There is nothing to check.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

/// `(x - mean) / std` per channel; integers are divided by their full scale (255 or 65535) first.
/// The result has real values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Mean on the scale 0 to 1: one per channel, or one for all.
    pub mean: Vec<f32>,
    /// Standard deviation on the scale 0 to 1: as many as means, none zero.
    pub std: Vec<f32>,
}

impl Normalize {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the two lists are not of the same length of 1 or 3, a mean is
    /// not finite, or a standard deviation is not finite and positive.
    pub fn validate(&self) -> Result<()> {
        let fail = |reason| Err(Error::Parameter { transform: "Normalize", reason });
        if self.mean.len() != self.std.len() || !matches!(self.mean.len(), 1 | 3) {
            return fail(format!(
                "{} mean(s) and {} std(s), both must be 1 or both 3",
                self.mean.len(),
                self.std.len()
            ));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return fail(format!("a mean is {mean}, it must be finite"));
        }
        if let Some(std) = self.std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            return fail(format!("a std is {std}, it must be finite and more than 0"));
        }
        Ok(())
    }

    /// Mean and standard deviation of each channel.
    fn per_channel(&self, image: &Image) -> Result<Vec<(f32, f32)>> {
        self.validate()?;
        let pairs: Vec<_> = self.mean.iter().copied().zip(self.std.iter().copied()).collect();
        match *pairs.as_slice() {
            [pair] => Ok(vec![pair; image.channels()]),
            _ if pairs.len() == image.channels() => Ok(pairs),
            _ => Err(Error::Kind {
                transform: "Normalize",
                expected: format!("a picture of {} channels", pairs.len()),
                got: image.describe(),
            }),
        }
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Normalize {
    /// The normalised values plane by plane: the transform and [`Image::write_chw`] in one pass.
    pub(crate) fn write_chw(&self, image: &Image, out: &mut [f32]) -> Result<()> {
        let channels = self.per_channel(image)?;
        let count = image.channels();
        match image.pixels() {
            _ if out.len() != image.pixels().len() => image.write_chw(out),
            Pixels::U8(values) => {
                let tables: Vec<_> = channels.iter().map(table_u8).collect();
                write_planes(values, count, out, |channel| {
                    let table = tables.get(channel).copied().unwrap_or([0.0; 256]);
                    move |value: u8| table[usize::from(value)]
                });
                Ok(())
            }
            Pixels::U16(values) => {
                write_planes(values, count, out, |channel| {
                    let (mean, std) = channels.get(channel).copied().unwrap_or((0.0, 1.0));
                    move |value| (unit_u16(value) - mean) / std
                });
                Ok(())
            }
            Pixels::F32(values) => {
                write_planes(values, count, out, |channel| {
                    let (mean, std) = channels.get(channel).copied().unwrap_or((0.0, 1.0));
                    move |value| (value - mean) / std
                });
                Ok(())
            }
        }
    }
}

/// The results of all 8-bit values of a channel: looking up beats two divisions per value.
fn table_u8(&(mean, std): &(f32, f32)) -> [f32; 256] {
    std::array::from_fn(|value| (unit_u8(value as u8) - mean) / std)
}

impl Transform for Normalize {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        let channels = self.per_channel(&image)?;
        let values = match image.pixels() {
            Pixels::U8(values) => normalize_u8(values, &channels),
            Pixels::U16(values) => normalize(values, &channels, unit_u16),
            Pixels::F32(values) => normalize(values, &channels, |value| value),
        };
        Image::new(image.width(), image.height(), image.channels(), Pixels::F32(values))
    }
}

fn normalize<T: Copy>(
    values: &[T],
    channels: &[(f32, f32)],
    convert: impl Fn(T) -> f32,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for pixel in values.chunks_exact(channels.len()) {
        out.extend(pixel.iter().zip(channels).map(|(&v, (mean, std))| (convert(v) - mean) / std));
    }
    out
}

fn normalize_u8(values: &[u8], channels: &[(f32, f32)]) -> Vec<f32> {
    let tables: Vec<[f32; 256]> = channels.iter().map(table_u8).collect();
    let mut out = Vec::with_capacity(values.len());
    for pixel in values.chunks_exact(tables.len()) {
        out.extend(pixel.iter().zip(&tables).map(|(&value, table)| table[usize::from(value)]));
    }
    out
}
