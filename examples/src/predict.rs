use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use vit_datasets::{Dataset, Record, Target, Task};
use vit_metrics::{Part, Predictions, RowTarget, Task as Labelling};
use vit_models::candle_core::DType;
use vit_models::{LoadOptions, Model, ParamStore, save_weights};
use vit_train::{Evaluation, Labels, Supervised, TensorBatch};
use vit_transforms::mean_over_views;

use crate::data::{OpenData, Split3};
use crate::finetune::build;
use crate::views::{InViews, ViewArg};
use crate::{Card, DataArgs, DeviceArgs, Kind};

/// A classifier from its file.
pub(crate) struct Judge {
    path: PathBuf,
    metadata: serde_json::Map<String, serde_json::Value>,
    card: Card,
    store: ParamStore,
    task: Supervised<Model>,
    labels: Task,
}

impl Judge {
    /// Opens a classifier's file.
    pub(crate) fn open(path: &Path, device: &DeviceArgs) -> Result<Self> {
        let (file, card) = Card::open(path)?;
        let Kind::Classifier { config, labels, lora } = card.model.clone() else {
            bail!("{} is a masked auto-encoder: it has no labels to evaluate", path.display());
        };
        let mut specs = config.specs()?;
        if let Some(lora) = &lora {
            let adapters = vit_lora::specs(&specs, lora)?;
            specs.extend(adapters);
        }
        let store = ParamStore::init(&specs, 0, DType::F32, &device.open()?)?;
        file.load_into(&store, &LoadOptions::strict())?;
        let kind = match &labels {
            Task::MultiLabel { findings } => Labels::Multi { findings: findings.clone() },
            task => {
                let classes = task.names().to_vec();
                Labels::Single { classes, smoothing: 0., class_weights: None }
            }
        };
        let model = || build(&config, lora.as_ref(), &store.frozen());
        let task = Supervised::new(model()?, model()?, kind)?;
        let metadata = file.metadata().clone();
        Ok(Self { path: path.to_path_buf(), metadata, card, store, task, labels })
    }

    pub(crate) fn card(&self) -> &Card {
        &self.card
    }

    /// Number of parameters.
    pub(crate) fn elements(&self) -> usize {
        self.store.elements().0
    }

    /// Scores of a part of the data, before any calibration: means over the views of a picture,
    /// whose loss is the mean over all views.
    pub(crate) fn predict(
        &self,
        args: &DataArgs,
        data: &OpenData,
        split: Split3,
        batch_size: usize,
        views: ViewArg,
    ) -> Result<(Evaluation, Predictions)> {
        if data.task() != &self.labels {
            bail!(
                "the model tells {:?} apart, the data are labelled {:?}",
                self.labels.names(),
                data.task().names()
            );
        }
        if let Some(preprocessing) = &self.card.preprocessing {
            args.agrees(preprocessing)?;
        }
        let part = data.part(split)?;
        let (views, front, back) = views.of(&self.card.pipeline)?;
        let shown: Arc<dyn Dataset> = Arc::new(InViews::new(Arc::clone(part), front, views));
        let loader = args.loader(&shown, back, batch_size, None)?;
        let device = self.store.device();
        let mut batches = loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, device));
        let labelling = match &self.labels {
            Task::MultiLabel { .. } => Labelling::MultiLabel,
            _ => Labelling::SingleLabel,
        };
        let names = self.labels.names().to_vec();
        let mut predictions = Predictions::new(labelling, names, split.into())?;
        let mut all = Vec::new();
        let evaluation =
            self.task.evaluate_with(&mut batches, |_, scores| all.extend_from_slice(scores))?;
        let width = predictions.classes().len();
        let means = mean_over_views(&all, views.count(), width)?;
        collect(&mut predictions, part.as_ref(), &means)?;
        Ok((evaluation, predictions))
    }

    /// Writes the classifier with another card; everything else in the file stays as it is.
    pub(crate) fn save(&self, card: &Card, path: &Path) -> Result<()> {
        let mut metadata = self.metadata.clone();
        metadata.extend(card.metadata()?);
        Ok(save_weights(path, &self.store.tensors(), &metadata)?)
    }

    /// Where it was read from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl From<Split3> for Part {
    fn from(split: Split3) -> Self {
        match split {
            Split3::Train => Self::Train,
            Split3::Val => Self::Validation,
            Split3::Test => Self::Test,
        }
    }
}

/// Adds id, patient, truth and scores of every sample.
fn collect(predictions: &mut Predictions, part: &dyn Dataset, scores: &[f32]) -> Result<()> {
    let width = predictions.classes().len().max(1);
    for (index, scores) in (0..part.len()).zip(scores.chunks(width)) {
        let Record { id, group, target } = part.record(index)?;
        // Data without patients have every sample as a group of its own.
        let group = Some(group.as_str()).filter(|group| *group != id);
        let target = match &target {
            Target::Class(class) => RowTarget::Class(Some(*class)),
            Target::Labels(labels) => RowTarget::Findings(labels),
            _ => RowTarget::Class(None),
        };
        predictions.push(&id, group, scores, target)?;
    }
    Ok(())
}
