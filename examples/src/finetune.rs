use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Map, json};
use vit_datasets::{Dataset, Target, Task};
use vit_lora::{LoraConfig, attach, mark_only_lora_trainable, save_adapter};
use vit_models::candle_core::{DType, Device};
use vit_models::{
    Architecture, DenseNetConfig, InitScheme, LoadOptions, Model, ModelConfig, ParamStore, Pooling,
    PositionTable, ResNetConfig, WeightFile, save_weights,
};
use vit_train::{
    AdamWConfig, Labels, Supervised, Trainer, WorstGroup, layer_decay_groups, pretrain_groups,
};
use vit_transforms::{Mixup, Pipeline};

use crate::augment::AugmentArgs;
use crate::calibrate::{CalibrateArgs, Method, Rule, calibrate};
use crate::columns::{ColumnArgs, sample_columns};
use crate::data::{Split3, measure, print_skipped};
use crate::facts::split_hash;
use crate::{Card, DataArgs, DeviceArgs, EncoderArgs, Kind, Progress, ScheduleArgs};

/// Fine-tuning, of the whole model or of adapters.
#[derive(Debug, Clone, Args)]
pub struct FinetuneArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    #[command(flatten)]
    /// Length and speed.
    pub schedule: ScheduleArgs,
    /// Pre-trained weights (safetensors or MAE `.pth`). Without them: random weights.
    #[arg(long)]
    pub finetune: Option<PathBuf>,
    #[command(flatten)]
    /// The encoder.
    pub encoder: EncoderArgs,
    /// Rank of LoRA adapters on query and value; without it the whole model is trained.
    #[arg(long)]
    pub lora_rank: Option<usize>,
    /// Strength of the adapters: their update is multiplied by alpha / rank.
    #[arg(long, default_value_t = 32.)]
    pub lora_alpha: f64,
    /// Dropout on the adapters' input.
    #[arg(long, default_value_t = 0.1)]
    pub lora_dropout: f64,
    /// Pool the class token instead of the mean of the patches.
    #[arg(long)]
    pub cls_token: bool,
    /// Layer-wise decay of the learning rate.
    #[arg(long, default_value_t = 0.75)]
    pub layer_decay: f64,
    /// Largest drop-path rate.
    #[arg(long, default_value_t = 0.1)]
    pub drop_path: f64,
    /// Label smoothing.
    #[arg(long, default_value_t = 0.1)]
    pub smoothing: f64,
    /// Weight each class by n / (classes · its count).
    #[arg(long)]
    pub balanced: bool,
    #[command(flatten)]
    /// How pictures are varied.
    pub augment: AugmentArgs,
    /// Metric the best epoch is chosen by, on the validation part: loss, auroc_macro, mcc, …, or
    /// any measure in the subgroup where it is worst: `worst:auroc_macro@sex`.
    #[arg(long, default_value = "auroc_macro")]
    pub select: String,
    #[command(flatten)]
    /// Where the subgroups come from.
    pub columns: ColumnArgs,
    /// Fits a calibration on the validation part afterwards and stores it with the best model.
    #[arg(long, value_enum)]
    pub calibrate: Option<Method>,
    /// With `--calibrate`: what decision thresholds are chosen for (see `calibrate --help`).
    #[arg(long, default_value = "youden")]
    pub operating_point: Rule,
    /// Where the run keeps its files; a run found there is continued.
    #[arg(long, default_value = "output/finetune")]
    pub output_dir: PathBuf,
}

/// An encoder's configuration and where its pictures' normalisation comes from.
struct Base {
    config: ModelConfig,
    file: Option<WeightFile>,
    normalisation: Option<(Vec<f32>, Vec<f32>)>,
}

