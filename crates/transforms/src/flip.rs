//! Mirror images.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::image::map_pixels;
use crate::parameters::check_probability;
use crate::{Image, Result, Transform};

/// Swaps left and right with a given probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlip {
    /// Probability of the flip, 0 to 1.
    pub probability: f64,
}

impl HorizontalFlip {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the probability is outside 0 to 1.
    pub fn validate(&self) -> Result<()> {
        check_probability("HorizontalFlip", self.probability)
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0 && self.probability < 1.0
    }
}

impl Transform for HorizontalFlip {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if rng.random::<f64>() < self.probability { mirror_columns(&image) } else { Ok(image) }
    }
}

/// Swaps top and bottom with a given probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerticalFlip {
    /// Probability of the flip, 0 to 1.
    pub probability: f64,
}

impl VerticalFlip {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the probability is outside 0 to 1.
    pub fn validate(&self) -> Result<()> {
        check_probability("VerticalFlip", self.probability)
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0 && self.probability < 1.0
    }
}

impl Transform for VerticalFlip {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if rng.random::<f64>() < self.probability { mirror_rows(&image) } else { Ok(image) }
    }
}

pub(crate) fn mirror_columns(image: &Image) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = map_pixels!(image.pixels(), values => {
        if channels == 1 { reversed::<_, 1>(values, width) } else { reversed::<_, 3>(values, width) }
    });
    Image::new(width, height, channels, pixels)
}

/// Each row's pixels of `C` channels from the last to the first.
fn reversed<T: Copy, const C: usize>(values: &[T], width: usize) -> Vec<T> {
    let (pixels, _) = values.as_chunks::<C>();
    let mut out = Vec::with_capacity(pixels.len());
    for row in pixels.chunks_exact(width) {
        out.extend(row.iter().rev().copied());
    }
    out.into_flattened()
}

pub(crate) fn mirror_rows(image: &Image) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = map_pixels!(image.pixels(), values => {
        let mut out = Vec::with_capacity(values.len());
        for row in values.chunks_exact(width * channels).rev() {
            out.extend_from_slice(row);
        }
        out
    });
    Image::new(width, height, channels, pixels)
}

/// Turns the picture by 0, 90, 180 or 270 degrees, each equally often. The sides of a picture that
/// is not square are swapped by a quarter turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomQuarterTurn {}

impl RandomQuarterTurn {
    /// There is nothing to check.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }
}

impl Transform for RandomQuarterTurn {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        quarter_turns(image, rng.random_range(0..4))
    }
}

/// Turns counter-clockwise by 90 degrees as often as asked.
pub(crate) fn quarter_turns(image: Image, turns: u32) -> Result<Image> {
    match turns % 4 {
        0 => Ok(image),
        1 => mirror_rows(&transpose(&image)?),
        2 => mirror_rows(&mirror_columns(&image)?),
        _ => mirror_columns(&transpose(&image)?),
    }
}

/// Rows become columns.
fn transpose(image: &Image) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = map_pixels!(image.pixels(), values => {
        let mut out = Vec::with_capacity(values.len());
        for x in 0..width {
            for row in values.chunks_exact(width * channels) {
                out.extend_from_slice(row.get(x * channels..(x + 1) * channels).unwrap_or_default());
            }
        }
        out
    });
    Image::new(height, width, channels, pixels)
}
