use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeOptions, decode_file_with};

#[cfg(feature = "parquet")]
use super::FileOptions;
use super::root::check_inside;
use super::{AttributeStore, OnMissing};
use crate::left_out::LeftOutLog;
use crate::{Card, Dataset, Error, LeftOut, Record, Result, Sample, Target, Task};

/// A rectangle that a reader drew around a finding, in pixels of the original picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingBox {
    /// What is there.
    pub finding: String,
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width, positive.
    pub width: f32,
    /// Height, positive.
    pub height: f32,
}

/// Picture files with labels, patients and attributes: what every reader of a known data set
/// gives.
#[derive(Debug, Clone)]
pub struct FileDataset {
    pub(super) root: PathBuf,
    pub(super) task: Task,
    pub(super) missing: OnMissing,
    pub(super) decode: DecodeOptions,
    pub(super) records: Vec<Record>,
    pub(super) attributes: AttributeStore,
    pub(super) boxes: HashMap<usize, Vec<FindingBox>>,
    pub(super) card: Option<&'static Card>,
    pub(super) part: String,
    pub(super) left_out: LeftOutLog,
}

impl FileDataset {
    /// The file of a sample.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        self.records.get(index).map(|record| self.root.join(&record.id))
    }

    /// The rectangles of a sample; empty where there are none.
    #[must_use]
    pub fn boxes(&self, index: usize) -> &[FindingBox] {
        self.boxes.get(&index).map_or(&[], Vec::as_slice)
    }

    /// The classes that occur, ascending: the columns of the scores to compare where a data set has
    /// a part of the classes of its model (ImageNet-A and -R).
    #[must_use]
    pub fn present_classes(&self) -> Vec<usize> {
        let class = |record: &Record| match record.target {
            Target::Class(class) => Some(class),
            _ => None,
        };
        let classes: BTreeSet<usize> = self.records.iter().filter_map(class).collect();
        classes.into_iter().collect()
    }

    #[cfg(feature = "parquet")]
    pub(crate) fn options(&self) -> FileOptions {
        FileOptions { missing: self.missing, decode: self.decode }
    }
}

impl Dataset for FileDataset {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.records.get(index).cloned().ok_or(Error::Index { index, len: self.len() })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        let path = self.root.join(&record.id);
        if self.missing == OnMissing::Unchecked {
            check_inside(&self.root, &path)?;
        }
        let image = decode_file_with(&path, &self.decode)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn attribute_names(&self) -> &[String] {
        self.attributes.names()
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        self.attributes.attribute(index, self.len(), name)
    }

    fn card(&self) -> Option<&'static Card> {
        self.card
    }

    fn part(&self) -> &str {
        &self.part
    }

    fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.list()
    }

    fn decoding(&self) -> String {
        crate::files::decoding(&self.decode)
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.path(index)
    }
}
