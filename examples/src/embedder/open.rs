//! From a file or an address to a model. What any checkpoint needs is decided here and nowhere
//! else.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};
use vit_datasets::Task;
use vit_models::candle_core::{DType, Device};
use vit_models::{
    Architecture, Classifier, CropMode, Family, Interpolation, LoadOptions, Model, ModelCard,
    ModelConfig, ParamStore, Preprocessing, Preset, WeightFile,
};
use vit_transforms::{IMAGENET_MEAN, IMAGENET_STD};

use super::hub::Located;
use super::{Embedder, HubArgs};
use crate::finetune::build;
use crate::{Card, Kind};

/// Which model, and what its file does not say.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Weight file of any known family, or `hf://owner/name[@revision][/file]`.
    #[arg(long)]
    pub model: String,
    #[command(flatten)]
    /// Where models of `hf://` addresses come from.
    pub hub: HubArgs,
    /// Side of the pictures that the model sees, in pixels, where it is not to be the file's: the
    /// position table is resized.
    #[arg(long)]
    pub input_size: Option<usize>,
    /// Normalisation of pictures, for a file that does not say it.
    #[arg(long, value_enum)]
    pub normalise: Option<Normalise>,
}

impl ModelArgs {
    /// A model whose file says everything.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), hub: HubArgs::default(), input_size: None, normalise: None }
    }
}

/// Usual normalisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Normalise {
    /// Mean and standard deviation of ImageNet.
    Imagenet,
    /// To −1..1.
    Half,
}

impl Normalise {
    fn values(self) -> (Vec<f64>, Vec<f64>) {
        let wide = |values: [f32; 3]| values.iter().map(|v| f64::from(*v)).collect();
        match self {
            Self::Imagenet => (wide(IMAGENET_MEAN), wide(IMAGENET_STD)),
            Self::Half => (vec![0.5; 3], vec![0.5; 3]),
        }
    }
}

impl Embedder {
    /// Opens a model: a file of ours, one with a card, or any that the weight files' families know.
    ///
    /// # Errors
    /// When it cannot be found, read or understood, when nothing says how pictures are prepared, or
    /// what says it draws random numbers.
    pub fn open(args: &ModelArgs, device: &Device) -> Result<Self> {
        let located = if args.model.starts_with("hf://") {
            args.hub.locate(&args.model)?
        } else {
            local(&args.model)?
        };
        let file = WeightFile::open(&located.path)?;
        let mut embedder = match Card::of(&file) {
            Ok(card) => of_ours(&file, card, args, device)?,
            Err(_) => of_any(&file, args, device)?,
        };
        ensure!(
            !embedder.pipeline.is_random(),
            "the pipeline of {} draws random numbers: it is one of training",
            args.model
        );
        embedder.pipeline.validate().with_context(|| format!("the pipeline of {}", args.model))?;
        (embedder.name, embedder.sha256) = (located.name, located.sha256);
        let (names, outputs) = (embedder.labels.names().len(), embedder.model.num_classes());
        ensure!(
            names == outputs || names == 0,
            "{} has {outputs} outputs and names {names} labels",
            embedder.name
        );
        Ok(embedder)
    }
}

/// A file that our training wrote: its card says everything.
fn of_ours(file: &WeightFile, card: Card, args: &ModelArgs, device: &Device) -> Result<Embedder> {
    let (config, labels, lora) = match card.model {
        Kind::Mae { config } => (ModelConfig::Vit(config.encoder), Task::Unlabelled, None),
        Kind::Classifier { config, labels, lora } => (config, labels, lora),
    };
    let sealed = config.img_size();
    if args.normalise.is_some() || args.input_size.is_some_and(|side| sealed != side.into()) {
        bail!(
            "{} says how its pictures are prepared ({sealed} pixels); --input-size and --normalise \
             are for files that do not",
            args.model
        );
    }
    let model = match lora {
        None => Model::from_weights(&config, file, &LoadOptions::strict(), device)?.0,
        Some(lora) => {
            let mut specs = config.specs()?;
            specs.extend(vit_lora::specs(&specs, &lora)?);
            let store = ParamStore::init(&specs, 0, DType::F32, device)?;
            file.load_into(&store, &LoadOptions::strict())?;
            build(&config, Some(&lora), &store.frozen())?
        }
    };
    let embedder = embedder(Box::new(model), input(&config), labels, card.pipeline, device);
    Ok(Embedder { decisions: card.decisions, ..embedder })
}

