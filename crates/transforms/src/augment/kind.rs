//! From an operator's name and a magnitude to its argument.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::ops::affine::check_filter;
use crate::parameters::{check_fill, check_within, uniform};
use crate::{Error, Filter, Operation, Result, Sampling};

/// The release of timm whose rules hold. They differ in corners only:
///
/// | | 0.3.2 | 0.6.12 | 1.0 |
/// |---|---|---|---|
/// | `inc0` in a RandAugment string | switches to the increasing set | the same | leaves it off |
/// | least factor of colour, contrast, brightness, sharpness (increasing) | none | 0.1 | 0.1 |
/// | sections `mmax` / `p`, `t` of the string | refused | `mmax` only | all |
/// | section `w0` | weights | weights | refused |
/// | `mstd` above 100 | a normal distribution | uniform magnitudes | uniform magnitudes |
/// | AugMix without `mstd` | fixed magnitude | uniform | uniform |
/// | cutmix box of odd side | one pixel short | one pixel short | whole |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TimmRules {
    /// 0.3.2, of MAE and medical_mae.
    #[serde(rename = "0.3.2")]
    V0_3_2,
    /// 0.6.12, of MED-PEFT.
    #[serde(rename = "0.6.12")]
    V0_6_12,
    /// 1.0.
    #[default]
    #[serde(rename = "1.0")]
    V1_0,
}

/// How far magnitudes spread about the given one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Not at all.
    #[default]
    None,
    /// Normally, with this standard deviation; clipped to 0 and the largest magnitude.
    Normal(f64),
    /// Uniformly from 0 to the given magnitude.
    Uniform,
}

/// What all operators of a policy share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentSettings {
    /// Whose corner cases hold.
    pub rules: TimmRules,
    /// Filters of the geometric operators, one of which is drawn each time.
    pub filters: Vec<Filter>,
    /// Outside of the picture on the 8-bit scale: one value, or one per channel. timm takes
    /// `round(255 · mean)`.
    pub fill: Vec<u8>,
    /// Spread of the magnitudes.
    pub noise: Noise,
    /// Largest magnitude after noise.
    pub most: f64,
    /// Shift in pixels at magnitude 10 of the absolute translations.
    pub translate_pixels: f64,
    /// Shift as part of the side at magnitude 10 of the relative translations.
    pub translate_fraction: f64,
}

impl Default for AugmentSettings {
    /// timm's defaults for policies made outside of its `create_transform`.
    fn default() -> Self {
        Self {
            rules: TimmRules::default(),
            filters: vec![Filter::Bilinear, Filter::Bicubic],
            fill: vec![128],
            noise: Noise::None,
            most: LEVELS,
            translate_pixels: 250.0,
            translate_fraction: 0.45,
        }
    }
}

impl AugmentSettings {
    /// The settings timm's `create_transform` makes for pictures of this size and these channel
    /// means (on the scale 0 to 1): fill `round(255 · mean)`, absolute shifts up to 0.45 of the
    /// side, one filter.
    #[must_use]
    pub fn for_size(rules: TimmRules, size: usize, mean: &[f32], filter: Filter) -> Self {
        // Python rounds halves to even; means are in double precision there.
        let level = |mean: &f32| (f64::from(*mean) * 255.0).round_ties_even() as u8;
        Self {
            rules,
            filters: vec![filter],
            fill: mean.iter().map(level).collect(),
            translate_pixels: (size as f64 * 0.45).floor(),
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self, transform: &'static str) -> Result<()> {
        if self.filters.is_empty() {
            let reason = "the list of filters is empty".to_owned();
            return Err(Error::Parameter { transform, reason });
        }
        self.filters.iter().try_for_each(|&filter| check_filter(transform, filter))?;
        check_fill(transform, &self.fill)?;
        if let Noise::Normal(std) = self.noise {
            check_within(transform, "the standard deviation of the noise", std, (0.0, 1e6))?;
        }
        check_within(transform, "most", self.most, (0.0, 1000.0))?;
        check_within(transform, "translate_pixels", self.translate_pixels, (0.0, 65536.0))?;
        check_within(transform, "translate_fraction", self.translate_fraction, (0.0, 10.0))
    }

    /// The magnitude with its noise, clipped.
    fn magnitude(&self, magnitude: f64, rng: &mut Stream) -> f64 {
        let noisy = match self.noise {
            Noise::None => magnitude,
            Noise::Uniform => uniform((0.0, magnitude), rng),
            Noise::Normal(std) => {
                let normal: f64 = rng.sample(rand_distr::StandardNormal);
                magnitude + std * normal
            }
        };
        noisy.clamp(0.0, self.most)
    }

    /// A way of sampling: fill and one of the filters.
    pub(crate) fn sampling(&self, rng: &mut Stream) -> Sampling {
        let at = if self.filters.len() > 1 { rng.random_range(0..self.filters.len()) } else { 0 };
        let filter = self.filters.get(at).copied().unwrap_or_default();
        Sampling { filter, fill: self.fill.clone() }
    }
}

/// The scale of magnitudes: 10 is full strength.
pub(crate) const LEVELS: f64 = 10.0;

/// An operator whose argument follows from a magnitude. The names are timm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OperationKind {
    /// No argument.
    AutoContrast,
    /// No argument.
    Equalize,
    /// No argument.
    Invert,
    /// ±3 m degrees.
    Rotate,
    /// Keeps ⌊0.4 m⌋ bits: weaker with the magnitude.
    Posterize,
    /// Keeps 4 − ⌊0.4 m⌋ bits.
    PosterizeIncreasing,
    /// Keeps 4 + ⌊0.4 m⌋ bits.
    PosterizeOriginal,
    /// Threshold ⌊25.6 m⌋: weaker with the magnitude.
    Solarize,
    /// Threshold 256 − ⌊25.6 m⌋.
    SolarizeIncreasing,
    /// Adds ⌊11 m⌋ to values below 128.
    SolarizeAdd,
    /// Factor 0.1 + 0.18 m.
    Color,
    /// Factor 1 ± 0.09 m.
    ColorIncreasing,
    /// Factor 0.1 + 0.18 m.
    Contrast,
    /// Factor 1 ± 0.09 m.
    ContrastIncreasing,
    /// Factor 0.1 + 0.18 m.
    Brightness,
    /// Factor 1 ± 0.09 m.
    BrightnessIncreasing,
    /// Factor 0.1 + 0.18 m.
    Sharpness,
    /// Factor 1 ± 0.09 m.
    SharpnessIncreasing,
    /// ±0.03 m.
    ShearX,
    /// ±0.03 m.
    ShearY,
    /// ±m/10 of [`AugmentSettings::translate_pixels`].
    TranslateX,
    /// ±m/10 of [`AugmentSettings::translate_pixels`].
    TranslateY,
    /// ±m/10 of [`AugmentSettings::translate_fraction`] of the width.
    TranslateXRel,
    /// ±m/10 of [`AugmentSettings::translate_fraction`] of the height.
    TranslateYRel,
    /// Takes out 0.5 + 0.05 m of the colour.
    Desaturate,
    /// Blur of radius 0.1 + 0.19 m.
    GaussianBlur,
    /// Blur of a radius drawn from 0.1 to 0.2 m.
    GaussianBlurRand,
}

