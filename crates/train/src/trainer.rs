use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Var;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vit_datasets::Loader;
use vit_kernels::GradAccumulator;
use vit_metrics::Report;
use vit_models::{Context, ParamStore, save_weights};
use vit_random::Streams;

use crate::log::Log;
use crate::state::Checkpoint;
use crate::{
    Communicator, EpochInfo, Error, Gradients, Observer, Optimizer, Result, Schedule, Selection,
    SkipInfo, Solo, StepInfo, Task, TensorBatch, TrainState, audit_gradients, global_norm,
};

/// Name of the best model in a run's folder.
pub const BEST_FILE: &str = "best.safetensors";
/// Name of the last model in a run's folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// How a run is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerConfig {
    /// Number of epochs.
    pub epochs: u64,
    /// Learning rate over the run.
    pub schedule: Schedule,
    /// Batches whose gradients are averaged for one update.
    pub accum_iter: usize,
    /// Largest L2 norm of the gradient; `None` for no clipping.
    pub clip_grad: Option<f64>,
    /// Seed of every random stream.
    pub seed: u64,
    /// Batches in a row without a finite loss or gradient after which the run stops.
    pub max_skipped_in_row: usize,
    /// Updates between checkpoints within an epoch; 0 for the ends of epochs only.
    pub checkpoint_every: u64,
    /// Activation checkpointing: blocks are computed again in the backward pass instead of kept.
    /// The same gradients to the bit, for less memory and more time.
    #[serde(default)]
    pub grad_checkpointing: bool,
    /// What the best model is chosen by, on the validation data.
    pub selection: Option<Selection>,
}

impl TrainerConfig {
    fn check(&self, task: &dyn Task) -> Result<()> {
        self.schedule.check()?;
        if self.epochs == 0 || self.accum_iter == 0 || self.max_skipped_in_row == 0 {
            return Err(Error::Config(
                "epochs, accum_iter and max_skipped_in_row must be 1 or more".to_string(),
            ));
        }
        if let Some(Selection { metric }) = &self.selection
            && !task.reports(metric)
        {
            let known = Report::NAMES.join(", ");
            let message = format!(
                "no metric '{metric}' to select by; there are loss, {known}, and \
                 worst:MEASURE@COLUMN where the task was told the column"
            );
            return Err(Error::Config(message));
        }
        match self.clip_grad {
            Some(norm) if !(norm.is_finite() && norm > 0.) => {
                Err(Error::Config(format!("clip_grad is {norm}; leave it out for no clipping")))
            }
            _ => Ok(()),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Whether every epoch was trained; `false` after an observer's `Break`.
    pub finished: bool,
    /// Where the run stands.
    pub state: TrainState,
    /// The best model, if one was chosen.
    pub best_model: Option<PathBuf>,
    /// The last model, if the run finished.
    pub last_model: Option<PathBuf>,
}

/// Trains a task: updates, schedule, checkpoints, log, best model.
///
/// A run killed at any moment and started again with the same settings ends with the same bytes
/// as one that was not.
pub struct Trainer<'a> {
    task: &'a dyn Task,
    store: &'a ParamStore,
    optimizer: &'a mut dyn Optimizer,
    config: TrainerConfig,
    folder: PathBuf,
    settings: Map<String, Value>,
    metadata: Map<String, Value>,
    communicator: Box<dyn Communicator>,
}

/// Gradients of the batches of one update.
#[derive(Default)]
struct Window {
    gradients: GradAccumulator,
    batches: usize,
    loss: f64,
    /// Samples behind the gradients.
    ids: Vec<String>,
}

impl<'a> Trainer<'a> {
    /// A trainer that keeps its files in `folder`.
    ///
    /// `settings` are whatever must be the same when the run is resumed (model, data, batch size;
    /// the trainer's own configuration is added); `metadata` goes into the model files.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense, [`Error::Io`] when the folder cannot be
    /// made.
    pub fn new(
        task: &'a dyn Task,
        store: &'a ParamStore,
        optimizer: &'a mut dyn Optimizer,
        config: TrainerConfig,
        folder: &Path,
        mut settings: Map<String, Value>,
        metadata: Map<String, Value>,
    ) -> Result<Self> {
        config.check(task)?;
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
        let own = serde_json::to_value(&config).map_err(|e| Error::Config(e.to_string()))?;
        settings.insert("trainer".to_string(), own);
        Ok(Self {
            task,
            store,
            optimizer,
            config,
            folder: folder.to_path_buf(),
            settings,
            metadata,
            communicator: Box::new(Solo),
        })
    }

    /// Trains together with other processes.
    #[must_use]
    pub fn with_communicator(mut self, communicator: Box<dyn Communicator>) -> Self {
        self.communicator = communicator;
        self
    }

