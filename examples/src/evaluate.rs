use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use vit_datasets::{Target, Task};
use vit_models::candle_core::DType;
use vit_models::{LoadOptions, ParamStore, Vit, write_atomic};
use vit_train::{Evaluation, Labels, Supervised, Task as _, TensorBatch};

use crate::data::Split3;
use crate::finetune::build;
use crate::{Card, DataArgs, DeviceArgs, Kind};

/// Evaluation of a classifier.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    /// Model file written by fine-tuning. Preprocessing and label names come from it.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Which part to evaluate on.
    #[arg(long, default_value = "test")]
    pub split: Split3,
    /// Pictures per batch.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Where to write `report.json` and `predictions.csv`.
    #[arg(long, default_value = "output/evaluate")]
    pub output_dir: PathBuf,
}

/// Evaluates, writes report and predictions, and gives the result.
///
/// # Errors
/// When the file is no classifier, the data are labelled otherwise, or files cannot be written.
pub fn evaluate(args: &EvaluateArgs) -> Result<Evaluation> {
    let (file, card) = Card::open(&args.checkpoint)?;
    let Kind::Classifier { config, labels, lora } = card.model else {
        bail!(
            "{} is a masked auto-encoder: it has no labels to evaluate",
            args.checkpoint.display()
        );
    };
    let data = args.data.open()?;
    if data.task() != &labels {
        bail!(
            "the model tells {:?} apart, the data are labelled {:?}",
            labels.names(),
            data.task().names()
        );
    }
    let mut specs = Vit::specs(&config)?;
    if let Some(lora) = &lora {
        let adapters = vit_lora::specs(&specs, lora)?;
        specs.extend(adapters);
    }
    let store = ParamStore::init(&specs, 0, DType::F32, &args.device.open()?)?;
    file.load_into(&store, &LoadOptions::strict())?;
    let kind = match &labels {
        Task::MultiLabel { findings } => Labels::Multi { findings: findings.clone() },
        task => {
            Labels::Single { classes: task.names().to_vec(), smoothing: 0., class_weights: None }
        }
    };
    let model = || build(&config, lora.as_ref(), &store.frozen());
    let task = Supervised::new(model()?, model()?, kind)?;
    let part = data.part(args.split)?;
    let loader = args.data.loader(part, card.pipeline, args.batch_size, None)?;
    let mut batches = Vec::new();
    for batch in loader.epoch(0, 0) {
        batches.push(TensorBatch::new(batch?, store.device())?);
    }
    let evaluation = task.evaluate(&mut batches.iter().cloned().map(Ok))?;
    std::fs::create_dir_all(&args.output_dir)?;
    let json = serde_json::to_string_pretty(&evaluation)?;
    write_atomic(&args.output_dir.join("report.json"), |f| f.write_all(json.as_bytes()))?;
    write_predictions(args, &task, &batches, labels.names())?;
    println!("loss {:.4} over {} samples", evaluation.loss, evaluation.samples);
    if let Some(report) = &evaluation.report {
        println!("{report}");
    }
    Ok(evaluation)
}

/// One line per sample: id, true label(s), score per output.
fn write_predictions(
    args: &EvaluateArgs,
    task: &Supervised<Vit>,
    batches: &[TensorBatch],
    names: &[String],
) -> Result<()> {
    let mut table = csv_line(
        std::iter::once("id".to_string())
            .chain(["target".to_string()])
            .chain(names.iter().cloned()),
    );
    for batch in batches {
        let scores = task.scores(&batch.images)?;
        for ((id, target), row) in
            batch.ids.iter().zip(&batch.targets).zip(scores.chunks(names.len()))
        {
            let cells = [id.clone(), target_text(target)];
            table += &csv_line(cells.into_iter().chain(row.iter().map(f32::to_string)));
        }
    }
    write_atomic(&args.output_dir.join("predictions.csv"), |f| f.write_all(table.as_bytes()))?;
    Ok(())
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Class(class) => class.to_string(),
        Target::Labels(labels) => {
            let cell = |label: &Option<f32>| label.map_or(String::new(), |value| value.to_string());
            labels.iter().map(cell).collect::<Vec<_>>().join(";")
        }
        _ => String::new(),
    }
}

/// Cells with the quotes a CSV reader needs.
fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}
