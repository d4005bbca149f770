//! ROC and precision–recall curves, what can be read off them, and weighted areas.

use crate::ranking::check;
use crate::{MetricsError, Result, Undefined, Value};

/// One point of an ROC curve: what happens when every score of at least `threshold` is called
/// positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// The lowest score called positive; infinite for the first point, where none is.
    pub threshold: f32,
    /// Share of negatives called positive (1 − specificity), in [0, 1].
    pub false_positive_rate: f64,
    /// Share of positives called positive (sensitivity), in [0, 1].
    pub true_positive_rate: f64,
}

/// One point of a precision–recall curve, for scores of at least `threshold`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrPoint {
    /// The lowest score called positive.
    pub threshold: f32,
    /// Share of positives that are found, in [0, 1].
    pub recall: f64,
    /// Share of the found that are positive, in [0, 1].
    pub precision: f64,
}

/// Weight of positives and negatives per distinct score, from high to low.
pub(crate) struct Levels {
    /// (score, positive weight, negative weight).
    levels: Vec<(f32, f64, f64)>,
    positives: f64,
    negatives: f64,
}

impl Levels {
    /// Counts the samples; `weights` defaults to 1 each. A weight of 0 leaves the sample out.
    pub(crate) fn new(scores: &[f32], positive: &[bool], weights: Option<&[f64]>) -> Result<Self> {
        check(scores, positive)?;
        if let Some(weights) = weights {
            check_weights(weights, scores.len())?;
        }
        let weight = |row: usize| weights.and_then(|w| w.get(row).copied()).unwrap_or(1.0);
        let mut samples: Vec<(f32, bool, f64)> = scores
            .iter()
            .zip(positive)
            .enumerate()
            .map(|(row, (&score, &positive))| (score, positive, weight(row)))
            .filter(|sample| sample.2 > 0.0)
            .collect();
        // Stable, so that sums of weights do not depend on the sorting algorithm.
        samples.sort_by(|a, b| b.0.total_cmp(&a.0));
        let sum = |tied: &[(f32, bool, f64)], wanted: bool| -> f64 {
            tied.iter().filter(|(_, positive, _)| *positive == wanted).map(|s| s.2).sum()
        };
        let levels: Vec<(f32, f64, f64)> = samples
            .chunk_by(|a, b| a.0 == b.0)
            .filter_map(|tied| Some((tied.first()?.0, sum(tied, true), sum(tied, false))))
            .collect();
        let positives = levels.iter().map(|level| level.1).sum();
        let negatives = levels.iter().map(|level| level.2).sum();
        Ok(Self { levels, positives, negatives })
    }

    /// Why curves that need both kinds of samples do not exist.
    fn one_sided(&self) -> Option<Undefined> {
        match (self.positives > 0.0, self.negatives > 0.0) {
            (true, true) => None,
            (true, false) => Some(Undefined::OnlyPositives),
            (false, true) => Some(Undefined::OnlyNegatives),
            (false, false) => Some(Undefined::NoSamples),
        }
    }

    /// Points of the ROC curve, from (0, 0) to (1, 1).
    pub(crate) fn roc(&self) -> std::result::Result<Vec<RocPoint>, Undefined> {
        if let Some(reason) = self.one_sided() {
            return Err(reason);
        }
        let (mut tp, mut fp) = (0.0, 0.0);
        let start = RocPoint {
            threshold: f32::INFINITY,
            false_positive_rate: 0.0,
            true_positive_rate: 0.0,
        };
        let points = self.levels.iter().map(|&(threshold, p, n)| {
            tp += p;
            fp += n;
            RocPoint {
                threshold,
                false_positive_rate: (fp / self.negatives).min(1.0),
                true_positive_rate: (tp / self.positives).min(1.0),
            }
        });
        Ok(std::iter::once(start).chain(points).collect())
    }

    /// Points of the precision–recall curve, from the highest score to the lowest.
    pub(crate) fn precision_recall(&self) -> std::result::Result<Vec<PrPoint>, Undefined> {
        if self.positives <= 0.0 {
            return Err(self.one_sided().unwrap_or(Undefined::OnlyNegatives));
        }
        let (mut tp, mut found) = (0.0, 0.0);
        let points = self.levels.iter().map(|&(threshold, p, n)| {
            tp += p;
            found += p + n;
            let recall = (tp / self.positives).min(1.0);
            PrPoint { threshold, recall, precision: (tp / found).min(1.0) }
        });
        Ok(points.collect())
    }
}

/// Refuses weights that are not parallel to the samples, negative, NaN or infinite.
pub(crate) fn check_weights(weights: &[f64], rows: usize) -> Result<()> {
    MetricsError::check_length("weights", rows, weights.len())?;
    match weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
        Some((row, &value)) => Err(MetricsError::Weight { row, value }),
        None => Ok(()),
    }
}

/// The ROC curve, from the highest score to the lowest, one point per distinct score after
/// (0, 0); scikit-learn's `roc_curve(…, drop_intermediate=False)`. The inner result says why there
/// is none.
///
/// # Errors
/// The slices differ in length; a score is not finite; a weight is negative or not finite.
pub fn roc_curve(
    scores: &[f32],
    positive: &[bool],
    weights: Option<&[f64]>,
) -> Result<std::result::Result<Vec<RocPoint>, Undefined>> {
    Ok(Levels::new(scores, positive, weights)?.roc())
}

