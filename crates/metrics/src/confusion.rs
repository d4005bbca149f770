//! Counts of right and wrong decisions, and what follows from them.

use serde::{Deserialize, Serialize};

use crate::{MetricsError, Result, Undefined, Value};

/// Above this, `f64` no longer holds every integer and the products below could overflow.
const MOST_SAMPLES: u64 = 1 << 53;

/// What 0/0 means in precision, recall and MCC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDivision {
    /// It has no value, says why, and is left out of means.
    #[default]
    Undefined,
    /// It counts as 0, scikit-learn's default. Use it to compare with published tables. A class
    /// that occurs neither in targets nor in predictions is still skipped, as scikit-learn does.
    Zero,
}

impl ZeroDivision {
    /// Applies the convention to a value whose denominator may have been 0.
    pub(crate) fn apply(self, value: Value) -> Value {
        match (self, value) {
            (Self::Zero, Value::Undefined(reason)) if is_zero_division(reason) => {
                Value::Defined(0.0)
            }
            _ => value,
        }
    }
}

/// Whether 0/0 is the cause. Having no data at all is none: no convention can replace data.
fn is_zero_division(reason: Undefined) -> bool {
    matches!(
        reason,
        Undefined::NeverPredicted | Undefined::OnlyNegatives | Undefined::ZeroDenominator
    )
}

/// Decisions about one class against the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct BinaryCounts {
    /// Positives predicted positive.
    pub true_positives: u64,
    /// Negatives predicted positive.
    pub false_positives: u64,
    /// Positives predicted negative.
    pub false_negatives: u64,
    /// Negatives predicted negative.
    pub true_negatives: u64,
}

impl BinaryCounts {
    /// Counts one decision.
    pub fn record(&mut self, positive: bool, predicted: bool) {
        let count = match (positive, predicted) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *count = count.saturating_add(1);
    }

    /// Positive samples.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.true_positives.saturating_add(self.false_negatives)
    }

    /// Negative samples.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.true_negatives.saturating_add(self.false_positives)
    }

    /// Samples predicted positive.
    #[must_use]
    pub fn predicted(&self) -> u64 {
        self.true_positives.saturating_add(self.false_positives)
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.positives().saturating_add(self.negatives())
    }

    /// (TP + TN) / n, in [0, 1].
    #[must_use]
    pub fn accuracy(&self) -> Value {
        let right = self.true_positives.saturating_add(self.true_negatives);
        Value::ratio(right, self.total(), Undefined::NoSamples)
    }

    /// TP / (TP + FP), in [0, 1]: how many of the found are real.
    #[must_use]
    pub fn precision(&self) -> Value {
        let reason = self.absence().unwrap_or(Undefined::NeverPredicted);
        Value::ratio(self.true_positives, self.predicted(), reason)
    }

    /// TP / (TP + FN), in [0, 1]: how many of the real are found (sensitivity).
    #[must_use]
    pub fn recall(&self) -> Value {
        let reason = self.absence().unwrap_or(Undefined::OnlyNegatives);
        Value::ratio(self.true_positives, self.positives(), reason)
    }

    /// TN / (TN + FP), in [0, 1]: how many of the negatives are left alone.
    #[must_use]
    pub fn specificity(&self) -> Value {
        let reason =
            if self.total() == 0 { Undefined::NoSamples } else { Undefined::OnlyPositives };
        Value::ratio(self.true_negatives, self.negatives(), reason)
    }

    /// 2·TP / (2·TP + FP + FN), in [0, 1]. Never above the mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> Value {
        let reason = self.absence().unwrap_or(Undefined::ZeroDenominator);
        let denominator = self.predicted().saturating_add(self.positives());
        Value::ratio(self.true_positives.saturating_mul(2), denominator, reason)
    }

    /// (recall + specificity) / 2, in [0, 1]; undefined unless both kinds of sample occur.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Value {
        match (self.positives(), self.negatives()) {
            (0, 0) => Value::Undefined(Undefined::NoSamples),
            (0, _) => Value::Undefined(Undefined::OnlyNegatives),
            (_, 0) => Value::Undefined(Undefined::OnlyPositives),
            (positives, negatives) => {
                let recall = self.true_positives as f64 / positives as f64;
                let specificity = self.true_negatives as f64 / negatives as f64;
                Value::Defined(f64::midpoint(recall, specificity))
            }
        }
    }

    /// Matthews correlation of truth and decision, in [−1, 1]; see [`mcc`].
    #[must_use]
    pub fn mcc(&self) -> Value {
        let agree = u128::from(self.true_positives) * u128::from(self.true_negatives);
        let differ = u128::from(self.false_positives) * u128::from(self.false_negatives);
        let truth = u128::from(self.positives()) * u128::from(self.negatives());
        let decided = u128::from(self.predicted())
            * u128::from(self.false_negatives.saturating_add(self.true_negatives));
        if self.total() == 0 {
            return Value::Undefined(Undefined::NoSamples);
        }
        correlation(signed_difference(agree, differ), truth as f64, decided as f64)
    }

    /// Why the class has no samples to judge it by, if it has none.
    fn absence(&self) -> Option<Undefined> {
        if self.total() == 0 {
            Some(Undefined::NoSamples)
        } else if self.positives() == 0 && self.predicted() == 0 {
            Some(Undefined::ClassAbsent)
        } else {
            None
        }
    }
}

