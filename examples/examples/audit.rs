//! Checks a data set and its splits before anything is trained on them.
//!
//! ```text
//! cargo run --release --example audit -- --data pneumoniamnist.npz --out audit
//! cargo run --release --example audit -- --part train=A --part test=B --group-separator _
//! cargo run --release --example audit -- --list train=train.csv --list test=test.csv \
//!     --list-file Filename --list-label Class --master metadata.csv
//! ```
//!
//! Exit code 0: nothing as bad as `--fail-on`; 1: something; 2: the audit could not be made.

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;
use vitalight_examples::{AuditArgs, audit};

/// Checks a data set and its splits before anything is trained on them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: AuditArgs,
}

fn main() -> ExitCode {
    match audit(&Cli::parse().args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::from(2)
        }
    }
}
