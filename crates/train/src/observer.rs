use std::ops::ControlFlow;

use serde::Serialize;

use crate::{AuditReport, Evaluation};

/// One optimiser update, as logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepInfo {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Last batch of the update, from 0.
    pub batch: usize,
    /// Batches per epoch.
    #[serde(skip)]
    pub batches: usize,
    /// Optimiser updates so far, this one included.
    pub update: u64,
    /// Mean loss of the update's batches.
    pub loss: f64,
    /// Learning rate before the groups' scales.
    pub lr: f64,
    /// L2 norm of the gradient before clipping.
    pub grad_norm: f64,
}

/// One epoch, as logged.
#[derive(Debug, Clone, Serialize)]
pub struct EpochInfo {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Mean training loss over batches; `None` when every batch was skipped.
    pub train_loss: Option<f64>,
    /// Batches skipped so far in the run.
    pub skipped: u64,
    /// What the validation data say, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Evaluation>,
    /// Whether the model is the best so far.
    pub best: bool,
}

/// A skipped batch, as logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkipInfo {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Batch, from 0.
    pub batch: usize,
    /// `loss` or `gradient`.
    pub non_finite: &'static str,
    /// Samples of the batch; for a gradient, of all batches of the update.
    pub ids: Vec<String>,
}

/// Watches a run: progress bars, plots, the decision to stop early.
pub trait Observer {
    /// The gradient-reach audit has passed.
    fn audited(&mut self, _report: &AuditReport) {}

    /// An update was made. `Break` makes the trainer write a checkpoint and stop.
    fn step(&mut self, _info: &StepInfo) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A batch was skipped.
    fn skipped(&mut self, _info: &SkipInfo) {}

    /// An epoch ended.
    fn epoch(&mut self, _info: &EpochInfo) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
