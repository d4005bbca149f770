//! Shows a batch: each picture before and after the transforms, with its label.
//!
//! ```text
//! cargo run --release --example data -- --data breastmnist.npz --recipe finetune --out batch.png
//! ```

use clap::Parser;
use vitalight_examples::{ContactSheetArgs, contact_sheet};

/// Shows a batch: each picture before and after the transforms, with its label.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: ContactSheetArgs,
}

fn main() -> anyhow::Result<()> {
    contact_sheet(&Cli::parse().args)?;
    Ok(())
}
