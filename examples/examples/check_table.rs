//! Says which rows of a published table cannot be.
//!
//! ```text
//! cargo run --release --example check_table -- table.md
//! ```

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stdout)]

use clap::Parser;
use vitalight_examples::{CheckTableArgs, check_table};

/// Says which rows of a published table cannot be.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: CheckTableArgs,
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let found = check_table(&Cli::parse().args)?;
    // Like grep and diff: what was looked for decides the exit code.
    Ok(if found.is_empty() { 0 } else { 1 }.into())
}
