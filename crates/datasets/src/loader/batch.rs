//! One batch from its samples.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vit_transforms::Image;

use super::{Job, Source};
use crate::{Error, Record, Result, Target};

/// Samples ready for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Values plane by plane: index `((b * C + c) * H + y) * W + x`.
    pub images: Vec<f32>,
    /// Samples, channels, height, width.
    pub shape: [usize; 4],
    /// The label of each sample.
    pub targets: Vec<Target>,
    /// The id of each sample.
    pub ids: Vec<String>,
    /// The group (patient) of each sample.
    pub groups: Vec<String>,
    /// The index of each sample in the data set.
    pub indices: Vec<usize>,
    /// The epoch this batch belongs to.
    pub epoch: u64,
    /// Its number within the epoch, from 0.
    pub number: usize,
}

impl Batch {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// Makes batches, one at a time.
pub(crate) struct Builder {
    source: Source,
    stop: Arc<AtomicBool>,
}

impl Builder {
    pub(crate) fn new(source: Source) -> Self {
        Self::stoppable(source, Arc::default())
    }

    /// A builder that gives up between two samples once `stop` is set.
    pub(crate) fn stoppable(source: Source, stop: Arc<AtomicBool>) -> Self {
        Self { source, stop }
    }

    pub(crate) fn batch(&self, job: Job) -> Result<Batch> {
        let count = job.indices.len();
        let mut batch = Batch {
            images: Vec::new(),
            shape: [count, 0, 0, 0],
            targets: Vec::with_capacity(count),
            ids: Vec::with_capacity(count),
            groups: Vec::with_capacity(count),
            indices: Vec::new(),
            epoch: job.epoch,
            number: job.number,
        };
        for (position, &index) in job.indices.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Threads { reason: "the epoch was given up".into() });
            }
            // A panic in one picture's decoder must not take the thread, and with it the epoch.
            let made = catch_unwind(AssertUnwindSafe(|| self.sample(job.epoch, index)));
            let (record, image) =
                made.unwrap_or_else(|cause| Err(self.panicked(index, cause.as_ref())))?;
            batch.push(position, record, &image)?;
        }
        batch.indices = job.indices;
        Ok(batch)
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<(Record, Image)> {
        let sample = self.source.dataset.get(index)?;
        let mut stream = self.source.streams.stream("augment", epoch, index as u64);
        match self.source.pipeline.apply(sample.image, &mut stream) {
            Ok(image) => Ok((sample.record, image)),
            Err(source) => Err(Error::Transform { id: sample.record.id, source }),
        }
    }

    fn panicked(&self, index: usize, cause: &(dyn std::any::Any + Send)) -> Error {
        let message = cause
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| cause.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        // What panicked may panic again when asked for its name.
        let id = catch_unwind(AssertUnwindSafe(|| self.source.dataset.record(index)))
            .ok()
            .and_then(Result::ok)
            .map_or_else(|| format!("index {index}"), |record| record.id);
        Error::Panic { id, message }
    }
}

impl Batch {
    fn push(&mut self, position: usize, record: Record, image: &Image) -> Result<()> {
        let got = [image.channels(), image.height(), image.width()];
        let size = image.pixels().len();
        let [count, channels, height, width] = self.shape;
        if position == 0 {
            let [c, h, w] = got;
            self.shape = [count, c, h, w];
            self.images = vec![0.0; count * size];
        } else if got != [channels, height, width] {
            let expected = [channels, height, width];
            return Err(Error::BatchShape { id: record.id, expected, got });
        }
        if let Some(place) = self.images.chunks_exact_mut(size.max(1)).nth(position) {
            image
                .write_chw(place)
                .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        }
        self.ids.push(record.id);
        self.groups.push(record.group);
        self.targets.push(record.target);
        Ok(())
    }
}