impl FinetuneArgs {
    /// The network: as its file says, else as the flags say.
    fn base(&self) -> Result<Base> {
        let Some(path) = &self.finetune else {
            let config = self.encoder.config(self.data.side())?;
            return Ok(Base { config, file: None, normalisation: None });
        };
        let file = WeightFile::open(path)?;
        let mut normalisation = None;
        let config = match Card::of(&file)? {
            Some(card) => {
                normalisation = Some((card.mean, card.std));
                match card.model {
                    Kind::Mae { config } => ModelConfig::Vit(config.encoder),
                    Kind::Classifier { config, lora: None, .. } => config,
                    Kind::Classifier { .. } => {
                        bail!("{} has adapters; start from its merged file", path.display())
                    }
                }
            }
            None if self.encoder.model.is_none() => {
                let guess = file.guess()?;
                guess.notes.iter().for_each(|note| println!("{}: {note}", path.display()));
                let Architecture { name, config } = guess.architecture;
                println!("{} is of {name}", path.display());
                config.with_context(|| format!("{name}: say which with --model"))?
            }
            None => self.encoder.config(self.data.side())?,
        };
        let channels = self.encoder.in_chans.unwrap_or(config.in_chans());
        let config = config.for_pictures(self.data.side().into(), channels);
        Ok(Base { config, file: Some(file), normalisation })
    }

    fn classifier(&self, config: ModelConfig, outputs: usize) -> Result<ModelConfig> {
        let mut config = match config {
            ModelConfig::Vit(config) => config,
            ModelConfig::DenseNet(config) => {
                return Ok(ModelConfig::DenseNet(DenseNetConfig {
                    num_classes: outputs,
                    ..config
                }));
            }
            ModelConfig::ResNet(config) => {
                return Ok(ModelConfig::ResNet(ResNetConfig { num_classes: outputs, ..config }));
            }
            _ => bail!("no classifier is made of this network here"),
        };
        config.drop_path = self.drop_path;
        config.position_table = PositionTable::Learned;
        config.init = InitScheme::Timm;
        config.fc_norm = None;
        let pooling = if self.cls_token { Pooling::ClassToken } else { Pooling::GlobalPool };
        let config = config.classifier(outputs, pooling);
        config.check()?;
        Ok(ModelConfig::Vit(config))
    }

    fn lora(&self) -> Option<LoraConfig> {
        self.lora_rank.map(|rank| LoraConfig {
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            ..LoraConfig::with_rank(rank)
        })
    }

    fn labels(&self, data: &dyn Dataset) -> Result<Labels> {
        match data.task() {
            Task::SingleLabel { classes } => {
                let class_weights =
                    self.balanced.then(|| balanced_weights(data, classes)).transpose()?;
                Ok(Labels::Single {
                    classes: classes.clone(),
                    smoothing: self.smoothing,
                    class_weights,
                })
            }
            Task::MultiLabel { findings } => Ok(Labels::Multi { findings: findings.clone() }),
            _ => bail!("the data have no labels to fine-tune on"),
        }
    }

    fn settings(
        &self,
        config: &ModelConfig,
        augmentation: &Pipeline,
        mixup: Option<&Mixup>,
    ) -> Result<Map<String, serde_json::Value>> {
        Ok(Map::from_iter([
            ("model".to_string(), serde_json::to_value(config)?),
            ("data".to_string(), self.data.settings()),
            ("finetune".to_string(), json!(self.finetune)),
            ("lora".to_string(), serde_json::to_value(self.lora())?),
            ("batch_size".to_string(), json!(self.schedule.batch_size)),
            ("weight_decay".to_string(), json!(self.schedule.weight_decay)),
            ("layer_decay".to_string(), json!(self.layer_decay)),
            ("smoothing".to_string(), json!(self.smoothing)),
            ("balanced".to_string(), json!(self.balanced)),
            ("augmentation".to_string(), serde_json::to_value(augmentation)?),
            ("mixup".to_string(), serde_json::to_value(mixup)?),
            ("sampler".to_string(), serde_json::to_value(self.augment.sampler.sampler())?),
        ]))
    }
}

/// `n / (classes · count)` per class.
fn balanced_weights(data: &dyn Dataset, classes: &[String]) -> Result<Vec<f32>> {
    let mut counts = vec![0usize; classes.len()];
    for index in 0..data.len() {
        if let Target::Class(class) = data.record(index)?.target
            && let Some(count) = counts.get_mut(class)
        {
            *count += 1;
        }
    }
    if let Some((class, _)) = classes.iter().zip(&counts).find(|(_, count)| **count == 0) {
        bail!("--balanced: class '{class}' has no training sample");
    }
    let weight = |count: &usize| (data.len() as f64 / (classes.len() * count) as f64) as f32;
    Ok(counts.iter().map(weight).collect())
}

