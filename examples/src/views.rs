//! Test-time augmentation: every picture in several views, their probabilities averaged.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use vit_datasets::{Card, Dataset, Error, Record, Sample, Task};
use vit_random::Streams;
use vit_transforms::{Pipeline, ResizeSize, Step, Views};

/// Views by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ViewArg {
    /// The picture alone.
    Single,
    /// The picture and its mirror image.
    Flip,
    /// Mirrored left-right, top-bottom, and both.
    Flips,
    /// All mirror images and quarter turns.
    Dihedral,
    /// Four corners and the centre of the picture at 8/7 of the model's size.
    FiveCrop,
    /// The five crops, and those of the mirror image.
    TenCrop,
}

impl ViewArg {
    /// The views, and the model's transforms in front of them and behind.
    pub(crate) fn of(self, pipeline: &Pipeline) -> Result<(Views, Pipeline, Pipeline)> {
        let views = match self {
            Self::Single => Views::Single,
            Self::Flip => Views::HorizontalFlip,
            Self::Flips => Views::Flips,
            Self::Dihedral => Views::Dihedral,
            Self::FiveCrop | Self::TenCrop => return self.crops(&pipeline.steps),
        };
        let at = pipeline.steps.iter().position(|step| matches!(step, Step::Normalize(_)));
        let (front, back) = pipeline.steps.split_at(at.unwrap_or(pipeline.steps.len()));
        Ok((views, Pipeline::new(front.to_vec()), Pipeline::new(back.to_vec())))
    }

    /// Crops take the place of the central one, of a picture that is large enough for them to
    /// differ.
    fn crops(self, steps: &[Step]) -> Result<(Views, Pipeline, Pipeline)> {
        let crop = steps.iter().enumerate().find_map(|(at, step)| match step {
            Step::CenterCrop(crop) => Some((at, crop.size)),
            _ => None,
        });
        let (at, size) =
            crop.context("the model's transforms have no central crop that five could replace")?;
        let (front, back) = (steps.iter().take(at).cloned(), steps.iter().skip(at + 1).cloned());
        let mut front: Vec<Step> = front.collect();
        let Some(resize) = front.iter_mut().find_map(|step| match step {
            Step::Resize(resize) => Some(resize),
            _ => None,
        }) else {
            bail!("the model's transforms have no resize in front of the central crop");
        };
        resize.size = ResizeSize::ShorterSide(size * 8 / 7);
        let views = match self {
            Self::FiveCrop => Views::FiveCrop { size },
            _ => Views::TenCrop { size, vertical: false },
        };
        Ok((views, Pipeline::new(front), Pipeline::new(back.collect())))
    }
}

/// A data set in which the views of a picture are samples, one after another.
pub(crate) struct InViews {
    dataset: Arc<dyn Dataset>,
    front: Pipeline,
    views: Views,
}

impl InViews {
    /// Of the pictures after the transforms in `front`.
    pub(crate) fn new(dataset: Arc<dyn Dataset>, front: Pipeline, views: Views) -> Self {
        Self { dataset, front, views }
    }
}

impl Dataset for InViews {
    fn len(&self) -> usize {
        self.dataset.len() * self.views.count()
    }

    fn task(&self) -> &Task {
        self.dataset.task()
    }

    fn record(&self, index: usize) -> vit_datasets::Result<Record> {
        self.dataset.record(index / self.views.count())
    }

    fn get(&self, index: usize) -> vit_datasets::Result<Sample> {
        let count = self.views.count();
        let Sample { record, image } = self.dataset.get(index / count)?;
        let failed = |source| Error::Transform { id: record.id.clone(), source };
        // Transforms of evaluation draw nothing.
        let mut rng = Streams::new(0).stream("views", 0, index as u64);
        let image = self.front.apply(image, &mut rng).map_err(failed)?;
        let mut shown = self.views.of(&image).map_err(failed)?;
        let image = shown.swap_remove(index % count);
        Ok(Sample { record, image })
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.dataset.file(index / self.views.count())
    }

    fn card(&self) -> Option<&'static Card> {
        self.dataset.card()
    }
}
