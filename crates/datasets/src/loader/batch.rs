//! One batch from its samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vit_transforms::Image;

use super::buffer::BatchBuffer;
use super::mixing::mix;
use super::policy::{ErrorPolicy, Skipped};
use super::{Job, Source};
use crate::guard::{guarded, name};
use crate::sampler::Place;
use crate::{Error, Result, Target};

/// Samples ready for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Values plane by plane: index `((b * C + c) * H + y) * W + x`.
    pub images: BatchBuffer,
    /// Samples, channels, height, width.
    pub shape: [usize; 4],
    /// The label of each sample.
    pub targets: Vec<Target>,
    /// Labels after mixing, samples × classes row by row, NaN where missing; `targets` are those
    /// of the pictures as they were. Only where [`super::Loader::with_mixup`] is in use.
    pub mixed: Option<Vec<f32>>,
    /// The id of each sample.
    pub ids: Vec<String>,
    /// The group (patient) of each sample.
    pub groups: Vec<String>,
    /// The index of each sample in the data set.
    pub indices: Vec<usize>,
    /// Which copy of the sample in this epoch, from 0: the samplers that repeat samples give each
    /// copy random streams of its own.
    pub repeats: Vec<usize>,
    /// What [`ErrorPolicy::Skip`] left out.
    pub skipped: Vec<Skipped>,
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

    fn new(job: &Job) -> Self {
        let count = job.places.len();
        Self {
            images: BatchBuffer::default(),
            shape: [0; 4],
            targets: Vec::with_capacity(count),
            mixed: None,
            ids: Vec::with_capacity(count),
            groups: Vec::with_capacity(count),
            indices: Vec::with_capacity(count),
            repeats: Vec::with_capacity(count),
            skipped: Vec::new(),
            epoch: job.epoch,
            number: job.number,
        }
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

    /// The batch, which under [`ErrorPolicy::Skip`] may be empty.
    pub(crate) fn batch(&self, job: &Job) -> Result<Batch> {
        let mut batch = Batch::new(job);
        for &place in &job.places {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Threads { reason: "the epoch was given up".into() });
            }
            let dataset = self.source.dataset.as_ref();
            let count = job.places.len();
            let added = guarded(dataset, place.index, || self.add(place, count, &mut batch));
            if let Err(error) = added {
                self.skip(place, error, &mut batch)?;
            }
        }
        let [_, channels, height, width] = batch.shape;
        batch.shape = [batch.len(), channels, height, width];
        batch.images.truncate(batch.shape.iter().product());
        if let Some(mixup) = &self.source.mixup {
            mix(&mut batch, mixup, self.source.dataset.task(), self.source.streams)?;
        }
        Ok(batch)
    }

    /// Adds a sample as the last step, so that one that fails leaves the batch as it was.
    fn add(&self, place: Place, count: usize, batch: &mut Batch) -> Result<()> {
        let Source { dataset, front, back, streams, .. } = &self.source;
        let sample = dataset.get(place.index)?;
        let id = &sample.record.id;
        let failed = |source| Error::Transform { id: id.clone(), source };
        let purpose = match place.repeat {
            0 => "augment".into(),
            repeat => format!("augment/{repeat}"),
        };
        let mut stream = streams.stream(&purpose, batch.epoch, place.index as u64);
        let image = front.apply(sample.image, &mut stream).map_err(failed)?;
        let slot = self.slot(&image, id, count, batch)?;
        back.apply_chw(image, &mut stream, slot).map_err(failed)?;
        batch.ids.push(sample.record.id);
        batch.groups.push(sample.record.group);
        batch.targets.push(sample.record.target);
        batch.indices.push(place.index);
        batch.repeats.push(place.repeat);
        Ok(())
    }

    /// Where the next picture goes. The first one decides the size of all.
    fn slot<'a>(
        &self,
        image: &Image,
        id: &str,
        count: usize,
        batch: &'a mut Batch,
    ) -> Result<&'a mut [f32]> {
        let got = [image.channels(), image.height(), image.width()];
        let size = image.pixels().len();
        if batch.is_empty() {
            let [channels, height, width] = got;
            batch.shape = [count, channels, height, width];
            let values = count.saturating_mul(size);
            if batch.images.len() != values {
                batch.images = self.source.pool.take(values);
            }
        }
        let [_, channels, height, width] = batch.shape;
        let expected = [channels, height, width];
        let position = batch.len();
        batch
            .images
            .chunks_exact_mut(size.max(1))
            .nth(position)
            .filter(|_| got == expected)
            .ok_or_else(|| Error::BatchShape { id: id.to_owned(), expected, got })
    }

    fn skip(&self, place: Place, error: Error, batch: &mut Batch) -> Result<()> {
        let cannot_tell = matches!(error, Error::BatchShape { .. });
        if self.source.policy == ErrorPolicy::Stop || cannot_tell {
            return Err(error);
        }
        let (index, id) = (place.index, name(self.source.dataset.as_ref(), place.index));
        batch.skipped.push(Skipped { index, id, reason: error.to_string(), times: 1 });
        Ok(())
    }
}
