use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use vit_metrics::{Measure, Report, Value};
use vit_models::Context;

use crate::{Result, TensorBatch, WorstGroup};

/// What is being learnt. The trainer knows nothing else of it.
pub trait Task {
    /// The loss of one batch, a scalar with the graph behind it. `ctx` tells whether dropout and
    /// drop path are on; the audit runs with them off.
    ///
    /// # Errors
    /// When pictures or targets do not fit the model.
    fn loss(&self, batch: &TensorBatch, ctx: &Context) -> Result<Tensor>;

    /// Loss and metrics over all batches of a data set, without recording a graph.
    ///
    /// # Errors
    /// As [`Task::loss`], or what the batches' source reports.
    fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = Result<TensorBatch>>,
    ) -> Result<Evaluation>;

    /// Whether [`Task::evaluate`] reports a value of this name: one that it never reports could
    /// never choose a model, and is refused before the run.
    fn reports(&self, metric: &str) -> bool {
        metric == "loss" || Report::NAMES.contains(&metric)
    }

    /// Whether this trainable parameter's gradient is exactly zero before the first step because
    /// of how the model is built.
    fn zero_gradient_allowed(&self, _name: &str) -> bool {
        false
    }
}

/// Result of [`Task::evaluate`].
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Mean loss over samples (not over batches): over what each counts for, class weights and
    /// known findings among it.
    pub loss: f64,
    /// Number of samples.
    pub samples: usize,
    /// Metrics, for tasks that have labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Further values by name, such as `worst:auroc_macro@sex`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Value>,
}

impl Evaluation {
    /// A result without further values.
    #[must_use]
    pub fn new(loss: f64, samples: usize, report: Option<Report>) -> Self {
        Self { loss, samples, report, extra: BTreeMap::new() }
    }

    /// The value of a metric by name, `loss` included; `None` when it is undefined or unknown.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            _ => match self.extra.get(name) {
                Some(value) => value.defined(),
                None => self.report.as_ref()?.get(name)?.defined(),
            },
        }
    }
}

/// A metric the best model is chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Name, as [`Evaluation::value`] takes it.
    pub metric: String,
}

impl Selection {
    /// Whether `value` beats `best`: a loss or an error when it is lower, everything else when it
    /// is higher.
    #[must_use]
    pub fn improves(&self, value: f64, best: Option<f64>) -> bool {
        match best {
            None => value.is_finite(),
            Some(best) if self.lower_is_better() => value < best,
            Some(best) => value > best,
        }
    }

    fn lower_is_better(&self) -> bool {
        let measure = WorstGroup::names(&self.metric).map_or(self.metric.as_str(), |names| names.0);
        let known = Measure::parse(measure, &[]);
        measure == "loss" || known.is_ok_and(|measure| !measure.higher_is_better())
    }
}