impl OperationKind {
    /// The operator at this magnitude, noise and random signs drawn.
    pub(crate) fn draw(
        self,
        magnitude: f64,
        settings: &AugmentSettings,
        rng: &mut Stream,
    ) -> Operation {
        let level = settings.magnitude(magnitude, rng) / LEVELS;
        let mut signed = |value: f64| if rng.random::<f64>() > 0.5 { -value } else { value };
        match self {
            Self::AutoContrast => Operation::AutoContrast,
            Self::Equalize => Operation::Equalize,
            Self::Invert => Operation::Invert,
            Self::Rotate => Operation::Rotate { degrees: signed(level * 30.0) },
            Self::Posterize => Operation::Posterize { bits: (level * 4.0) as u32 },
            Self::PosterizeIncreasing => {
                Operation::Posterize { bits: 4u32.saturating_sub((level * 4.0) as u32) }
            }
            Self::PosterizeOriginal => Operation::Posterize { bits: (level * 4.0) as u32 + 4 },
            Self::Solarize => Operation::Solarize { threshold: solarize_threshold(level) },
            Self::SolarizeIncreasing => {
                Operation::Solarize { threshold: 256 - solarize_threshold(level) }
            }
            Self::SolarizeAdd => {
                Operation::SolarizeAdd { add: solarize_add(level), threshold: 128 }
            }
            Self::Color => Operation::Color { factor: level * 1.8 + 0.1 },
            Self::Contrast => Operation::Contrast { factor: level * 1.8 + 0.1 },
            Self::Brightness => Operation::Brightness { factor: level * 1.8 + 0.1 },
            Self::Sharpness => Operation::Sharpness { factor: level * 1.8 + 0.1 },
            Self::ColorIncreasing => {
                Operation::Color { factor: floor_factor(1.0 + signed(level * 0.9), settings) }
            }
            Self::ContrastIncreasing => {
                Operation::Contrast { factor: floor_factor(1.0 + signed(level * 0.9), settings) }
            }
            Self::BrightnessIncreasing => {
                Operation::Brightness { factor: floor_factor(1.0 + signed(level * 0.9), settings) }
            }
            Self::SharpnessIncreasing => {
                Operation::Sharpness { factor: floor_factor(1.0 + signed(level * 0.9), settings) }
            }
            Self::ShearX => Operation::ShearX { factor: signed(level * 0.3) },
            Self::ShearY => Operation::ShearY { factor: signed(level * 0.3) },
            Self::TranslateX => {
                Operation::TranslateX { pixels: signed(level * settings.translate_pixels) }
            }
            Self::TranslateY => {
                Operation::TranslateY { pixels: signed(level * settings.translate_pixels) }
            }
            Self::TranslateXRel => Operation::TranslateXRelative {
                fraction: signed(level * settings.translate_fraction),
            },
            Self::TranslateYRel => Operation::TranslateYRelative {
                fraction: signed(level * settings.translate_fraction),
            },
            Self::Desaturate => {
                Operation::Color { factor: 1.0 - (0.5 + 0.5 * level).clamp(0.5, 1.0) }
            }
            Self::GaussianBlur => {
                Operation::GaussianBlur { radius: (0.1 + 1.9 * level).clamp(0.1, 2.0) }
            }
            Self::GaussianBlurRand => {
                // A weak blur reverses the interval, which draws from it all the same.
                let widest = 2.0 * level.clamp(0.0, 1.0);
                Operation::GaussianBlur { radius: uniform((0.1, widest), rng) }
            }
        }
    }
}

fn solarize_threshold(level: f64) -> u32 {
    ((level * 256.0) as u32).min(256)
}

/// More than 128 pushes every value below the threshold to white: the releases without the bound
/// do the same with it.
fn solarize_add(level: f64) -> u32 {
    ((level * 110.0) as u32).min(128)
}

fn floor_factor(factor: f64, settings: &AugmentSettings) -> f64 {
    match settings.rules {
        TimmRules::V0_3_2 => factor,
        _ => factor.max(0.1),
    }
}
