//! The whole way in a few minutes, with no download and no data: pre-train a small masked
//! auto-encoder on generated radiographs, fine-tune it with LoRA, evaluate it, draw pictures.

#![allow(clippy::print_stdout)] // a program for a terminal

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use vit_models::write_atomic;
use vitalight_examples::{
    EvaluateArgs, FinetuneArgs, PretrainArgs, ReconstructArgs, evaluate, finetune, pretrain,
    reconstruct,
};

/// The whole way on generated pictures: pre-train, fine-tune with LoRA, evaluate, look.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Where to put everything. What is finished there is not done again; remove it to start anew.
    #[arg(long, default_value = "output/quickstart")]
    output_dir: PathBuf,
}

/// The same generated pictures in every step.
const PHANTOMS: [&str; 6] =
    ["--data", "phantom", "--phantom-len", "1600", "--phantom-contrast", "3"];

/// Flags of a step, as one would type them.
fn parse<T: clap::Args>(flags: &[&str]) -> Result<T> {
    let command = T::augment_args(clap::Command::new("quickstart").no_binary_name(true));
    Ok(T::from_arg_matches(&command.try_get_matches_from(flags)?)?)
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let started = Instant::now();
    let folder = |name: &str| cli.output_dir.join(name).display().to_string();

    println!("1. Pre-training on pictures without their labels");
    let pretrain_dir = folder("pretrain");
    let encoder = pretrain(&parse::<PretrainArgs>(
        &[
            &PHANTOMS[..],
            &["--patch-size", "8", "--depth", "4", "--decoder-embed-dim", "96"],
            &["--decoder-depth", "1", "--decoder-num-heads", "3", "--mask-ratio", "0.6"],
            &["--norm-pix-loss", "--epochs", "15", "--warmup-epochs", "2", "--blr", "8e-3"],
            &["--batch-size", "32", "--crop-min", "0.6", "--output-dir", &pretrain_dir],
        ]
        .concat(),
    )?)?;
    let encoder = encoder.display().to_string();

    println!("\n2. Reconstructing hidden patches");
    let picture_path = folder("reconstruction.png");
    let picture = reconstruct(&parse::<ReconstructArgs>(
        &[&PHANTOMS[..], &["--checkpoint", &encoder, "--out", &picture_path]].concat(),
    )?)?;

    println!("\n3. Fine-tuning with LoRA on the labels");
    let finetune_dir = folder("lora");
    let model = finetune(&parse::<FinetuneArgs>(
        &[
            &PHANTOMS[..],
            &["--finetune", &encoder, "--lora-rank", "8", "--lora-dropout", "0", "--lr", "1.5e-3"],
            &["--epochs", "15", "--warmup-epochs", "1", "--batch-size", "16", "--smoothing", "0"],
            &["--layer-decay", "1", "--drop-path", "0", "--crop-min", "1", "--rotation", "0"],
            &["--output-dir", &finetune_dir],
        ]
        .concat(),
    )?)?;

    println!("\n4. Evaluating on patients never seen");
    let model = model.display().to_string();
    let evaluate_dir = folder("evaluate");
    let report = evaluate(&parse::<EvaluateArgs>(
        &[
            &PHANTOMS[..],
            &["--checkpoint", &model, "--picture", &picture_path, "--output-dir", &evaluate_dir],
        ]
        .concat(),
    )?)?;

    let mut summary = format!("quick start: {:.0} s\n", started.elapsed().as_secs_f64());
    summary += &format!("pre-trained model  {encoder}\nreconstruction     {}\n", picture.display());
    summary +=
        &format!("fine-tuned model   {model}\nreport             {evaluate_dir}/report.html\n");
    for estimate in &report.headline {
        let (value, low, high) = (estimate.value, estimate.low, estimate.high);
        summary += &format!("{:<18} {value}  ({low} to {high})\n", estimate.name);
    }
    write_atomic(&cli.output_dir.join("summary.txt"), |f| f.write_all(summary.as_bytes()))?;
    println!("\n{summary}");
    Ok(())
}
