#![doc = include_str!("../README.md")]

pub mod audit;
mod cache;
mod card;
mod concat;
mod describe;
#[cfg(feature = "download")]
mod download;
mod endoscopy;
mod error;
mod files;
mod folder;
mod fraction;
mod guard;
mod hash;
#[cfg(feature = "hub")]
mod hub_dataset;
mod left_out;
mod loader;
mod medmnist;
mod memory;
mod natural;
mod npz;
mod parallel;
#[cfg(feature = "parquet")]
mod parquet_files;
mod phantom;
mod policy;
mod sample;
mod sampler;
mod source;
mod split;
mod subset;
mod table;
mod tar_shards;
mod xray;

pub use cache::{CacheOptions, Cached, Progress};
pub use card::{Card, Expected, MedMnistInfo, MedMnistTask};
pub use concat::{Concat, InPopulation};
pub use describe::{ClassCount, Description, Difference, describe};
#[cfg(feature = "download")]
pub use download::Download;
pub use endoscopy::{
    GastroVision, GastroVisionClasses, HyperKvasir, HyperKvasirClasses, HyperKvasirPart,
    HyperKvasirUnlabelled, SslEndoscopyCsv,
};
pub use error::{Error, Result};
pub use files::{FileDataset, FileOptions, FindingBox, OnMissing, attribute, parse_json};
pub use folder::{GroupRule, ImageFolder, ImageFolderOptions};
pub use fraction::{all_but_fold, folds_by_group, fraction};
#[cfg(feature = "hub")]
pub use hub_dataset::{HubDataset, HubImages};
pub use left_out::LeftOut;
pub use loader::{
    Batch, BatchBuffer, EpochIter, ErrorPolicy, Loader, LoaderConfig, Position, Skipped,
};
pub use medmnist::{MedMnist, Split};
pub use memory::InMemory;
pub use natural::{
    INaturalist, INaturalistYear, ImageNet, ImageNetVariant, PathList, PathListKind,
};
#[cfg(feature = "parquet")]
pub use parquet_files::ParquetImages;
pub use phantom::{Phantom, PhantomConfig, PhantomFinding, PhantomKind, PhantomTask};
pub use policy::{
    Annotation, BlankRule, FindingRule, Harmonized, LabelPolicy, UncertainRule, Vocabulary,
};
pub use sample::{Record, Sample, Target, Task};
pub use sampler::{Remainder, Sampler, Shard};
pub use source::DataSource;
pub use split::{check_group_disjoint, check_parts_disjoint, split_by_group};
pub use subset::Subset;
pub use table::{CsvFilter, CsvLabels, CsvOptions, CsvTable};
pub use tar_shards::{TarLabels, TarOptions, TarShards};
#[cfg(feature = "hub")]
pub use vit_hub::{HubFault, HubOptions, HubProgress};
pub use xray::{
    CheXpert, ChestXray14, ChestXray14Part, Covidx, CovidxVersion, ListPart, MimicCxr, MimicLabels,
    OnBadLabel, RsnaPneumonia, RsnaTask, XrayList, XrayListKind,
};

use std::collections::BTreeMap;
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

    /// Names of what is known of the samples beside their labels, as sex, age or view: what
    /// subgroups are made of. [`attribute`] has the names that mean the same everywhere.
    fn attribute_names(&self) -> &[String] {
        &[]
    }

    /// One attribute of one sample; `None` where it is not known or there is no such attribute.
    ///
    /// # Errors
    /// [`Error::Index`] when `index >= len()`.
    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        let _ = name;
        if index < self.len() { Ok(None) } else { Err(Error::Index { index, len: self.len() }) }
    }

    /// All known attributes of one sample, by name.
    ///
    /// # Errors
    /// As [`Dataset::attribute`].
    fn attributes(&self, index: usize) -> Result<BTreeMap<String, String>> {
        let mut known = BTreeMap::new();
        for name in self.attribute_names() {
            if let Some(value) = self.attribute(index, name)? {
                known.insert(name.clone(), value);
            }
        }
        Ok(known)
    }

    /// Labels, licence, citation and expected counts, for a known data set.
    fn card(&self) -> Option<&'static Card> {
        None
    }

    /// Which part of the [`Card`] this is, such as `train`; empty if none of them.
    fn part(&self) -> &str {
        ""
    }

    /// The whole data sets that this one is put together from or translated, each in its own labels
    /// and with its own card, by name; none for one that stands for itself. What is expected of
    /// such a data set is expected of these ([`describe`]).
    fn constituents(&self) -> Vec<(&str, &dyn Dataset)> {
        Vec::new()
    }

    /// What the files have and the samples have not: rows without a file or a label, links, and so
    /// on. What the description of the data set does not ask for (another split or view) is no
    /// part of it.
    fn left_out(&self) -> Vec<LeftOut> {
        Vec::new()
    }

    /// What besides the bytes of the files decides the values of the pictures, such as how they are
    /// decoded: other words where they may differ. The cache is made anew when it changes.
    fn decoding(&self) -> String {
        String::new()
    }

    /// The file that holds this sample's picture and no other, if there is one: the cache watches
    /// it for changes, and the audit compares its bytes.
    fn file(&self, _index: usize) -> Option<PathBuf> {
        None
    }

    /// The file that holds this sample's picture among others (an npz, Parquet or tar file), if
    /// there is one: the cache watches it for changes.
    fn container(&self, _index: usize) -> Option<PathBuf> {
        None
    }
}

/// Within `impl Dataset`: attributes and files of the samples, and what became no sample, are those
/// of the wrapped data set in the named field, sample for sample; and so are its constituents,
/// unless the wrapped data set is itself to be the only one (`translated`).
macro_rules! forward_provenance {
    ($inner:ident) => {
        fn constituents(&self) -> Vec<(&str, &dyn $crate::Dataset)> {
            self.$inner.constituents()
        }

        $crate::forward_provenance!(@samples $inner);
    };
    ($inner:ident, translated) => {
        fn constituents(&self) -> Vec<(&str, &dyn $crate::Dataset)> {
            vec![("", self.$inner.as_ref())]
        }

        $crate::forward_provenance!(@samples $inner);
    };
    (@samples $inner:ident) => {
        fn attribute_names(&self) -> &[String] {
            self.$inner.attribute_names()
        }

        fn attribute(&self, index: usize, name: &str) -> $crate::Result<Option<String>> {
            self.$inner.attribute(index, name)
        }

        fn left_out(&self) -> Vec<$crate::LeftOut> {
            self.$inner.left_out()
        }

        fn decoding(&self) -> String {
            self.$inner.decoding()
        }

        fn file(&self, index: usize) -> Option<std::path::PathBuf> {
            self.$inner.file(index)
        }

        fn container(&self, index: usize) -> Option<std::path::PathBuf> {
            self.$inner.container(index)
        }
    };
}
pub(crate) use forward_provenance;

/// The examples of `docs/datasets.md` compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/datasets.md")]
struct DocsOfDatasets;