/// First weights of the head after a pre-trained encoder: small, so that the first predictions
/// are even.
const HEAD_STD: f64 = 2e-5;

/// Heads of the networks, which labels of one's own make new.
const HEADS: [&str; 4] = ["head", "head_dist", "classifier", "fc"];

/// What a file of a pre-trained network need not hold, or may hold for other labels.
fn new_head(config: &ModelConfig) -> LoadOptions {
    let heads = HEADS.map(|head| format!("{head}."));
    let mut options = LoadOptions::new_head();
    options.allow_missing.extend(heads);
    match config {
        ModelConfig::Vit(config) => options.for_model(config),
        _ => options,
    }
}

/// The parameters of the classifier, from the pre-trained file where there is one.
fn parameters(
    config: &ModelConfig,
    base: &Base,
    lora: Option<&LoraConfig>,
    seed: u64,
    device: &Device,
) -> Result<ParamStore> {
    let mut specs = config.specs()?;
    if base.file.is_some() {
        let is_head = |name: &str| HEADS.iter().any(|head| name == format!("{head}.weight"));
        for spec in specs.iter_mut().filter(|spec| is_head(&spec.name)) {
            spec.init = vit_models::ParamInit::Normal(HEAD_STD);
        }
    }
    let mut store = ParamStore::init(&specs, seed, DType::F32, device)?;
    if let Some(file) = &base.file {
        print!("{}", file.load_into(&store, &new_head(config))?);
    }
    if let Some(lora) = lora {
        let ModelConfig::Vit(config) = config else {
            bail!("--lora-rank is for vision transformers");
        };
        store.add(&vit_lora::specs(&specs, lora)?, seed)?;
        let extra: &[&str] = if config.pooling == Pooling::ClassToken { &["norm."] } else { &[] };
        mark_only_lora_trainable(&mut store, extra)?;
    }
    Ok(store)
}

/// A model over the store's parameters, with adapters if there are any.
pub(crate) fn build(
    config: &ModelConfig,
    lora: Option<&LoraConfig>,
    vb: &vit_models::candle_nn::VarBuilder,
) -> Result<Model> {
    let mut model = config.build(vb)?;
    if let Some(lora) = lora {
        attach(model.linears_mut(), lora, vb)?;
    }
    Ok(model)
}

