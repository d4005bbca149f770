//! Evaluation of a fine-tuned classifier.

use clap::Parser;
use vitalight_examples::{EvaluateArgs, evaluate};

/// Evaluation of a fine-tuned classifier.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: EvaluateArgs,
}

fn main() -> anyhow::Result<()> {
    evaluate(&Cli::parse().args)?;
    Ok(())
}
