use candle_core::{Device, Tensor};
use rand_distr::{Bernoulli, Distribution};
use vit_random::{Stream, Streams};

use crate::{Error, Result};

/// Whether a forward pass trains, and where its randomness comes from.
///
/// Random draws belong to (seed, layer, epoch, sample), never to a hidden generator: the same
/// sample in the same epoch is treated the same in any batch, on any thread, after any resume.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    train: Option<Train<'a>>,
    recompute: bool,
}

#[derive(Debug, Clone, Copy)]
struct Train<'a> {
    streams: Streams,
    epoch: u64,
    samples: &'a [u64],
}

/// A [`Context`] that owns its samples, without activation checkpointing.
#[derive(Debug, Clone)]
pub(crate) struct OwnedContext {
    train: Option<(Streams, u64, Vec<u64>)>,
}

impl OwnedContext {
    pub(crate) fn borrow(&self) -> Context<'_> {
        match &self.train {
            None => Context::eval(),
            Some((streams, epoch, samples)) => Context::train(*streams, *epoch, samples),
        }
    }
}

impl<'a> Context<'a> {
    pub(crate) fn owned(&self) -> OwnedContext {
        let train = self.train.map(|t| (t.streams, t.epoch, t.samples.to_vec()));
        OwnedContext { train }
    }

    /// Evaluation: no dropout, no drop path.
    #[must_use]
    pub fn eval() -> Self {
        Self { train: None, recompute: false }
    }

    /// Training on a batch whose element `i` is sample `samples[i]` of the data set.
    #[must_use]
    pub fn train(streams: Streams, epoch: u64, samples: &'a [u64]) -> Self {
        Self { train: Some(Train { streams, epoch, samples }), recompute: false }
    }

    /// Activation checkpointing (Chen et al., arXiv 1604.06174): blocks keep their input only and
    /// are computed again in the backward pass. The same gradients to the bit, for less memory and
    /// more time.
    #[must_use]
    pub fn with_grad_checkpointing(self, on: bool) -> Self {
        Self { recompute: on, ..self }
    }

    /// Whether blocks are computed again in the backward pass.
    #[must_use]
    pub fn recomputes(&self) -> bool {
        self.recompute
    }

    /// Whether this is a training pass.
    #[must_use]
    pub fn is_train(&self) -> bool {
        self.train.is_some()
    }

    /// The random stream of each element of the batch for one purpose; `None` in evaluation.
    ///
    /// # Errors
    /// When the batch has another size than the samples given to [`Context::train`].
    pub fn streams(&self, purpose: &str, batch: usize) -> Result<Option<Vec<Stream>>> {
        let Some(train) = &self.train else { return Ok(None) };
        if train.samples.len() != batch {
            return Err(Error::Config(format!(
                "the training context names {} samples, the batch has {batch}",
                train.samples.len()
            )));
        }
        let stream = |&sample| train.streams.stream(purpose, train.epoch, sample);
        Ok(Some(train.samples.iter().map(stream).collect()))
    }

    /// Drop path (stochastic depth, Huang et al., arXiv 1603.09382): each sample's branch is
    /// dropped with probability `rate`, kept ones are divided by `1 − rate`. `x` is `[B, …]`.
    ///
    /// # Errors
    /// As [`Context::streams`].
    pub fn drop_path(&self, x: Tensor, rate: f64, purpose: &str) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let Some(mask) = self.drop_path_factors(batch, rate, purpose)? else { return Ok(x) };
        let mut shape = vec![1; x.rank()];
        if let Some(first) = shape.first_mut() {
            *first = batch;
        }
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        Ok(x.broadcast_mul(&mask.to_device(x.device())?.to_dtype(x.dtype())?)?)
    }

    /// The factor of each sample's branch in drop path; `None` where none is dropped.
    ///
    /// # Errors
    /// As [`Context::streams`].
    pub fn drop_path_factors(
        &self,
        batch: usize,
        rate: f64,
        purpose: &str,
    ) -> Result<Option<Vec<f32>>> {
        if rate <= 0. {
            return Ok(None);
        }
        let Some(mut streams) = self.streams(purpose, batch)? else { return Ok(None) };
        let keep = Keep::new(rate)?;
        Ok(Some(streams.iter_mut().map(|stream| keep.draw(stream)).collect()))
    }

    /// Dropout (Srivastava et al. 2014): each value is zeroed with probability `rate`, kept ones
    /// are divided by `1 − rate`. `x` is `[B, …]`.
    ///
    /// # Errors
    /// As [`Context::streams`].
    pub fn dropout(&self, x: &Tensor, rate: f64, purpose: &str) -> Result<Tensor> {
        let batch = x.dim(0)?;
        if rate <= 0. {
            return Ok(x.clone());
        }
        let Some(mut streams) = self.streams(purpose, batch)? else { return Ok(x.clone()) };
        let keep = Keep::new(rate)?;
        let per_sample = x.elem_count().checked_div(batch).unwrap_or(0);
        let mut mask = Vec::with_capacity(x.elem_count());
        for stream in &mut streams {
            mask.extend((0..per_sample).map(|_| keep.draw(stream)));
        }
        let mask = Tensor::from_vec(mask, x.shape(), &Device::Cpu)?;
        Ok((x * mask.to_device(x.device())?.to_dtype(x.dtype())?)?)
    }
}

/// Draws `1 / (1 − rate)` with probability `1 − rate`, else 0.
struct Keep {
    keep: Bernoulli,
    factor: f32,
}

impl Keep {
    fn new(rate: f64) -> Result<Self> {
        let probability = 1. - rate;
        let keep = Bernoulli::new(probability).ok().filter(|_| probability > 0.);
        let keep = keep.ok_or_else(|| {
            Error::Config(format!("drop rate {rate} is not between 0 and 1 (1 excluded)"))
        })?;
        Ok(Self { keep, factor: (1. / probability) as f32 })
    }

    fn draw(&self, stream: &mut Stream) -> f32 {
        if self.keep.sample(stream) { self.factor } else { 0. }
    }
}
