//! Windows on the grey scale.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::level::{Level, histograms, look_up};
use crate::parameters::{check_interval, check_within};
use crate::{Error, Image, Pixels, Result, Transform};

/// The curve inside a window: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiFunction {
    /// `LINEAR`: a ramp from centre − 0.5 − (width − 1)/2 to centre − 0.5 + (width − 1)/2.
    #[default]
    Linear,
    /// `LINEAR_EXACT`: a ramp from centre − width/2 to centre + width/2.
    LinearExact,
    /// `SIGMOID`: 1 / (1 + exp(−4 (x − centre) / width)).
    Sigmoid,
}

impl VoiFunction {
    /// Part of full scale (0 to 1) of a value.
    #[must_use]
    pub fn evaluate(self, value: f64, center: f64, width: f64) -> f64 {
        match self {
            Self::Linear => {
                let (center, width) = (center - 0.5, width - 1.0);
                if value <= center - width / 2.0 {
                    0.0
                } else if value > center + width / 2.0 {
                    1.0
                } else {
                    (value - center) / width + 0.5
                }
            }
            Self::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

/// Where the window lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowRange {
    /// Centre and width in the picture's own values (levels of integers).
    CenterWidth {
        /// Middle of the window.
        center: f64,
        /// Width of the window, at least 1 for the linear function.
        width: f64,
        /// Curve inside.
        function: VoiFunction,
    },
    /// A ramp between two percentiles of each picture's values (all channels together), which
    /// makes pictures of different exposure comparable. Only of integer pictures.
    Percentiles {
        /// Lower end, 0 to 100.
        low: f64,
        /// Upper end, 0 to 100.
        high: f64,
    },
}

/// Maps a window of values to the full scale (0 to 255, 65535 or 1) and cuts off what is outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The window.
    pub range: WindowRange,
}

const NAME: &str = "Window";

impl Window {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the width is not positive (below 1 for the linear function), a
    /// value is not finite, or the percentiles are reversed or outside 0 to 100.
    pub fn validate(&self) -> Result<()> {
        match self.range {
            WindowRange::CenterWidth { center, width, function } => {
                check_within(NAME, "center", center, (-1e9, 1e9))?;
                let least = if function == VoiFunction::Linear { 1.0 } else { 1e-6 };
                check_within(NAME, "width", width, (least, 1e9))
            }
            WindowRange::Percentiles { low, high } => {
                check_interval(NAME, "percentiles", (low, high), (0.0, 100.0))
            }
        }
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }

    fn map_levels<T: Level>(&self, values: &[T]) -> Vec<T> {
        let full = f64::from(T::MAX);
        let table: Vec<T> = match self.range {
            WindowRange::CenterWidth { center, width, function } => (0..=T::MAX)
                .map(|value| T::round(function.evaluate(value.into(), center, width) * full))
                .collect(),
            WindowRange::Percentiles { low, high } => {
                let counts = histograms(values, 1).pop().unwrap_or_default();
                let ends = (percentile(&counts, low), percentile(&counts, high));
                if ends.0 >= ends.1 {
                    return values.to_vec();
                }
                let width = (ends.1 - ends.0) as f64;
                (0..=T::MAX)
                    .map(|value| T::round((f64::from(value) - ends.0 as f64) / width * full))
                    .collect()
            }
        };
        look_up(values, 1, &[table])
    }
}

/// The smallest level that at least this many percent of the values do not exceed.
pub(crate) fn percentile(counts: &[u64], percent: f64) -> usize {
    let total: u64 = counts.iter().sum();
    let wanted = (total as f64 * percent / 100.0).ceil().max(1.0);
    let mut sum = 0u64;
    counts
        .iter()
        .position(|count| {
            sum += count;
            sum as f64 >= wanted
        })
        .unwrap_or_default()
}

impl Transform for Window {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let pixels = match (image.pixels(), self.range) {
            (Pixels::U8(values), _) => Pixels::U8(self.map_levels(values)),
            (Pixels::U16(values), _) => Pixels::U16(self.map_levels(values)),
            (Pixels::F32(values), WindowRange::CenterWidth { center, width, function }) => {
                let map = |&value: &f32| function.evaluate(value.into(), center, width) as f32;
                Pixels::F32(values.iter().map(map).collect())
            }
            (Pixels::F32(_), WindowRange::Percentiles { .. }) => {
                let expected = "a u8 or u16 picture for percentiles".to_owned();
                return Err(Error::Kind { transform: NAME, expected, got: image.describe() });
            }
        };
        Image::new(image.width(), image.height(), image.channels(), pixels)
    }
}
