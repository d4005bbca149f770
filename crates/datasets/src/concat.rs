use std::path::PathBuf;
use std::sync::Arc;

use crate::{Dataset, Error, Record, Result, Sample, Task, attribute};

/// Data sets one behind the other.
///
/// Each has a name, which stands before its ids and groups (`nih/…`), so that equal ones of
/// different origin stay apart, and which is the attribute [`attribute::SOURCE`].
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
    /// [`Error::Mismatch`] when there are none, two have one name, or their tasks differ.
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
        let Record { id, group, target } = record;
        let name = &self.name;
        Record { id: format!("{name}/{id}"), group: format!("{name}/{group}"), target }
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

    fn file(&self, index: usize) -> Option<PathBuf> {
        let (part, inner) = self.locate(index).ok()?;
        part.dataset.file(inner)
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        let (part, inner) = self.locate(index).ok()?;
        part.dataset.container(inner)
    }
}
