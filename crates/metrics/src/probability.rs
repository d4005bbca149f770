//! Scores of probabilities: Brier and log loss.

use crate::curves::check_weights;
use crate::{MetricsError, Result, Undefined, Value};

/// How far the sum of a row of probabilities may be from 1: softmax in f32 rounds.
const SUM_TOLERANCE: f64 = 1e-4;

/// Refuses scores outside [0, 1].
pub(crate) fn check_probabilities(scores: &[f32], columns: usize) -> Result<()> {
    match scores.iter().enumerate().find(|(_, score)| !(0.0..=1.0).contains(*score)) {
        Some((cell, &value)) => {
            let row = cell / columns.max(1);
            let class =
                if columns > 1 { format!("class {}", cell % columns) } else { String::new() };
            if value.is_finite() {
                Err(MetricsError::NotAProbability { row, class, value })
            } else {
                Err(MetricsError::NonFiniteScore { row, class, value })
            }
        }
        None => Ok(()),
    }
}

/// Refuses rows that are no distribution over `classes` exclusive classes.
pub(crate) fn check_distributions(scores: &[f32], classes: usize) -> Result<()> {
    check_probabilities(scores, classes)?;
    for (row, scores) in scores.chunks_exact(classes.max(1)).enumerate() {
        let sum: f64 = scores.iter().map(|score| f64::from(*score)).sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(MetricsError::NotADistribution { row, sum });
        }
    }
    Ok(())
}

/// Refuses scores and class indices that do not make rows of a distribution with a truth.
pub(crate) fn check_classified(scores: &[f32], targets: &[usize], classes: usize) -> Result<()> {
    if targets.len().checked_mul(classes) != Some(scores.len()) {
        let (rows, got) = (targets.len(), scores.len());
        return Err(MetricsError::ScoreCount { rows, classes, got });
    }
    match targets.iter().enumerate().find(|(_, target)| **target >= classes) {
        Some((row, &target)) => Err(MetricsError::TargetOutOfRange { row, target, classes }),
        None => Ok(()),
    }
}

/// (p − y)² of one decision.
pub(crate) fn squared_error(score: f32, positive: bool) -> f64 {
    let difference = f64::from(score) - f64::from(u8::from(positive));
    difference * difference
}

/// −ln of the probability given to what happened, cut at `f64::EPSILON` as in scikit-learn: a
/// single sure mistake would otherwise make the mean infinite.
pub(crate) fn surprise(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// [`surprise`] of a binary outcome.
pub(crate) fn binary_surprise(score: f32, positive: bool) -> f64 {
    let score = f64::from(score);
    surprise(if positive { score } else { 1.0 - score })
}

/// The mean of one value per row, weighted.
fn weighted_mean(values: &[f64], weights: Option<&[f64]>) -> Result<Value> {
    if let Some(weights) = weights {
        check_weights(weights, values.len())?;
    }
    let (mut sum, mut total) = (0.0, 0.0);
    for (row, value) in values.iter().enumerate() {
        let weight = weights.and_then(|w| w.get(row).copied()).unwrap_or(1.0);
        sum += weight * value;
        total += weight;
    }
    Ok(Value::quotient(sum, total, Undefined::NoSamples))
}

/// Brier score of one finding: the mean of (p − y)², in [0, 1], lower is better; scikit-learn's
/// `brier_score_loss`.
///
/// # Errors
/// The slices differ in length; a score is no probability; a weight is negative or not finite.
pub fn brier_score(scores: &[f32], positive: &[bool], weights: Option<&[f64]>) -> Result<Value> {
    crate::ranking::check(scores, positive)?;
    check_probabilities(scores, 1)?;
    let cells: Vec<f64> =
        scores.iter().zip(positive).map(|(&p, &positive)| squared_error(p, positive)).collect();
    weighted_mean(&cells, weights)
}

/// Brier score of exclusive classes: the mean over samples of Σₖ (pₖ − yₖ)², in [0, 2], lower is
/// better (Brier 1950). For two classes it is twice [`brier_score`]. `scores` is row-major
/// rows × classes.
///
/// # Errors
/// The lengths do not fit; a row is no distribution; a target is no class; a weight is negative or
/// not finite.
pub fn brier_score_classes(
    scores: &[f32],
    targets: &[usize],
    classes: usize,
    weights: Option<&[f64]>,
) -> Result<Value> {
    check_classified(scores, targets, classes)?;
    check_distributions(scores, classes)?;
    let cells: Vec<f64> = scores
        .chunks_exact(classes.max(1))
        .zip(targets)
        .map(|(row, &target)| {
            row.iter().enumerate().map(|(class, &p)| squared_error(p, class == target)).sum()
        })
        .collect();
    weighted_mean(&cells, weights)
}

/// Mean negative log likelihood of one finding, in nats; probabilities are kept `f64::EPSILON`
/// away from 0 and 1. Lower is better; scikit-learn's `log_loss`.
///
/// # Errors
/// As [`brier_score`].
pub fn log_loss(scores: &[f32], positive: &[bool], weights: Option<&[f64]>) -> Result<Value> {
    crate::ranking::check(scores, positive)?;
    check_probabilities(scores, 1)?;
    let cells: Vec<f64> =
        scores.iter().zip(positive).map(|(&p, &positive)| binary_surprise(p, positive)).collect();
    weighted_mean(&cells, weights)
}

/// Mean negative log likelihood of exclusive classes, in nats; see [`log_loss`].
///
/// # Errors
/// As [`brier_score_classes`].
pub fn log_loss_classes(
    scores: &[f32],
    targets: &[usize],
    classes: usize,
    weights: Option<&[f64]>,
) -> Result<Value> {
    check_classified(scores, targets, classes)?;
    check_distributions(scores, classes)?;
    let cells: Vec<f64> = scores
        .chunks_exact(classes.max(1))
        .zip(targets)
        .map(|(row, &target)| surprise(row.get(target).map_or(0.0, |p| f64::from(*p))))
        .collect();
    weighted_mean(&cells, weights)
}
