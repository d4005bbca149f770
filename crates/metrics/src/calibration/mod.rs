//! Calibration: measuring it and mending it.

mod binning;

pub(crate) use binning::{Bin, Events};
pub use binning::{Binning, CalibrationError, GapNorm, ReliabilityBin, reliability};
