//! What the examples share: opening data, building models from flags, running and showing.
//!
//! Each example is a thin program around one of these jobs, so that the quick start runs the very
//! code of the single steps.

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stdout)]

mod bench;
mod calibrate;
mod check_table;
mod columns;
mod compare;
mod data;
mod device;
mod encoder;
mod evaluate;
mod facts;
mod finetune;
mod learning;
mod model_file;
mod predict;
mod pretrain;
mod progress;
mod reconstruct;
mod schedule;

pub use bench::{BenchArgs, Job, bench};
pub use calibrate::{CalibrateArgs, Method, Rule, calibrate};
pub use check_table::{CheckTableArgs, check_table};
pub use columns::ColumnArgs;
pub use compare::{CompareArgs, compare};
pub use data::{DataArgs, OpenData, Split3};
pub use device::DeviceArgs;
pub use encoder::EncoderArgs;
pub use evaluate::{EvaluateArgs, evaluate};
pub use finetune::{FinetuneArgs, finetune};
pub use model_file::{Card, Decisions, Kind};
pub use pretrain::{PretrainArgs, pretrain};
pub use progress::Progress;
pub use reconstruct::{ReconstructArgs, reconstruct};
pub use schedule::ScheduleArgs;
