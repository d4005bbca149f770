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
    /// Where to put everything. Emptied parts of it are made anew; a finished run is not repeated.
    #[arg(long, default_value = "output/quickstart")]
    output_dir: PathBuf,
}

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
    let encoder = pretrain(&parse::<PretrainArgs>(&[
        "--data",
        "phantom",
        "--depth",
        "4",
        "--decoder-embed-dim",
        "96",
        "--decoder-depth",
        "2",
        "--decoder-num-heads",
        "3",
        "--epochs",
        "12",
        "--warmup-epochs",
        "2",
        "--blr",
        "4e-3",
        "--batch-size",
        "32",
        "--crop-min",
        "0.6",
        "--output-dir",
        &pretrain_dir,
    ])?)?;
    let encoder = encoder.display().to_string();

    println!("\n2. Reconstructing hidden patches");
    let picture_path = folder("reconstruction.png");
    let picture = reconstruct(&parse::<ReconstructArgs>(&[
        "--checkpoint",
        &encoder,
        "--out",
        &picture_path,
    ])?)?;

    println!("\n3. Fine-tuning with LoRA on the labels");
    let finetune_dir = folder("lora");
    let model = finetune(&parse::<FinetuneArgs>(&[
        "--finetune",
        &encoder,
        "--lora-rank",
        "8",
        "--epochs",
        "20",
        "--warmup-epochs",
        "2",
        "--blr",
        "2e-2",
        "--layer-decay",
        "1",
        "--drop-path",
        "0",
        "--batch-size",
        "32",
        "--crop-min",
        "0.8",
        "--rotation",
        "0",
        "--output-dir",
        &finetune_dir,
    ])?)?;

    println!("\n4. Evaluating on patients never seen");
    let model = model.display().to_string();
    let evaluate_dir = folder("evaluate");
    let evaluation = evaluate(&parse::<EvaluateArgs>(&[
        "--checkpoint",
        &model,
        "--output-dir",
        &evaluate_dir,
    ])?)?;

    let mut summary = format!("quick start: {:.0} s\n", started.elapsed().as_secs_f64());
    summary += &format!("pre-trained model  {encoder}\nreconstruction     {}\n", picture.display());
    summary +=
        &format!("fine-tuned model   {model}\nreport             {evaluate_dir}/report.json\n");
    if let Some(report) = &evaluation.report {
        for (name, value) in report.headline() {
            summary += &format!("{name:<18} {value}\n");
        }
    }
    write_atomic(&cli.output_dir.join("summary.txt"), |f| f.write_all(summary.as_bytes()))?;
    println!("\n{summary}");
    Ok(())
}