/// A file of anybody: its card, `config.json` beside it, names and shapes say what it is.
fn of_any(file: &WeightFile, args: &ModelArgs, device: &Device) -> Result<Embedder> {
    let card = file.card()?;
    let (name, config) = match &card {
        Some(ModelCard { name, config, .. }) => (name.clone(), ModelConfig::Vit(config.clone())),
        None => {
            let guess = file.guess()?;
            for note in &guess.notes {
                println!("{}: {note}", args.model);
            }
            let Architecture { name, config } = guess.architecture;
            let config = config.with_context(|| format!("{}: {name}", args.model))?;
            (name, config)
        }
    };
    let mut options = LoadOptions::strict();
    if let ModelConfig::Vit(config) = &config {
        options.file_grid = Some(config.grid());
    }
    let size = args.input_size.map_or(config.img_size(), Into::into);
    let channels = config.in_chans();
    let config = config.for_pictures(size, channels);
    if let ModelConfig::Vit(config) = &config {
        options = options.for_model(config);
    }
    let preprocessing = preprocessing(file, card.as_ref(), &name, &config, args)?;
    let (model, report) = Model::from_weights(&config, file, &options, device)?;
    print!("{name}: {report}");
    let names = card.map_or_else(|| file.labels_beside(), |card| Ok(card.labels))?;
    let labels = if names.len() == config.num_classes() && !names.is_empty() {
        Task::SingleLabel { classes: names }
    } else {
        Task::Unlabelled
    };
    let pipeline = preprocessing.pipeline()?;
    Ok(embedder(Box::new(model), input(&config), labels, pipeline, device))
}

/// How pictures are prepared: as the card says, else a configuration beside the file, else what the
/// published model of this name does, with the normalisation told. A contradiction is refused.
fn preprocessing(
    file: &WeightFile,
    card: Option<&ModelCard>,
    name: &str,
    config: &ModelConfig,
    args: &ModelArgs,
) -> Result<Preprocessing> {
    let stated = match card.and_then(|card| card.preprocessing.clone()) {
        Some(stated) => Some(stated),
        None => file.preprocessing_beside()?,
    };
    let told = args.normalise.map(Normalise::values);
    if let (Some(stated), Some((mean, std))) = (&stated, &told)
        && (&stated.mean, &stated.std) != (mean, std)
    {
        bail!(
            "{} is normalised by mean {:?} and std {:?}, which --normalise contradicts",
            args.model,
            stated.mean,
            stated.std
        );
    }
    // timm's names do not tell MAE's weights from others; the other families have one habit each.
    let family = file.family();
    let known = !matches!(family, Family::Timm | Family::SmpEncoder | Family::Unknown);
    let preset = || match config {
        ModelConfig::Vit(_) => Preset::by_name(name).ok().map(|preset| preset.preprocessing),
        _ => Some(Preprocessing::torchvision()),
    };
    let mut found = match stated {
        Some(stated) => stated,
        None => {
            let preset = preset().filter(|_| known || told.is_some());
            let plain = || told.as_ref().map(|(mean, std)| whole(mean, std));
            preset.or_else(plain).with_context(|| {
                format!(
                    "nothing says how pictures of {} are prepared: give --normalise imagenet (MAE, \
                     DeiT, DINOv2) or half (ViT of Google and timm's augreg)",
                    args.model
                )
            })?
        }
    };
    if let Some((mean, std)) = told {
        (found.mean, found.std) = (mean, std);
    }
    found.input_size = input(config);
    Ok(found)
}

/// For a size that nobody published: the whole short side, Pillow's bicubic filter.
fn whole(mean: &[f64], std: &[f64]) -> Preprocessing {
    Preprocessing {
        input_size: [0; 3],
        crop_pct: 1.,
        crop_mode: CropMode::Center,
        interpolation: Interpolation::Bicubic,
        mean: mean.to_vec(),
        std: std.to_vec(),
    }
}

fn embedder(
    model: Box<dyn Classifier>,
    input: [usize; 3],
    labels: Task,
    pipeline: vit_transforms::Pipeline,
    device: &Device,
) -> Embedder {
    let (name, sha256) = (String::new(), String::new());
    let device = device.clone();
    Embedder { name, sha256, model, labels, decisions: None, pipeline, input, device }
}

fn local(model: &str) -> Result<Located> {
    let path = Path::new(model);
    let mut file = File::open(path).with_context(|| model.to_string())?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).with_context(|| model.to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Located { name, path: path.to_path_buf(), sha256: format!("{:x}", hash.finalize()) })
}

/// Channels, height and width of the pictures.
fn input(config: &ModelConfig) -> [usize; 3] {
    let size = config.img_size();
    [config.in_chans(), size.height, size.width]
}
