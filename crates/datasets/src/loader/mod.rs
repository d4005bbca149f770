//! From samples to batches, in worker threads, with a result that does not depend on them.

mod batch;
mod buffer;
mod mixing;
mod policy;
mod threads;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vit_random::Streams;
use vit_transforms::{Mixup, Pipeline, Step};

use crate::sampler::{Order, Place, Sampler, Shard};
use crate::{Dataset, Error, Result};

pub use batch::Batch;
use batch::Builder;
pub use buffer::BatchBuffer;
use buffer::Pool;
use policy::SkipLog;
pub use policy::{ErrorPolicy, Skipped};
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

/// A place in a run: what a checkpoint keeps to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch.
    pub epoch: u64,
    /// The next batch in it.
    pub batch: usize,
}

/// Makes batches of a data set.
///
/// The samples of a batch and their augmentation are pure functions of (seed, epoch, batch
/// number): neither the number of workers nor where an epoch is entered changes them.
///
/// Clones share their list of skipped samples and their buffers.
#[derive(Clone)]
pub struct Loader {
    source: Source,
    order: Arc<Order>,
    skipped: Arc<SkipLog>,
    config: LoaderConfig,
}

/// What a worker needs to make a sample.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) dataset: Arc<dyn Dataset>,
    /// The transforms up to the one that can write into a batch by itself.
    pub(crate) front: Arc<Pipeline>,
    /// Normalisation, if it is the last transform, or nothing.
    pub(crate) back: Arc<Pipeline>,
    pub(crate) mixup: Option<Arc<Mixup>>,
    pub(crate) streams: Streams,
    pub(crate) policy: ErrorPolicy,
    pub(crate) pool: Arc<Pool>,
}

impl Loader {
    /// A loader that stops at samples it cannot read and sees the whole data set, in the order
    /// `config.shuffle` says; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Config`] when `batch_size` is 0, or `prefetch` is 0 and there are workers.
    #[expect(clippy::needless_pass_by_value, reason = "callers share one pipeline by its `Arc`")]
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
        let sampler = if config.shuffle { Sampler::Shuffled } else { Sampler::Sequential };
        let order = Arc::new(Order::new(dataset.as_ref(), &sampler, Shard::default())?);
        let (front, back) = split(&pipeline);
        let source = Source {
            dataset,
            front: Arc::new(front),
            back: Arc::new(back),
            mixup: None,
            streams: Streams::new(config.seed),
            policy: ErrorPolicy::Stop,
            // Under way or waiting, at the caller, and given back at this moment.
            pool: Arc::new(Pool::new(config.prefetch.saturating_add(2))),
        };
        Ok(Self { source, order, skipped: Arc::default(), config })
    }

    /// The same loader with another sampler, in place of the one that `config.shuffle` chose.
    ///
    /// # Errors
    /// [`Error::Config`] when the sampler does not fit the data set or the shard, or the error of
    /// a record that cannot be read.
    pub fn with_sampler(mut self, sampler: &Sampler) -> Result<Self> {
        let order = Order::new(self.source.dataset.as_ref(), sampler, self.order.shard())?;
        self.order = Arc::new(order);
        Ok(self)
    }

    /// The same loader for one process of several: its batches hold its part of the order only.
    ///
    /// # Errors
    /// [`Error::Config`] when the rank is not below the number of processes, or a sampler that
    /// repeats samples meets [`crate::Remainder::Exact`].
    pub fn with_shard(mut self, shard: Shard) -> Result<Self> {
        self.order = Arc::new(self.order.as_ref().clone().with_shard(shard)?);
        Ok(self)
    }

    /// The same loader with the pictures and labels of each batch mixed, as the last step: for
    /// training. The labels are in [`Batch::mixed`]; the mixing of a batch is drawn from
    /// `stream("mixup/{number}", epoch, index of its first sample)`.
    ///
    /// # Errors
    /// [`Error::Config`] when the parameters make no sense or the data have no labels.
    pub fn with_mixup(mut self, mixup: Mixup) -> Result<Self> {
        mixing::check(&mixup, self.source.dataset.task())?;
        self.source.mixup = Some(Arc::new(mixup));
        Ok(self)
    }

    /// The same loader with another answer to samples that cannot be read.
    #[must_use]
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.source.policy = policy;
        self
    }

    /// The samples that were left out of the batches handed out so far, by index.
    #[must_use]
    pub fn skipped(&self) -> Vec<Skipped> {
        self.skipped.list()
    }

    /// Number of batches of one epoch: of this process, if there are several.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        let samples = self.order.len();
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
    /// With `config.shuffle` the order is `Streams::new(seed).permutation("shuffle", epoch, len)`;
    /// the transforms of a sample draw from `stream("augment", epoch, index)`, those of its
    /// `r`-th copy in one epoch from `stream("augment/r", epoch, index)`.
    #[must_use]
    pub fn epoch(&self, epoch: u64, start_batch: usize) -> EpochIter {
        let order = self.order.places(self.source.streams, epoch);
        let end = self.batches_per_epoch();
        let mut iter = EpochIter {
            plan: Plan { order, batch_size: self.config.batch_size, epoch },
            next: start_batch.min(end),
            end,
            worker: Worker::Caller(Builder::new(self.source.clone())),
            skipped: Arc::clone(&self.skipped),
            policy: self.source.policy,
            only_skipped: false,
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

    /// The batches from a position on, to the end of its epoch: bit for bit those that an unbroken
    /// run has there.
    #[must_use]
    pub fn resume(&self, position: Position) -> EpochIter {
        self.epoch(position.epoch, position.batch)
    }
}

/// A pipeline as what comes before a last normalisation, and that normalisation: it writes into
/// the batch without a picture in between, but the size must be checked before.
fn split(pipeline: &Pipeline) -> (Pipeline, Pipeline) {
    match pipeline.steps.split_last() {
        Some((last @ Step::Normalize(_), before)) => {
            (Pipeline::new(before.to_vec()), Pipeline::new(vec![last.clone()]))
        }
        _ => (pipeline.clone(), Pipeline::default()),
    }
}

/// One batch to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) epoch: u64,
    pub(crate) number: usize,
    pub(crate) places: Vec<Place>,
}

