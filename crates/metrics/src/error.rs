//! What can be wrong with the input of a metric.

use thiserror::Error;

/// Result of an operation that refuses malformed input.
pub type Result<T> = std::result::Result<T, MetricsError>;

/// Malformed input. Rows are counted from 0 within the batch that was passed.
///
/// A metric that merely has no value (no positive sample, for example) is not an error: see
/// [`Undefined`](crate::Undefined).
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A metric needs at least one class.
    #[error("the list of classes is empty")]
    NoClasses,

    /// Two classes have one name, so a report could not tell them apart.
    #[error("the class name {name:?} occurs twice (positions {first} and {second})")]
    DuplicateClass {
        /// The name.
        name: String,
        /// Position of its first occurrence.
        first: usize,
        /// Position of its second occurrence.
        second: usize,
    },

    /// The threshold is NaN or infinite.
    #[error("the decision threshold {threshold} is not finite")]
    Threshold {
        /// The threshold passed.
        threshold: f32,
    },

    /// The score matrix does not have one row per target row and one column per class.
    #[error("{got} scores for {rows} rows of {classes} classes: expected rows × classes")]
    ScoreCount {
        /// Rows that the targets imply.
        rows: usize,
        /// Columns.
        classes: usize,
        /// Scores passed.
        got: usize,
    },

    /// The number of targets is not a multiple of the number of findings.
    #[error("{got} targets cannot be rows of {classes} findings")]
    TargetCount {
        /// Findings per row.
        classes: usize,
        /// Targets passed.
        got: usize,
    },

    /// Two slices that must be parallel are not of one length.
    #[error("{scores} scores but {targets} targets")]
    LengthMismatch {
        /// Length of the scores.
        scores: usize,
        /// Length of the targets.
        targets: usize,
    },

    /// A score is NaN or infinite: it cannot be ranked.
    #[error("row {row}: the score {value} of class {class:?} is not finite")]
    NonFiniteScore {
        /// Row of the batch.
        row: usize,
        /// Name of the class; empty where the input has no classes.
        class: String,
        /// The score.
        value: f32,
    },

    /// A score is no probability although the default threshold 0.5 asks for probabilities.
    #[error(
        "row {row}: the score {value} of {class:?} is outside [0, 1]; \
         pass probabilities, or set the decision threshold of your scale"
    )]
    NotAProbability {
        /// Row of the batch.
        row: usize,
        /// Name of the finding.
        class: String,
        /// The score.
        value: f32,
    },

    /// A class index is not below the number of classes.
    #[error("row {row}: the target {target} is not one of the {classes} classes 0..{classes}")]
    TargetOutOfRange {
        /// Row of the batch.
        row: usize,
        /// The index.
        target: usize,
        /// Number of classes.
        classes: usize,
    },

    /// A target is neither exactly 0 nor exactly 1. Soft labels are for losses; ranking and
    /// counting need to know which sample is positive.
    #[error("row {row}: the target {value} of {class:?} is neither 0 nor 1")]
    SoftTarget {
        /// Row of the batch.
        row: usize,
        /// Name of the finding.
        class: String,
        /// The target.
        value: f32,
    },

    /// The batch carries the other kind of targets.
    #[error("this metric needs {expected} as targets")]
    WrongTargets {
        /// The kind that the metric accepts.
        expected: &'static str,
    },

    /// Two metrics of different configuration cannot be merged, nor a stored one be read whose
    /// parts contradict each other.
    #[error("mismatch in {what}")]
    Mismatch {
        /// What differs.
        what: &'static str,
    },

    /// The counts are not a square matrix of the given size.
    #[error("{got} counts are not a {classes} × {classes} matrix")]
    MatrixShape {
        /// Number of classes.
        classes: usize,
        /// Counts passed.
        got: usize,
    },

    /// The counts add up to more than 2^53, beyond which `f64` skips integers.
    #[error("the counts add up to more than 2^53 samples")]
    TooManySamples,
}
