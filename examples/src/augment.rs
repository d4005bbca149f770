//! How training varies its pictures, from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vit_datasets::{Loader, Sampler, Task};
use vit_random::Streams;
use vit_transforms::{
    AugmentSettings, ColorJitter, EraseMode, Filter, HorizontalFlip, Image, MixMode, Mixup,
    Normalize, Pipeline, Pixels, RandomErasing, RandomResizedCrop, RandomRotation, Step, TimmRules,
    TimmTraining, parse_augment,
};

use crate::data::{DataArgs, colour};
use crate::parse::named;

/// The transforms of a published recipe by the name of what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// No randomness: resize, central square.
    Evaluation,
    /// MAE's: random resized crop (0.2 to 1), flip.
    Pretrain,
    /// MAE's fine-tuning: crop (0.08 to 1), flip, RandAugment, random erasing.
    Finetune,
    /// MAE's linear probe: crop (0.08 to 1), flip.
    LinearProbe,
    /// Pre-training of SSL-Endoscopy: crop (0.8 to 1), rotation by up to 10 degrees.
    EndoscopyPretrain,
    /// Fine-tuning of SSL-Endoscopy: both flips, rotation by up to 90 degrees.
    EndoscopyFinetune,
    /// Grey, solarise or blur.
    ThreeAugment,
    /// Contrastive learning, with rotation.
    Simclr,
}

impl Recipe {
    /// The transforms, for pictures of the data's `--input-size` and `channels` channels.
    pub(crate) fn pipeline(
        self,
        data: &DataArgs,
        channels: usize,
        mean: &[f32],
        std: &[f32],
    ) -> Result<Pipeline> {
        let size = data.side();
        if channels != 3 && !matches!(self, Self::Evaluation | Self::Pretrain) {
            bail!("the recipe {self:?} makes RGB pictures, the model takes {channels} channel(s)");
        }
        Ok(match self {
            Self::Evaluation => data.preprocessing(channels, mean, std).pipeline()?,
            Self::Pretrain => Pipeline::mae_pretrain(size, 0.2, channels, mean, std)?,
            Self::Finetune => {
                let options = TimmTraining { size, ..TimmTraining::default() };
                Pipeline::timm_train(&options, mean, std)?
            }
            Self::LinearProbe => Pipeline::linear_probe_train(size, mean, std)?,
            Self::EndoscopyPretrain => Pipeline::endoscopy_pretrain(size, mean, std)?,
            Self::EndoscopyFinetune => Pipeline::endoscopy_finetune(size, mean, std)?,
            Self::ThreeAugment => Pipeline::three_augment(size, mean, std)?,
            Self::Simclr => Pipeline::simclr_with_rotation(size, mean, std)?,
        })
    }
}

/// Transforms that stand in a file, as JSON. They must fit the model: evaluation would see other
/// pictures than training otherwise. A file that says nothing of colour or normalisation gets the
/// model's.
pub(crate) fn read_pipeline(
    path: &Path,
    (size, channels): (usize, usize),
    mean: &[f32],
    std: &[f32],
) -> Result<Pipeline> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(name)?;
    let mut pipeline: Pipeline = serde_json::from_str(&text).with_context(name)?;
    pipeline.validate().with_context(name)?;
    let own = Normalize { mean: mean.to_vec(), std: std.to_vec() };
    match pipeline.steps.iter().rfind(|step| matches!(step, Step::Normalize(_))) {
        None => pipeline.steps.push(Step::Normalize(own)),
        Some(Step::Normalize(given)) if *given == own => {}
        Some(_) => bail!(
            "{}: it does not normalise as the model does (mean {mean:?}, std {std:?}); leave that \
             step out of the file",
            name()
        ),
    }
    if !pipeline.steps.iter().any(|step| matches!(step, Step::ToRgb(_) | Step::ToGrey(_))) {
        pipeline.steps.insert(0, colour(channels));
    }
    // Not all of one value, for transforms that look for borders or contrast.
    let side = 2 * size;
    let values = (0..side * side * channels).map(|i| (i % 251) as u8).collect();
    let image = Image::new(side, side, channels, Pixels::U8(values))?;
    let made = pipeline.apply(image, &mut Streams::new(0).stream("check", 0, 0));
    let made = made.with_context(name)?;
    let got = (made.width(), made.height(), made.channels());
    if got != (size, size, channels) {
        bail!(
            "{}: it makes pictures of {} × {} pixels and {} channel(s), the model takes {size} × \
             {size} and {channels}",
            name(),
            got.0,
            got.1,
            got.2
        );
    }
    Ok(pipeline)
}

