use std::path::Path;

use anyhow::{Context, Result};
use mae_pretrain::MaeConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vit_datasets::Task;
use vit_lora::LoraConfig;
use vit_metrics::{Calibration, OperatingPoint, ThresholdRule};
use vit_models::{CARD_PART, ModelCard, ModelConfig, Preprocessing, WeightFile};
use vit_transforms::Pipeline;

/// What a model file says of itself, beside its weights: how it was built, how pictures must be
/// prepared, what its outputs mean. Evaluation takes all of it from there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Card {
    /// What kind of model it is, with its configuration.
    pub model: Kind,
    /// How pictures are prepared for evaluation.
    pub pipeline: Pipeline,
    /// Normalisation: mean per channel, of values 0..1.
    pub mean: Vec<f32>,
    /// Normalisation: standard deviation per channel.
    pub std: Vec<f32>,
    /// The same preparation in the words of other libraries; nothing where the pipeline does more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
    /// Hash of the split that it was trained with, so that an evaluation can tell whether it is
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What was fitted on validation data after training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

/// How a classifier's probabilities become better ones, and those become decisions. Fitted on
/// validation data; wherever the model is used, apply the calibration first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// From the model's probabilities to calibrated ones.
    pub calibration: Calibration,
    /// One threshold per output, for calibrated probabilities. Exclusive classes are decided by
    /// the highest score all the same; their thresholds are for one class against the rest.
    pub operating_points: Vec<OperatingPoint>,
    /// What the thresholds were chosen for.
    pub rule: ThresholdRule,
    /// Number of validation samples.
    pub fitted_on: usize,
}

/// Kinds of model files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A masked auto-encoder with its decoder.
    Mae {
        /// Its configuration.
        config: MaeConfig,
    },
    /// A classifier.
    Classifier {
        /// Its configuration.
        config: ModelConfig,
        /// Its outputs.
        labels: Task,
        /// Its adapters, if they are not merged.
        lora: Option<LoraConfig>,
    },
}

const PART: &str = "card";

impl Card {
    /// A card of a model that nothing has been fitted to after training.
    #[must_use]
    pub fn new(model: Kind, pipeline: Pipeline, mean: Vec<f32>, std: Vec<f32>) -> Self {
        Self { model, pipeline, mean, std, preprocessing: None, split: None, decisions: None }
    }

    /// As metadata of a weight file.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn metadata(&self) -> Result<Map<String, Value>> {
        let mut parts = Map::from_iter([(PART.to_string(), serde_json::to_value(self)?)]);
        // What the library and its tools (conversion to other libraries) read.
        if let Some(card) = self.model_card() {
            parts.insert(CARD_PART.to_string(), serde_json::to_value(card)?);
        }
        Ok(parts)
    }

    /// The same for readers that know vit-models only: of vision transformers whose file holds all
    /// their weights.
    fn model_card(&self) -> Option<ModelCard> {
        let (config, labels) = match &self.model {
            Kind::Mae { config } => (&config.encoder, &Task::Unlabelled),
            Kind::Classifier { config: ModelConfig::Vit(config), labels, lora: None } => {
                (config, labels)
            }
            Kind::Classifier { .. } => return None,
        };
        Some(ModelCard {
            name: format!("vit_d{}_l{}_p{}", config.embed_dim, config.depth, config.patch_size),
            config: config.clone(),
            preprocessing: self.preprocessing.clone(),
            labels: labels.names().to_vec(),
            multi_label: matches!(labels, Task::MultiLabel { .. }),
            licence: None,
            sources: Vec::new(),
        })
    }

    /// From a weight file; nothing where it has no card.
    ///
    /// # Errors
    /// When there is a card that cannot be read: going on without it would lose what it says.
    pub fn of(file: &WeightFile) -> Result<Option<Self>> {
        let there = file.metadata().contains_key(PART);
        Ok(there.then(|| file.metadata_part(PART)).transpose()?)
    }

    /// Opens a file and reads its card.
    ///
    /// # Errors
    /// When the file cannot be read or was not written by these examples.
    pub fn open(path: &Path) -> Result<(WeightFile, Self)> {
        let file = WeightFile::open(path)?;
        let card = Self::of(&file)?.with_context(|| {
            format!("{} has no card: it was not written by this library's programs", path.display())
        })?;
        Ok((file, card))
    }
}
