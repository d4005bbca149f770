#![doc = include_str!("../README.md")]

mod error;
mod sample;

pub use error::{Error, Result};
pub use sample::{Record, Sample, Target, Task};

/// A collection of pictures with labels.
///
/// Splitting, sampling and auditing need [`Dataset::record`] only, which touches no pixels.
pub trait Dataset: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the targets mean.
    fn task(&self) -> &Task;

    /// Identity, patient and label of one sample, without decoding its picture.
    ///
    /// # Errors
    /// [`Error::Index`] when `index >= len()`.
    fn record(&self, index: usize) -> Result<Record>;

    /// One sample with its decoded picture.
    ///
    /// # Errors
    /// [`Error::Index`] when `index >= len()`, or what went wrong reading the file, with its name.
    fn get(&self, index: usize) -> Result<Sample>;
}