    /// Trains to the end, from the folder's checkpoint if there is one.
    ///
    /// # Errors
    /// [`Error::Audit`] before the first update; [`Error::NonFinite`] after too many skipped
    /// batches; [`Error::Checkpoint`] when the folder holds a run with other settings; whatever
    /// data, model or file system report.
    pub fn run(
        &mut self,
        train: &Loader,
        validation: Option<&Loader>,
        observer: &mut dyn Observer,
    ) -> Result<Summary> {
        if train.batches_per_epoch() == 0 {
            return Err(Error::Config(
                "an epoch has no batch: fewer samples than one batch, and the last is dropped"
                    .to_string(),
            ));
        }
        if let (Some(selection), None) = (&self.config.selection, validation) {
            return Err(Error::Config(format!(
                "the best model is to be chosen by '{}', but there is no validation data",
                selection.metric
            )));
        }
        self.check_optimizer()?;
        let checkpoint = Checkpoint::in_folder(&self.folder);
        let mut state = TrainState::default();
        if checkpoint.exists() {
            state = checkpoint.load(self.store, self.optimizer, &self.settings)?;
        } else {
            self.audit(train, observer)?;
        }
        let mut log = Log::open(&self.folder, state.log_bytes)?;
        while state.epoch < self.config.epochs {
            if self.epoch(train, &mut state, &mut log, &checkpoint, observer)?.is_break() {
                self.save_checkpoint(&checkpoint, &mut state, &log)?;
                return Ok(self.summary(false, state));
            }
            self.finish_epoch(validation, &mut state, &mut log, observer)?;
            self.save_checkpoint(&checkpoint, &mut state, &log)?;
        }
        save_weights(&self.folder.join(MODEL_FILE), &self.store.tensors(), &self.metadata)?;
        Ok(self.summary(true, state))
    }

    fn summary(&self, finished: bool, state: TrainState) -> Summary {
        Summary {
            finished,
            best_model: state.best_epoch.map(|_| self.folder.join(BEST_FILE)),
            last_model: finished.then(|| self.folder.join(MODEL_FILE)),
            state,
        }
    }

    /// The optimiser must change exactly what the store has as trainable: it would leave the rest
    /// as it is for the whole run, and nobody would be told.
    fn check_optimizer(&self) -> Result<()> {
        let groups = self.optimizer.groups().iter();
        let mut given: BTreeMap<&String, _> =
            groups.flat_map(|group| &group.params).map(|(name, var)| (name, var.id())).collect();
        for (name, var) in self.store.trainable() {
            let id = given.remove(&name.to_string());
            if id != Some(var.id()) {
                let why = if id.is_some() { "has another variable for" } else { "does not have" };
                let message = format!("the optimiser {why} the trainable parameter '{name}'");
                return Err(Error::Config(message));
            }
        }
        match given.keys().next() {
            Some(name) => {
                Err(Error::Config(format!("the optimiser has '{name}', which is not trainable")))
            }
            None => Ok(()),
        }
    }

    /// One forward and backward pass of the first batch with dropout and drop path off, to see
    /// which tensors gradients reach.
    fn audit(&self, train: &Loader, observer: &mut dyn Observer) -> Result<()> {
        let Some(batch) = train.epoch(0, 0).next() else { return Ok(()) };
        let batch = TensorBatch::new(batch?, self.store.device())?;
        let loss = self.task.loss(&batch, &Context::eval())?;
        let grads = loss.backward()?;
        let allowed = |name: &str| self.task.zero_gradient_allowed(name);
        let report = audit_gradients(self.store, &grads, allowed)?;
        tracing::info!(%report, "gradient-reach audit");
        observer.audited(&report);
        Ok(())
    }