/// Counts of (truth, prediction) pairs; rows are the truth, columns the prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Vec<u64>>", try_from = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    rows: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// An empty matrix of `classes` × `classes`.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { rows: vec![vec![0; classes]; classes] }
    }

    /// A matrix from its counts, row by row.
    ///
    /// # Errors
    /// A row has another length than there are rows; the counts add up to more than 2^53.
    pub fn from_rows(rows: Vec<Vec<u64>>) -> Result<Self> {
        let classes = rows.len();
        if rows.iter().any(|row| row.len() != classes) {
            let got = rows.iter().map(Vec::len).sum();
            return Err(MetricsError::MatrixShape { classes, got });
        }
        let total = rows.iter().flatten().try_fold(0_u64, |sum, &count| sum.checked_add(count));
        match total {
            Some(total) if total <= MOST_SAMPLES => Ok(Self { rows }),
            _ => Err(MetricsError::TooManySamples),
        }
    }

    /// Counts one sample.
    ///
    /// # Errors
    /// One of the two is not below the number of classes (the error's row is 0).
    pub fn record(&mut self, truth: usize, prediction: usize) -> Result<()> {
        let classes = self.classes();
        let target = if truth < classes { prediction } else { truth };
        let count = self.rows.get_mut(truth).and_then(|row| row.get_mut(prediction));
        let count = count.ok_or(MetricsError::TargetOutOfRange { row: 0, target, classes })?;
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Adds the counts of another matrix.
    ///
    /// # Errors
    /// The sizes differ; the sum passes 2^53. The matrix is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.classes() != other.classes() {
            return Err(MetricsError::Mismatch { what: "number of classes" });
        }
        let pairs = self.rows.iter().zip(&other.rows);
        let sums = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect());
        *self = Self::from_rows(sums.collect())?;
        Ok(())
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.rows.len()
    }

    /// The counts: one row per true class, one column per predicted class.
    #[must_use]
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.rows
    }

    /// Samples of true class `truth` predicted as `prediction`; `None` beyond the last class.
    #[must_use]
    pub fn get(&self, truth: usize, prediction: usize) -> Option<u64> {
        self.rows.get(truth)?.get(prediction).copied()
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rows.iter().flatten().sum()
    }

    /// Samples on the diagonal.
    #[must_use]
    pub fn correct(&self) -> u64 {
        self.rows.iter().enumerate().filter_map(|(class, row)| row.get(class)).sum()
    }

    /// Samples whose true class is each class.
    #[must_use]
    pub fn support(&self) -> Vec<u64> {
        self.rows.iter().map(|row| row.iter().sum()).collect()
    }

    /// Samples predicted as each class.
    #[must_use]
    pub fn predicted(&self) -> Vec<u64> {
        let mut sums = vec![0; self.classes()];
        for row in &self.rows {
            for (sum, count) in sums.iter_mut().zip(row) {
                *sum += count;
            }
        }
        sums
    }

    /// Share of samples on the diagonal, in [0, 1]. In single-label problems micro-averaged
    /// precision, recall and F1 all equal it.
    #[must_use]
    pub fn accuracy(&self) -> Value {
        Value::ratio(self.correct(), self.total(), Undefined::NoSamples)
    }

    /// Every class against the rest, in the order of the classes.
    #[must_use]
    pub fn one_vs_rest(&self) -> Vec<BinaryCounts> {
        let mut counts = vec![BinaryCounts::default(); self.classes()];
        self.one_vs_rest_into(&self.support(), &self.predicted(), &mut counts);
        counts
    }

    /// [`one_vs_rest`](Self::one_vs_rest) with the totals at hand, into a buffer.
    pub(crate) fn one_vs_rest_into(
        &self,
        support: &[u64],
        predicted: &[u64],
        into: &mut [BinaryCounts],
    ) {
        let total = self.total();
        let sums = support.iter().zip(predicted).zip(into);
        for (class, ((support, predicted), counts)) in sums.enumerate() {
            let hits = self.get(class, class).unwrap_or(0);
            *counts = BinaryCounts {
                true_positives: hits,
                false_positives: predicted - hits,
                false_negatives: support - hits,
                true_negatives: total + hits - support - predicted,
            };
        }
    }

    /// Replaces the counts by those of (truth, prediction, how often); pairs beyond the last class
    /// are skipped.
    pub(crate) fn fill(&mut self, pairs: impl Iterator<Item = (usize, usize, u64)>) {
        for row in &mut self.rows {
            row.fill(0);
        }
        for (truth, prediction, times) in pairs {
            if let Some(count) = self.rows.get_mut(truth).and_then(|row| row.get_mut(prediction)) {
                *count += times;
            }
        }
    }

    /// [`support`](Self::support) and [`predicted`](Self::predicted), into buffers.
    pub(crate) fn totals(&self, support: &mut [u64], predicted: &mut [u64]) {
        predicted.fill(0);
        for (row, sum) in self.rows.iter().zip(support) {
            *sum = row.iter().sum();
            for (sum, count) in predicted.iter_mut().zip(row) {
                *sum += count;
            }
        }
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows
    }
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = MetricsError;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self> {
        Self::from_rows(rows)
    }
}

