//! Overlap of masks.

use serde::{Deserialize, Serialize};

use crate::{BinaryCounts, MetricsError, Result, Undefined, Value};

/// What IoU and Dice of one picture are when its truth has no foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyTruth {
    /// Undefined, and left out of means: the overlap says nothing about pictures without the
    /// structure; report their specificity beside it.
    #[default]
    Undefined,
    /// 1 if the prediction is empty as well, else 0, as several challenges rule.
    OneIfEmpty,
}

/// The counts of one mask against another; a pixel is foreground where it is not 0.
///
/// # Errors
/// The masks differ in size.
pub fn mask_counts(predicted: &[u8], truth: &[u8]) -> Result<BinaryCounts> {
    MetricsError::check_length("predicted pixels", truth.len(), predicted.len())?;
    let mut counts = BinaryCounts::default();
    for (&predicted, &truth) in predicted.iter().zip(truth) {
        counts.record(truth != 0, predicted != 0);
    }
    Ok(counts)
}

/// Intersection over union of two masks, in [0, 1].
///
/// # Errors
/// The masks differ in size.
pub fn mask_iou(predicted: &[u8], truth: &[u8], empty: EmptyTruth) -> Result<Value> {
    let counts = mask_counts(predicted, truth)?;
    Ok(empty_truth(&counts, empty).unwrap_or_else(|| counts.iou()))
}

/// Dice coefficient of two masks, 2·|A∩B| / (|A| + |B|), in [0, 1]: the F1 of the pixels.
///
/// # Errors
/// The masks differ in size.
pub fn mask_dice(predicted: &[u8], truth: &[u8], empty: EmptyTruth) -> Result<Value> {
    let counts = mask_counts(predicted, truth)?;
    Ok(empty_truth(&counts, empty).unwrap_or_else(|| counts.f1()))
}

/// The value where the truth is empty; `None` where it is not.
fn empty_truth(counts: &BinaryCounts, rule: EmptyTruth) -> Option<Value> {
    if counts.total() == 0 {
        return Some(Value::Undefined(Undefined::NoSamples));
    }
    (counts.positives() == 0).then(|| match rule {
        EmptyTruth::Undefined => Value::Undefined(Undefined::OnlyNegatives),
        EmptyTruth::OneIfEmpty => Value::Defined(if counts.predicted() == 0 { 1.0 } else { 0.0 }),
    })
}