/// The precision–recall curve, one point per distinct score from high to low; scikit-learn's
/// `precision_recall_curve` without its made-up last point (recall 0, precision 1).
///
/// # Errors
/// As [`roc_curve`].
pub fn precision_recall_curve(
    scores: &[f32],
    positive: &[bool],
    weights: Option<&[f64]>,
) -> Result<std::result::Result<Vec<PrPoint>, Undefined>> {
    Ok(Levels::new(scores, positive, weights)?.precision_recall())
}

/// [`auroc`](crate::auroc()) of weighted samples: the area under the weighted ROC curve.
///
/// # Errors
/// As [`roc_curve`].
pub fn auroc_weighted(scores: &[f32], positive: &[bool], weights: &[f64]) -> Result<Value> {
    let curve = Levels::new(scores, positive, Some(weights))?.roc();
    Ok(curve.map(|points| area(&points, 1.0)).into())
}

/// [`average_precision`](crate::average_precision()) of weighted samples.
///
/// # Errors
/// As [`roc_curve`].
pub fn average_precision_weighted(
    scores: &[f32],
    positive: &[bool],
    weights: &[f64],
) -> Result<Value> {
    let curve = Levels::new(scores, positive, Some(weights))?.precision_recall();
    let sum = |points: Vec<PrPoint>| {
        let before = std::iter::once(0.0).chain(points.iter().map(|point| point.recall));
        let steps = points.iter().zip(before).map(|(p, before)| (p.recall - before) * p.precision);
        steps.sum::<f64>().min(1.0)
    };
    Ok(curve.map(sum).into())
}

/// Area under the ROC curve up to the false-positive rate `most` ∈ (0, 1], rescaled so that chance
/// is 0.5 and perfect is 1 (McClish 1989; scikit-learn's `roc_auc_score(max_fpr=…)`).
///
/// # Errors
/// As [`roc_curve`]; `most` is outside (0, 1].
pub fn partial_auroc(scores: &[f32], positive: &[bool], most: f64) -> Result<Value> {
    if !(most > 0.0 && most <= 1.0) {
        return Err(MetricsError::setting("the false-positive rate", most, "in (0, 1]"));
    }
    let curve = Levels::new(scores, positive, None)?.roc();
    let standardised = |points: Vec<RocPoint>| {
        let area = area(&points, most);
        let (least, greatest) = (0.5 * most * most, most);
        if most == 1.0 { area } else { 0.5 * (1.0 + (area - least) / (greatest - least)) }
    };
    Ok(curve.map(standardised).into())
}

/// Trapezoids under the curve between false-positive rates 0 and `most`.
fn area(points: &[RocPoint], most: f64) -> f64 {
    let mut sum = 0.0;
    for (a, b) in points.iter().zip(points.iter().skip(1)) {
        let (x0, x1) = (a.false_positive_rate, b.false_positive_rate);
        if x0 >= most {
            break;
        }
        let (y0, y1) = (a.true_positive_rate, b.true_positive_rate);
        if x1 <= most {
            sum += (x1 - x0) * f64::midpoint(y0, y1);
        } else {
            let y = y0 + (y1 - y0) * (most - x0) / (x1 - x0);
            sum += (most - x0) * f64::midpoint(y0, y);
        }
    }
    sum.clamp(0.0, 1.0)
}

/// The highest sensitivity among the thresholds whose specificity is at least `specificity`.
///
/// # Errors
/// As [`roc_curve`]; `specificity` is outside [0, 1].
pub fn sensitivity_at_specificity(
    scores: &[f32],
    positive: &[bool],
    specificity: f64,
) -> Result<Value> {
    check_share("the specificity", specificity)?;
    let best = |points: Vec<RocPoint>| {
        let allowed = points.iter().filter(|p| 1.0 - p.false_positive_rate >= specificity);
        allowed.map(|point| point.true_positive_rate).fold(0.0, f64::max)
    };
    Ok(Levels::new(scores, positive, None)?.roc().map(best).into())
}

/// The highest specificity among the thresholds whose sensitivity is at least `sensitivity`.
///
/// # Errors
/// As [`roc_curve`]; `sensitivity` is outside [0, 1].
pub fn specificity_at_sensitivity(
    scores: &[f32],
    positive: &[bool],
    sensitivity: f64,
) -> Result<Value> {
    check_share("the sensitivity", sensitivity)?;
    let best = |points: Vec<RocPoint>| {
        let allowed = points.iter().filter(|p| p.true_positive_rate >= sensitivity);
        allowed.map(|point| 1.0 - point.false_positive_rate).fold(0.0, f64::max)
    };
    Ok(Levels::new(scores, positive, None)?.roc().map(best).into())
}

/// Refuses a share outside [0, 1].
pub(crate) fn check_share(what: &'static str, share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&share) {
        Ok(())
    } else {
        Err(MetricsError::setting(what, share, "in [0, 1]"))
    }
}
