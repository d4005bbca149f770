//! Means over classes.

use serde::{Deserialize, Serialize};

use crate::{BinaryCounts, ConfusionMatrix, Result, Undefined, Value, ZeroDivision};

/// How the values of several classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// The plain mean: every class counts alike.
    #[default]
    Macro,
    /// The value of all decisions thrown together: every sample counts alike.
    Micro,
    /// The mean weighted by the number of positives.
    Weighted,
}

/// What can be computed from the counts of a class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CountScore {
    /// [`BinaryCounts::accuracy`].
    Accuracy,
    /// [`BinaryCounts::precision`].
    Precision,
    /// [`BinaryCounts::recall`].
    Recall,
    /// [`BinaryCounts::specificity`].
    Specificity,
    /// [`BinaryCounts::f_beta`] with this β.
    FBeta(f64),
    /// [`BinaryCounts::balanced_accuracy`].
    BalancedAccuracy,
    /// [`BinaryCounts::mcc`].
    Mcc,
    /// [`BinaryCounts::iou`].
    Iou,
}

impl CountScore {
    /// The score of one class.
    #[must_use]
    pub fn of(self, counts: &BinaryCounts, zero_division: ZeroDivision) -> Value {
        match self {
            Self::Accuracy => counts.accuracy(),
            Self::Precision => zero_division.apply(counts.precision()),
            Self::Recall => zero_division.apply(counts.recall()),
            Self::Specificity => counts.specificity(),
            Self::FBeta(beta) => counts.f_beta(beta),
            Self::BalancedAccuracy => counts.balanced_accuracy(),
            Self::Mcc => zero_division.apply(counts.mcc()),
            Self::Iou => counts.iou(),
        }
    }

    /// The score of several classes; classes without a value are left out of the mean.
    #[must_use]
    pub fn averaged(
        self,
        counts: &[BinaryCounts],
        average: Average,
        zero_division: ZeroDivision,
    ) -> Value {
        let values = counts.iter().map(|c| (self.of(c, zero_division), c.positives() as f64));
        match average {
            Average::Macro => mean(values.map(|(value, _)| (value, 1.0))).0,
            Average::Weighted => mean(values).0,
            Average::Micro => {
                let sum = counts.iter().fold(BinaryCounts::default(), BinaryCounts::plus);
                self.of(&sum, zero_division)
            }
        }
    }
}

/// The weighted mean of the defined values, and how many there are.
pub(crate) fn mean(values: impl Iterator<Item = (Value, f64)>) -> (Value, usize) {
    let (mut sum, mut weights, mut defined, mut empty) = (0.0, 0.0, 0_usize, true);
    for (value, weight) in values {
        match value {
            Value::Defined(number) => {
                sum += number * weight;
                weights += weight;
                defined += 1;
            }
            Value::Undefined(reason) => empty &= reason == Undefined::NoSamples,
        }
    }
    let value = match (defined, weights > 0.0) {
        (0, _) if empty => Value::Undefined(Undefined::NoSamples),
        (0, _) => Value::Undefined(Undefined::NoDefinedClass),
        (_, false) => Value::Undefined(Undefined::ZeroDenominator),
        (_, true) => Value::Defined(sum / weights),
    };
    (value, defined)
}

impl BinaryCounts {
    /// (1 + β²)·TP / ((1 + β²)·TP + β²·FN + FP), in [0, 1] (van Rijsbergen 1979): recall counts β
    /// times as much as precision. β must be finite and positive to mean anything.
    #[must_use]
    pub fn f_beta(&self, beta: f64) -> Value {
        if beta == 1.0 {
            return self.f1();
        }
        let square = beta * beta;
        let hits = (1.0 + square) * self.true_positives as f64;
        let misses = square * self.false_negatives as f64 + self.false_positives as f64;
        match self.f1() {
            Value::Undefined(reason) => Value::Undefined(reason),
            Value::Defined(_) => Value::Defined(hits / (hits + misses)),
        }
    }

    /// Intersection over union (Jaccard index): TP / (TP + FP + FN), in [0, 1].
    #[must_use]
    pub fn iou(&self) -> Value {
        let union = self.positives().saturating_add(self.false_positives);
        match self.f1() {
            Value::Undefined(reason) => Value::Undefined(reason),
            Value::Defined(_) => Value::ratio(self.true_positives, union, Undefined::ClassAbsent),
        }
    }

    /// The sum of two counts.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            true_positives: self.true_positives.saturating_add(other.true_positives),
            false_positives: self.false_positives.saturating_add(other.false_positives),
            false_negatives: self.false_negatives.saturating_add(other.false_negatives),
            true_negatives: self.true_negatives.saturating_add(other.true_negatives),
        }
    }
}

/// Counts of the decisions `scores > threshold` against the truth.
///
/// # Errors
/// The slices differ in length; a score is not finite.
pub fn counts_at(scores: &[f32], positive: &[bool], threshold: f32) -> Result<BinaryCounts> {
    crate::ranking::check(scores, positive)?;
    let mut counts = BinaryCounts::default();
    for (&score, &positive) in scores.iter().zip(positive) {
        counts.record(positive, score > threshold);
    }
    Ok(counts)
}

impl ConfusionMatrix {
    /// Mean distance |truth − prediction| in classes: 0 is perfect. For ordered classes.
    #[must_use]
    pub fn mean_distance(&self) -> Value {
        let cells = self.rows().iter().enumerate();
        let sum: f64 = cells
            .flat_map(|(i, row)| {
                row.iter().enumerate().map(move |(j, &n)| n as f64 * i.abs_diff(j) as f64)
            })
            .sum();
        Value::quotient(sum, self.total() as f64, Undefined::NoSamples)
    }

    /// Share of samples predicted at most `steps` classes off. For ordered classes.
    #[must_use]
    pub fn accuracy_within(&self, steps: usize) -> Value {
        let near = self.rows().iter().enumerate().flat_map(|(i, row)| {
            row.iter().enumerate().filter(move |(j, _)| i.abs_diff(*j) <= steps).map(|(_, n)| *n)
        });
        Value::ratio(near.sum(), self.total(), Undefined::NoSamples)
    }

    /// The mean over the classes that occur of their [`mean_distance`](Self::mean_distance), so
    /// that rare grades count as much as frequent ones (Baccianella et al. 2009).
    #[must_use]
    pub fn macro_mean_distance(&self) -> Value {
        let of_row = |(i, row): (usize, &Vec<u64>)| {
            let distances = row.iter().enumerate().map(|(j, &n)| n as f64 * i.abs_diff(j) as f64);
            let samples: u64 = row.iter().sum();
            Value::quotient(distances.sum(), samples as f64, Undefined::NoSamples)
        };
        mean(self.rows().iter().enumerate().map(|row| (of_row(row), 1.0))).0
    }
}
