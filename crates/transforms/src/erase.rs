//! Random erasing (Zhong et al. 2017), as timm does it after normalisation.

use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::crop::Region;
use crate::parameters::{chance, check_probability, check_range, check_within, uniform};
use crate::{Error, Image, Pixels, Result, Transform};

/// What an erased part is filled with; values are on the scale of normalised pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EraseMode {
    /// Zeros: the mean of the data.
    #[default]
    Const,
    /// One draw from N(0, 1) per channel.
    Rand,
    /// One draw from N(0, 1) per value, so that a grey picture of three channels gets coloured
    /// noise.
    Pixel,
}

/// Replaces random rectangles of a normalised picture.
///
/// As timm's `RandomErasing`: the number of rectangles is uniform in `count`; for each, up to 10
/// times, area = U(`area`) · picture / number and aspect (height / width) =
/// exp(U(ln `aspect`)) are drawn, sides rounded, until both are shorter than the picture's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomErasing {
    /// How often a picture is touched, 0 to 1.
    pub probability: f64,
    /// Filling.
    pub mode: EraseMode,
    /// Fewest and most rectangles.
    #[serde(default = "one_rectangle")]
    pub count: (usize, usize),
    /// Interval of the area of all rectangles together, as part of the picture's.
    #[serde(default = "area")]
    pub area: (f64, f64),
    /// Interval of height / width.
    #[serde(default = "aspect")]
    pub aspect: (f64, f64),
}

fn one_rectangle() -> (usize, usize) {
    (1, 1)
}

fn area() -> (f64, f64) {
    (0.02, 1.0 / 3.0)
}

fn aspect() -> (f64, f64) {
    (0.3, 1.0 / 0.3)
}

const NAME: &str = "RandomErasing";

impl RandomErasing {
    /// timm's defaults: one rectangle of 0.02 to 1/3 of the area, aspect 0.3 to 1/0.3.
    #[must_use]
    pub fn new(probability: f64, mode: EraseMode) -> Self {
        Self { probability, mode, count: one_rectangle(), area: area(), aspect: aspect() }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the probability is outside 0 to 1 or an interval is reversed or
    /// out of bounds (area 0 to 1, aspect up to 1000, count 1 to 1024).
    pub fn validate(&self) -> Result<()> {
        check_probability(NAME, self.probability)?;
        check_range(NAME, "area", self.area, 1.0)?;
        check_range(NAME, "aspect", self.aspect, 1000.0)?;
        let (fewest, most) = (self.count.0 as f64, self.count.1 as f64);
        check_within(NAME, "count.0", fewest, (1.0, 1024.0))?;
        check_within(NAME, "count.1", most, (fewest, 1024.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0
    }

    /// The rectangles of one picture, which may be fewer than drawn for where none fitted.
    pub(crate) fn draw<R: Rng>(&self, width: usize, height: usize, rng: &mut R) -> Vec<Region> {
        if !chance(self.probability, rng) {
            return Vec::new();
        }
        let count = match self.count {
            (fewest, most) if fewest == most => fewest,
            (fewest, most) => rng.random_range(fewest..=most),
        };
        let share = width as f64 * height as f64 / count as f64;
        (0..count).filter_map(|_| self.draw_one((width, height), share, rng)).collect()
    }

    fn draw_one<R: Rng>(
        &self,
        (width, height): (usize, usize),
        share: f64,
        rng: &mut R,
    ) -> Option<Region> {
        for _ in 0..10 {
            let target = uniform(self.area, rng) * share;
            let aspect = uniform((self.aspect.0.ln(), self.aspect.1.ln()), rng).exp();
            let h = (target * aspect).sqrt().round_ties_even() as usize;
            let w = (target / aspect).sqrt().round_ties_even() as usize;
            if w < width && h < height {
                let top = rng.random_range(0..=height - h);
                let left = rng.random_range(0..=width - w);
                return Some(Region { left, top, width: w, height: h });
            }
        }
        None
    }

    fn fill<R: Rng>(
        &self,
        values: &mut [f32],
        (width, channels): (usize, usize),
        region: Region,
        rng: &mut R,
    ) {
        let colour: Vec<f32> = match self.mode {
            EraseMode::Rand => (0..channels).map(|_| rng.sample(StandardNormal)).collect(),
            _ => vec![0.0; channels],
        };
        let rows = values.chunks_exact_mut(width * channels).skip(region.top).take(region.height);
        for row in rows {
            let part = row.iter_mut().skip(region.left * channels).take(region.width * channels);
            for (slot, &value) in part.zip(colour.iter().cycle()) {
                *slot = match self.mode {
                    EraseMode::Pixel => rng.sample(StandardNormal),
                    _ => value,
                };
            }
        }
    }
}

impl Transform for RandomErasing {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        let kind = image.describe();
        let Pixels::F32(mut values) = image.into_pixels() else {
            let expected = "an f32 picture (put it after Normalize)".to_owned();
            return Err(Error::Kind { transform: NAME, expected, got: kind });
        };
        for region in self.draw(width, height, rng) {
            self.fill(&mut values, (width, channels), region, rng);
        }
        Image::new(width, height, channels, Pixels::F32(values))
    }
}
