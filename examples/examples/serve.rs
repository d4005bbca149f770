//! A service that embeds and classifies pictures over HTTP.

use clap::Parser;
use vitalight_examples::{ServeArgs, serve};

/// A service that embeds and classifies pictures over HTTP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

fn main() -> anyhow::Result<()> {
    serve(&Cli::parse().args)
}
