//! Operators with fixed arguments: the vocabulary of the random policies.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::ops::{affine, blur, enhance, hue, tone};
use crate::parameters::{chance, check_fill, check_probability, check_within, fill_for};
use crate::{Error, Filter, Image, Result, Transform};

/// One operator with its arguments.
///
/// 8-bit pictures come out value for value as from Pillow. 16-bit pictures follow the same
/// formulas on their own scale; arguments that are levels (thresholds, sums) stay on the 8-bit
/// scale. Real-valued pictures are only taken by the geometric operators.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Stretches each channel to the full range (`ImageOps.autocontrast`).
    AutoContrast,
    /// Spreads each channel's values evenly (`ImageOps.equalize`).
    Equalize,
    /// Full scale minus the value.
    Invert,
    /// Rotation about the centre, counter-clockwise.
    Rotate {
        /// Angle in degrees.
        degrees: f64,
    },
    /// Keeps the highest bits.
    Posterize {
        /// How many bits; 8 and more change nothing.
        bits: u32,
    },
    /// Inverts values at or above a threshold.
    Solarize {
        /// 0 to 256, on the 8-bit scale.
        threshold: u32,
    },
    /// Adds to values below a threshold.
    SolarizeAdd {
        /// What is added, on the 8-bit scale.
        add: u32,
        /// 0 to 256, on the 8-bit scale; timm uses 128.
        threshold: u32,
    },
    /// Saturation: blend with the grey picture.
    Color {
        /// 0 grey, 1 unchanged.
        factor: f64,
    },
    /// Blend with the mean grey level.
    Contrast {
        /// 0 flat, 1 unchanged.
        factor: f64,
    },
    /// Blend with black.
    Brightness {
        /// 0 black, 1 unchanged.
        factor: f64,
    },
    /// Blend with a smoothed picture.
    Sharpness {
        /// 0 smooth, 1 unchanged.
        factor: f64,
    },
    /// Turns the hue, as torchvision's `adjust_hue` on Pillow pictures.
    Hue {
        /// Part of the full circle, -0.5 to 0.5.
        turn: f64,
    },
    /// Horizontal shear: x + factor · y.
    ShearX {
        /// Pixels per row.
        factor: f64,
    },
    /// Vertical shear: y + factor · x.
    ShearY {
        /// Pixels per column.
        factor: f64,
    },
    /// Horizontal shift; positive shows what was to the right.
    TranslateX {
        /// Pixels.
        pixels: f64,
    },
    /// Vertical shift; positive shows what was below.
    TranslateY {
        /// Pixels.
        pixels: f64,
    },
    /// Horizontal shift by a part of the width.
    TranslateXRelative {
        /// Part of the width.
        fraction: f64,
    },
    /// Vertical shift by a part of the height.
    TranslateYRelative {
        /// Part of the height.
        fraction: f64,
    },
    /// Pillow's `GaussianBlur`: three box blurs.
    GaussianBlur {
        /// Radius (standard deviation) in pixels.
        radius: f64,
    },
    /// torchvision's `gaussian_blur`: a sampled Gaussian.
    KernelBlur {
        /// Taps of the kernel, odd.
        size: usize,
        /// Standard deviation in pixels.
        sigma: f64,
    },
}

/// How the geometric operators sample the picture; the others ignore it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Nearest, bilinear or bicubic, without antialiasing (Pillow's `Image.transform`).
    pub filter: Filter,
    /// Value outside the picture, on the 8-bit scale: one for all channels, or one per channel.
    pub fill: Vec<u8>,
}

impl Default for Sampling {
    /// Bicubic with the middle grey of timm, 128.
    fn default() -> Self {
        Self { filter: Filter::Bicubic, fill: vec![128] }
    }
}

impl Sampling {
    pub(crate) fn validate(&self, transform: &'static str) -> Result<()> {
        affine::check_filter(transform, self.filter)?;
        check_fill(transform, &self.fill)
    }
}

/// Largest blur radius in pixels; larger ones would only cost time.
const MAX_RADIUS: f64 = 4096.0;

