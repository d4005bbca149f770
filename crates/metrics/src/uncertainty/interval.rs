//! From a bootstrap distribution to an interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{MetricsError, Result, Undefined};

/// An interval of plausible values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How a bootstrap distribution becomes an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// The quantiles of the distribution.
    Percentile,
    /// Bias-corrected and accelerated (Efron 1987): quantiles moved by the median bias of the
    /// distribution and by how the spread changes with the value (from a jackknife).
    #[default]
    Bca,
}

/// The standard normal distribution.
pub(super) fn normal() -> Normal {
    Normal::standard()
}

/// The standard normal quantile that leaves (1 − level)/2 above it.
pub(super) fn two_sided(level: f64) -> Result<f64> {
    check_level(level)?;
    Ok(normal().inverse_cdf(f64::midpoint(1.0, level)))
}

/// Refuses a level outside (0, 1).
pub(super) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(MetricsError::setting("the level of an interval", level, "between 0 and 1"))
    }
}

/// The quantile `share` ∈ [0, 1] of sorted numbers, linear between neighbours (numpy's default).
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = place.floor();
    let low = *sorted.get(below as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * (place - below))
}

/// Sorted numbers, refused where one is not finite.
fn sorted(what: &'static str, values: &[f64]) -> Result<Vec<f64>> {
    MetricsError::check_finite(what, values)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// The quantiles (1 ± level)/2 of a bootstrap distribution. The inner result says why there is
/// none.
///
/// # Errors
/// The level is outside (0, 1); a value is not finite.
pub fn percentile_interval(
    distribution: &[f64],
    level: f64,
) -> Result<std::result::Result<Interval, Undefined>> {
    check_level(level)?;
    let sorted = sorted("bootstrap value", distribution)?;
    let tail = (1.0 - level) / 2.0;
    Ok(ends(&sorted, tail, 1.0 - tail))
}

fn ends(sorted: &[f64], low: f64, high: f64) -> std::result::Result<Interval, Undefined> {
    match (quantile(sorted, low), quantile(sorted, high)) {
        (Some(low), Some(high)) => Ok(Interval { low, high }),
        _ => Err(Undefined::TooFewResamples),
    }
}

/// The BCa interval (Efron 1987) of `estimate`, its bootstrap distribution and its jackknife
/// values. Ties with the estimate count one half in the bias, as in SciPy; where the whole
/// distribution lies on one side of the estimate, half a resample is taken to lie on the other. The
/// inner result says why there is none.
///
/// # Errors
/// The level is outside (0, 1); a value is not finite.
pub fn bca_interval(
    estimate: f64,
    distribution: &[f64],
    jackknife: &[f64],
    level: f64,
) -> Result<std::result::Result<Interval, Undefined>> {
    check_level(level)?;
    MetricsError::check_finite("estimate", &[estimate])?;
    MetricsError::check_finite("jackknife value", jackknife)?;
    let sorted = sorted("bootstrap value", distribution)?;
    if sorted.is_empty() || jackknife.is_empty() {
        return Ok(Err(Undefined::TooFewResamples));
    }
    let below = sorted.partition_point(|value| *value < estimate);
    let not_above = sorted.partition_point(|value| *value <= estimate);
    let count = sorted.len() as f64;
    let share = ((below + not_above) as f64 / (2.0 * count)).clamp(0.5 / count, 1.0 - 0.5 / count);
    let bias = normal().inverse_cdf(share);
    let acceleration = acceleration(jackknife);
    let moved = |share: f64| {
        let z = bias + normal().inverse_cdf(share);
        normal().cdf(bias + z / (1.0 - acceleration * z))
    };
    let tail = (1.0 - level) / 2.0;
    Ok(ends(&sorted, moved(tail), moved(1.0 - tail)))
}

/// Skewness of the jackknife values over 6; 0 where they do not vary.
fn acceleration(jackknife: &[f64]) -> f64 {
    let mean = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
    let power = |exponent: i32| jackknife.iter().map(|v| (mean - v).powi(exponent)).sum::<f64>();
    let (squares, cubes) = (power(2), power(3));
    // Rounding of the mean must not become a skewness.
    let noise = (mean.abs() * f64::EPSILON).powi(2) * 16.0 * jackknife.len() as f64;
    if squares <= noise { 0.0 } else { cubes / (6.0 * squares.powf(1.5)) }
}
