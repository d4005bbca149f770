//! Calibration: measuring it and mending it.

mod binning;
mod fit;
mod isotonic;
mod scaling;

pub(crate) use binning::{Bin, Events};
pub use binning::{Binning, CalibrationError, GapNorm, ReliabilityBin, reliability};
pub use fit::{Calibration, CalibrationMethod};
