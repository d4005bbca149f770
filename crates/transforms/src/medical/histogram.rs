//! Histogram matching.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::level::{Level, histograms, look_up, map_levels, not_integer};
use crate::{Error, Image, Pixels, Result, Transform};

/// Changes the values of each channel so that their distribution becomes that of a reference:
/// quantile for quantile, between the reference's values linearly, as scikit-image's
/// `match_histograms` (which cuts the result off where this rounds it).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistogramMatch {
    /// Number of pixels at each of the 256 levels of the 8-bit scale, one list per channel.
    pub reference: Vec<Vec<u64>>,
}

const NAME: &str = "HistogramMatch";

impl HistogramMatch {
    /// The distribution of a picture as reference. 16-bit values count at their highest 8 bits.
    ///
    /// # Errors
    /// [`Error::Kind`] when the picture's values are real.
    pub fn to_picture(image: &Image) -> Result<Self> {
        let channels = image.channels();
        let reference = match image.pixels() {
            Pixels::U8(values) => histograms(values, channels),
            Pixels::U16(values) => {
                let high: Vec<u8> = values.iter().map(|value| (value >> 8) as u8).collect();
                histograms(&high, channels)
            }
            Pixels::F32(_) => return Err(not_integer(NAME, image)),
        };
        Ok(Self { reference })
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there are neither 1 nor 3 lists, or one has not 256 counts or
    /// counts nothing.
    pub fn validate(&self) -> Result<()> {
        let fail = |reason| Err(Error::Parameter { transform: NAME, reason });
        if !matches!(self.reference.len(), 1 | 3) {
            return fail(format!("{} histograms, there must be 1 or 3", self.reference.len()));
        }
        for counts in &self.reference {
            let total = counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
            if counts.len() != 256 || !matches!(total, Some(1..)) {
                return fail(format!(
                    "a histogram has {} counts and the sum {total:?}; it must have 256 and count \
                     something",
                    counts.len()
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for HistogramMatch {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let channels = image.channels();
        if self.reference.len() != 1 && self.reference.len() != channels {
            let expected = format!("a picture of {} channels", self.reference.len());
            return Err(Error::Kind { transform: NAME, expected, got: image.describe() });
        }
        let pixels = map_levels!(NAME, &image, values => {
            let references = self.reference.iter().cycle();
            let counts = histograms(values, channels);
            let tables: Vec<_> =
                counts.iter().zip(references).map(|(from, to)| matching(from, to)).collect();
            look_up(values, channels, &tables)
        })?;
        Image::new(image.width(), image.height(), channels, pixels)
    }
}

/// The table from one distribution to another; `to` has 256 levels.
fn matching<T: Level>(from: &[u64], to: &[u64]) -> Vec<T> {
    let step = f64::from(T::STEP);
    let points: Vec<(f64, f64)> = quantiles(to)
        .zip(to)
        .enumerate()
        .filter(|(_, (_, count))| **count > 0)
        .map(|(level, (quantile, _))| (quantile, level as f64 * step))
        .collect();
    let mut upper = 0;
    quantiles(from)
        .map(|quantile| {
            while points.get(upper).is_some_and(|point| point.0 < quantile) {
                upper += 1;
            }
            let before = upper.checked_sub(1).and_then(|at| points.get(at));
            let value = match (before, points.get(upper)) {
                (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (quantile - a.0) / (b.0 - a.0),
                (None, Some(point)) | (Some(point), None) => point.1,
                (None, None) => 0.0,
            };
            T::round(value)
        })
        .collect()
}

/// The part of the values that do not exceed each level.
fn quantiles(counts: &[u64]) -> impl Iterator<Item = f64> {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().scan(0u64, move |sum, count| {
        *sum += count;
        Some(*sum as f64 / total)
    })
}
