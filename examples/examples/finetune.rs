//! Fine-tuning of a vision transformer, whole or with LoRA.

use clap::Parser;
use vitalight_examples::{FinetuneArgs, finetune};

/// Fine-tuning of a vision transformer, whole or with LoRA.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: FinetuneArgs,
}

fn main() -> anyhow::Result<()> {
    finetune(&Cli::parse().args)?;
    Ok(())
}
