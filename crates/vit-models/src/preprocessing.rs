use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What must be done to a picture before a model sees it: part of the model, and stored with it.
///
/// The short side is brought to `size / crop_pct`, cut down to an integer, then the middle is
/// cropped (timm's rule), values are scaled to 0..1 and normalised. Field names are those of
/// timm's configurations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Channels, height, width.
    pub input_size: [usize; 3],
    /// Share of the resized picture's side that the crop keeps.
    pub crop_pct: f64,
    /// What happens to what is no square.
    #[serde(default)]
    pub crop_mode: CropMode,
    /// Filter of the resize, antialiased as Pillow's.
    pub interpolation: Interpolation,
    /// Subtracted, per channel, of values in 0..1.
    pub mean: Vec<f64>,
    /// Divided by, per channel.
    pub std: Vec<f64>,
}

impl Preprocessing {
    /// What torchvision's first ImageNet weights are evaluated with: short side to 256, the middle
    /// 224, bilinear.
    #[must_use]
    pub fn torchvision() -> Self {
        Self {
            input_size: [3, 224, 224],
            crop_pct: 0.875,
            crop_mode: CropMode::Center,
            interpolation: Interpolation::Bilinear,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }

    /// Side that a picture's short side is brought to before the middle is cropped.
    #[must_use]
    pub fn resized(&self) -> usize {
        let [_, height, _] = self.input_size;
        resized_side(height, self.crop_pct)
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not.
    pub fn check(&self) -> Result<()> {
        let [channels, height, width] = self.input_size;
        let fault = |message: String| Err(Error::Config(format!("preprocessing: {message}")));
        if channels == 0 || height == 0 || width == 0 {
            return fault(format!("input_size {:?}", self.input_size));
        }
        if !(self.crop_pct > 0. && self.crop_pct <= 1.) {
            return fault(format!("crop_pct {} is not above 0 and at most 1", self.crop_pct));
        }
        if self.crop_mode == CropMode::Center && height != width {
            return fault(format!(
                "the middle is cropped as a square, which {height} × {width} is not: crop_mode \
                 squash resizes both sides"
            ));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                return fault(format!("{} values of {name} for {channels} channels", values.len()));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return fault(format!("{name} {value}"));
            }
        }
        match self.std.iter().find(|std| **std <= 0.) {
            Some(std) => fault(format!("std {std}")),
            None => Ok(()),
        }
    }
}

/// `size / crop_pct`, cut down to an integer. A share that is stored as a number of so many digits
/// may be a little above `size / side`, and the quotient then a little below the side it stands
/// for; so the least bit is added before it is cut.
fn resized_side(size: usize, crop_pct: f64) -> usize {
    (size as f64 / crop_pct * (1. + 1e-9)) as usize
}

/// What happens to pictures of another shape than the input's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CropMode {
    /// The short side is resized, the middle is cropped.
    #[default]
    Center,
    /// Both sides are resized: shapes are distorted.
    Squash,
}

/// Filter of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Triangle filter.
    Bilinear,
    /// Cubic filter, `a = −0.5`.
    Bicubic,
    /// Lanczos filter with three lobes.
    Lanczos,
}
