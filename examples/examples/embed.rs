//! Pictures to features.

use clap::Parser;
use vitalight_examples::{EmbedArgs, embed};

/// Features of a folder, a table or an archive of pictures.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: EmbedArgs,
}

fn main() -> anyhow::Result<()> {
    embed(&Cli::parse().args)?;
    Ok(())
}
