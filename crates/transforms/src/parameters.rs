//! Checks shared by the transforms.

use vit_random::rand::Rng;

use crate::{Error, Image, Result};

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

/// Checks values for the outside of a picture: one for all channels, or three.
pub(crate) fn check_fill(transform: &'static str, fill: &[u8]) -> Result<()> {
    if !matches!(fill.len(), 1 | 3) {
        let reason = format!("{} fill values, there must be 1 or 3", fill.len());
        return Err(Error::Parameter { transform, reason });
    }
    Ok(())
}

/// Fill value of each channel of this picture.
pub(crate) fn fill_for(transform: &'static str, image: &Image, fill: &[u8]) -> Result<Vec<u8>> {
    match *fill {
        [value] => Ok(vec![value; image.channels()]),
        _ if fill.len() == image.channels() => Ok(fill.to_vec()),
        _ => Err(Error::Kind {
            transform,
            expected: format!("a picture of {} channels", fill.len()),
            got: image.describe(),
        }),
    }
}

/// Refuses a parameter that is not a number within the bounds (both included).
pub(crate) fn check_within(
    transform: &'static str,
    name: &str,
    value: f64,
    (low, high): (f64, f64),
) -> Result<()> {
    if !(low..=high).contains(&value) {
        let reason = format!("{name} is {value}, it must be {low} to {high}");
        return Err(Error::Parameter { transform, reason });
    }
    Ok(())
}

/// Refuses an interval whose ends are reversed, not numbers or out of bounds.
pub(crate) fn check_interval(
    transform: &'static str,
    name: &str,
    range: (f64, f64),
    bounds: (f64, f64),
) -> Result<()> {
    check_within(transform, name, range.0, bounds)?;
    check_within(transform, name, range.1, (range.0, bounds.1))
}

/// Uniform between the ends of the interval.
pub(crate) fn uniform((low, high): (f64, f64), rng: &mut impl Rng) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with this probability.
pub(crate) fn chance(probability: f64, rng: &mut impl Rng) -> bool {
    rng.random::<f64>() < probability
}