/// Fine-tunes and gives the file of the best model.
///
/// # Errors
/// When data, settings or files are wrong, or training fails.
pub fn finetune(args: &FinetuneArgs) -> Result<PathBuf> {
    let data = args.data.open()?;
    data.print()?;
    let labels = args.labels(data.train.as_ref())?;
    let base = args.base()?;
    let config = args.classifier(base.config.clone(), labels.names().len())?;
    let lora = args.lora();
    let seed = args.schedule.seed;
    let (mean, std) = match base.normalisation.clone() {
        Some(normalisation) => normalisation,
        None => measure(data.train.as_ref(), config.in_chans())?,
    };
    let store = parameters(&config, &base, lora.as_ref(), seed, &args.device.open()?)?;
    let (all, trainable) = store.elements();
    println!(
        "{all} parameters, {trainable} trained ({:.2} %), lr {:.3e}",
        100. * trainable as f64 / all as f64,
        args.schedule.learning_rate()
    );
    let augmentation = args.augment.pipeline(&args.data, config.in_chans(), &mean, &std)?;
    let mixup = args.augment.mix.mixup(data.task(), args.smoothing)?;
    if args.balanced && mixup.is_some() {
        bail!("--balanced: mixed labels have no class to weight; use --sampler class-balanced");
    }
    let settings = args.settings(&config, &augmentation, mixup.as_ref())?;
    let train =
        args.data.loader(&data.train, augmentation, args.schedule.batch_size, Some(seed))?;
    let train = args.augment.apply(train, mixup)?;
    let preprocessing = args.data.preprocessing(config.in_chans(), &mean, &std);
    let pipeline = preprocessing.pipeline()?;
    let val = data
        .val
        .as_ref()
        .context("fine-tuning chooses its best epoch on a validation part, which the data lack")?;
    let validation = args.data.loader(val, pipeline.clone(), args.schedule.batch_size, None)?;
    let task = Supervised::new(
        build(&config, lora.as_ref(), &store.var_builder())?,
        build(&config, lora.as_ref(), &store.frozen())?,
        labels,
    )?;
    let task = match WorstGroup::names(&args.select) {
        Some((_, column)) => {
            let columns = sample_columns(&args.columns, val.as_ref(), &[column.to_string()])?;
            let names = data.task().names();
            task.with_worst_group(WorstGroup::new(&args.select, names, &columns)?)
        }
        None => task,
    };
    // While B is zero no gradient can reach A.
    let task = if lora.is_some() { task.with_zero_gradients(&["lora_A"]) } else { task };
    let decay = args.schedule.weight_decay;
    let groups = match &config {
        ModelConfig::Vit(config) => {
            layer_decay_groups(&store, config.depth, args.layer_decay, decay)
        }
        // Convolutional networks have no such layers: one rate for all.
        _ => pretrain_groups(&store, decay),
    };
    let mut optimizer = args.schedule.optimizer(groups, AdamWConfig::finetune())?;
    let model = Kind::Classifier {
        config: config.clone(),
        labels: data.task().clone(),
        lora: lora.clone(),
    };
    let split = Some(split_hash(&data)?);
    let preprocessing = Some(preprocessing);
    let card = Card { split, preprocessing, ..Card::new(model, pipeline, mean, std) };
    let mut trainer = Trainer::new(
        &task,
        &store,
        optimizer.as_mut(),
        args.schedule.trainer(Some(&args.select)),
        &args.output_dir,
        settings,
        card.metadata()?,
    )?;
    let mut progress = Progress::new("fine-tune", args.schedule.epochs, train.batches_per_epoch());
    let summary = trainer.run(&train, Some(&validation), &mut progress)?;
    let seconds = progress.finish();
    print_skipped(&train);
    let best = summary.best_model.with_context(|| {
        format!("'{}' was never defined on the validation part; see log.jsonl", args.select)
    })?;
    println!(
        "fine-tuning: {} updates, {} batches skipped, {seconds:.0} s; best {} {:.4} in epoch {} -> {}",
        summary.state.updates,
        summary.state.skipped,
        args.select,
        summary.state.best.unwrap_or(f64::NAN),
        summary.state.best_epoch.map_or(0, |epoch| epoch + 1),
        best.display()
    );
    if let Some(method) = args.calibrate {
        calibrate(&CalibrateArgs {
            data: args.data.clone(),
            device: args.device.clone(),
            checkpoint: best.clone(),
            method,
            operating_point: args.operating_point,
            split: Split3::Val,
            batch_size: args.schedule.batch_size,
            out: None,
        })?;
    }
    if let Some(lora) = &lora {
        save_lora(args, &store, lora, &best)?;
    }
    Ok(best)
}

/// Beside the best model: its adapters alone, and the model with them merged in.
fn save_lora(
    args: &FinetuneArgs,
    store: &ParamStore,
    lora: &LoraConfig,
    best: &std::path::Path,
) -> Result<()> {
    let (file, card) = Card::open(best)?;
    file.load_into(store, &LoadOptions::strict())?;
    let metadata = card.metadata()?;
    save_adapter(&args.output_dir.join("adapter.safetensors"), store, lora, &metadata)?;
    let Kind::Classifier { config, labels, .. } = card.model else { return Ok(()) };
    let merged = Card { model: Kind::Classifier { config, labels, lora: None }, ..card };
    let tensors = vit_lora::merge(store, lora)?;
    save_weights(&args.output_dir.join("merged.safetensors"), &tensors, &merged.metadata()?)?;
    println!("adapters -> adapter.safetensors, merged model -> merged.safetensors");
    Ok(())
}