/// Which samples belong to which batch.
struct Plan {
    order: Vec<Place>,
    batch_size: usize,
    epoch: u64,
}

impl Plan {
    fn job(&self, number: usize) -> Job {
        let places = self.order.chunks(self.batch_size).nth(number).unwrap_or_default().to_vec();
        Job { epoch: self.epoch, number, places }
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
    skipped: Arc<SkipLog>,
    policy: ErrorPolicy,
    /// Whether batches were left out and none has been handed out yet.
    only_skipped: bool,
}

impl EpochIter {
    /// Batches not taken yet. Fewer come where [`ErrorPolicy::Skip`] leaves out all samples of
    /// one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.next
    }

    /// Whether all batches have been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next batch stands, for [`Loader::resume`].
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.plan.epoch, batch: self.next }
    }

    /// Makes the next batch, or waits for it.
    fn advance(&mut self) -> Result<Batch> {
        let number = self.next;
        self.next += 1;
        match &mut self.worker {
            Worker::Caller(builder) => builder.batch(&self.plan.job(number)),
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
        }
    }
}

impl Iterator for EpochIter {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_empty() {
            let batch = match self.advance() {
                Ok(batch) => batch,
                error => return Some(error),
            };
            // Noted when it is handed out, so that the list does not depend on the workers.
            if let Err(error) = self.skipped.note(&batch.skipped, self.policy) {
                return Some(Err(error));
            }
            if batch.is_empty() {
                self.only_skipped |= batch.number == 0;
                continue;
            }
            self.only_skipped = false;
            return Some(Ok(batch));
        }
        // An epoch of nothing but unreadable samples must not pass for a short one.
        std::mem::take(&mut self.only_skipped).then(|| self.skipped.nothing_left().map(Err))?
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let exact = self.policy == ErrorPolicy::Stop;
        (if exact { self.len() } else { 0 }, Some(self.len()))
    }
}
