//! Several runs that differ in their seed.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::bootstrap::standard_deviation;
use super::interval::{Interval, check_level};
use crate::{MetricsError, Result, Undefined, Value};

/// Mean and spread over runs.
///
/// The spread over seeds says how much training varies. It says nothing about the finite test set:
/// that is what [`Bootstrap`](crate::Bootstrap) is for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedSummary {
    /// Number of runs.
    pub runs: usize,
    /// Mean.
    pub mean: Value,
    /// Standard deviation with n − 1; undefined for fewer than two runs.
    pub standard_deviation: Value,
    /// Lowest value.
    pub lowest: Value,
    /// Highest value.
    pub highest: Value,
    /// Interval of the mean by Student's t; `None` for fewer than two runs.
    pub interval: Option<Interval>,
}

/// Sums up the values of several runs.
///
/// # Errors
/// A value is not finite; the level is outside (0, 1).
pub fn summarise_seeds(values: &[f64], level: f64) -> Result<SeedSummary> {
    check_level(level)?;
    MetricsError::check_finite("value of a run", values)?;
    let runs = values.len();
    let mean = Value::quotient(values.iter().sum(), runs as f64, Undefined::NoSamples);
    let spread = match runs {
        0 => Value::Undefined(Undefined::NoSamples),
        1 => Value::Undefined(Undefined::TooFewSamples),
        _ => Value::Defined(standard_deviation(values)),
    };
    let interval = match (mean, spread, StudentsT::new(0.0, 1.0, runs as f64 - 1.0)) {
        (Value::Defined(mean), Value::Defined(spread), Ok(student)) => {
            let reach =
                student.inverse_cdf(f64::midpoint(1.0, level)) * spread / (runs as f64).sqrt();
            Some(Interval { low: mean - reach, high: mean + reach })
        }
        _ => None,
    };
    let extreme = |fold: fn(f64, f64) -> f64| {
        values
            .iter()
            .copied()
            .reduce(fold)
            .map_or(Value::Undefined(Undefined::NoSamples), Value::Defined)
    };
    Ok(SeedSummary {
        runs,
        mean,
        standard_deviation: spread,
        lowest: extreme(f64::min),
        highest: extreme(f64::max),
        interval,
    })
}
