//! Intervals and tests.

mod band;
mod bootstrap;
mod compare;
mod delong;
mod interval;
mod paired;
mod proportion;
mod resample;
mod seeds;

pub use band::{Band, Curve};
pub use bootstrap::{Bootstrap, Estimate};
pub use compare::Comparison;
pub use delong::{DeLong, DeLongTest, delong, delong_test};
pub use interval::{Interval, IntervalMethod, bca_interval, percentile_interval};
pub use paired::{McNemar, holm, mcnemar};
pub use proportion::{clopper_pearson, wilson};
pub use resample::Resampling;
pub use seeds::{SeedSummary, summarise_seeds};
