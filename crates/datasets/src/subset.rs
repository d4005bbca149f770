use std::path::PathBuf;
use std::sync::Arc;

use crate::{Card, Dataset, Error, LeftOut, Record, Result, Sample, Task};

/// Some samples of a data set, in an order of their own.
///
/// It has the card of the whole, but is none of its parts, so that no counts are expected of it.
#[derive(Clone)]
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// The samples with these indices; an index may occur more than once.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is not in the data set.
    pub fn new(dataset: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        let len = dataset.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::Index { index, len }),
            None => Ok(Self { dataset, indices }),
        }
    }

    /// The indices in the whole data set.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn inner(&self, index: usize) -> Result<usize> {
        self.indices.get(index).copied().ok_or(Error::Index { index, len: self.indices.len() })
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn task(&self) -> &Task {
        self.dataset.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.dataset.record(self.inner(index)?)
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.dataset.get(self.inner(index)?)
    }

    fn attribute_names(&self) -> &[String] {
        self.dataset.attribute_names()
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        self.dataset.attribute(self.inner(index)?, name)
    }

    fn card(&self) -> Option<&'static Card> {
        self.dataset.card()
    }

    /// What the whole data set left out.
    fn left_out(&self) -> Vec<LeftOut> {
        self.dataset.left_out()
    }

    fn decoding(&self) -> String {
        self.dataset.decoding()
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.dataset.file(self.inner(index).ok()?)
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        self.dataset.container(self.inner(index).ok()?)
    }
}
