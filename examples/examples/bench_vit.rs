//! Speed and memory of whole steps: inference, training, pre-training, adapters, optimiser.

use clap::Parser;
use vitalight_examples::{BenchArgs, bench};

/// Speed and memory of whole steps, with the share of what the machine can do.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: BenchArgs,
}

fn main() -> anyhow::Result<()> {
    bench(&Cli::parse().args)
}
