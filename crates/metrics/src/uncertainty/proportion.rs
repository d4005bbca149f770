//! Intervals of a proportion.

use statrs::distribution::{Beta, ContinuousCDF};

use super::interval::{Interval, check_level, two_sided};
use crate::{MetricsError, Result};

fn check(successes: u64, trials: u64) -> Result<()> {
    if trials == 0 {
        return Err(MetricsError::setting("the number of trials", 0, "at least 1"));
    }
    if successes > trials {
        return Err(MetricsError::setting(
            "the number of successes",
            successes,
            "at most the trials",
        ));
    }
    Ok(())
}

/// Wilson's score interval (1927) of `successes` out of `trials` independent samples; close to the
/// nominal coverage even for small counts.
///
/// # Errors
/// There are no trials or more successes than trials; the level is outside (0, 1).
pub fn wilson(successes: u64, trials: u64, level: f64) -> Result<Interval> {
    check(successes, trials)?;
    let z = two_sided(level)?;
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let scale = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / scale;
    let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    let low = if successes == 0 { 0.0 } else { (centre - reach).max(0.0) };
    let high = if successes == trials { 1.0 } else { (centre + reach).min(1.0) };
    Ok(Interval { low, high })
}

/// The exact interval of Clopper and Pearson (1934): never covers less than the nominal level, and
/// usually more.
///
/// # Errors
/// As [`wilson`].
pub fn clopper_pearson(successes: u64, trials: u64, level: f64) -> Result<Interval> {
    check(successes, trials)?;
    check_level(level)?;
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let quantile = |a: f64, b: f64, share: f64| {
        Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(share))
    };
    let low = if successes == 0 { 0.0 } else { quantile(k, n - k + 1.0, tail) };
    let high = if successes == trials { 1.0 } else { quantile(k + 1.0, n - k, 1.0 - tail) };
    Ok(Interval { low, high })
}
