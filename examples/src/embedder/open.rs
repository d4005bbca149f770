//! From a file or an address to a model. What any checkpoint needs is decided here and nowhere
//! else.

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
    #[arg(long, value_enum, conflicts_with_all = ["mean", "std"])]
    pub normalise: Option<Normalise>,
    /// The same in numbers: mean per channel of values in 0..1, such as `0.5056`.
    #[arg(long, value_delimiter = ',', requires = "std")]
    pub mean: Vec<f64>,
    /// Standard deviation per channel, such as `0.252`.
    #[arg(long, value_delimiter = ',', requires = "mean")]
    pub std: Vec<f64>,
}

impl ModelArgs {
    /// A model whose file says everything.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            hub: HubArgs::default(),
            input_size: None,
            normalise: None,
            mean: Vec::new(),
            std: Vec::new(),
        }
    }

    /// The normalisation that was told, if any.
    fn told(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        let numbers = (!self.mean.is_empty()).then(|| (self.mean.clone(), self.std.clone()));
        self.normalise.map(Normalise::values).or(numbers)
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
            local(&args.model)
        };
        let file = WeightFile::open(&located.path)?;
        let mut embedder = match Card::of(&file)? {
            Some(card) => of_ours(&file, card, args, device)?,
            None => of_any(&file, args, device)?,
        };
        ensure!(
            !embedder.pipeline.is_random(),
            "the pipeline of {} draws random numbers: it is one of training",
            args.model
        );
        embedder.pipeline.validate().with_context(|| format!("the pipeline of {}", args.model))?;
        (embedder.name, embedder.sha256) = (located.name, sha256(&file)?);
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
    if args.told().is_some() || args.input_size.is_some_and(|side| sealed != side.into()) {
        bail!(
            "{} says how its pictures are prepared ({sealed} pixels); --input-size, --normalise, \
             --mean and --std are for files that do not",
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
    let embedder = embedder(Box::new(model), config, labels, card.pipeline, device);
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
    let stated = match card.as_ref().and_then(|card| card.preprocessing.clone()) {
        Some(stated) => Some(stated),
        None => file.preprocessing_beside()?,
    };
    // Pictures are as large as told, else as stated, else as the position table was made for.
    let of_stated = stated.as_ref().map(|stated| {
        let [_, height, width] = stated.input_size;
        (height, width).into()
    });
    let size = args.input_size.map(Into::into).or(of_stated).unwrap_or(config.img_size());
    let channels = config.in_chans();
    let config = config.for_pictures(size, channels);
    if let ModelConfig::Vit(config) = &config {
        options = options.for_model(config);
    }
    let preprocessing = Preprocessing {
        input_size: input(&config),
        ..preprocessing(file, stated, &name, &config, args)?
    };
    let (model, report) = Model::from_weights(&config, file, &options, device)?;
    print!("{name}: {report}");
    let Preprocessing { mean, std, crop_pct, .. } = &preprocessing;
    println!("  pictures: {size} pixels, crop {crop_pct}, mean {mean:?}, std {std:?}");
    let (names, several) = match card {
        Some(card) => (card.labels, card.multi_label),
        None => (file.labels_beside()?, file.multi_label_beside()?),
    };
    let labels = match names.len() == config.num_classes() && !names.is_empty() {
        true if several => Task::MultiLabel { findings: names },
        true => Task::SingleLabel { classes: names },
        false => Task::Unlabelled,
    };
    let pipeline = preprocessing.pipeline()?;
    Ok(embedder(Box::new(model), config, labels, pipeline, device))
}

/// How pictures are prepared: as stated, else what the published model of this name does, else what
/// was told. A contradiction is refused.
fn preprocessing(
    file: &WeightFile,
    stated: Option<Preprocessing>,
    name: &str,
    config: &ModelConfig,
    args: &ModelArgs,
) -> Result<Preprocessing> {
    let told = args.told();
    if let Some(stated) = stated {
        if let Some((mean, std)) = told.filter(|(m, s)| (m, s) != (&stated.mean, &stated.std)) {
            bail!(
                "{} is normalised by mean {:?} and std {:?}, which {mean:?} and {std:?} contradict",
                args.model,
                stated.mean,
                stated.std
            );
        }
        return Ok(stated);
    }
    // timm's names do not tell MAE's weights from others, and every MAE of the field was trained
    // with statistics of its own; the other families have one habit each.
    let own = [Family::Timm, Family::Mae, Family::Mrm, Family::SmpEncoder, Family::Unknown];
    let published = match config {
        ModelConfig::Vit(_) => Preset::by_name(name).ok().map(|preset| preset.preprocessing),
        _ => Some(Preprocessing::torchvision()),
    };
    match (published, told) {
        (published, Some((mean, std))) => {
            Ok(Preprocessing { mean, std, ..published.unwrap_or_else(whole) })
        }
        (Some(published), None) if !own.contains(&file.family()) => Ok(published),
        _ => bail!(
            "nothing says how pictures of {} are normalised: give --normalise imagenet (MAE, \
             RETFound, DeiT, DINOv2), --normalise half (ViT of Google and timm's augreg), or the \
             numbers of its training with --mean and --std (medical_mae: 0.5056 and 0.252)",
            args.model
        ),
    }
}

/// For a size that nobody published: the whole short side, Pillow's bicubic filter.
fn whole() -> Preprocessing {
    Preprocessing {
        input_size: [0; 3],
        crop_pct: 1.,
        crop_mode: CropMode::Center,
        interpolation: Interpolation::Bicubic,
        mean: Vec::new(),
        std: Vec::new(),
    }
}

fn embedder(
    model: Box<dyn Classifier>,
    config: ModelConfig,
    labels: Task,
    pipeline: vit_transforms::Pipeline,
    device: &Device,
) -> Embedder {
    let (name, sha256) = (String::new(), String::new());
    let device = device.clone();
    let input = input(&config);
    Embedder { name, sha256, model, config, labels, decisions: None, pipeline, input, device }
}

fn local(model: &str) -> Located {
    let path = Path::new(model);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Located { name, path: path.to_path_buf() }
}

/// SHA-256 of the weights; of several files that of their hashes, in the order of their names.
fn sha256(file: &WeightFile) -> Result<String> {
    Ok(match file.hashes()?.as_slice() {
        [one] => one.sha256.clone(),
        several => {
            let mut hash = Sha256::new();
            several.iter().for_each(|part| hash.update(&part.sha256));
            format!("{:x}", hash.finalize())
        }
    })
}

/// Channels, height and width of the pictures.
fn input(config: &ModelConfig) -> [usize; 3] {
    let size = config.img_size();
    [config.in_chans(), size.height, size.width]
}
