//! What a metric reports.

use serde::{Deserialize, Serialize};

use crate::ranking::{Ranking, unweighted};
use crate::{BinaryCounts, ConfusionMatrix, Undefined, Value, ZeroDivision};

/// What was predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One class per sample.
    SingleLabel,
    /// Each finding present, absent or unknown.
    MultiLabel,
}

/// A class that a mean does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub class: String,
    /// Why it has no value.
    pub reason: Undefined,
}

/// Which classes a mean covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Classes that have a value.
    pub defined: usize,
    /// All classes.
    pub of: usize,
    /// Those that have none.
    pub left_out: Vec<LeftOut>,
}

/// One number about all classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The number.
    pub value: Value,
    /// For a mean over classes: which ones. `None` if the number is no such mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean_over: Option<Coverage>,
}

impl Summary {
    /// A number that is no mean over classes.
    pub(crate) fn of(value: Value) -> Self {
        Self { value, mean_over: None }
    }

    /// The plain mean over the classes for which `value` is defined.
    pub(crate) fn mean(classes: &[ClassReport], value: impl Fn(&ClassReport) -> Value) -> Self {
        let (mut sum, mut defined, mut left_out) = (0.0, 0_usize, Vec::new());
        for class in classes {
            match value(class) {
                Value::Defined(number) => {
                    sum += number;
                    defined += 1;
                }
                Value::Undefined(reason) => {
                    left_out.push(LeftOut { class: class.name.clone(), reason });
                }
            }
        }
        let mean = if defined > 0 {
            Value::Defined(sum / defined as f64)
        } else if left_out.iter().all(|class| class.reason == Undefined::NoSamples) {
            Value::Undefined(Undefined::NoSamples)
        } else {
            Value::Undefined(Undefined::NoDefinedClass)
        };
        Self { value: mean, mean_over: Some(Coverage { defined, of: classes.len(), left_out }) }
    }
}

/// Everything about one class against the rest, or about one finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Positive samples.
    pub support: u64,
    /// Samples whose target for this class is known.
    pub known: u64,
    /// Samples whose target for this class is unknown; they count nowhere.
    pub missing: u64,
    /// The decisions behind the numbers.
    pub counts: BinaryCounts,
    /// [`BinaryCounts::accuracy`].
    pub accuracy: Value,
    /// [`BinaryCounts::balanced_accuracy`].
    pub balanced_accuracy: Value,
    /// [`BinaryCounts::precision`], after [`ZeroDivision`].
    pub precision: Value,
    /// [`BinaryCounts::recall`], after [`ZeroDivision`].
    pub recall: Value,
    /// [`BinaryCounts::f1`].
    pub f1: Value,
    /// [`BinaryCounts::specificity`].
    pub specificity: Value,
    /// [`BinaryCounts::mcc`], after [`ZeroDivision`].
    pub mcc: Value,
    /// [`auroc`](crate::auroc()).
    pub auroc: Value,
    /// [`average_precision`](crate::average_precision()).
    pub average_precision: Value,
}

impl ClassReport {
    /// The report that follows from decisions and ranking.
    pub(crate) fn new(
        name: &str,
        counts: BinaryCounts,
        missing: u64,
        ranking: &Ranking,
        zero_division: ZeroDivision,
    ) -> Self {
        Self {
            name: name.to_owned(),
            support: counts.positives(),
            known: counts.total(),
            missing,
            counts,
            accuracy: counts.accuracy(),
            balanced_accuracy: counts.balanced_accuracy(),
            precision: zero_division.apply(counts.precision()),
            recall: zero_division.apply(counts.recall()),
            f1: counts.f1(),
            specificity: counts.specificity(),
            mcc: zero_division.apply(counts.mcc()),
            auroc: ranking.auroc(unweighted),
            average_precision: ranking.average_precision(unweighted),
        }
    }
}

/// All metrics of one evaluation.
///
/// `Display` writes it as a table, `Serialize` as a map by metric name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was predicted.
    pub task: Task,
    /// Samples seen.
    pub samples: u64,
    /// Single-label: share of right predictions. Multi-label: mean over findings. In [0, 1].
    pub accuracy: Summary,
    /// Single-label: mean recall of the classes that have samples. Multi-label: mean over
    /// findings of (recall + specificity)/2. In [0, 1].
    pub balanced_accuracy: Summary,
    /// Mean precision, in [0, 1].
    pub precision_macro: Summary,
    /// Mean recall, in [0, 1].
    pub recall_macro: Summary,
    /// Mean F1, in [0, 1]. Not above the mean of macro precision and macro recall where all three
    /// cover the same classes, which [`ZeroDivision::Zero`] guarantees for single labels.
    pub f1_macro: Summary,
    /// Single-label: multi-class [`mcc`](crate::mcc()). Multi-label: mean over findings. In [−1, 1].
    pub mcc: Summary,
    /// Mean one-versus-rest AUROC, in [0, 1].
    pub auroc_macro: Summary,
    /// Mean one-versus-rest average precision, in [0, 1].
    pub ap_macro: Summary,
    /// Every class or finding, in the order given at construction.
    pub classes: Vec<ClassReport>,
    /// Single-label only: the counts, rows truth, columns prediction.
    pub confusion: Option<ConfusionMatrix>,
}

impl Report {
    /// The names that [`get`](Self::get) knows. All are better when higher.
    pub const NAMES: [&'static str; 8] = [
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "mcc",
        "auroc_macro",
        "ap_macro",
    ];

    /// The metrics to show first, and to choose the best model by.
    pub const HEADLINE: [&'static str; 6] =
        ["accuracy", "balanced_accuracy", "f1_macro", "mcc", "auroc_macro", "ap_macro"];

    /// A metric by its name (see [`NAMES`](Self::NAMES)); `None` for any other name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        self.summary(name).map(|summary| summary.value)
    }

    /// As [`get`](Self::get), with the classes that a mean covers.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<&Summary> {
        match name {
            "accuracy" => Some(&self.accuracy),
            "balanced_accuracy" => Some(&self.balanced_accuracy),
            "precision_macro" => Some(&self.precision_macro),
            "recall_macro" => Some(&self.recall_macro),
            "f1_macro" => Some(&self.f1_macro),
            "mcc" => Some(&self.mcc),
            "auroc_macro" => Some(&self.auroc_macro),
            "ap_macro" => Some(&self.ap_macro),
            _ => None,
        }
    }

    /// The metrics named in [`HEADLINE`](Self::HEADLINE), in that order.
    #[must_use]
    pub fn headline(&self) -> Vec<(&'static str, Value)> {
        Self::HEADLINE.iter().filter_map(|&name| Some((name, self.get(name)?))).collect()
    }
}
