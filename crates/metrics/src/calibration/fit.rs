//! Maps from scores to calibrated probabilities.

use serde::{Deserialize, Serialize};

use super::isotonic::Isotonic;
use super::scaling::{Affine, fit_platt, fit_temperature};
use crate::probability::{check_distributions, check_probabilities};
use crate::{MetricsError, Predictions, Result, Task, Undefined};

/// How probabilities are mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationMethod {
    /// One temperature for all logits (Guo et al. 2017): never changes which class wins.
    Temperature,
    /// One temperature per class or finding.
    TemperaturePerClass,
    /// Slope and intercept per class (Platt 1999, with his smoothed targets).
    Platt,
    /// A non-decreasing step function per class (Zadrozny and Elkan 2002). Needs some hundred
    /// positives per class, and makes ties.
    Isotonic,
}

/// A fitted calibration, to be stored with the model and applied to its probabilities wherever it
/// is used. Serialise it to store it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    task: Task,
    classes: Vec<String>,
    map: Map,
}

/// The map, one entry per class or one for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
enum Map {
    Temperature { temperature: f64 },
    TemperaturePerClass { temperatures: Vec<f64> },
    Platt { classes: Vec<Affine> },
    Isotonic { classes: Vec<Isotonic> },
}

impl Calibration {
    /// Fits a calibration to predicted probabilities by maximum likelihood (isotonic: by least
    /// squares). Classes that have no positive or no negative stay as they are.
    ///
    /// # Errors
    /// The predictions are on the test part, hold no known sample, or are no probabilities.
    pub fn fit(predictions: &Predictions, method: CalibrationMethod) -> Result<Self> {
        predictions.check_fittable("a calibration")?;
        let classes = predictions.classes().to_vec();
        check(predictions.task(), predictions.scores(), classes.len())?;
        let known = |class| !predictions.one_vs_rest(class).0.is_empty();
        if !(0..classes.len()).any(known) {
            let (measure, class) = ("a calibration", classes.join(", "));
            return Err(MetricsError::UndefinedValue {
                measure,
                class,
                reason: Undefined::NoSamples,
            });
        }
        let columns = (0..classes.len()).map(|class| predictions.one_vs_rest(class));
        let map = match method {
            CalibrationMethod::Temperature => {
                Map::Temperature { temperature: fit_temperature(predictions) }
            }
            CalibrationMethod::TemperaturePerClass => Map::TemperaturePerClass {
                temperatures: columns.map(|(s, y)| super::scaling::of_finding(&s, &y)).collect(),
            },
            CalibrationMethod::Platt => {
                Map::Platt { classes: columns.map(|(s, y)| fit_platt(&s, &y)).collect() }
            }
            CalibrationMethod::Isotonic => {
                Map::Isotonic { classes: columns.map(|(s, y)| Isotonic::fit(&s, &y)).collect() }
            }
        };
        Ok(Self { task: predictions.task(), classes, map })
    }

