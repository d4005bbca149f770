use std::path::Path;
use std::sync::Arc;

use crate::files::Sheet;
use crate::{Dataset, Error, Record, Result, Sample, Target, Task};

/// The table that [`Vocabulary::xray_union`] reads.
const XRAY_UNION: &str = include_str!("xray_union.csv");

/// One list of labels for several data sets: which column of each source means what.
///
/// A table with a column of the common names and one column per source; an empty cell says that the
/// source does not label it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    names: Vec<String>,
    sources: Vec<(String, Vec<String>)>,
}

impl Vocabulary {
    /// The 21 labels of `ChestX-ray14`, `CheXpert` and MIMIC-CXR together, in the order of
    /// `medical_mae`'s combination; sources `nih`, `chexpert` and `mimic`.
    ///
    /// # Errors
    /// None with the table that this crate comes with.
    pub fn xray_union() -> Result<Self> {
        Self::parse(&Sheet::parse(Path::new("xray_union.csv"), XRAY_UNION.as_bytes(), b',')?)
    }

    /// Reads another table of this form (comma-separated, the common names first).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Header`], [`Error::NotUtf8`] and [`Error::Row`] as for any table;
    /// the latter also for an empty name or one that stands twice in its column.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&Sheet::read(path, b',')?)
    }

    fn parse(sheet: &Sheet) -> Result<Self> {
        let mut columns: Vec<Vec<String>> = sheet.header.iter().map(|_| Vec::new()).collect();
        for line in sheet.lines() {
            line.required(0)?;
            for (position, column) in columns.iter_mut().enumerate() {
                let cell = line.cell(position);
                if !cell.is_empty() && column.iter().any(|other| other == cell) {
                    return Err(line.error(format!("'{cell}' stands twice in its column")));
                }
                column.push(cell.to_owned());
            }
        }
        let mut named = sheet.header.iter().cloned().zip(columns);
        let names = named.next().map(|(_, names)| names).unwrap_or_default();
        if names.is_empty() {
            return Err(Error::Empty { path: sheet.path.clone(), what: "labels" });
        }
        Ok(Self { names, sources: named.collect() })
    }

    /// The common names, in the order of the labels.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The sources that the table knows.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(source, _)| source.as_str())
    }

    /// For each common name, the position among the findings of a data set of this source.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] for a source that the table does not have, or a finding that it does
    /// not translate.
    pub fn mapping(&self, source: &str, findings: &[String]) -> Result<Vec<Option<usize>>> {
        let unknown = |place: &str, class: &str, known| {
            Err(Error::UnknownClass { place: place.into(), class: class.into(), known })
        };
        let Some((_, column)) = self.sources.iter().find(|(known, _)| known == source) else {
            let known = self.sources().map(str::to_owned).collect();
            return unknown("sources of the vocabulary", source, known);
        };
        if let Some(finding) = findings.iter().find(|finding| !column.contains(finding)) {
            let known = column.iter().filter(|name| !name.is_empty()).cloned().collect();
            return unknown(&format!("vocabulary, source '{source}'"), finding, known);
        }
        let position = |name: &String| findings.iter().position(|finding| finding == name);
        Ok(column.iter().map(position).collect())
    }
}

/// A data set with the labels of a [`Vocabulary`]; what its source does not label is unknown.
pub struct Harmonized {
    dataset: Arc<dyn Dataset>,
    task: Task,
    mapping: Vec<Option<usize>>,
}

impl Harmonized {
    /// Translates the findings of `dataset`, which are those of `source`.
    ///
    /// # Errors
    /// As [`Vocabulary::mapping`]; [`Error::Mismatch`] when the data set has no findings.
    pub fn new(dataset: Arc<dyn Dataset>, vocabulary: &Vocabulary, source: &str) -> Result<Self> {
        let Task::MultiLabel { findings } = dataset.task() else {
            return Err(Error::Mismatch {
                first: "vocabulary".into(),
                second: source.into(),
                reason: "it has no findings that are present, absent or unknown".into(),
            });
        };
        let mapping = vocabulary.mapping(source, findings)?;
        let task = Task::MultiLabel { findings: vocabulary.names().to_vec() };
        Ok(Self { dataset, task, mapping })
    }

    fn translate(&self, record: Record) -> Record {
        let Target::Labels(labels) = &record.target else { return record };
        let value = |position: &Option<usize>| labels.get((*position)?).copied().flatten();
        let target = Target::Labels(self.mapping.iter().map(value).collect());
        Record { target, ..record }
    }
}

impl Dataset for Harmonized {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        Ok(self.translate(self.dataset.record(index)?))
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let Sample { record, image } = self.dataset.get(index)?;
        Ok(Sample { record: self.translate(record), image })
    }

    crate::forward_provenance!(dataset, translated);
}
