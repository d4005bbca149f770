//! What every metric can do.

use crate::{Report, Result};

/// The truth of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Targets<'a> {
    /// One class per row, as an index.
    Classes(&'a [usize]),
    /// Row-major rows × findings: `Some(0.0)`, `Some(1.0)` or `None` where unknown.
    Findings(&'a [Option<f32>]),
}

/// Scores and truth of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch<'a> {
    /// Row-major rows × classes.
    pub scores: &'a [f32],
    /// The truth of the same rows.
    pub targets: Targets<'a>,
}

/// A quantity that is collected batch by batch, worker by worker, and computed at the end.
///
/// Merging the parts of a split sequence in order gives the same report, to the bit, as one pass
/// over the whole.
pub trait Metric {
    /// Adds a batch; an empty one changes nothing.
    ///
    /// # Errors
    /// The batch is malformed. The metric is then unchanged.
    fn update(&mut self, batch: &Batch<'_>) -> Result<()>;

    /// Adds everything that `other` has seen, as if it had been seen here next.
    ///
    /// # Errors
    /// The two are configured differently. The metric is then unchanged.
    fn merge(&mut self, other: &Self) -> Result<()>
    where
        Self: Sized;

    /// The report on everything seen so far. The metric can go on collecting.
    ///
    /// # Errors
    /// None in this crate's metrics: what has no value is reported as
    /// [`Undefined`](crate::Undefined).
    fn compute(&self) -> Result<Report>;
}

/// Refuses an empty list of names and names that occur twice.
pub(crate) fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(crate::MetricsError::NoClasses);
    }
    for (second, name) in names.iter().enumerate() {
        if let Some(first) = names.iter().take(second).position(|earlier| earlier == name) {
            return Err(crate::MetricsError::DuplicateClass { name: name.clone(), first, second });
        }
    }
    Ok(())
}

/// Refuses a score matrix that is not rows × names or holds NaN or infinity.
pub(crate) fn check_scores(scores: &[f32], rows: usize, names: &[String]) -> Result<()> {
    let classes = names.len();
    if rows.checked_mul(classes) != Some(scores.len()) {
        return Err(crate::MetricsError::ScoreCount { rows, classes, got: scores.len() });
    }
    for (row, values) in scores.chunks_exact(classes.max(1)).enumerate() {
        if let Some((name, &value)) = names.iter().zip(values).find(|(_, s)| !s.is_finite()) {
            return Err(crate::MetricsError::NonFiniteScore { row, class: name.clone(), value });
        }
    }
    Ok(())
}
