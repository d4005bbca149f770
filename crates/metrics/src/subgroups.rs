//! Measures by subgroup.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, Evaluator, Measure, Predictions, Result, Undefined, Value};

/// The name of the subgroup of samples whose column is empty.
pub const UNKNOWN: &str = "(unknown)";

/// One measure in every subgroup of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subgroups {
    /// The column.
    pub column: String,
    /// Name of the measure.
    pub measure: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// The measure of all samples.
    pub overall: Estimate,
    /// Every subgroup, in the order of its name, [`UNKNOWN`] last.
    pub groups: Vec<Subgroup>,
}

/// A measure in one subgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subgroup {
    /// The value of the column.
    pub name: String,
    /// Samples.
    pub samples: usize,
    /// Patients, where groups are known; otherwise samples.
    pub patients: usize,
    /// The measure. A subgroup that has no value says why.
    pub estimate: Estimate,
}

impl Subgroups {
    /// A measure by a column, with intervals. `evaluator` must be made of `predictions`.
    ///
    /// # Errors
    /// There is no such column; the settings are out of range; the measure does not exist for
    /// these predictions.
    pub fn of(
        predictions: &Predictions,
        evaluator: &Evaluator,
        column: &str,
        measure: Measure,
        bootstrap: &Bootstrap,
    ) -> Result<Self> {
        let values = predictions.column(column)?;
        let estimate = |included: Option<&[bool]>| -> Result<Estimate> {
            let mut estimates = bootstrap.estimate_of(evaluator, &[measure], included)?;
            estimates.pop().ok_or(crate::MetricsError::Mismatch { what: "number of measures" })
        };
        let mut groups = Vec::new();
        for (name, rows) in members(values, evaluator) {
            let mut included = vec![false; evaluator.rows().len()];
            for row in &rows {
                if let Some(flag) = included.get_mut(*row) {
                    *flag = true;
                }
            }
            let patients: std::collections::HashSet<_> = rows
                .iter()
                .map(|row| evaluator.group_of(*row).map_or((false, *row), |g| (true, g as usize)))
                .collect();
            groups.push(Subgroup {
                name: if name.is_empty() { UNKNOWN.to_owned() } else { name.to_owned() },
                samples: rows.len(),
                patients: patients.len(),
                estimate: estimate(Some(&included))?,
            });
        }
        groups.sort_by_key(|group| group.name == UNKNOWN);
        Ok(Self {
            column: column.to_owned(),
            measure: measure.name(evaluator.classes()),
            higher_is_better: measure.higher_is_better(),
            overall: estimate(None)?,
            groups,
        })
    }

    /// The subgroup with the worst value; those without a value and [`UNKNOWN`] are left out.
    #[must_use]
    pub fn worst(&self) -> Option<&Subgroup> {
        self.extreme(self.higher_is_better)
    }

    /// The subgroup with the best value.
    #[must_use]
    pub fn best(&self) -> Option<&Subgroup> {
        self.extreme(!self.higher_is_better)
    }

    /// Best minus worst value, at least 0; undefined for fewer than two subgroups with a value.
    #[must_use]
    pub fn gap(&self) -> Value {
        let values = self.values().map(|(_, value)| value);
        let (low, high, count) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY, 0), |(low, high, count), v| {
                (low.min(v), high.max(v), count + 1)
            });
        if count < 2 {
            Value::Undefined(Undefined::TooFewSamples)
        } else {
            Value::Defined(high - low)
        }
    }

    fn extreme(&self, lowest: bool) -> Option<&Subgroup> {
        let order = |a: &(&Subgroup, f64), b: &(&Subgroup, f64)| a.1.total_cmp(&b.1);
        let found = if lowest { self.values().min_by(order) } else { self.values().max_by(order) };
        found.map(|(group, _)| group)
    }

    fn values(&self) -> impl Iterator<Item = (&Subgroup, f64)> {
        let known = self.groups.iter().filter(|group| group.name != UNKNOWN);
        known.filter_map(|group| Some((group, group.estimate.value.defined()?)))
    }
}

/// Rows of the evaluator by their value in the column.
fn members<'a>(values: &'a [String], evaluator: &Evaluator) -> BTreeMap<&'a str, Vec<usize>> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, row) in evaluator.rows().iter().enumerate() {
        if let Some(value) = values.get(*row) {
            members.entry(value.trim()).or_default().push(place);
        }
    }
    members
}

/// The worst value of a measure over the subgroups of a column, without intervals: cheap enough to
/// choose the best epoch by. Subgroups without a value and samples without a known subgroup are
/// left out.
///
/// # Errors
/// There is no such column; the measure does not exist for these predictions.
pub fn worst_subgroup(
    predictions: &Predictions,
    evaluator: &Evaluator,
    column: &str,
    measure: Measure,
) -> Result<Value> {
    let mut worst = Value::Undefined(Undefined::NoDefinedClass);
    for (name, rows) in members(predictions.column(column)?, evaluator) {
        if name.is_empty() {
            continue;
        }
        let mut weights = vec![0; evaluator.rows().len()];
        for row in rows {
            if let Some(weight) = weights.get_mut(row) {
                *weight = 1;
            }
        }
        let value = evaluator.values_of(&[measure], &weights)?.first().copied();
        if let Some(Value::Defined(value)) = value {
            worst = Value::Defined(match worst {
                Value::Undefined(_) => value,
                Value::Defined(worst) if measure.higher_is_better() => worst.min(value),
                Value::Defined(worst) => worst.max(value),
            });
        }
    }
    Ok(worst)
}
