#![doc = include_str!("../README.md")]

mod confusion;
mod error;
mod metric;
mod multi_label;
mod ranking;
mod report;
mod single_label;
mod table;
mod value;

pub use confusion::{BinaryCounts, ConfusionMatrix, ZeroDivision, mcc};
pub use error::{MetricsError, Result};
pub use metric::{Batch, Metric, Targets};
pub use multi_label::MultiLabel;
pub use ranking::{auroc, average_precision};
pub use report::{ClassReport, Coverage, LeftOut, Report, Summary, Task};
pub use single_label::SingleLabel;
pub use value::{Undefined, Value};
