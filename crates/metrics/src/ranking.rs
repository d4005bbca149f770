//! Metrics of a ranking: area under the ROC curve and average precision.

use crate::{MetricsError, Result, Undefined, Value};

/// Area under the ROC curve: the probability that a random positive scores higher than a random
/// negative, ties counting one half (Mann–Whitney U / (P·N); equals scikit-learn's
/// `roc_auc_score`). Only the order of the scores matters. Range [0, 1].
///
/// O(n log n); pairs are counted in integers, so the result does not depend on the order of the
/// samples, not even in the last bit.
///
/// Undefined with [`Undefined::NoSamples`], [`Undefined::OnlyPositives`] or
/// [`Undefined::OnlyNegatives`].
///
/// # Errors
/// The slices differ in length; a score is not finite.
///
/// ```
/// let scores = [0.9, 0.9, 0.4, 0.3, 0.4];
/// let auroc = vit_metrics::auroc(&scores, &[true, false, true, false, false])?;
/// assert!((auroc.defined().unwrap() - 2.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), vit_metrics::MetricsError>(())
/// ```
pub fn auroc(scores: &[f32], positive: &[bool]) -> Result<Value> {
    check(scores, positive)?;
    Ok(Ranking::new(scores.iter().copied().zip(positive.iter().copied())).auroc())
}

/// Average precision: Σ (Rᵢ − Rᵢ₋₁)·Pᵢ over the distinct scores from high to low, with tied
/// samples entering together (scikit-learn's `average_precision_score`; no interpolation).
/// Range [0, 1]; with positives only it is 1.
///
/// Undefined with [`Undefined::NoSamples`] or [`Undefined::OnlyNegatives`] (scikit-learn warns
/// and returns 0 for the latter).
///
/// # Errors
/// The slices differ in length; a score is not finite.
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Result<Value> {
    check(scores, positive)?;
    Ok(Ranking::new(scores.iter().copied().zip(positive.iter().copied())).average_precision())
}

/// Refuses slices that are not parallel and scores that cannot be ranked.
fn check(scores: &[f32], positive: &[bool]) -> Result<()> {
    if scores.len() != positive.len() {
        return Err(MetricsError::LengthMismatch { scores: scores.len(), targets: positive.len() });
    }
    match scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        Some((row, &value)) => {
            Err(MetricsError::NonFiniteScore { row, class: String::new(), value })
        }
        None => Ok(()),
    }
}

/// Samples counted per distinct score, from the highest score to the lowest.
pub(crate) struct Ranking {
    /// (positives, negatives) of each distinct score.
    groups: Vec<(u64, u64)>,
    positives: u64,
    negatives: u64,
}

impl Ranking {
    /// Ranks samples (score, is positive); the scores must be finite.
    pub(crate) fn new(samples: impl Iterator<Item = (f32, bool)>) -> Self {
        let mut samples: Vec<(f32, bool)> = samples.collect();
        samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        // `==` and not `total_cmp` joins −0 with +0, which the sort leaves side by side.
        let groups: Vec<(u64, u64)> = samples
            .chunk_by(|a, b| a.0 == b.0)
            .map(|tied| {
                let positives = tied.iter().filter(|(_, positive)| *positive).count();
                (positives as u64, (tied.len() - positives) as u64)
            })
            .collect();
        let (positives, negatives) =
            groups.iter().fold((0, 0), |sum, group| (sum.0 + group.0, sum.1 + group.1));
        Self { groups, positives, negatives }
    }

    /// See [`auroc`].
    pub(crate) fn auroc(&self) -> Value {
        match (self.positives, self.negatives) {
            (0, 0) => return Value::Undefined(Undefined::NoSamples),
            (0, _) => return Value::Undefined(Undefined::OnlyNegatives),
            (_, 0) => return Value::Undefined(Undefined::OnlyPositives),
            _ => {}
        }
        // Twice U, so that a tie's half is an integer; u128 because P·N may pass 2^64.
        let mut twice_u = 0_u128;
        let mut below = self.negatives;
        for &(positives, negatives) in &self.groups {
            below -= negatives;
            twice_u += u128::from(positives) * (2 * u128::from(below) + u128::from(negatives));
        }
        let pairs = u128::from(self.positives) * u128::from(self.negatives);
        Value::Defined(twice_u as f64 / (2 * pairs) as f64)
    }

    /// See [`average_precision`].
    pub(crate) fn average_precision(&self) -> Value {
        match (self.positives, self.negatives) {
            (0, 0) => return Value::Undefined(Undefined::NoSamples),
            (0, _) => return Value::Undefined(Undefined::OnlyNegatives),
            _ => {}
        }
        let (mut hits, mut seen, mut sum) = (0_u64, 0_u64, 0.0);
        for &(positives, negatives) in &self.groups {
            hits += positives;
            seen += positives + negatives;
            sum += positives as f64 * (hits as f64 / seen as f64);
        }
        Value::Defined((sum / self.positives as f64).min(1.0))
    }
}
