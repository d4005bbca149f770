use candle_core::{Device, Tensor};
use vit_datasets::{Batch, Target};

use crate::{Error, Result};

/// Places of samples are below 2^40.
const REPEAT_SHIFT: u32 = 40;

/// A batch on its device.
#[derive(Debug, Clone)]
pub struct TensorBatch {
    /// Pictures, `[B, C, H, W]`.
    pub images: Tensor,
    /// Labels, one per picture.
    pub targets: Vec<Target>,
    /// Labels after mixing, `B × K` row by row, NaN where unknown, if the loader mixes.
    pub mixed: Option<Vec<f32>>,
    /// Names of the samples.
    pub ids: Vec<String>,
    /// Places of the samples in their data set: random streams belong to them. Further copies of
    /// a sample within one epoch have numbers above all places, so that they are masked anew.
    pub samples: Vec<u64>,
    /// Epoch.
    pub epoch: u64,
    /// Place in the epoch.
    pub number: usize,
}

impl TensorBatch {
    /// Moves a loader's batch to a device.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(batch: Batch, device: &Device) -> Result<Self> {
        let shape = batch.shape.as_slice();
        let images = if device.is_cpu() {
            Tensor::from_vec(batch.images.into_vec(), shape, device)?
        } else {
            // Copied to the device; the loader fills the memory again.
            Tensor::from_slice(&batch.images, shape, device)?
        };
        let stream = |(&index, &repeat)| index as u64 + ((repeat as u64) << REPEAT_SHIFT);
        Ok(Self {
            images,
            targets: batch.targets,
            mixed: batch.mixed,
            ids: batch.ids,
            samples: batch.indices.iter().zip(&batch.repeats).map(stream).collect(),
            epoch: batch.epoch,
            number: batch.number,
        })
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no pictures.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Class numbers.
    ///
    /// # Errors
    /// [`Error::Config`] naming a sample whose target is not one of `classes` classes.
    pub fn classes(&self, classes: usize) -> Result<Vec<usize>> {
        let class = |(target, id): (&Target, &String)| match target {
            Target::Class(class) if *class < classes => Ok(*class),
            other => Err(Error::Config(format!(
                "sample '{id}' has target {other:?}; the model tells {classes} classes apart"
            ))),
        };
        self.targets.iter().zip(&self.ids).map(class).collect()
    }

    /// Findings, row after row, `None` where unknown.
    ///
    /// # Errors
    /// [`Error::Config`] naming a sample whose target does not have `findings` entries.
    pub fn findings(&self, findings: usize) -> Result<Vec<Option<f32>>> {
        let mut all = Vec::with_capacity(self.targets.len() * findings);
        for (target, id) in self.targets.iter().zip(&self.ids) {
            match target {
                Target::Labels(labels) if labels.len() == findings => all.extend(labels),
                other => {
                    return Err(Error::Config(format!(
                        "sample '{id}' has target {other:?}; the model tells {findings} findings"
                    )));
                }
            }
        }
        Ok(all)
    }
}
