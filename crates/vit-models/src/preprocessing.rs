use serde::{Deserialize, Serialize};

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
