//! Several findings per sample, judged sample by sample.

use crate::{MetricsError, Result, Undefined, Value};

/// Hamming loss: share of known (sample, finding) cells decided wrongly, in [0, 1], lower is
/// better. `predicted` and `targets` are row-major rows × findings; unknown targets are left out.
///
/// # Errors
/// The slices differ in length.
pub fn hamming_loss(predicted: &[bool], targets: &[Option<bool>]) -> Result<Value> {
    MetricsError::check_length("predictions", targets.len(), predicted.len())?;
    let known = predicted.iter().zip(targets).filter_map(|(p, t)| Some((*p, (*t)?)));
    let (wrong, all) = known.fold((0, 0), |(wrong, all), (predicted, target)| {
        (wrong + u64::from(predicted != target), all + 1)
    });
    Ok(Value::ratio(wrong, all, Undefined::NoSamples))
}

/// Subset accuracy: share of samples of which every known finding is decided rightly, in [0, 1].
/// Samples without any known finding are left out.
///
/// # Errors
/// The slices differ in length, or the length is no multiple of `findings`.
pub fn subset_accuracy(
    predicted: &[bool],
    targets: &[Option<bool>],
    findings: usize,
) -> Result<Value> {
    MetricsError::check_length("predictions", targets.len(), predicted.len())?;
    if findings == 0 || !targets.len().is_multiple_of(findings) {
        return Err(MetricsError::TargetCount { classes: findings, got: targets.len() });
    }
    let rows = predicted.chunks_exact(findings).zip(targets.chunks_exact(findings));
    let (mut right, mut all) = (0, 0);
    for (predicted, targets) in rows {
        let mut known = predicted.iter().zip(targets).filter_map(|(p, t)| Some((*p, (*t)?)));
        if targets.iter().any(Option::is_some) {
            all += 1;
            right += u64::from(known.all(|(predicted, target)| predicted == target));
        }
    }
    Ok(Value::ratio(right, all, Undefined::NoSamples))
}