/// How samples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Draw {
    /// In the order of the data.
    Sequential,
    /// In a random order.
    Shuffled,
    /// All classes equally often.
    ClassBalanced,
    /// All patients equally often.
    GroupBalanced,
    /// A third of the samples per epoch, each three times; the epoch keeps its length.
    Repeated,
}

impl Draw {
    pub(crate) fn sampler(self) -> Sampler {
        match self {
            Self::Sequential => Sampler::Sequential,
            Self::Shuffled => Sampler::Shuffled,
            Self::ClassBalanced => Sampler::ClassBalanced { exponent: 1.0, samples: None },
            Self::GroupBalanced => Sampler::GroupBalanced { samples: None },
            Self::Repeated => Sampler::Repeated { repeats: 3 },
        }
    }
}

/// Flags that a whole list of transforms makes meaningless.
const PARTS: [&str; 8] =
    ["crop_min", "hflip", "rotation", "aa", "color_jitter", "reprob", "remode", "recount"];

/// How training pictures are varied and drawn.
#[derive(Debug, Clone, Args)]
pub struct AugmentArgs {
    /// Smallest share of the picture's area that a random crop keeps (timm: 0.08; medical findings
    /// can be cropped away).
    #[arg(long, default_value_t = 0.5)]
    pub crop_min: f64,
    /// Probability of a horizontal flip.
    #[arg(long, default_value_t = 0.5)]
    pub hflip: f64,
    /// Largest rotation, in degrees.
    #[arg(long, default_value_t = 10.)]
    pub rotation: f64,
    /// Random operators in timm's notation: `rand-m9-mstd0.5-inc1`, `augmix-m5-w4-d2`, `original`.
    #[arg(long)]
    pub aa: Option<String>,
    /// Release of timm that `--aa` means: 0.3.2 (MAE, medical_mae), 0.6.12 (MED-PEFT), 1.0.
    #[arg(long, default_value = "1.0", value_parser = named::<TimmRules>, requires = "aa")]
    pub aa_rules: TimmRules,
    /// Strength of random brightness, contrast and saturation.
    #[arg(long, conflicts_with = "aa")]
    pub color_jitter: Option<f64>,
    /// Probability of random erasing.
    #[arg(long, default_value_t = 0.)]
    pub reprob: f64,
    /// What erased parts are filled with: const, rand or pixel.
    #[arg(long, default_value = "pixel", value_parser = named::<EraseMode>, requires = "reprob")]
    pub remode: EraseMode,
    /// Most rectangles that are erased.
    #[arg(long, default_value_t = 1, requires = "reprob")]
    pub recount: usize,
    /// The transforms of a published recipe instead of those above.
    #[arg(long, value_enum, conflicts_with_all = PARTS)]
    pub recipe: Option<Recipe>,
    /// Transforms from a file instead, as JSON: `{"steps": [...]}`. Colour and
    /// normalisation of the model are added where it has none.
    #[arg(long, conflicts_with_all = PARTS, conflicts_with = "recipe")]
    pub pipeline: Option<PathBuf>,
    #[command(flatten)]
    /// Mixing of pictures.
    pub mix: MixArgs,
    /// How training samples are drawn.
    #[arg(long, value_enum, default_value_t = Draw::Shuffled)]
    pub sampler: Draw,
}

/// Mixing of the pictures and labels of a batch.
#[derive(Debug, Clone, Args)]
pub struct MixArgs {
    /// Alpha of mixup; 0 turns it off (MAE's fine-tuning: 0.8).
    #[arg(long, default_value_t = 0.)]
    pub mixup: f64,
    /// Alpha of CutMix; 0 turns it off (MAE's fine-tuning: 1).
    #[arg(long, default_value_t = 0.)]
    pub cutmix: f64,
    /// Smallest and largest side of CutMix's box as part of the picture's, instead of `--cutmix`.
    #[arg(long, num_args = 2, conflicts_with = "cutmix")]
    pub cutmix_minmax: Option<Vec<f64>>,
    /// How often a batch is mixed (default: always).
    #[arg(long)]
    pub mixup_prob: Option<f64>,
    /// How often CutMix is taken where both are on (default: 0.5).
    #[arg(long)]
    pub mixup_switch_prob: Option<f64>,
    /// What shares its random parameters: batch (default), pair or elem.
    #[arg(long, value_parser = named::<MixMode>)]
    pub mixup_mode: Option<MixMode>,
}

