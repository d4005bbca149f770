//! What the examples share: opening data, building models from flags, running and showing.
//!
//! Each example is a thin program around one of these jobs, so that the quick start runs the very
//! code of the single steps.

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stdout)]

mod audit;
mod augment;
mod bench;
mod calibrate;
mod check_table;
mod client;
mod columns;
mod compare;
mod contact_sheet;
mod data;
mod describe;
mod device;
mod doctor;
mod embed;
mod embedder;
mod encoder;
mod evaluate;
mod facts;
mod features;
mod finetune;
mod knn;
mod learning;
mod medmnist;
mod model_file;
mod parse;
mod predict;
mod pretrain;
mod progress;
mod reconstruct;
mod schedule;
mod serve;
mod sources;
mod views;

pub use audit::{AuditArgs, FailOn, audit};
pub use augment::{AugmentArgs, Draw, MixArgs, Recipe};
pub use bench::{BenchArgs, Job, bench, process};
pub use calibrate::{CalibrateArgs, Method, Rule, calibrate};
pub use check_table::{CheckTableArgs, check_table};
pub use client::{Answer, Client};
pub use columns::ColumnArgs;
pub use compare::{CompareArgs, compare};
pub use contact_sheet::{ContactSheetArgs, contact_sheet};
pub use data::{DataArgs, OpenData, Split3};
pub use describe::{DescribeArgs, describe};
pub use device::DeviceArgs;
pub use doctor::{DoctorArgs, doctor};
pub use embed::{EmbedArgs, Embedded, PictureArgs, embed};
pub use embedder::{Embedder, Features, HubArgs, ModelArgs, Normalise};
pub use encoder::EncoderArgs;
pub use evaluate::{EvaluateArgs, evaluate};
pub use features::{FeatureTable, Origin, Skipped};
pub use finetune::{FinetuneArgs, finetune};
pub use knn::{KnnArgs, KnnReport, Scored, knn};
pub use model_file::{Card, Decisions, Kind};
pub use pretrain::{PretrainArgs, pretrain};
pub use progress::Progress;
pub use reconstruct::{ReconstructArgs, reconstruct};
pub use schedule::ScheduleArgs;
pub use serve::{ServeArgs, ServeLimits, serve, serve_on};
pub use views::ViewArg;