    fn epoch(
        &mut self,
        train: &Loader,
        state: &mut TrainState,
        log: &mut Log,
        checkpoint: &Checkpoint,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<()>> {
        let batches = train.batches_per_epoch();
        let mut window = Window::default();
        let mut lr = self.lr(state, batches);
        for batch in train.epoch(state.epoch, state.batch) {
            let batch = TensorBatch::new(batch?, self.store.device())?;
            self.accumulate(&batch, &mut window, state, log, observer)?;
            state.batch = batch.number + 1;
            // The last update of an epoch takes what is there.
            let complete =
                state.batch.is_multiple_of(self.config.accum_iter) || state.batch == batches;
            if !complete {
                continue;
            }
            let done = std::mem::take(&mut window);
            let flow = self.update(done, &batch, lr, batches, state, log, observer)?;
            lr = self.lr(state, batches);
            if flow.is_break() {
                return Ok(flow);
            }
            let every = self.config.checkpoint_every;
            let due = every > 0 && state.updates.is_multiple_of(every) && state.batch < batches;
            if due {
                self.save_checkpoint(checkpoint, state, log)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn lr(&self, state: &TrainState, batches: usize) -> f64 {
        self.config.schedule.at(state.epoch as f64 + state.batch as f64 / batches as f64)
    }

    /// Adds one batch's gradients to the window, unless its loss is not finite.
    fn accumulate(
        &self,
        batch: &TensorBatch,
        window: &mut Window,
        state: &mut TrainState,
        log: &mut Log,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let streams = Streams::new(self.config.seed);
        let ctx = Context::train(streams, batch.epoch, &batch.samples)
            .with_grad_checkpointing(self.config.grad_checkpointing);
        let loss = self.task.loss(batch, &ctx)?;
        let value = loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            return self.skip("loss", 1, batch, batch.ids.clone(), state, log, observer);
        }
        window.gradients.backward(&loss, self.store.trainable().map(|(_, var)| var))?;
        window.batches += 1;
        window.loss += value;
        window.ids.extend_from_slice(&batch.ids);
        Ok(())
    }

    /// One optimiser update from a window's gradients.
    #[allow(clippy::too_many_arguments)] // the parts of one step, each used once
    fn update(
        &mut self,
        mut window: Window,
        last: &TensorBatch,
        lr: f64,
        batches: usize,
        state: &mut TrainState,
        log: &mut Log,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<()>> {
        if window.batches == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let mut gradients = self.named(&mut window.gradients)?;
        self.communicator.all_reduce_sum(&mut gradients)?;
        let mean = 1. / (window.batches * self.communicator.world_size()) as f64;
        let grad_norm = global_norm(&gradients)? * mean;
        if !grad_norm.is_finite() {
            // The sum does not tell which batch spoiled it: all of them are lost, and named.
            self.skip("gradient", window.batches, last, window.ids, state, log, observer)?;
            return Ok(ControlFlow::Continue(()));
        }
        let clip = match self.config.clip_grad {
            Some(largest) if grad_norm > largest => largest / grad_norm,
            _ => 1.,
        };
        self.optimizer.step(gradients, lr, mean * clip)?;
        state.updates = self.optimizer.steps();
        state.skipped_in_row = 0;
        state.loss_sum += window.loss;
        state.loss_count += window.batches as u64;
        let info = StepInfo {
            epoch: state.epoch,
            batch: last.number,
            batches,
            update: state.updates,
            loss: window.loss / window.batches as f64,
            lr,
            grad_norm,
        };
        log.write(&info)?;
        Ok(observer.step(&info))
    }

    /// The gradients by name. A parameter no sample of a batch used (all its paths dropped) has a
    /// gradient of zero.
    fn named(&self, gradients: &mut GradAccumulator) -> Result<Gradients> {
        let named = |(name, var): (&str, &Var)| {
            let grad = gradients.take(var).map_or_else(|| var.zeros_like(), Ok)?;
            Ok((name.to_string(), grad))
        };
        self.store.trainable().map(named).collect()
    }

    #[allow(clippy::too_many_arguments)] // what is skipped, and where that is noted
    fn skip(
        &self,
        what: &'static str,
        batches: usize,
        batch: &TensorBatch,
        ids: Vec<String>,
        state: &mut TrainState,
        log: &mut Log,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        state.skipped += batches as u64;
        state.skipped_in_row += batches;
        let info = SkipInfo { epoch: batch.epoch, batch: batch.number, non_finite: what, ids };
        log.write(&info)?;
        tracing::warn!(epoch = batch.epoch, batch = batch.number, ids = ?info.ids, "{what} is not finite: batch skipped");
        observer.skipped(&info);
        if state.skipped_in_row >= self.config.max_skipped_in_row {
            return Err(Error::NonFinite {
                what,
                count: state.skipped_in_row,
                epoch: batch.epoch,
                batch: batch.number,
                ids: info.ids,
            });
        }
        Ok(())
    }

    /// Validates, keeps the best model, writes the epoch's line and moves on to the next epoch.
    fn finish_epoch(
        &self,
        validation: Option<&Loader>,
        state: &mut TrainState,
        log: &mut Log,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let validation = match validation {
            None => None,
            Some(loader) => {
                let device = self.store.device();
                let mut batches = loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, device));
                Some(self.task.evaluate(&mut batches)?)
            }
        };
        let mut best = false;
        if let (Some(selection), Some(evaluation)) = (&self.config.selection, &validation) {
            // An undefined metric never makes a model the best; the log says why it is undefined.
            if let Some(value) = evaluation.value(&selection.metric)
                && selection.improves(value, state.best)
            {
                best = true;
                state.best = Some(value);
                state.best_epoch = Some(state.epoch);
                save_weights(&self.folder.join(BEST_FILE), &self.store.tensors(), &self.metadata)?;
            }
        }
        let train_loss = (state.loss_count > 0).then(|| state.loss_sum / state.loss_count as f64);
        let info =
            EpochInfo { epoch: state.epoch, train_loss, skipped: state.skipped, validation, best };
        log.write(&info)?;
        observer.epoch(&info);
        state.epoch += 1;
        state.batch = 0;
        state.loss_sum = 0.;
        state.loss_count = 0;
        Ok(())
    }

    fn save_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        state: &mut TrainState,
        log: &Log,
    ) -> Result<()> {
        log.sync()?;
        state.log_bytes = log.bytes();
        checkpoint.save(self.store, self.optimizer, state, &self.settings)
    }
}