impl MixArgs {
    /// `None` where nothing is mixed. Labels of classes are smoothed, findings are not, as without
    /// mixing.
    pub(crate) fn mixup(&self, task: &Task, smoothing: f64) -> Result<Option<Mixup>> {
        let minmax = match self.cutmix_minmax.as_deref() {
            Some(&[low, high]) => Some((low, high)),
            _ => None,
        };
        let cut = self.cutmix != 0. || minmax.is_some();
        if self.mixup_switch_prob.is_some() && (self.mixup == 0. || !cut) {
            bail!("--mixup-switch-prob chooses between --mixup and --cutmix: say both");
        }
        if self.mixup == 0. && !cut {
            if self.mixup_prob.is_some() || self.mixup_mode.is_some() {
                bail!("--mixup-prob, --mixup-mode: nothing is mixed without --mixup or --cutmix");
            }
            return Ok(None);
        }
        let defaults = Mixup::default();
        let single = matches!(task, Task::SingleLabel { .. });
        Ok(Some(Mixup {
            mixup_alpha: self.mixup,
            cutmix_alpha: self.cutmix,
            cutmix_minmax: minmax,
            probability: self.mixup_prob.unwrap_or(defaults.probability),
            switch_probability: self.mixup_switch_prob.unwrap_or(defaults.switch_probability),
            mode: self.mixup_mode.unwrap_or(defaults.mode),
            smoothing: if single { smoothing } else { 0. },
            ..defaults
        }))
    }
}

impl AugmentArgs {
    /// The transforms of training pictures.
    pub(crate) fn pipeline(
        &self,
        data: &DataArgs,
        channels: usize,
        mean: &[f32],
        std: &[f32],
    ) -> Result<Pipeline> {
        match (&self.pipeline, self.recipe) {
            (Some(path), _) => read_pipeline(path, (data.side(), channels), mean, std),
            (None, Some(recipe)) => recipe.pipeline(data, channels, mean, std),
            (None, None) => self.parts(data.side(), channels, mean, std),
        }
    }

    fn parts(&self, size: usize, channels: usize, mean: &[f32], std: &[f32]) -> Result<Pipeline> {
        let mut steps = vec![
            colour(channels),
            Step::RandomRotation(RandomRotation { degrees: self.rotation, fill: vec![0] }),
            Step::RandomResizedCrop(RandomResizedCrop {
                size,
                scale: (self.crop_min, 1.),
                ratio: (3. / 4., 4. / 3.),
                filter: Filter::Bicubic,
            }),
            Step::HorizontalFlip(HorizontalFlip { probability: self.hflip }),
        ];
        if let Some(text) = &self.aa {
            let settings = AugmentSettings::for_size(self.aa_rules, size, mean, Filter::Bicubic);
            steps.push(parse_augment(text, settings).context("--aa")?);
        }
        if let Some(x) = self.color_jitter {
            steps.push(ColorJitter::new(x, x, x, 0.).into());
        }
        steps.push(Step::Normalize(Normalize { mean: mean.to_vec(), std: std.to_vec() }));
        if self.reprob != 0. {
            let erasing = RandomErasing::new(self.reprob, self.remode);
            steps.push(RandomErasing { count: (1, self.recount), ..erasing }.into());
        }
        let pipeline = Pipeline::new(steps);
        pipeline.validate()?;
        Ok(pipeline)
    }

    /// The loader with the sampler and the mixing that were asked for.
    pub(crate) fn apply(&self, loader: Loader, mixup: Option<Mixup>) -> Result<Loader> {
        let loader = match self.sampler {
            Draw::Shuffled => loader,
            other => loader.with_sampler(&other.sampler())?,
        };
        let Some(mixup) = mixup else { return Ok(loader) };
        if loader.config().batch_size % 2 == 1 {
            let size = loader.config().batch_size;
            bail!("pairs are mixed: a batch must have an even number of pictures, not {size}");
        }
        Ok(loader.with_mixup(mixup)?)
    }
}
