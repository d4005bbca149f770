//! From samples to batches, in worker threads, with a result that does not depend on them.

mod batch;
mod threads;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vit_random::Streams;
use vit_transforms::Pipeline;

use crate::{Dataset, Error, Result};

pub use batch::Batch;
use batch::Builder;
use threads::Threads;

/// How a [`Loader`] makes batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Samples per batch, at least 1.
    pub batch_size: usize,
    /// Worker threads; 0 makes the batches in the calling thread. More than `prefetch` are not
    /// started, since each works on a batch of its own.
    pub workers: usize,
    /// Batches that may be under way or waiting, at least 1: this bounds the memory to
    /// `prefetch + 1` batches together with the one the caller holds. Unused without workers.
    pub prefetch: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Whether each epoch has an order of its own; else the order of the data set.
    pub shuffle: bool,
    /// Whether a last batch with fewer samples is left out.
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    /// 32 samples, 2 workers, 4 batches in flight, seed 0, not shuffled, nothing left out.
    fn default() -> Self {
        Self { batch_size: 32, workers: 2, prefetch: 4, seed: 0, shuffle: false, drop_last: false }
    }
}

/// Makes batches of a data set.
///
/// The samples of a batch and their augmentation are pure functions of (seed, epoch, batch
/// number): neither the number of workers nor where an epoch is entered changes them.
#[derive(Clone)]
pub struct Loader {
    source: Source,
    config: LoaderConfig,
}

/// What a worker needs to make a sample.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) streams: Streams,
}

impl Loader {
    /// A loader; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Config`] when `batch_size` is 0, or `prefetch` is 0 and there are workers.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        pipeline: Arc<Pipeline>,
        config: LoaderConfig,
    ) -> Result<Self> {
        let zero = |option| Error::Config { option, reason: "0, must be at least 1".into() };
        if config.batch_size == 0 {
            return Err(zero("LoaderConfig::batch_size"));
        }
        if config.workers > 0 && config.prefetch == 0 {
            return Err(zero("LoaderConfig::prefetch"));
        }
        let streams = Streams::new(config.seed);
        Ok(Self { source: Source { dataset, pipeline, streams }, config })
    }

    /// Number of batches of one epoch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        let samples = self.source.dataset.len();
        if self.config.drop_last {
            samples / self.config.batch_size
        } else {
            samples.div_ceil(self.config.batch_size)
        }
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.source.dataset
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The batches of an epoch from number `start_batch` on; those before it are not read.
    ///
    /// The order is `Streams::new(seed).permutation("shuffle", epoch, len)`, and the transforms of
    /// a sample draw from `stream("augment", epoch, index)`.
    #[must_use]
    pub fn epoch(&self, epoch: u64, start_batch: usize) -> EpochIter {
        let samples = self.source.dataset.len();
        let order = if self.config.shuffle {
            self.source.streams.permutation("shuffle", epoch, samples)
        } else {
            (0..samples).collect()
        };
        let end = self.batches_per_epoch();
        let mut iter = EpochIter {
            plan: Plan { order, batch_size: self.config.batch_size, epoch },
            next: start_batch.min(end),
            end,
            worker: Worker::Caller(Builder::new(self.source.clone())),
        };
        // No queue longer than the epoch, however large a number the configuration has.
        let prefetch = self.config.prefetch.min(iter.len());
        let threads = self.config.workers.min(prefetch);
        if threads > 0 {
            let mut pool = Threads::start(&self.source, threads, prefetch);
            for number in iter.next..iter.next + prefetch {
                pool.order(iter.plan.job(number));
            }
            iter.worker = Worker::Threads { pool, prefetch };
        }
        iter
    }
}

/// One batch to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) epoch: u64,
    pub(crate) number: usize,
    pub(crate) indices: Vec<usize>,
}

/// Which samples belong to which batch.
struct Plan {
    order: Vec<usize>,
    batch_size: usize,
    epoch: u64,
}

impl Plan {
    fn job(&self, number: usize) -> Job {
        let indices = self.order.chunks(self.batch_size).nth(number).unwrap_or_default().to_vec();
        Job { epoch: self.epoch, number, indices }
    }
}

enum Worker {
    Caller(Builder),
    Threads { pool: Threads, prefetch: usize },
}

/// The batches of one epoch in order.
///
/// A batch that fails arrives as an error in its place; the batches after it can still be taken.
/// Dropping the iterator stops the worker threads and waits for them.
pub struct EpochIter {
    plan: Plan,
    next: usize,
    end: usize,
    worker: Worker,
}

impl Iterator for EpochIter {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some(match &mut self.worker {
            Worker::Caller(builder) => builder.batch(self.plan.job(number)),
            Worker::Threads { pool, prefetch } => {
                let result = pool.take(number);
                // A new job only when a batch has been taken, so that no more than `prefetch`
                // exist however slow the caller is.
                let ahead = number.saturating_add(*prefetch);
                if ahead < self.end {
                    pool.order(self.plan.job(ahead));
                }
                result
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for EpochIter {}
