use serde::{Deserialize, Serialize};
use vit_transforms::Image;

/// What the targets of a data set mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Task {
    /// No labels: pre-training only.
    Unlabelled,
    /// Exactly one class per sample.
    SingleLabel {
        /// Class names; the position is the class number.
        classes: Vec<String>,
    },
    /// Each finding is present, absent or unknown.
    MultiLabel {
        /// Names of the findings, in the order of the labels.
        findings: Vec<String>,
    },
}

impl Task {
    /// Names of classes or findings; empty where there are no labels.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Unlabelled => &[],
            Self::SingleLabel { classes } => classes,
            Self::MultiLabel { findings } => findings,
        }
    }
}

/// The label of one sample.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// No label.
    None,
    /// A class number, below the number of classes of the [`Task`].
    Class(usize),
    /// One entry per finding: 1 present, 0 absent, between for a soft label, `None` unknown.
    Labels(Vec<Option<f32>>),
}

/// What is known of a sample without looking at its picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Unique within the data set: usually the path below its root.
    pub id: String,
    /// The patient (or whatever must not be split): samples of one group are not independent.
    pub group: String,
    /// The label.
    pub target: Target,
}

/// A [`Record`] with its picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Identity, patient and label.
    pub record: Record,
    /// The decoded picture, before any transform.
    pub image: Image,
}
