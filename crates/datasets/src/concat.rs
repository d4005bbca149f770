use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Card, Dataset, Error, LeftOut, Record, Result, Sample, Task, attribute};

/// Data sets one behind the other.
///
/// Each has a name, which stands before its ids (`nih/…`), so that equal ones of different origin
/// stay apart, and which is the attribute [`attribute::SOURCE`]. Groups stay as they are, so that a
/// patient of two of them is one patient; [`InPopulation`] keeps patients of different origin apart.
#[derive(Clone)]
pub struct Concat {
    parts: Vec<Part>,
    task: Task,
    names: Vec<String>,
}

#[derive(Clone)]
struct Part {
    name: String,
    dataset: Arc<dyn Dataset>,
    /// Index of its first sample in the whole.
    start: usize,
}

impl Concat {
    /// Puts data sets with the same labels together; [`crate::Harmonized`] gives them the same.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when there are none, two have one name, their tasks differ, or two hold
    /// one picture: the same file, or the same id and group where there is no file. The error of a
    /// record that cannot be read.
    pub fn new(datasets: Vec<(String, Arc<dyn Dataset>)>) -> Result<Self> {
        let mut names = vec![attribute::SOURCE.to_owned()];
        let mut parts: Vec<Part> = Vec::new();
        let mut start = 0;
        for (name, dataset) in datasets {
            if let Some(first) = parts.first() {
                let fail = |reason: &str| {
                    let (first, second) = (first.name.clone(), name.clone());
                    Err(Error::Mismatch { first, second, reason: reason.into() })
                };
                if dataset.task() != first.dataset.task() {
                    return fail("they have other labels");
                }
                if parts.iter().any(|part| part.name == name) {
                    return fail("the name is taken");
                }
            }
            for attribute in dataset.attribute_names() {
                if !names.contains(attribute) {
                    names.push(attribute.clone());
                }
            }
            let len = dataset.len();
            parts.push(Part { name, dataset, start });
            start += len;
        }
        let Some(first) = parts.first() else {
            let (first, second) = ("nothing".into(), "nothing".into());
            return Err(Error::Mismatch { first, second, reason: "there is no data set".into() });
        };
        let task = first.dataset.task().clone();
        check_pictures(&parts)?;
        Ok(Self { parts, task, names })
    }

    /// The part of a sample, and its index there.
    fn locate(&self, index: usize) -> Result<(&Part, usize)> {
        let next = self.parts.partition_point(|part| part.start <= index);
        let part = next.checked_sub(1).and_then(|last| self.parts.get(last));
        part.filter(|part| index - part.start < part.dataset.len())
            .map(|part| (part, index - part.start))
            .ok_or(Error::Index { index, len: self.len() })
    }
}

impl Part {
    fn named(&self, record: Record) -> Record {
        Record { id: format!("{}/{}", self.name, record.id), ..record }
    }
}

/// A picture in two parts would count twice, and could be trained on and tested on.
fn check_pictures(parts: &[Part]) -> Result<()> {
    let mut owners: HashMap<(String, String), usize> = HashMap::new();
    for (number, part) in parts.iter().enumerate().filter(|_| parts.len() > 1) {
        for index in 0..part.dataset.len() {
            let Record { id, group, .. } = part.dataset.record(index)?;
            let key = match part.dataset.file(index) {
                Some(file) => {
                    (String::new(), file.canonicalize().unwrap_or(file).display().to_string())
                }
                None => (group, id.clone()),
            };
            let owner = *owners.entry(key).or_insert(number);
            if let Some(first) = parts.get(owner).filter(|_| owner != number) {
                let (first, second) = (first.name.clone(), part.name.clone());
                let reason = format!("both hold the picture '{id}'");
                return Err(Error::Mismatch { first, second, reason });
            }
        }
    }
    Ok(())
}

/// A data set whose groups say which population they are of: `chexpert/patient00001`.
///
/// Patients of different data sets may have one name. Within a population, equal names are one
/// patient, wherever the data set stands: [`crate::DataSource::population`] tells it.
#[derive(Clone)]
pub struct InPopulation {
    dataset: Arc<dyn Dataset>,
    population: String,
}

impl InPopulation {
    /// Puts `population` before the groups of `dataset`.
    #[must_use]
    pub fn new(dataset: Arc<dyn Dataset>, population: impl Into<String>) -> Self {
        Self { dataset, population: population.into() }
    }

    fn named(&self, record: Record) -> Record {
        Record { group: format!("{}/{}", self.population, record.group), ..record }
    }
}

impl Dataset for InPopulation {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn task(&self) -> &Task {
        self.dataset.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        Ok(self.named(self.dataset.record(index)?))
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let Sample { record, image } = self.dataset.get(index)?;
        Ok(Sample { record: self.named(record), image })
    }

    crate::forward_provenance!(dataset);

    fn card(&self) -> Option<&'static Card> {
        self.dataset.card()
    }

    fn part(&self) -> &str {
        self.dataset.part()
    }
}

impl Dataset for Concat {
    fn len(&self) -> usize {
        self.parts.last().map_or(0, |part| part.start + part.dataset.len())
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        let (part, inner) = self.locate(index)?;
        Ok(part.named(part.dataset.record(inner)?))
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let (part, inner) = self.locate(index)?;
        let Sample { record, image } = part.dataset.get(inner)?;
        Ok(Sample { record: part.named(record), image })
    }

    fn attribute_names(&self) -> &[String] {
        &self.names
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        let (part, inner) = self.locate(index)?;
        if name == attribute::SOURCE {
            return Ok(Some(part.name.clone()));
        }
        part.dataset.attribute(inner, name)
    }

    fn constituents(&self) -> Vec<(&str, &dyn Dataset)> {
        self.parts.iter().map(|part| (&*part.name, part.dataset.as_ref())).collect()
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let of_part = |part: &Part| {
            let name = part.name.clone();
            let named = move |entry: LeftOut| LeftOut {
                first: format!("{name}: {}", entry.first),
                ..entry
            };
            part.dataset.left_out().into_iter().map(named)
        };
        self.parts.iter().flat_map(of_part).collect()
    }

    fn decoding(&self) -> String {
        let of_part = |part: &Part| format!("{}: {}\n", part.name, part.dataset.decoding());
        self.parts.iter().map(of_part).collect()
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        let (part, inner) = self.locate(index).ok()?;
        part.dataset.file(inner)
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        let (part, inner) = self.locate(index).ok()?;
        part.dataset.container(inner)
    }
}
