#![doc = include_str!("../README.md")]

mod audit;
mod batch;
mod comm;
mod error;
mod groups;
mod log;
mod losses;
mod momentum;
mod observer;
mod optimizer;
mod probe;
mod schedule;
mod state;
mod supervised;
mod task;
mod trainer;
mod worst_group;

pub use audit::{AuditReport, audit_gradients};
pub use batch::TensorBatch;
pub use comm::{Communicator, Solo};
pub use error::{Error, Result};
pub use groups::{ParamGroup, layer_decay_groups, pretrain_groups};
pub use log::LOG_FILE;
pub use losses::{bce_with_logits, cross_entropy, soft_cross_entropy};
pub use momentum::{Sgd, SgdConfig};
pub use observer::{EpochInfo, Observer, Silent, SkipInfo, StepInfo};
pub use optimizer::{AdamW, AdamWConfig, Gradients, Optimizer, global_norm};
pub use probe::{Knn, KnnWeights, LogisticConfig, LogisticFit, LogisticProbe, ProbeLabels};
pub use schedule::{Schedule, scaled_lr};
pub use state::{CHECKPOINT_FILE, TrainState};
pub use supervised::{Labels, Supervised};
pub use task::{Evaluation, Selection, Task};
pub use trainer::{BEST_FILE, MODEL_FILE, Summary, Trainer, TrainerConfig};
pub use worst_group::{SampleColumns, WorstGroup};
