//! Says what a weight file is, what a model would get from it and whether its numbers are sound;
//! writes it under another library's names.
//!
//! ```text
//! cargo run --release --example doctor -- mae_pretrain_vit_base.pth
//! cargo run --release --example doctor -- model.safetensors --model vit_base_patch16_224 --all
//! cargo run --release --example doctor -- checkpoint.pth --convert hf out/
//! ```

// Programs for a terminal: what libraries must not do, print, is their purpose.
#![allow(clippy::print_stdout)]

use clap::Parser;
use vitalight_examples::{DoctorArgs, doctor};

/// Says what a weight file is and what a model would get from it.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: DoctorArgs,
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let healthy = doctor(&Cli::parse().args)?;
    Ok(if healthy { 0 } else { 1 }.into())
}
