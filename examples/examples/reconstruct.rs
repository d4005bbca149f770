//! Pictures of what a masked auto-encoder reconstructs.

use clap::Parser;
use vitalight_examples::{ReconstructArgs, reconstruct};

/// Pictures of what a masked auto-encoder reconstructs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: ReconstructArgs,
}

fn main() -> anyhow::Result<()> {
    reconstruct(&Cli::parse().args)?;
    Ok(())
}
