//! A metric's value, or the reason why it has none.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a metric has no value on the samples seen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Error,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undefined {
    /// No sample with a known target was seen.
    #[error("no samples")]
    NoSamples,
    /// Every sample is positive, so there is no negative to compare with.
    #[error("all samples are positive")]
    OnlyPositives,
    /// No sample is positive.
    #[error("all samples are negative")]
    OnlyNegatives,
    /// The class occurs neither among the targets nor among the predictions.
    #[error("class in neither targets nor predictions")]
    ClassAbsent,
    /// The class was never predicted, so no prediction of it can be right or wrong.
    #[error("class never predicted")]
    NeverPredicted,
    /// The formula divides by zero, as the correlation of a constant does.
    #[error("zero denominator")]
    ZeroDenominator,
    /// A mean over classes of which none has a value.
    #[error("undefined for every class")]
    NoDefinedClass,
    /// Fewer samples than the quantity needs, a variance of one sample for example.
    #[error("too few samples")]
    TooFewSamples,
    /// The value is undefined in too many resamples for an interval.
    #[error("undefined in too many resamples")]
    TooFewResamples,
    /// Every resample gave the same value, so resampling cannot tell how uncertain it is: 61 right
    /// of 61 do not mean that the next is right for sure.
    #[error("the same in every resample")]
    NoSpread,
}

/// A metric's value or the reason why it has none: never NaN, never 0 as a stand-in.
///
/// Serialises as a number or as `{"undefined": "only_negatives"}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "Repr", from = "Repr")]
pub enum Value {
    /// The value.
    Defined(f64),
    /// Why there is none.
    Undefined(Undefined),
}

/// The serialised form of [`Value`].
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Repr {
    Number(f64),
    Reason { undefined: Undefined },
}

impl Value {
    /// The number, if there is one.
    #[must_use]
    pub fn defined(self) -> Option<f64> {
        match self {
            Self::Defined(value) => Some(value),
            Self::Undefined(_) => None,
        }
    }

    /// The reason, if there is no number.
    #[must_use]
    pub fn reason(self) -> Option<Undefined> {
        match self {
            Self::Defined(_) => None,
            Self::Undefined(reason) => Some(reason),
        }
    }

    /// As a `Result`, for use with `?`.
    ///
    /// # Errors
    /// The reason why the value is undefined.
    pub fn into_result(self) -> Result<f64, Undefined> {
        match self {
            Self::Defined(value) => Ok(value),
            Self::Undefined(reason) => Err(reason),
        }
    }

    /// `numerator / denominator` of real numbers, undefined for `reason` if the denominator is 0.
    pub(crate) fn quotient(numerator: f64, denominator: f64, reason: Undefined) -> Self {
        if denominator == 0.0 {
            Self::Undefined(reason)
        } else {
            Self::Defined(numerator / denominator)
        }
    }

    /// The value with `change` applied to its number.
    pub(crate) fn map(self, change: impl FnOnce(f64) -> f64) -> Self {
        match self {
            Self::Defined(number) => Self::Defined(change(number)),
            Self::Undefined(reason) => Self::Undefined(reason),
        }
    }

    /// `numerator / denominator`, undefined for `reason` if the denominator is 0.
    pub(crate) fn ratio(numerator: u64, denominator: u64, reason: Undefined) -> Self {
        if denominator == 0 {
            Self::Undefined(reason)
        } else {
            Self::Defined(numerator as f64 / denominator as f64)
        }
    }
}

impl From<Result<f64, Undefined>> for Value {
    fn from(result: Result<f64, Undefined>) -> Self {
        match result {
            Ok(value) => Self::Defined(value),
            Err(reason) => Self::Undefined(reason),
        }
    }
}

impl From<Value> for Repr {
    fn from(value: Value) -> Self {
        match value {
            Value::Defined(number) => Self::Number(number),
            Value::Undefined(undefined) => Self::Reason { undefined },
        }
    }
}

impl From<Repr> for Value {
    fn from(repr: Repr) -> Self {
        match repr {
            Repr::Number(number) => Self::Defined(number),
            Repr::Reason { undefined } => Self::Undefined(undefined),
        }
    }
}

/// The number (with the formatter's precision, 4 digits by default), or `undefined (reason)`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Defined(value) => write!(f, "{value:.*}", f.precision().unwrap_or(4)),
            Self::Undefined(reason) => write!(f, "undefined ({reason})"),
        }
    }
}
