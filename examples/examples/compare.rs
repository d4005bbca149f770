//! Compares two models on the same test set: paired bootstrap, DeLong, McNemar, spread over seeds.
//!
//! ```text
//! cargo run --release --example compare -- --first a/predictions.csv --second b/predictions.csv
//! ```

use clap::Parser;
use vitalight_examples::{CompareArgs, compare};

/// Compares two models on the same test set: paired bootstrap, DeLong, McNemar, spread over seeds.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: CompareArgs,
}

fn main() -> anyhow::Result<()> {
    compare(&Cli::parse().args)?;
    Ok(())
}
