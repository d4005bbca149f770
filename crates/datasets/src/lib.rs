#![doc = include_str!("../README.md")]

pub mod audit;
mod cache;
mod describe;
mod error;
mod folder;
mod guard;
mod hash;
mod loader;
mod medmnist;
mod memory;
mod npz;
mod parallel;
mod phantom;
mod sample;
mod sampler;
mod split;
mod subset;
mod table;

pub use cache::{CacheOptions, Cached, Progress};
pub use describe::{ClassCount, Description, describe};
pub use error::{Error, Result};
pub use folder::{GroupRule, ImageFolder, ImageFolderOptions};
pub use loader::{
    Batch, BatchBuffer, EpochIter, ErrorPolicy, Loader, LoaderConfig, Position, Skipped,
};
pub use medmnist::{MedMnist, Split};
pub use memory::InMemory;
pub use phantom::{Phantom, PhantomConfig, PhantomFinding, PhantomKind, PhantomTask};
pub use sample::{Record, Sample, Target, Task};
pub use sampler::{Remainder, Sampler, Shard};
pub use split::{check_group_disjoint, check_parts_disjoint, split_by_group};
pub use subset::Subset;
pub use table::{CsvFilter, CsvLabels, CsvOptions, CsvTable};

use std::path::PathBuf;

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

    /// The file that holds this sample's picture and no other, if there is one: the cache watches
    /// it for changes, and the audit compares its bytes.
    fn file(&self, _index: usize) -> Option<PathBuf> {
        None
    }
}
