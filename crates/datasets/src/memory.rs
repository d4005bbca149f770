use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use vit_transforms::{Image, Pixels};

use crate::{Card, Dataset, Error, Record, Result, Sample, Task};

/// Keeps decoded pictures in memory, up to a number of bytes.
///
/// A picture is kept when it is first read and there is room; the others are read every time. So
/// the results are the same for every budget. For small sets this takes the decoding out of every
/// epoch but the first.
pub struct InMemory {
    dataset: Arc<dyn Dataset>,
    images: Vec<OnceLock<Image>>,
    budget: usize,
    used: AtomicUsize,
}

impl InMemory {
    /// A cache that holds at most `budget` bytes of pixels.
    #[must_use]
    pub fn new(dataset: Arc<dyn Dataset>, budget: usize) -> Self {
        let images = (0..dataset.len()).map(|_| OnceLock::new()).collect();
        Self { dataset, images, budget, used: AtomicUsize::new(0) }
    }

    /// Bytes of pixels held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Number of pictures held now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.images.iter().filter(|slot| slot.get().is_some()).count()
    }

    /// Reserves room; `false` when there is none left.
    fn reserve(&self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.budget);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn keep(&self, slot: &OnceLock<Image>, image: &Image) {
        let bytes = bytes_of(image);
        if !self.reserve(bytes) {
            return;
        }
        if slot.set(image.clone()).is_err() {
            // Another thread was first with the same picture.
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

fn bytes_of(image: &Image) -> usize {
    match image.pixels() {
        Pixels::U8(values) => values.len(),
        Pixels::U16(values) => values.len() * 2,
        other => other.len() * 4,
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn task(&self) -> &Task {
        self.dataset.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.dataset.record(index)
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let slot = self.images.get(index).ok_or(Error::Index { index, len: self.len() })?;
        if let Some(image) = slot.get() {
            return Ok(Sample { record: self.dataset.record(index)?, image: image.clone() });
        }
        let sample = self.dataset.get(index)?;
        self.keep(slot, &sample.image);
        Ok(sample)
    }

    crate::forward_provenance!(dataset);

    fn card(&self) -> Option<&'static Card> {
        self.dataset.card()
    }

    fn part(&self) -> &str {
        self.dataset.part()
    }
}
