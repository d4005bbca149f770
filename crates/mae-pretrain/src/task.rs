use candle_core::{DType, Tensor};
use vit_models::Context;
use vit_random::{Stream, Streams};
use vit_train::{Evaluation, Task, TensorBatch};

use crate::{Mae, Masking, Result};

/// Pre-training: each batch is masked anew, by streams that belong to seed, epoch and sample.
pub struct MaeTask {
    train: Mae,
    eval: Mae,
    streams: Streams,
}

impl MaeTask {
    /// `train` is built from `ParamStore::var_builder`, `eval` from `ParamStore::frozen` of the
    /// same store.
    #[must_use]
    pub fn new(train: Mae, eval: Mae, seed: u64) -> Self {
        Self { train, eval, streams: Streams::new(seed) }
    }

    /// The model without recorded gradients.
    #[must_use]
    pub fn model(&self) -> &Mae {
        &self.eval
    }

    fn masking(&self, purpose: &str, epoch: u64, samples: &[u64]) -> Result<Masking> {
        let stream = |&sample: &u64| self.streams.stream(purpose, epoch, sample);
        let mut streams: Vec<Stream> = samples.iter().map(stream).collect();
        let config = self.train.config();
        Masking::random(&mut streams, config.encoder.num_patches(), config.mask_ratio)
    }
}

impl Task for MaeTask {
    fn loss(&self, batch: &TensorBatch, ctx: &Context) -> vit_train::Result<Tensor> {
        let masking = self.masking("mask", batch.epoch, &batch.samples)?;
        self.train.loss(&batch.images, &masking, ctx).map_err(Into::into)
    }

    /// The loss with masks that are the same in every evaluation.
    fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = vit_train::Result<TensorBatch>>,
    ) -> vit_train::Result<Evaluation> {
        let (mut sum, mut samples) = (0f64, 0usize);
        for batch in batches {
            let batch = batch?;
            let masking = self.masking("mask/evaluation", 0, &batch.samples)?;
            let loss = self.eval.loss(&batch.images, &masking, &Context::eval())?;
            sum += loss.to_dtype(DType::F64)?.to_scalar::<f64>()? * batch.len() as f64;
            samples += batch.len();
        }
        if samples == 0 {
            let message = "there is nothing to evaluate on".to_string();
            return Err(vit_train::Error::Config(message));
        }
        Ok(Evaluation::new(sum / samples as f64, samples, None))
    }
}
