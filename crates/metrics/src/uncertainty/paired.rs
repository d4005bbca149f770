//! McNemar's test and Holm's correction.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, Discrete, DiscreteCDF};

use crate::{MetricsError, Result};

/// McNemar's test of two models' decisions on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Samples that only the first model gets right.
    pub only_first: u64,
    /// Samples that only the second model gets right.
    pub only_second: u64,
    /// Two-sided p-value of the exact binomial test.
    pub exact_p: f64,
    /// Its mid-p version, less conservative (Fagerland et al. 2013).
    pub mid_p: f64,
    /// (|b − c| − 1)² / (b + c), with continuity correction; 0 without discordant samples.
    pub chi_square: f64,
    /// p-value of `chi_square` with one degree of freedom.
    pub chi_square_p: f64,
}

/// Compares which samples two models get right. Samples are taken for independent: with several
/// per patient use [`Bootstrap::compare`](crate::Bootstrap::compare).
///
/// # Errors
/// The slices differ in length.
pub fn mcnemar(first_right: &[bool], second_right: &[bool]) -> Result<McNemar> {
    MetricsError::check_paired(first_right.len(), second_right.len())?;
    let count = |wanted: (bool, bool)| {
        first_right.iter().zip(second_right).filter(|(a, b)| (**a, **b) == wanted).count() as u64
    };
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    let (discordant, fewer) = (only_first + only_second, only_first.min(only_second));
    let (exact_p, mid_p) = match Binomial::new(0.5, discordant) {
        Ok(binomial) if discordant > 0 => {
            let tail = 2.0 * binomial.cdf(fewer);
            (tail.min(1.0), (tail - binomial.pmf(fewer)).min(1.0))
        }
        _ => (1.0, 1.0),
    };
    let difference = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
    let chi_square =
        if discordant == 0 { 0.0 } else { difference * difference / discordant as f64 };
    let chi_square_p = ChiSquared::new(1.0).map_or(1.0, |chi| chi.sf(chi_square));
    Ok(McNemar { only_first, only_second, exact_p, mid_p, chi_square, chi_square_p })
}

/// p-values adjusted for being several (Holm 1979): rejecting those below α keeps the chance of
/// any false rejection below α, whatever their dependence.
///
/// # Errors
/// A p-value is outside [0, 1].
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    if let Some(p) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(MetricsError::setting("a p-value", p, "in [0, 1]"));
    }
    let mut order: Vec<(usize, f64)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut greatest = 0.0_f64;
    for (rank, (place, p)) in order.into_iter().enumerate() {
        greatest = greatest.max((p * (p_values.len() - rank) as f64).min(1.0));
        if let Some(slot) = adjusted.get_mut(place) {
            *slot = greatest;
        }
    }
    Ok(adjusted)
}
