//! How well probabilities agree with frequencies.

use serde::{Deserialize, Serialize};

use crate::curves::check_weights;
use crate::probability::check_probabilities;
use crate::{MetricsError, Result, Undefined, Value};

/// How confidences are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// [0, 1] cut into equal parts, lower bound included; 1 belongs to the last.
    #[default]
    EqualWidth,
    /// Parts of about equal weight, equal confidences together ("adaptive", Nixon et al. 2019).
    EqualMass,
}

/// How the gaps of the bins become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapNorm {
    /// The mean gap, bins weighted by their samples.
    #[default]
    Mean,
    /// Root of the mean squared gap.
    RootMeanSquare,
    /// The greatest gap.
    Max,
}

/// A way to measure calibration: expected (ECE), maximum (MCE), adaptive (ACE) calibration error.
///
/// ECE and MCE are those of Guo et al. 2017 and of torchmetrics (`l1`, `max`), except that
/// torchmetrics gives a confidence of exactly 1 a bin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CalibrationError {
    /// Number of bins.
    pub bins: usize,
    /// How confidences are grouped.
    pub binning: Binning,
    /// How gaps become one number.
    pub norm: GapNorm,
}

impl CalibrationError {
    /// Expected calibration error over 15 bins of equal width.
    pub const ECE: Self = Self { bins: 15, binning: Binning::EqualWidth, norm: GapNorm::Mean };
    /// Maximum calibration error over 15 bins of equal width.
    pub const MCE: Self = Self { norm: GapNorm::Max, ..Self::ECE };
    /// Adaptive calibration error: mean gap over 15 bins of equal mass.
    pub const ACE: Self = Self { binning: Binning::EqualMass, ..Self::ECE };

    /// The error of confidences ∈ [0, 1] of which `correct` came true; `weights` defaults to 1.
    ///
    /// # Errors
    /// The slices differ in length; a confidence is no probability; a weight is negative or not
    /// finite; there are no bins.
    pub fn of(
        self,
        confidences: &[f32],
        correct: &[bool],
        weights: Option<&[f64]>,
    ) -> Result<Value> {
        let events = Events::checked(confidences, correct, weights)?;
        let mut bins = self.empty()?;
        let weight = |row: usize| weights.and_then(|w| w.get(row).copied()).unwrap_or(1.0);
        Ok(self.measure(&events, weight, &mut bins))
    }

    /// One bin each.
    pub(crate) fn empty(self) -> Result<Vec<Bin>> {
        if self.bins == 0 {
            return Err(MetricsError::setting("the number of bins", 0, "at least 1"));
        }
        Ok(vec![Bin::default(); self.bins])
    }

    /// Fills `bins` and combines their gaps.
    pub(crate) fn measure(
        self,
        events: &Events,
        weight: impl Fn(usize) -> f64,
        bins: &mut Vec<Bin>,
    ) -> Value {
        bins.clear();
        bins.resize(self.bins, Bin::default());
        events.fill(self.binning, weight, bins);
        let total: f64 = bins.iter().map(|bin| bin.weight).sum();
        if total <= 0.0 {
            return Value::Undefined(Undefined::NoSamples);
        }
        let gaps = bins.iter().filter(|bin| bin.weight > 0.0);
        let gaps = gaps.map(|bin| (bin.gap(), bin.weight / total));
        Value::Defined(match self.norm {
            GapNorm::Mean => gaps.map(|(gap, share)| gap * share).sum(),
            GapNorm::RootMeanSquare => {
                gaps.map(|(gap, share)| gap * gap * share).sum::<f64>().sqrt()
            }
            GapNorm::Max => gaps.map(|(gap, _)| gap).fold(0.0, f64::max),
        })
    }
}

/// Sums of one bin.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bin {
    weight: f64,
    confidence: f64,
    correct: f64,
    low: f64,
    high: f64,
}

impl Bin {
    fn gap(&self) -> f64 {
        ((self.correct - self.confidence) / self.weight).abs()
    }
}

/// Confidences, sorted, with what came true.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    /// (row, confidence, came true), by confidence.
    sorted: Vec<(u32, f32, bool)>,
}

impl Events {
    /// Events (row, confidence, came true).
    pub(crate) fn new(events: impl Iterator<Item = (usize, f32, bool)>) -> Self {
        let mut sorted: Vec<_> = events.map(|(row, p, correct)| (row as u32, p, correct)).collect();
        // Stable, so that sums do not depend on the sorting algorithm.
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        Self { sorted }
    }

    fn checked(confidences: &[f32], correct: &[bool], weights: Option<&[f64]>) -> Result<Self> {
        crate::ranking::check(confidences, correct)?;
        check_probabilities(confidences, 1)?;
        if let Some(weights) = weights {
            check_weights(weights, confidences.len())?;
        }
        let events = confidences.iter().zip(correct).enumerate();
        Ok(Self::new(events.map(|(row, (p, correct))| (row, *p, *correct))))
    }

    fn fill(&self, binning: Binning, weight: impl Fn(usize) -> f64, bins: &mut [Bin]) {
        let count = bins.len();
        let total: f64 = match binning {
            Binning::EqualWidth => 0.0,
            Binning::EqualMass => self.sorted.iter().map(|event| weight(event.0 as usize)).sum(),
        };
        let mut before = 0.0;
        for tied in self.sorted.chunk_by(|a, b| a.1 == b.1) {
            let Some(&(_, p, _)) = tied.first() else { continue };
            let p = f64::from(p);
            let place = match binning {
                Binning::EqualWidth => p * count as f64,
                Binning::EqualMass => before * count as f64 / total,
            };
            // NaN (no weight at all) becomes 0.
            let place = (place as usize).min(count.saturating_sub(1));
            let Some(bin) = bins.get_mut(place) else { continue };
            for &(row, _, correct) in tied {
                let weight = weight(row as usize);
                if weight <= 0.0 {
                    continue;
                }
                if bin.weight == 0.0 {
                    bin.low = p;
                }
                bin.high = p;
                bin.weight += weight;
                bin.confidence += weight * p;
                bin.correct += weight * f64::from(u8::from(correct));
                before += weight;
            }
        }
    }
}

/// One point of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lowest confidence in the bin.
    pub lowest: f64,
    /// Highest confidence in the bin.
    pub highest: f64,
    /// Samples.
    pub samples: u64,
    /// Mean confidence.
    pub confidence: f64,
    /// Share that came true.
    pub frequency: f64,
    /// How many came true.
    pub correct: u64,
}

/// The bins of a reliability diagram that hold samples, by confidence.
///
/// # Errors
/// The slices differ in length; a confidence is no probability; there are no bins.
pub fn reliability(
    confidences: &[f32],
    correct: &[bool],
    bins: usize,
    binning: Binning,
) -> Result<Vec<ReliabilityBin>> {
    let events = Events::checked(confidences, correct, None)?;
    let mut filled = CalibrationError { bins, binning, norm: GapNorm::Mean }.empty()?;
    events.fill(binning, |_| 1.0, &mut filled);
    let points = filled.iter().filter(|bin| bin.weight > 0.0).map(|bin| ReliabilityBin {
        lowest: bin.low,
        highest: bin.high,
        samples: bin.weight as u64,
        confidence: bin.confidence / bin.weight,
        frequency: bin.correct / bin.weight,
        correct: bin.correct as u64,
    });
    Ok(points.collect())
}
