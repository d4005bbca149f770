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
}

impl Transform for VerticalFlip {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if rng.random::<f64>() < self.probability { mirror_rows(&image) } else { Ok(image) }
    }
}

fn mirror_columns(image: &Image) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = map_pixels!(image.pixels(), values => {
        let mut out = Vec::with_capacity(values.len());
        for row in values.chunks_exact(width * channels) {
            for pixel in row.chunks_exact(channels).rev() {
                out.extend_from_slice(pixel);
            }
        }
        out
    });
    Image::new(width, height, channels, pixels)
}

fn mirror_rows(image: &Image) -> Result<Image> {
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
