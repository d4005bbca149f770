use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::card::{COVIDX_9A, COVIDX_9B};
use crate::files::{Builder, List, Row, attribute};
use crate::{Card, Error, FileDataset, FileOptions, Result, Split, Target, Task};

/// Which edition of `COVIDx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CovidxVersion {
    /// Normal, pneumonia, COVID-19; numbered 0, 2, 3 as `medical_mae` does.
    #[default]
    #[serde(rename = "9a")]
    V9A,
    /// Negative and positive.
    #[serde(rename = "9b")]
    V9B,
}

/// How to read a list of [`COVIDx`](https://github.com/lindawangg/COVID-Net):
/// `patient file class source` per line, or without source in older ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Covidx {
    /// The folder with `train` and `test`.
    pub root: PathBuf,
    /// The list.
    pub list: PathBuf,
    /// Which folder its files are in.
    pub split: Split,
    /// Which classes.
    #[serde(default)]
    pub version: CovidxVersion,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl Covidx {
    /// A list of edition 9A.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, list: impl Into<PathBuf>, split: Split) -> Self {
        let (version, files) = <(CovidxVersion, FileOptions)>::default();
        Self { root: root.into(), list: list.into(), split, version, files }
    }

    /// Reads the list and checks that the pictures are there. The group is patient and source:
    /// several sources count their patients from 1.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`].
    pub fn open(&self) -> Result<FileDataset> {
        let card: &'static Card = match self.version {
            CovidxVersion::V9A => &COVIDX_9A,
            CovidxVersion::V9B => &COVIDX_9B,
        };
        let list = List::read(&self.list, 0)?;
        let mut builder = Builder::new(&self.list, &self.root, self.files, &[attribute::SOURCE])?;
        for entry in &list.entries {
            let words: Vec<&str> = entry.name.split_whitespace().collect();
            let class = |word: &str| card.labels.iter().position(|label| *label == word);
            let (patient, name, number, source) = match words.as_slice() {
                [patient, name @ .., label] if !name.is_empty() && class(label).is_some() => {
                    (patient, name, class(label), "")
                }
                [patient, name @ .., label, source] if !name.is_empty() => {
                    (patient, name, class(label), *source)
                }
                [_, name, label] if !name.is_empty() => {
                    return Err(unknown(card, list.place(entry.line), label));
                }
                _ => {
                    let found = words.len();
                    let reason = format!("{found} word(s), but patient, file and class are needed");
                    return Err(list.error(entry.line, reason));
                }
            };
            let Some(number) = number else {
                let label = words.iter().rev().nth(1).copied().unwrap_or_default();
                return Err(unknown(card, list.place(entry.line), label));
            };
            let name = name.join(" ");
            let mut row = Row::new(entry.line, "", Target::Class(number));
            row.paths = vec![format!("{}/{name}", self.split), name];
            let group = if source.is_empty() {
                (*patient).to_owned()
            } else {
                format!("{source}/{patient}")
            };
            builder.add(row.group(group).attributes(vec![source]))?;
        }
        let classes = card.labels.iter().map(ToString::to_string).collect();
        Ok(builder.finish(Task::SingleLabel { classes })?.described(card, self.split.name()))
    }
}

fn unknown(card: &Card, place: String, label: &str) -> Error {
    let known = card.labels.iter().map(ToString::to_string).collect();
    Error::UnknownClass { place, class: label.into(), known }
}
