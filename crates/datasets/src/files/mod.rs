//! What every reader of files shares: tables, paths that cannot leave the root, records.

mod build;
mod dataset;
mod json;
mod list;
mod lookup;
mod root;
mod sheet;
mod store;
mod walk;

pub(crate) use build::{Builder, Row};
pub use dataset::{FileDataset, FindingBox};
pub use json::parse_json;
pub(crate) use json::{read_json, read_unique_json};
pub(crate) use list::List;
pub(crate) use lookup::{Lookup, first_file, is_picture};
pub(crate) use root::{Root, inside};
pub(crate) use sheet::{Line, Sheet};
pub(crate) use store::AttributeStore;
pub(crate) use walk::Walk;

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeLimits, DecodeOptions};

/// See [`crate::Dataset::decoding`]. Limits do not change a picture.
pub(crate) fn decoding(options: &DecodeOptions) -> String {
    format!("{:?}", DecodeOptions { limits: DecodeLimits::default(), ..*options })
}

/// Implements [`crate::Dataset`] for a type whose first field is one.
macro_rules! delegate {
    ($name:ty) => {
        impl Dataset for $name {
            fn len(&self) -> usize {
                self.0.len()
            }

            fn task(&self) -> &Task {
                self.0.task()
            }

            fn record(&self, index: usize) -> Result<Record> {
                self.0.record(index)
            }

            fn get(&self, index: usize) -> Result<Sample> {
                self.0.get(index)
            }

            fn attribute_names(&self) -> &[String] {
                self.0.attribute_names()
            }

            fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
                self.0.attribute(index, name)
            }

            fn card(&self) -> Option<&'static Card> {
                self.0.card()
            }

            fn part(&self) -> &str {
                self.0.part()
            }

            fn left_out(&self) -> Vec<$crate::LeftOut> {
                self.0.left_out()
            }

            fn decoding(&self) -> String {
                self.0.decoding()
            }

            fn file(&self, index: usize) -> Option<std::path::PathBuf> {
                self.0.file(index)
            }
        }
    };
}
pub(crate) use delegate;

/// What a reader does about a file that a table names and the disk does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnMissing {
    /// Stops with [`crate::Error::MissingFiles`].
    #[default]
    Refuse,
    /// Leaves the rows out and counts them ([`crate::Dataset::left_out`]): for a part of a download.
    Skip,
    /// Does not look: the most likely place is taken (`ChestX-ray14`: the root itself). A file that
    /// is not there, or a link that leads out of the root, is an error when the sample is read.
    Unchecked,
}

/// How a reader treats its files.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FileOptions {
    /// What to do about absent files.
    pub missing: OnMissing,
    /// Limits of the decoder, and its rule for DICOM.
    pub decode: DecodeOptions,
}

/// Names of attributes that mean the same in every reader that has them.
pub mod attribute {
    /// `female` or `male`, else as the table writes it.
    pub const SEX: &str = "sex";
    /// Years.
    pub const AGE: &str = "age";
    /// `PA`, `AP`, `LATERAL`, `LL`, `RL`, … in capitals.
    pub const VIEW: &str = "view";
    /// The study or examination.
    pub const STUDY: &str = "study";
    /// Where the picture comes from: the data set of a union, the collection of a COVID list.
    pub const SOURCE: &str = "source";
    /// The part of the official split.
    pub const SPLIT: &str = "split";
}
