//! Cohen's kappa.

use serde::{Deserialize, Serialize};

use crate::{ConfusionMatrix, Undefined, Value};

/// How much a disagreement counts, by the distance of the two classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KappaWeights {
    /// Every disagreement counts 1.
    #[default]
    None,
    /// |i − j|: for ordered classes.
    Linear,
    /// (i − j)²: for ordered classes; the usual choice for grades of disease.
    Quadratic,
}

/// Cohen's kappa (1960, weighted 1968): 1 − Σ wᵢⱼ·observedᵢⱼ / Σ wᵢⱼ·expectedᵢⱼ, where the expected
/// counts are those of independent raters with the same totals. 1 is perfect, 0 chance; equals
/// scikit-learn's `cohen_kappa_score`.
///
/// Undefined with [`Undefined::NoSamples`], or with [`Undefined::ZeroDenominator`] where truth and
/// prediction are constantly of one and the same class.
#[must_use]
pub fn cohen_kappa(matrix: &ConfusionMatrix, weights: KappaWeights) -> Value {
    kappa_of(matrix, &matrix.support(), &matrix.predicted(), weights)
}

/// [`cohen_kappa`] with the totals at hand.
pub(crate) fn kappa_of(
    matrix: &ConfusionMatrix,
    support: &[u64],
    predicted: &[u64],
    weights: KappaWeights,
) -> Value {
    let total: u64 = support.iter().sum();
    if total == 0 {
        return Value::Undefined(Undefined::NoSamples);
    }
    let weight = |i: usize, j: usize| {
        let distance = i.abs_diff(j) as u128;
        match weights {
            KappaWeights::None => u128::from(distance > 0),
            KappaWeights::Linear => distance,
            KappaWeights::Quadratic => distance * distance,
        }
    };
    // Integers: nothing is rounded before the last division.
    let (mut observed, mut expected) = (0_u128, 0_u128);
    for (i, (row, &truths)) in matrix.rows().iter().zip(support).enumerate() {
        for (j, (&count, &predictions)) in row.iter().zip(predicted).enumerate() {
            let weight = weight(i, j);
            observed = observed.saturating_add(weight * u128::from(count));
            let product = u128::from(truths).saturating_mul(u128::from(predictions));
            expected = expected.saturating_add(weight.saturating_mul(product));
        }
    }
    if expected == 0 {
        return Value::Undefined(Undefined::ZeroDenominator);
    }
    Value::Defined(1.0 - observed as f64 * total as f64 / expected as f64)
}
