use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use vit_datasets::{Target, Task};
use vit_models::candle_core::DType;
use vit_models::{LoadOptions, ParamStore, Vit, write_atomic};
use vit_train::{Evaluation, Labels, Supervised, TensorBatch};

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
    let mut batches = loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, store.device()));
    let mut rows = vec![header(labels.names())];
    let evaluation = task.evaluate_with(&mut batches, |batch, scores| {
        rows.extend(prediction_rows(batch, scores, labels.names().len()));
    })?;
    std::fs::create_dir_all(&args.output_dir)?;
    let json = serde_json::to_string_pretty(&evaluation)?;
    write_atomic(&args.output_dir.join("report.json"), |f| f.write_all(json.as_bytes()))?;
    let mut table = csv::Writer::from_writer(Vec::new());
    for row in rows {
        table.write_record(row)?;
    }
    let table = table.into_inner()?;
    write_atomic(&args.output_dir.join("predictions.csv"), |f| f.write_all(&table))?;
    println!("loss {:.4} over {} samples", evaluation.loss, evaluation.samples);
    if let Some(report) = &evaluation.report {
        println!("{report}");
    }
    Ok(evaluation)
}

fn header(names: &[String]) -> Vec<String> {
    ["id", "target"].map(str::to_string).into_iter().chain(names.iter().cloned()).collect()
}

/// One row per sample: id, true label(s), score per output.
fn prediction_rows(batch: &TensorBatch, scores: &[f32], outputs: usize) -> Vec<Vec<String>> {
    let samples = batch.ids.iter().zip(&batch.targets).zip(scores.chunks(outputs.max(1)));
    let row = |((id, target), scores): ((&String, &Target), &[f32])| {
        let cells = [id.clone(), target_text(target)];
        cells.into_iter().chain(scores.iter().map(f32::to_string)).collect()
    };
    samples.map(row).collect()
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
