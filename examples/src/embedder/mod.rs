//! A model ready to embed and classify pictures, with all that its file says of itself.

pub(crate) mod hub;
mod open;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vit_datasets::Task;
use vit_models::candle_core::{D, DType, Device, Tensor};
use vit_models::{Classifier, Context, ModelConfig};
use vit_random::Streams;
use vit_transforms::{Image, Pipeline};

use crate::Decisions;

pub use hub::HubArgs;
pub use open::{ModelArgs, Normalise};

/// Which numbers of a model describe a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// What the model's head gets.
    Pooled,
    /// The class token after the last norm.
    Class,
    /// The mean of the patch tokens after the last norm.
    Mean,
    /// Class token, then mean of the patch tokens.
    #[value(name = "class+mean")]
    ClassMean,
}

/// A model and how pictures get into it.
pub struct Embedder {
    /// What the model is called: its file's name, or its address on the hub.
    pub name: String,
    /// SHA-256 of the weights, in hexadecimal.
    pub sha256: String,
    /// The network. Without a head it has 0 classes.
    pub model: Box<dyn Classifier>,
    /// How it is built.
    pub config: ModelConfig,
    /// What the head's outputs are; unlabelled without a head.
    pub labels: Task,
    /// What was fitted on validation data: applied to probabilities.
    pub decisions: Option<Decisions>,
    /// How pictures are prepared.
    pub pipeline: Pipeline,
    /// Channels, height and width that the pipeline makes and the model takes.
    pub input: [usize; 3],
    /// Where it computes.
    pub device: Device,
}

impl Embedder {
    /// Prepares a picture: plane by plane, as the model takes it.
    ///
    /// # Errors
    /// When the pipeline cannot take the picture.
    pub fn prepare(&self, image: Image) -> vit_transforms::Result<Vec<f32>> {
        let mut values = vec![0f32; self.input.iter().product()];
        // Evaluation draws nothing; `open` has checked that.
        let mut stream = Streams::new(0).stream("serve", 0, 0);
        self.pipeline.apply_chw(image, &mut stream, &mut values)?;
        Ok(values)
    }

    /// Prepared pictures, one after the other, as `[B, C, H, W]`.
    ///
    /// # Errors
    /// When the values do not make whole pictures.
    pub fn batch(&self, values: Vec<f32>) -> Result<Tensor> {
        let [channels, height, width] = self.input;
        let size = channels * height * width;
        ensure!(values.len().is_multiple_of(size), "{} values of {size} each", values.len());
        let shape = (values.len() / size, channels, height, width);
        Ok(Tensor::from_vec(values, shape, &self.device)?)
    }

    /// Features of `[B, C, H, W]`: `[B, width]`.
    ///
    /// # Errors
    /// When the pictures do not fit, or the model has no class token and it is asked for.
    pub fn features(&self, images: &Tensor, kind: Features) -> Result<Tensor> {
        let ctx = Context::eval();
        if kind == Features::Pooled {
            return Ok(self.model.embed(images, &ctx)?);
        }
        let tokens = self.model.tokens(images, &ctx)?;
        let (rows, columns) = self.model.patch_grid();
        let patches = rows * columns;
        let count = tokens.dim(1)?;
        let Some(prefix) = count.checked_sub(patches) else {
            bail!("{}: {count} tokens for {patches} patches", self.name);
        };
        let class = || -> Result<Tensor> {
            ensure!(prefix > 0, "{} has no class token; use --features mean", self.name);
            Ok(tokens.narrow(1, 0, 1)?.squeeze(1)?)
        };
        let mean = || -> Result<Tensor> { Ok(tokens.narrow(1, prefix, patches)?.mean(1)?) };
        match kind {
            Features::Mean => mean(),
            Features::ClassMean => Ok(Tensor::cat(&[&class()?, &mean()?], D::Minus1)?),
            _ => class(),
        }
    }

    /// Whether there is a head whose outputs have names.
    #[must_use]
    pub fn classifies(&self) -> bool {
        self.model.num_classes() > 0 && !self.labels.names().is_empty()
    }

    /// Probabilities of `[B, C, H, W]`, one row per picture, calibrated where the model was; over
    /// classes they add up to 1, findings are independent.
    ///
    /// # Errors
    /// When the pictures do not fit or there is no head.
    pub fn probabilities(&self, images: &Tensor) -> Result<Vec<Vec<f32>>> {
        ensure!(self.classifies(), "{} has no classes", self.name);
        let logits = self.model.logits(images, &Context::eval())?;
        let mut rows = rows(&match self.labels {
            Task::MultiLabel { .. } => ((logits.neg()?.exp()? + 1.)?).recip()?,
            _ => vit_kernels::softmax(&logits)?,
        })?;
        if let Some(decisions) = &self.decisions {
            for row in &mut rows {
                decisions.calibration.apply(row)?;
            }
        }
        Ok(rows)
    }

    /// SHA-256 of the pipeline as JSON: the same for the same preparation.
    ///
    /// # Errors
    /// When the pipeline cannot be written as JSON.
    pub fn preprocessing(&self) -> Result<String> {
        let text = serde_json::to_vec(&self.pipeline).context("the pipeline as JSON")?;
        Ok(format!("{:x}", Sha256::digest(text)))
    }
}

/// Rows of `[B, D]`.
///
/// # Errors
/// When the values cannot be read back from the device.
pub(crate) fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(tensor.to_dtype(DType::F32)?.to_vec2()?)
}
