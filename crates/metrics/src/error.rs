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

    /// Two slices that must be parallel are not of one length.
    #[error("{got} {what} where {expected} are needed")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// The length needed.
        expected: usize,
        /// The length passed.
        got: usize,
    },

    /// A value of a plain slice (a regression target, a pixel) is NaN or infinite.
    #[error("row {row}: the {what} {value} is not finite")]
    NotFinite {
        /// Row of the slice.
        row: usize,
        /// What the slice holds.
        what: &'static str,
        /// The value.
        value: f64,
    },

    /// A sample weight is negative, NaN or infinite.
    #[error("row {row}: the weight {value} is no finite number of at least 0")]
    Weight {
        /// Row of the slice.
        row: usize,
        /// The weight.
        value: f64,
    },

    /// The scores of a row are no probabilities of exclusive classes, which the measure needs.
    #[error(
        "row {row}: the scores add up to {sum}, not to 1; pass softmax probabilities to compute \
         Brier score, log loss or calibration"
    )]
    NotADistribution {
        /// Row.
        row: usize,
        /// The sum of its scores.
        sum: f64,
    },

    /// A setting is outside its range.
    #[error("{what} is {value}; it must be {expected}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The value passed.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },

    /// No measure has this name.
    #[error("there is no measure {name:?}; names are like accuracy, f1_macro, auroc[class name]")]
    UnknownMeasure {
        /// The name.
        name: String,
    },

    /// A measure does not exist for this kind of task.
    #[error("{measure} does not exist for {task} predictions")]
    WrongTask {
        /// The measure.
        measure: String,
        /// The kind of task.
        task: &'static str,
    },

    /// The predictions have no such column.
    #[error("there is no column {name:?}; there are {known:?}")]
    UnknownColumn {
        /// The name.
        name: String,
        /// The columns that exist.
        known: Vec<String>,
    },

    /// A label is none of the classes.
    #[error("{path}, row {row}: the label {label:?} is none of the {classes} classes")]
    UnknownLabel {
        /// The file.
        path: String,
        /// Row, counted from 1 below the header.
        row: usize,
        /// The label.
        label: String,
        /// Number of classes.
        classes: usize,
    },

    /// One id occurs twice, so predictions could not be paired.
    #[error("the id {id:?} occurs twice (rows {first} and {second})")]
    DuplicateId {
        /// The id.
        id: String,
        /// Row of its first occurrence.
        first: usize,
        /// Row of its second occurrence.
        second: usize,
    },

    /// Thresholds and calibration must not be fitted on the data that they are judged by.
    #[error("{what} must not be fitted on the test part; pass predictions on the validation part")]
    FittedOnTest {
        /// What was to be fitted.
        what: &'static str,
    },

    /// A value that the caller demanded to be defined is not.
    #[error("{measure} of {class:?} is undefined: {reason}")]
    UndefinedValue {
        /// The measure.
        measure: &'static str,
        /// The class.
        class: String,
        /// Why.
        reason: crate::Undefined,
    },

    /// A file cannot be read or written, or does not hold what it should.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

impl MetricsError {
    /// A setting that is outside its range.
    pub(crate) fn setting(
        what: &'static str,
        value: impl std::fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self::Setting { what, value: value.to_string(), expected }
    }

    /// Refuses a slice of another length than `expected`.
    pub(crate) fn check_length(what: &'static str, expected: usize, got: usize) -> Result<()> {
        if expected == got { Ok(()) } else { Err(Self::Length { what, expected, got }) }
    }

    /// Refuses NaN and infinity.
    pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
        match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((row, &value)) => Err(Self::NotFinite { row, what, value }),
            None => Ok(()),
        }
    }
}
