//! Checks shared by the transforms.

use crate::{Error, Result};

/// Longest side a transform may be asked to produce. Far beyond any model, and small enough that
/// no arithmetic on sides can overflow.
pub(crate) const MAX_SIDE: usize = 1 << 16;

/// Most values a transform may produce: 1 GiB of `f32`.
const MAX_VALUES: usize = 1 << 28;

pub(crate) fn check_side(transform: &'static str, name: &str, side: usize) -> Result<()> {
    if side == 0 || side > MAX_SIDE {
        return Err(Error::Parameter {
            transform,
            reason: format!("{name} is {side}, it must be 1 to {MAX_SIDE}"),
        });
    }
    Ok(())
}

/// Refuses results that a small parameter and an extreme picture make together (a picture of
/// 1×100000 with its shorter side brought to 256).
pub(crate) fn check_output(
    transform: &'static str,
    width: usize,
    height: usize,
    channels: usize,
) -> Result<()> {
    let values = width.saturating_mul(height).saturating_mul(channels);
    if values > MAX_VALUES {
        return Err(Error::Limit {
            name: transform.to_owned(),
            unit: "values",
            value: values as u64,
            limit: MAX_VALUES as u64,
        });
    }
    Ok(())
}

pub(crate) fn check_probability(transform: &'static str, probability: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&probability) {
        return Err(Error::Parameter {
            transform,
            reason: format!("probability is {probability}, it must be 0 to 1"),
        });
    }
    Ok(())
}

/// Checks an interval of positive numbers.
pub(crate) fn check_range(
    transform: &'static str,
    name: &str,
    range: (f64, f64),
    max: f64,
) -> Result<()> {
    let (low, high) = range;
    let valid = low > 0.0 && low <= high && high <= max;
    if !valid {
        return Err(Error::Parameter {
            transform,
            reason: format!(
                "{name} is ({low}, {high}), it must be an interval within 0 (excluded) to {max}"
            ),
        });
    }
    Ok(())
}
