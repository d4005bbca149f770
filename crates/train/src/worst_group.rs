use std::collections::{BTreeMap, HashMap};

use vit_metrics::{Evaluator, Measure, MetricsError, Predictions, Value, worst_subgroup};

use crate::{Error, Result};

/// What is known of samples beside picture and label: for each column (sex, view, site, …) the
/// value of each sample, by the sample's id. An empty value is unknown.
pub type SampleColumns = BTreeMap<String, HashMap<String, String>>;

/// A measure in the subgroup of a column where it is worst, as a criterion for the best model:
/// `worst:auroc_macro@sex`. Subgroups in which the measure is undefined do not count.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstGroup {
    criterion: String,
    measure: Measure,
    column: String,
    values: HashMap<String, String>,
}

impl WorstGroup {
    /// Measure and column of a criterion; `None` where it is not of the form
    /// `worst:MEASURE@COLUMN`.
    #[must_use]
    pub fn names(criterion: &str) -> Option<(&str, &str)> {
        criterion.strip_prefix("worst:")?.rsplit_once('@')
    }

    /// The criterion over these samples. `classes` are the names of the model's outputs.
    ///
    /// # Errors
    /// [`Error::Config`] for another form, [`MetricsError::UnknownMeasure`] and
    /// [`MetricsError::UnknownColumn`] for names that do not exist.
    pub fn new(criterion: &str, classes: &[String], columns: &SampleColumns) -> Result<Self> {
        let (measure, column) = Self::names(criterion).ok_or_else(|| {
            Error::Config(format!("'{criterion}' is not of the form worst:MEASURE@COLUMN"))
        })?;
        let values = columns.get(column).cloned().ok_or_else(|| MetricsError::UnknownColumn {
            name: column.to_string(),
            known: columns.keys().cloned().collect(),
        })?;
        let (criterion, measure) = (criterion.to_string(), Measure::parse(measure, classes)?);
        Ok(Self { criterion, measure, column: column.to_string(), values })
    }

    /// The criterion as given.
    #[must_use]
    pub fn criterion(&self) -> &str {
        &self.criterion
    }

    /// The worst value among these predictions' subgroups.
    ///
    /// # Errors
    /// [`Error::Config`] naming a sample that the column does not have; whatever the measure
    /// refuses.
    pub fn value(&self, predictions: Predictions) -> Result<Value> {
        let cell = |id: &String| {
            self.values.get(id).cloned().ok_or_else(|| {
                Error::Config(format!("column '{}' has no row for sample '{id}'", self.column))
            })
        };
        let cells = predictions.ids().iter().map(cell).collect::<Result<Vec<_>>>()?;
        let predictions = predictions.with_column(&self.column, cells)?;
        let evaluator = Evaluator::new(&predictions)?;
        Ok(worst_subgroup(&predictions, &evaluator, &self.column, self.measure)?)
    }
}