impl Operation {
    /// Checks the arguments.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the argument that makes no sense.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "Operation";
        let finite = |name: &str, value: f64| check_within(NAME, name, value, (-1e6, 1e6));
        let level = |name: &str, value: u32| check_within(NAME, name, value.into(), (0.0, 256.0));
        match *self {
            Self::AutoContrast | Self::Equalize | Self::Invert => Ok(()),
            Self::Rotate { degrees } => finite("degrees", degrees),
            Self::Posterize { bits } => check_within(NAME, "bits", bits.into(), (0.0, 16.0)),
            Self::Solarize { threshold } => level("threshold", threshold),
            Self::SolarizeAdd { add, threshold } => {
                level("add", add)?;
                level("threshold", threshold)
            }
            Self::Color { factor }
            | Self::Contrast { factor }
            | Self::Brightness { factor }
            | Self::Sharpness { factor }
            | Self::ShearX { factor }
            | Self::ShearY { factor } => finite("factor", factor),
            Self::Hue { turn } => check_within(NAME, "turn", turn, (-0.5, 0.5)),
            Self::TranslateX { pixels } | Self::TranslateY { pixels } => finite("pixels", pixels),
            Self::TranslateXRelative { fraction } | Self::TranslateYRelative { fraction } => {
                finite("fraction", fraction)
            }
            Self::GaussianBlur { radius } => {
                check_within(NAME, "radius", radius, (0.0, MAX_RADIUS))
            }
            Self::KernelBlur { size, sigma } => {
                if size % 2 == 0 || size > 1023 {
                    let reason = format!("size is {size}, it must be odd and at most 1023");
                    return Err(Error::Parameter { transform: NAME, reason });
                }
                check_within(NAME, "sigma", sigma, (1e-3, MAX_RADIUS))
            }
        }
    }

    /// Applies the operator.
    ///
    /// # Errors
    /// [`Error::Parameter`] as [`Operation::validate`], or when `sampling` has another filter than
    /// the three of its documentation; [`Error::Kind`] when the picture's values are real and the
    /// operator takes integers only, or the fill does not fit the channels.
    pub fn apply(&self, image: &Image, sampling: &Sampling) -> Result<Image> {
        self.validate()?;
        match *self {
            Self::AutoContrast => tone::auto_contrast(image),
            Self::Equalize => tone::equalize(image),
            Self::Invert => tone::invert(image),
            Self::Posterize { bits } => tone::posterize(image, bits),
            Self::Solarize { threshold } => tone::solarize(image, threshold),
            Self::SolarizeAdd { add, threshold } => tone::solarize_add(image, add, threshold),
            Self::Color { factor } => enhance::color(image, factor),
            Self::Contrast { factor } => enhance::contrast(image, factor),
            Self::Brightness { factor } => enhance::brightness(image, factor),
            Self::Sharpness { factor } => enhance::sharpness(image, factor),
            Self::Hue { turn } => hue::hue(image, turn),
            Self::GaussianBlur { radius } => blur::gaussian_box(image, radius),
            Self::KernelBlur { size, sigma } => blur::gaussian_kernel(image, size, sigma),
            _ => {
                let fill = fill_for("Operation", image, &sampling.fill)?;
                affine::affine("Operation", image, &self.matrix(image), sampling.filter, &fill)
            }
        }
    }

    /// The map of the geometric operators, the identity for all others.
    fn matrix(&self, image: &Image) -> affine::Matrix {
        let (width, height) = (image.width() as f64, image.height() as f64);
        match *self {
            Self::Rotate { degrees } => affine::rotation(image.width(), image.height(), degrees),
            Self::ShearX { factor } => [1.0, factor, 0.0, 0.0, 1.0, 0.0],
            Self::ShearY { factor } => [1.0, 0.0, 0.0, factor, 1.0, 0.0],
            Self::TranslateX { pixels } => [1.0, 0.0, pixels, 0.0, 1.0, 0.0],
            Self::TranslateY { pixels } => [1.0, 0.0, 0.0, 0.0, 1.0, pixels],
            Self::TranslateXRelative { fraction } => [1.0, 0.0, fraction * width, 0.0, 1.0, 0.0],
            Self::TranslateYRelative { fraction } => [1.0, 0.0, 0.0, 0.0, 1.0, fraction * height],
            _ => [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
    }
}

/// Applies one [`Operation`] with a given probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// What is done.
    pub operation: Operation,
    /// How often, 0 to 1.
    pub probability: f64,
    /// Sampling of the geometric operators.
    #[serde(default)]
    pub sampling: Sampling,
}

impl Apply {
    /// Always applies this operation, with the default sampling.
    #[must_use]
    pub fn always(operation: Operation) -> Self {
        Self { operation, probability: 1.0, sampling: Sampling::default() }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the value that makes no sense.
    pub fn validate(&self) -> Result<()> {
        check_probability("Apply", self.probability)?;
        self.sampling.validate("Apply")?;
        self.operation.validate()
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0 && self.probability < 1.0
    }
}

impl Transform for Apply {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if chance(self.probability, rng) {
            self.operation.apply(&image, &self.sampling)
        } else {
            Ok(image)
        }
    }
}
