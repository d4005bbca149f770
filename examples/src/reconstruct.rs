use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use mae_pretrain::{Mae, Masking, reconstruction_sheet};
use vit_models::candle_core::DType;
use vit_models::{Context, LoadOptions, ParamStore, write_atomic};
use vit_random::Streams;
use vit_train::TensorBatch;
use vit_transforms::encode_png;

use crate::data::Split3;
use crate::{Card, DataArgs, DeviceArgs, Kind};

/// Pictures of what a masked auto-encoder reconstructs.
#[derive(Debug, Clone, Args)]
pub struct ReconstructArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    /// Model file written by pre-training.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Which part to take pictures from.
    #[arg(long, default_value = "val")]
    pub split: Split3,
    /// Number of pictures.
    #[arg(long, default_value_t = 4)]
    pub count: usize,
    /// Share of patches to hide (default: as in training).
    #[arg(long)]
    pub mask_ratio: Option<f64>,
    /// Seed of the masks and of the choice of pictures.
    #[arg(long, default_value_t = 2)]
    pub seed: u64,
    /// The picture to write.
    #[arg(long, default_value = "output/reconstruction.png")]
    pub out: PathBuf,
}

/// Draws reconstructions and gives the picture's file.
///
/// # Errors
/// When the file is no masked auto-encoder, or data or files cannot be read or written.
pub fn reconstruct(args: &ReconstructArgs) -> Result<PathBuf> {
    let (file, card) = Card::open(&args.checkpoint)?;
    let Kind::Mae { mut config } = card.model else {
        bail!("{} is a classifier: it has no decoder", args.checkpoint.display());
    };
    config.mask_ratio = args.mask_ratio.unwrap_or(config.mask_ratio);
    let store = ParamStore::init(&Mae::specs(&config)?, 0, DType::F32, &args.device.open()?)?;
    file.load_into(&store, &LoadOptions::strict())?;
    let model = Mae::new(&config, &store.frozen())?;
    if let Some(preprocessing) = &card.preprocessing {
        args.data.agrees(preprocessing)?;
    }
    let data = args.data.open()?;
    let part = data.part(args.split)?;
    let streams = Streams::new(args.seed);
    let mut chosen = streams.permutation("reconstruct", 0, part.len());
    chosen.truncate(args.count.max(1));
    let subset = vit_datasets::Subset::new(std::sync::Arc::clone(part), chosen)?;
    let subset: std::sync::Arc<dyn vit_datasets::Dataset> = std::sync::Arc::new(subset);
    let loader = args.data.loader(&subset, card.pipeline, args.count.max(1), None)?;
    let Some(batch) = loader.epoch(0, 0).next() else { bail!("there are no pictures") };
    let batch = TensorBatch::new(batch?, store.device())?;
    let mut masks: Vec<_> =
        batch.samples.iter().map(|&sample| streams.stream("mask", 0, sample)).collect();
    let masking = Masking::random(&mut masks, config.encoder.num_patches(), config.mask_ratio)?;
    let output = model.forward(&batch.images, &masking, &Context::eval())?;
    let sheet =
        reconstruction_sheet(&model, &batch.images, &output, &masking, &card.mean, &card.std)?;
    let png = encode_png(&sheet)?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_atomic(&args.out, |f| f.write_all(&png))?;
    println!("reconstruction of {} pictures -> {}", batch.len(), args.out.display());
    Ok(args.out.clone())
}
