use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mae_pretrain::{Mae, MaeConfig, MaeTask};
use serde_json::{Map, json};
use vit_models::ParamStore;
use vit_models::candle_core::DType;
use vit_train::{AdamWConfig, Trainer, pretrain_groups};
use vit_transforms::Pipeline;

use crate::augment::{Recipe, read_pipeline};
use crate::data::{measure, print_skipped};
use crate::{Card, DataArgs, DeviceArgs, EncoderArgs, Kind, Progress, ScheduleArgs};

/// Masked pre-training.
#[derive(Debug, Clone, Args)]
pub struct PretrainArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    #[command(flatten)]
    /// Length and speed.
    pub schedule: ScheduleArgs,
    #[command(flatten)]
    /// The encoder.
    pub encoder: EncoderArgs,
    /// Width of the decoder.
    #[arg(long, default_value_t = 512)]
    pub decoder_embed_dim: usize,
    /// Number of decoder blocks.
    #[arg(long, default_value_t = 8)]
    pub decoder_depth: usize,
    /// Attention heads of the decoder.
    #[arg(long, default_value_t = 16)]
    pub decoder_num_heads: usize,
    /// Share of patches that is hidden.
    #[arg(long, default_value_t = 0.75)]
    pub mask_ratio: f64,
    /// Normalise each target patch by its own mean and variance.
    #[arg(long)]
    pub norm_pix_loss: bool,
    /// Smallest share of the picture's area that a random crop keeps.
    #[arg(long, default_value_t = 0.2)]
    pub crop_min: f64,
    /// The transforms of a published recipe instead of MAE's.
    #[arg(long, value_enum, conflicts_with = "crop_min")]
    pub recipe: Option<Recipe>,
    /// Transforms from a file instead, as JSON: `{"steps": [...]}`. Colour and
    /// normalisation of the model are added where it has none.
    #[arg(long, conflicts_with_all = ["crop_min", "recipe"])]
    pub pipeline: Option<PathBuf>,
    /// Where the run keeps its files; a run found there is continued.
    #[arg(long, default_value = "output/pretrain")]
    pub output_dir: PathBuf,
}

impl PretrainArgs {
    fn config(&self) -> Result<MaeConfig> {
        let encoder = self.encoder.vit(self.data.side())?;
        let config = MaeConfig {
            decoder_embed_dim: self.decoder_embed_dim,
            decoder_depth: self.decoder_depth,
            decoder_num_heads: self.decoder_num_heads,
            mask_ratio: self.mask_ratio,
            norm_pix_loss: self.norm_pix_loss,
            ..MaeConfig::new(encoder)
        };
        config.check()?;
        Ok(config)
    }

    /// How training prepares pictures: random crop and flip, as MAE, unless told otherwise.
    fn augmentation(&self, channels: usize, mean: &[f32], std: &[f32]) -> Result<Pipeline> {
        match (&self.pipeline, self.recipe) {
            (Some(path), _) => read_pipeline(path, (self.data.side(), channels), mean, std),
            (None, Some(recipe)) => recipe.pipeline(&self.data, channels, mean, std),
            (None, None) => {
                Ok(Pipeline::mae_pretrain(self.data.side(), self.crop_min, channels, mean, std)?)
            }
        }
    }
}

/// Pre-trains and gives the model file.
///
/// # Errors
/// When data, settings or files are wrong, or training fails.
pub fn pretrain(args: &PretrainArgs) -> Result<PathBuf> {
    let config = args.config()?;
    let channels = config.encoder.in_chans;
    let data = args.data.open()?;
    data.print()?;
    let (mean, std) = measure(data.train.as_ref(), channels)?;
    println!("normalisation: mean {mean:.4?} std {std:.4?}");
    let seed = args.schedule.seed;
    let augmentation = args.augmentation(channels, &mean, &std)?;
    let augmented = serde_json::to_value(&augmentation)?;
    let train =
        args.data.loader(&data.train, augmentation, args.schedule.batch_size, Some(seed))?;
    let preprocessing = args.data.preprocessing(channels, &mean, &std);
    let pipeline = preprocessing.pipeline()?;
    let validation = data
        .val
        .as_ref()
        .map(|val| args.data.loader(val, pipeline.clone(), args.schedule.batch_size, None));
    let validation = validation.transpose()?;

    let store = ParamStore::init(&Mae::specs(&config)?, seed, DType::F32, &args.device.open()?)?;
    let (all, trainable) = store.elements();
    println!(
        "{}: {all} parameters, {trainable} trained, lr {:.3e}",
        args.encoder.model.as_deref().unwrap_or("vit_tiny"),
        args.schedule.learning_rate()
    );
    let task = MaeTask::new(
        Mae::new(&config, &store.var_builder())?,
        Mae::new(&config, &store.frozen())?,
        seed,
    );
    let groups = pretrain_groups(&store, args.schedule.weight_decay);
    let mut optimizer = args.schedule.optimizer(groups, AdamWConfig::pretrain())?;
    let settings = Map::from_iter([
        ("model".to_string(), serde_json::to_value(&config)?),
        ("data".to_string(), args.data.settings()),
        ("batch_size".to_string(), json!(args.schedule.batch_size)),
        ("weight_decay".to_string(), json!(args.schedule.weight_decay)),
        ("augmentation".to_string(), augmented),
    ]);
    let card = Card::new(Kind::Mae { config }, pipeline, mean, std);
    let card = Card { preprocessing: Some(preprocessing), ..card };
    let mut trainer = Trainer::new(
        &task,
        &store,
        optimizer.as_mut(),
        args.schedule.trainer(validation.as_ref().map(|_| "loss")),
        &args.output_dir,
        settings,
        card.metadata()?,
    )?;
    let mut progress = Progress::new("pre-train", args.schedule.epochs, train.batches_per_epoch());
    let summary = trainer.run(&train, validation.as_ref(), &mut progress)?;
    let seconds = progress.finish();
    print_skipped(&train);
    let path = summary.last_model.unwrap_or_else(|| args.output_dir.clone());
    println!(
        "pre-training: {} updates, {} batches skipped, {seconds:.0} s -> {}",
        summary.state.updates,
        summary.state.skipped,
        path.display()
    );
    Ok(path)
}
