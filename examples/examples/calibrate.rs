//! Fits calibration and decision thresholds on validation data and stores them with the model.

use clap::Parser;
use vitalight_examples::{CalibrateArgs, calibrate};

/// Fits calibration and decision thresholds on validation data and stores them with the model.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: CalibrateArgs,
}

fn main() -> anyhow::Result<()> {
    calibrate(&Cli::parse().args)?;
    Ok(())
}
