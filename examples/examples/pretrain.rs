//! Masked pre-training of a vision transformer.

use clap::Parser;
use vitalight_examples::{PretrainArgs, pretrain};

/// Masked pre-training of a vision transformer.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: PretrainArgs,
}

fn main() -> anyhow::Result<()> {
    pretrain(&Cli::parse().args)?;
    Ok(())
}
