//! Errors of continuous predictions, and correlations.

use serde::{Deserialize, Serialize};

use crate::{MetricsError, Result, Undefined, Value};

/// Errors of continuous predictions. All in the unit of the targets unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Samples.
    pub samples: u64,
    /// Mean of |prediction − target|.
    pub mean_absolute_error: Value,
    /// Median of |prediction − target|.
    pub median_absolute_error: Value,
    /// Root of the mean of (prediction − target)².
    pub root_mean_squared_error: Value,
    /// Greatest |prediction − target|.
    pub max_error: Value,
    /// Mean of prediction − target: positive where predictions are too high.
    pub bias: Value,
    /// Coefficient of determination 1 − Σ(y − p)²/Σ(y − ȳ)², without unit, at most 1. Undefined
    /// for constant targets and for fewer than two samples.
    pub r2: Value,
    /// As `r2` after removing the bias: 1 − Var(y − p)/Var(y).
    pub explained_variance: Value,
    /// [`pearson`].
    pub pearson: Value,
    /// [`spearman`].
    pub spearman: Value,
}

/// Errors of `predictions` against `targets`.
///
/// # Errors
/// The slices differ in length; a value is not finite.
pub fn regression(predictions: &[f64], targets: &[f64]) -> Result<Regression> {
    check_pairs(predictions, targets)?;
    let count = targets.len();
    let errors: Vec<f64> = predictions.iter().zip(targets).map(|(p, y)| p - y).collect();
    let mut absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    absolute.sort_unstable_by(f64::total_cmp);
    let over = |sum: f64| Value::quotient(sum, count as f64, Undefined::NoSamples);
    let squares: f64 = errors.iter().map(|error| error * error).sum();
    let spread = deviations(targets);
    Ok(Regression {
        samples: count as u64,
        mean_absolute_error: over(absolute.iter().sum()),
        median_absolute_error: median(&absolute),
        root_mean_squared_error: over(squares).map(f64::sqrt),
        max_error: absolute
            .last()
            .map_or(Value::Undefined(Undefined::NoSamples), |error| Value::Defined(*error)),
        bias: over(errors.iter().sum()),
        r2: explained(squares, spread, count),
        explained_variance: explained(deviations(&errors), spread, count),
        pearson: pearson(predictions, targets)?,
        spearman: spearman(predictions, targets)?,
    })
}

/// 1 − residual / spread.
fn explained(residual: f64, spread: f64, count: usize) -> Value {
    match count {
        0 => Value::Undefined(Undefined::NoSamples),
        1 => Value::Undefined(Undefined::TooFewSamples),
        _ => Value::quotient(residual, spread, Undefined::ZeroDenominator).map(|q| 1.0 - q),
    }
}

/// The mean; 0 of nothing.
fn average(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Σ (x − x̄)².
fn deviations(values: &[f64]) -> f64 {
    // The rounded mean of equal numbers may differ from them in the last bit.
    if values.iter().zip(values.iter().skip(1)).all(|(a, b)| a == b) {
        return 0.0;
    }
    let mean = average(values);
    values.iter().map(|value| (value - mean) * (value - mean)).sum()
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> Value {
    let middle = sorted.len() / 2;
    let low = if sorted.len().is_multiple_of(2) { middle.wrapping_sub(1) } else { middle };
    match (sorted.get(low), sorted.get(middle)) {
        (Some(a), Some(b)) => Value::Defined(f64::midpoint(*a, *b)),
        _ => Value::Undefined(Undefined::NoSamples),
    }
}

/// Refuses slices that are not parallel or hold NaN or infinity.
fn check_pairs(a: &[f64], b: &[f64]) -> Result<()> {
    MetricsError::check_length("predictions", b.len(), a.len())?;
    MetricsError::check_finite("prediction", a)?;
    MetricsError::check_finite("target", b)
}

/// Pearson's linear correlation, in [−1, 1].
///
/// # Errors
/// The slices differ in length; a value is not finite.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<Value> {
    check_pairs(a, b)?;
    match a.len() {
        0 => return Ok(Value::Undefined(Undefined::NoSamples)),
        1 => return Ok(Value::Undefined(Undefined::TooFewSamples)),
        _ => {}
    }
    let (mean_a, mean_b) = (average(a), average(b));
    let covariance: f64 = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum();
    let scale = deviations(a).sqrt() * deviations(b).sqrt();
    let value = Value::quotient(covariance, scale, Undefined::ZeroDenominator);
    Ok(value.map(|r| r.clamp(-1.0, 1.0)))
}

/// Spearman's rank correlation: [`pearson`] of the ranks, ties sharing their mean rank.
///
/// # Errors
/// As [`pearson`].
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Value> {
    check_pairs(a, b)?;
    pearson(&mid_ranks(a), &mid_ranks(b))
}

/// Ranks from 1, ties sharing their mean rank.
pub(crate) fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| a.1 == b.1) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        for (place, _) in tied {
            if let Some(slot) = ranks.get_mut(*place) {
                *slot = rank;
            }
        }
        before += tied.len();
    }
    ranks
}

/// Kendall's τ-b, the rank correlation for many ties, in [−1, 1]: (concordant − discordant) /
/// √((pairs − ties in a)(pairs − ties in b)). O(n²): meant for grades of some thousand samples.
///
/// # Errors
/// As [`pearson`].
pub fn kendall(a: &[f64], b: &[f64]) -> Result<Value> {
    check_pairs(a, b)?;
    if a.is_empty() {
        return Ok(Value::Undefined(Undefined::NoSamples));
    }
    let (mut balance, mut distinct_a, mut distinct_b) = (0_i64, 0_u64, 0_u64);
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        for (u, v) in a.iter().zip(b).skip(i + 1) {
            let (order_a, order_b) = (sign(x - u), sign(y - v));
            balance += order_a * order_b;
            distinct_a += order_a.unsigned_abs();
            distinct_b += order_b.unsigned_abs();
        }
    }
    let scale = (distinct_a as f64).sqrt() * (distinct_b as f64).sqrt();
    let value = Value::quotient(balance as f64, scale, Undefined::ZeroDenominator);
    Ok(value.map(|tau| tau.clamp(-1.0, 1.0)))
}

/// −1, 0 or 1.
fn sign(difference: f64) -> i64 {
    i64::from(difference > 0.0) - i64::from(difference < 0.0)
}
