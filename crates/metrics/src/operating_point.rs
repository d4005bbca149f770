//! Decision thresholds, chosen on validation data.

use serde::{Deserialize, Serialize};

use crate::averages::counts_at;
use crate::curves::check_share;
use crate::{BinaryCounts, MetricsError, Predictions, Result, Undefined};

/// What a threshold is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ThresholdRule {
    /// The greatest sensitivity + specificity − 1 (Youden 1950).
    Youden,
    /// The greatest F-beta with this β.
    FBeta(f64),
    /// The greatest sensitivity with at least this specificity.
    AtSpecificity(f64),
    /// The greatest specificity with at least this sensitivity.
    AtSensitivity(f64),
}

/// A decision threshold with what it did on the data that it was chosen on. A finding is predicted
/// where its score is **above** the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The threshold: half-way between two scores that occurred.
    pub threshold: f32,
    /// Decisions on the data that it was chosen on: too optimistic to report.
    pub chosen_on: BinaryCounts,
}

impl OperatingPoint {
    /// Chooses a threshold on plain slices, which must be validation data. Among equally good
    /// thresholds the highest is taken. The inner result says why there is none.
    ///
    /// # Errors
    /// The slices differ in length; a score is not finite; the rule asks for the impossible.
    pub fn choose(
        scores: &[f32],
        positive: &[bool],
        rule: ThresholdRule,
    ) -> Result<std::result::Result<Self, Undefined>> {
        crate::ranking::check(scores, positive)?;
        match rule {
            ThresholdRule::Youden => {}
            ThresholdRule::FBeta(beta) if beta.is_finite() && beta > 0.0 => {}
            ThresholdRule::FBeta(beta) => {
                return Err(MetricsError::setting("beta", beta, "finite and positive"));
            }
            ThresholdRule::AtSpecificity(share) => check_share("the specificity", share)?,
            ThresholdRule::AtSensitivity(share) => check_share("the sensitivity", share)?,
        }
        let positives = positive.iter().filter(|positive| **positive).count();
        match (positives, positive.len() - positives) {
            (0, 0) => return Ok(Err(Undefined::NoSamples)),
            (0, _) => return Ok(Err(Undefined::OnlyNegatives)),
            (_, 0) => return Ok(Err(Undefined::OnlyPositives)),
            _ => {}
        }
        let mut distinct = scores.to_vec();
        distinct.sort_unstable_by(|a, b| b.total_cmp(a));
        distinct.dedup_by(|a, b| a == b);
        let mut samples: Vec<(f32, bool)> =
            scores.iter().copied().zip(positive.iter().copied()).collect();
        samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut counts = counts_at(scores, positive, f32::INFINITY)?;
        let (mut best, mut groups) = (None::<(f64, Self)>, samples.chunk_by(|a, b| a.0 == b.0));
        // From "nothing is positive" to "everything is".
        for place in 0..=distinct.len() {
            let threshold =
                between(place.checked_sub(1).and_then(|p| distinct.get(p)), distinct.get(place));
            if let Some(merit) = merit(&counts, rule)
                && best.is_none_or(|(most, _)| merit > most)
            {
                best = Some((merit, Self { threshold, chosen_on: counts }));
            }
            for (_, positive) in groups.next().unwrap_or(&[]) {
                if *positive {
                    counts.true_positives += 1;
                    counts.false_negatives -= 1;
                } else {
                    counts.false_positives += 1;
                    counts.true_negatives -= 1;
                }
            }
        }
        Ok(best.map(|(_, point)| point).ok_or(Undefined::ZeroDenominator))
    }

    /// One threshold per class or finding. Findings that have only one kind of sample get
    /// `fallback`. Pass [`threshold`](Self::threshold)s to
    /// [`Conventions::thresholds`](crate::Conventions).
    ///
    /// # Errors
    /// The predictions are on the test part; the rule asks for the impossible.
    pub fn per_class(
        validation: &Predictions,
        rule: ThresholdRule,
        fallback: f32,
    ) -> Result<Vec<Self>> {
        validation.check_fittable("thresholds")?;
        (0..validation.classes().len())
            .map(|class| {
                let (scores, positive) = validation.one_vs_rest(class);
                let point = Self::choose(&scores, &positive, rule)?;
                let chosen_on = counts_at(&scores, &positive, fallback)?;
                Ok(point.unwrap_or(Self { threshold: fallback, chosen_on }))
            })
            .collect()
    }

    /// What the threshold does on other data.
    ///
    /// # Errors
    /// The slices differ in length; a score is not finite.
    pub fn apply(&self, scores: &[f32], positive: &[bool]) -> Result<BinaryCounts> {
        counts_at(scores, positive, self.threshold)
    }
}

/// How good a threshold is; `None` where the rule forbids it.
fn merit(counts: &BinaryCounts, rule: ThresholdRule) -> Option<f64> {
    let (sensitivity, specificity) = (counts.recall().defined()?, counts.specificity().defined()?);
    match rule {
        ThresholdRule::Youden => Some(sensitivity + specificity - 1.0),
        ThresholdRule::FBeta(beta) => counts.f_beta(beta).defined(),
        ThresholdRule::AtSpecificity(least) => (specificity >= least).then_some(sensitivity),
        ThresholdRule::AtSensitivity(least) => (sensitivity >= least).then_some(specificity),
    }
}

/// A threshold above which `upper` lies and `lower` does not.
fn between(upper: Option<&f32>, lower: Option<&f32>) -> f32 {
    match (upper, lower) {
        (Some(&upper), Some(&lower)) => {
            let middle = f32::midpoint(upper, lower);
            if middle < upper { middle } else { lower }
        }
        (None, Some(&highest)) => highest,
        (Some(&lowest), None) => lowest.next_down(),
        (None, None) => f32::INFINITY,
    }
}
