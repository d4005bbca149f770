//! Whether published numbers can be true.

mod rules;
mod table;

use serde::{Deserialize, Serialize};

use crate::{ConfusionMatrix, Report, Task, Undefined, Value};

pub use rules::check_row;
pub use table::{PublishedTable, check_table};

/// A quantity that rules know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quantity {
    /// Mean precision of the classes.
    MacroPrecision,
    /// Mean recall of the classes.
    MacroRecall,
    /// Mean F1 of the classes.
    MacroF1,
    /// Share of right predictions.
    Accuracy,
    /// Micro-averaged precision.
    MicroPrecision,
    /// Micro-averaged recall.
    MicroRecall,
    /// Micro-averaged F1.
    MicroF1,
    /// Recall weighted by support.
    WeightedRecall,
    /// Mean recall of the classes.
    BalancedAccuracy,
    /// Matthews correlation.
    Mcc,
    /// Cohen's kappa.
    Kappa,
    /// Area under the ROC curve.
    Auroc,
    /// Number of samples.
    Samples,
}

/// A number as printed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// What it is.
    pub quantity: Quantity,
    /// The value as a share: 0.8737 for 87.37 %.
    pub value: f64,
    /// Half a unit of the last printed digit: the true value may be that far away.
    pub rounding: f64,
}

/// A number, or a set of numbers, that cannot be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inconsistency {
    /// The row's name.
    pub row: String,
    /// What is wrong, with the numbers.
    pub message: String,
}

/// Checks a report of this crate. It finds nothing unless the report was edited.
#[must_use]
pub fn check_report(report: &Report) -> Vec<Inconsistency> {
    let mut row = Vec::new();
    let mut add = |quantity, value: Value| {
        if let Value::Defined(value) = value {
            row.push(Published { quantity, value, rounding: 1e-12 });
        }
    };
    let covers = |summary: &crate::Summary| summary.mean_over.as_ref().map(|over| over.defined);
    let same = covers(&report.precision_macro) == covers(&report.recall_macro)
        && covers(&report.precision_macro) == covers(&report.f1_macro);
    if same {
        add(Quantity::MacroPrecision, report.precision_macro.value);
        add(Quantity::MacroF1, report.f1_macro.value);
    }
    add(Quantity::MacroRecall, report.recall_macro.value);
    add(Quantity::Accuracy, report.accuracy.value);
    add(Quantity::Mcc, report.mcc.value);
    add(Quantity::Auroc, report.auroc_macro.value);
    let task = report.task;
    let mut found = check_row("report", &row, task);
    if let (Some(matrix), Task::SingleLabel) = (&report.confusion, task) {
        found.extend(check_matrix("report", matrix, &row));
    }
    found
}

/// Checks published numbers against a published confusion matrix.
#[must_use]
pub fn check_matrix(name: &str, matrix: &ConfusionMatrix, row: &[Published]) -> Vec<Inconsistency> {
    let computed = |quantity| match quantity {
        Quantity::Accuracy
        | Quantity::MicroPrecision
        | Quantity::MicroRecall
        | Quantity::MicroF1
        | Quantity::WeightedRecall => matrix.accuracy(),
        Quantity::Mcc => crate::mcc(matrix),
        Quantity::Kappa => crate::cohen_kappa(matrix, crate::KappaWeights::None),
        Quantity::Samples => Value::Defined(matrix.total() as f64),
        _ => Value::Undefined(Undefined::ZeroDenominator),
    };
    row.iter()
        .filter_map(|published| {
            let value = computed(published.quantity).defined()?;
            let far = (value - published.value).abs() > published.rounding * (1.0 + 1e-9) + 1e-12;
            far.then(|| Inconsistency {
                row: name.to_owned(),
                message: format!(
                    "{:?} is given as {}, the confusion matrix says {value:.6}",
                    published.quantity, published.value
                ),
            })
        })
        .collect()
}

/// The least and the greatest Matthews correlation that a confusion matrix with these totals can
/// have: totals alone bound how many samples can lie on the diagonal.
#[must_use]
pub fn mcc_bounds(support: &[u64], predicted: &[u64]) -> Option<(f64, f64)> {
    let total: u64 = support.iter().sum();
    if support.len() != predicted.len() || total != predicted.iter().sum::<u64>() {
        return None;
    }
    let pairs = || support.iter().zip(predicted);
    let most = pairs().map(|(t, p)| t.min(p)).sum();
    let least = pairs().map(|(t, p)| (t + p).saturating_sub(total)).sum();
    let of = |correct| crate::confusion::mcc_of(correct, support, predicted).defined();
    Some((of(least)?, of(most)?))
}
