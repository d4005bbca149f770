use clap::{Args, ValueEnum};
use vit_train::{
    AdamW, AdamWConfig, Optimizer, ParamGroup, Schedule, Selection, Sgd, SgdConfig, TrainerConfig,
    scaled_lr,
};

/// How long and how fast to train; names and meanings as in the reference scripts.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// Pictures per batch.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Passes over the training data.
    #[arg(long, default_value_t = 10)]
    pub epochs: u64,
    /// Batches whose gradients make one update.
    #[arg(long, default_value_t = 1)]
    pub accum_iter: usize,
    /// Base learning rate: the learning rate is `blr · batch_size · accum_iter / 256`.
    #[arg(long, default_value_t = 1e-3)]
    pub blr: f64,
    /// Learning rate itself; overrides `--blr`.
    #[arg(long)]
    pub lr: Option<f64>,
    /// Learning rate at the end.
    #[arg(long, default_value_t = 0.)]
    pub min_lr: f64,
    /// Epochs of linear warm-up.
    #[arg(long, default_value_t = 1.)]
    pub warmup_epochs: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 0.05)]
    pub weight_decay: f64,
    /// Largest L2 norm of the gradient (default: no clipping).
    #[arg(long)]
    pub clip_grad: Option<f64>,
    /// Optimiser.
    #[arg(long, value_enum, default_value_t = Opt::Adamw)]
    pub opt: Opt,
    /// Compute blocks again in the backward pass instead of keeping them: less memory, more time,
    /// the same result.
    #[arg(long)]
    pub grad_checkpointing: bool,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Updates between checkpoints within an epoch (0: at the ends of epochs only).
    #[arg(long, default_value_t = 0)]
    pub checkpoint_every: u64,
    /// Batches in a row without a finite loss after which the run stops.
    #[arg(long, default_value_t = 5)]
    pub max_skipped: usize,
}

/// Optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Opt {
    /// AdamW.
    Adamw,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
    /// LARS, as MAE's linear probe has it.
    Lars,
}

impl ScheduleArgs {
    /// The optimiser; `adamw` holds AdamW's own settings.
    ///
    /// # Errors
    /// When nothing is trainable.
    pub fn optimizer(
        &self,
        groups: Vec<ParamGroup>,
        adamw: AdamWConfig,
    ) -> vit_train::Result<Box<dyn Optimizer>> {
        Ok(match self.opt {
            Opt::Adamw => Box::new(AdamW::new(groups, adamw)?),
            Opt::Sgd => Box::new(Sgd::new(groups, SgdConfig::sgd())?),
            Opt::Lars => Box::new(Sgd::new(groups, SgdConfig::lars())?),
        })
    }

    /// The learning rate: `--lr`, or the base scaled to the effective batch.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.lr.unwrap_or_else(|| scaled_lr(self.blr, self.batch_size * self.accum_iter))
    }

    /// As the trainer takes it.
    #[must_use]
    pub fn trainer(&self, selection: Option<&str>) -> TrainerConfig {
        TrainerConfig {
            epochs: self.epochs,
            schedule: Schedule {
                lr: self.learning_rate(),
                min_lr: self.min_lr,
                warmup_epochs: self.warmup_epochs,
                epochs: self.epochs as f64,
            },
            accum_iter: self.accum_iter,
            clip_grad: self.clip_grad,
            seed: self.seed,
            max_skipped_in_row: self.max_skipped,
            checkpoint_every: self.checkpoint_every,
            grad_checkpointing: self.grad_checkpointing,
            selection: selection.map(|metric| Selection { metric: metric.to_string() }),
        }
    }
}