/// Matthews correlation coefficient, in its multi-class form R_K (Gorodkin 2004, as in
/// scikit-learn's `matthews_corrcoef`): the correlation of the one-hot truth with the one-hot
/// prediction. 1 is perfect, 0 chance; the lower bound is −1 for two classes and higher for more.
///
/// With s samples, c correct, tₖ true and pₖ predicted samples of class k:
/// (c·s − Σ tₖpₖ) / √((s² − Σ tₖ²)(s² − Σ pₖ²)).
///
/// Undefined with [`Undefined::NoSamples`], or with [`Undefined::ZeroDenominator`] where all
/// samples or all predictions are of one class (scikit-learn returns 0 then).
#[must_use]
pub fn mcc(matrix: &ConfusionMatrix) -> Value {
    mcc_of(matrix.correct(), &matrix.support(), &matrix.predicted())
}

/// [`mcc`] with the totals at hand.
pub(crate) fn mcc_of(correct: u64, support: &[u64], predicted: &[u64]) -> Value {
    let total: u128 = support.iter().map(|count| u128::from(*count)).sum();
    if total == 0 {
        return Value::Undefined(Undefined::NoSamples);
    }
    let product = |a: &[u64], b: &[u64]| -> u128 {
        a.iter().zip(b).map(|(a, b)| u128::from(*a) * u128::from(*b)).sum()
    };
    // Integers up to here: the differences cancel exactly. No overflow, totals are below 2^53.
    let covariance = signed_difference(u128::from(correct) * total, product(support, predicted));
    let truth = total * total - product(support, support);
    let decided = total * total - product(predicted, predicted);
    correlation(covariance, truth as f64, decided as f64)
}

/// covariance / √(variance · variance); the bounds hold despite rounding.
fn correlation(covariance: f64, truth: f64, decided: f64) -> Value {
    if truth == 0.0 || decided == 0.0 {
        return Value::Undefined(Undefined::ZeroDenominator);
    }
    Value::Defined((covariance / (truth * decided).sqrt()).clamp(-1.0, 1.0))
}

/// a − b, exact until the last rounding.
fn signed_difference(a: u128, b: u128) -> f64 {
    if a >= b { (a - b) as f64 } else { -((b - a) as f64) }
}
