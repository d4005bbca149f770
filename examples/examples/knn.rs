//! How good features are: k nearest neighbours and a logistic-regression probe.

use clap::Parser;
use vitalight_examples::{KnnArgs, knn};

/// k nearest neighbours and a logistic-regression probe on feature files.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: KnnArgs,
}

fn main() -> anyhow::Result<()> {
    knn(&Cli::parse().args)?;
    Ok(())
}
