//! Says what a data set holds: card, counts found and expected, prevalence, attributes.
//!
//! ```text
//! cargo run --release --example describe -- --data medmnist:breastmnist --download
//! cargo run --release --example describe -- --data sources.json --strict
//! ```
//!
//! Exit code 0: described; 1: with `--strict`, a count is not that of the card, or no card says
//! what any count should be; 2: the data cannot be opened.

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;
use vitalight_examples::{DescribeArgs, describe};

/// Says what a data set holds: card, counts found and expected, prevalence, attributes.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: DescribeArgs,
}

fn main() -> ExitCode {
    match describe(&Cli::parse().args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::from(2)
        }
    }
}