    /// Names of the classes it was fitted for.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How it was fitted, in words.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self.map {
            Map::Temperature { .. } => "temperature",
            Map::TemperaturePerClass { .. } => "one temperature per class",
            Map::Platt { .. } => "Platt scaling",
            Map::Isotonic { .. } => "isotonic regression",
        }
    }

    /// The temperature, where there is one for all.
    #[must_use]
    pub fn temperature(&self) -> Option<f64> {
        match self.map {
            Map::Temperature { temperature } => Some(temperature),
            _ => None,
        }
    }

    /// Calibrates row-major rows × classes probabilities in place. Rows of exclusive classes add
    /// up to 1 afterwards.
    ///
    /// # Errors
    /// The length is no multiple of the classes; the scores are no probabilities; a stored map
    /// does not fit the classes.
    pub fn apply(&self, scores: &mut [f32]) -> Result<()> {
        let width = self.classes.len();
        check(self.task, scores, width)?;
        self.check_map()?;
        for row in scores.chunks_exact_mut(width.max(1)) {
            let old: Vec<f64> = row.iter().map(|score| f64::from(*score)).collect();
            let new = self.row(&old);
            for (score, new) in row.iter_mut().zip(new) {
                *score = new as f32;
            }
        }
        Ok(())
    }

    /// The predictions with calibrated scores.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); the predictions are of other classes.
    pub fn calibrated(&self, predictions: &Predictions) -> Result<Predictions> {
        if predictions.classes() != self.classes || predictions.task() != self.task {
            return Err(MetricsError::Mismatch { what: "classes of calibration and predictions" });
        }
        let mut scores = predictions.scores().to_vec();
        self.apply(&mut scores)?;
        predictions.clone().with_scores(scores)
    }

    fn row(&self, old: &[f64]) -> Vec<f64> {
        let exclusive = self.task == Task::SingleLabel;
        match &self.map {
            Map::Temperature { temperature } if exclusive => {
                let powers: Vec<f64> = old.iter().map(|p| log(*p) / temperature).collect();
                let most = powers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                normalised(powers.iter().map(|power| (power - most).exp()).collect(), old)
            }
            Map::Temperature { temperature } => {
                old.iter().map(|p| sigmoid(logit(*p) / temperature)).collect()
            }
            Map::TemperaturePerClass { temperatures } => {
                let cells = old.iter().zip(temperatures);
                self.finish(cells.map(|(p, t)| sigmoid(logit(*p) / t)).collect(), old)
            }
            Map::Platt { classes } => {
                let cells = old.iter().zip(classes);
                self.finish(cells.map(|(p, map)| map.apply(*p)).collect(), old)
            }
            Map::Isotonic { classes } => {
                let cells = old.iter().zip(classes);
                self.finish(cells.map(|(p, map)| map.apply(*p)).collect(), old)
            }
        }
    }

    /// Per-class maps of exclusive classes need not add up to 1.
    fn finish(&self, new: Vec<f64>, old: &[f64]) -> Vec<f64> {
        match self.task {
            Task::SingleLabel => normalised(new, old),
            Task::MultiLabel => new,
        }
    }

    /// A stored map may have been edited.
    fn check_map(&self) -> Result<()> {
        let positive = |t: &f64| t.is_finite() && *t > 0.0;
        let width = self.classes.len();
        let fits = match &self.map {
            Map::Temperature { temperature } => positive(temperature),
            Map::TemperaturePerClass { temperatures } => {
                temperatures.len() == width && temperatures.iter().all(positive)
            }
            Map::Platt { classes } => {
                classes.len() == width && classes.iter().all(Affine::is_valid)
            }
            Map::Isotonic { classes } => {
                classes.len() == width && classes.iter().all(Isotonic::is_valid)
            }
        };
        if fits { Ok(()) } else { Err(MetricsError::Mismatch { what: "calibration and classes" }) }
    }
}

/// Refuses scores that are no probabilities.
fn check(task: Task, scores: &[f32], classes: usize) -> Result<()> {
    if !scores.len().is_multiple_of(classes.max(1)) {
        let (rows, got) = (scores.len() / classes.max(1), scores.len());
        return Err(MetricsError::ScoreCount { rows, classes, got });
    }
    match task {
        Task::SingleLabel => check_distributions(scores, classes),
        Task::MultiLabel => check_probabilities(scores, classes),
    }
}

/// The row divided by its sum; the old row where the sum is 0.
fn normalised(new: Vec<f64>, old: &[f64]) -> Vec<f64> {
    let sum: f64 = new.iter().sum();
    if sum > 0.0 { new.into_iter().map(|p| p / sum).collect() } else { old.to_vec() }
}

/// Logarithm that stays finite at 0: f32 softmax underflows there.
pub(super) fn log(p: f64) -> f64 {
    p.max(f64::from(f32::MIN_POSITIVE)).ln()
}

/// ln(p / (1 − p)), finite at 0 and 1.
pub(super) fn logit(p: f64) -> f64 {
    // The f32 just below 1.
    let p = p.clamp(f64::from(f32::MIN_POSITIVE), 1.0 - f64::from(f32::EPSILON) / 2.0);
    (p / (1.0 - p)).ln()
}

/// 1 / (1 + e⁻ˣ).
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
