//! The samples of all parts side by side.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::list::FileList;
use super::report::{Finding, FindingKind, SampleRef};
use crate::{Dataset, Result, Target, Task};

/// One part of the data under audit.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) content: Content,
}

pub(super) enum Content {
    Pictures(Arc<dyn Dataset>),
    List(FileList),
}

/// The labels that a part can have.
pub(super) struct Vocabulary<'a> {
    pub(super) names: Vec<&'a str>,
    /// Whether what is not named is absent, as where each sample has one class or the list of its
    /// findings. Of columns, and of samples without labels, nothing is known beyond the names.
    complete: bool,
}

impl Vocabulary<'_> {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.complete || self.names.contains(&name)
    }
}

/// One sample of one part.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) part: usize,
    /// Within its part.
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) group: String,
    /// The last component of the id, if it looks like a file's name: data sets without files have
    /// made-up ids, whose equality means nothing.
    pub(super) file_name: Option<String>,
    /// Present labels, places in [`Entries::labels`].
    pub(super) present: Vec<usize>,
    /// Labels that are unknown.
    pub(super) unknown: Vec<usize>,
}

pub(super) struct Entries<'a> {
    pub(super) parts: &'a [Part],
    /// Names of classes and findings of all parts.
    pub(super) labels: Vec<String>,
    /// For each part, which of the labels it knows.
    pub(super) known: Vec<Vec<usize>>,
    /// For each part, whether a label that it does not know is one that its samples do not have.
    complete: Vec<bool>,
    pub(super) list: Vec<Entry>,
}

impl<'a> Entries<'a> {
    pub(super) fn collect(parts: &'a [Part]) -> Result<Self> {
        let (labels, known, complete) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Self { parts, labels, known, complete, list: Vec::new() };
        for (number, part) in parts.iter().enumerate() {
            match &part.content {
                Content::Pictures(dataset) => all.add_dataset(number, dataset.as_ref())?,
                Content::List(list) => all.add_list(number, list),
            }
        }
        Ok(all)
    }

    fn add_dataset(&mut self, part: usize, dataset: &dyn Dataset) -> Result<()> {
        let labels = self.places(dataset.task().names());
        let place = |label: usize| labels.get(label).copied();
        for index in 0..dataset.len() {
            let record = dataset.record(index)?;
            let (mut present, mut unknown) = (Vec::new(), Vec::new());
            match &record.target {
                Target::None => {}
                Target::Class(class) => present.extend(place(*class)),
                Target::Labels(values) => {
                    for (label, value) in values.iter().enumerate() {
                        match value {
                            Some(value) if *value >= 0.5 => present.extend(place(label)),
                            Some(_) => {}
                            None => unknown.extend(place(label)),
                        }
                    }
                }
            }
            let file_name = file_name(&record.id);
            let (id, group) = (record.id, record.group);
            self.list.push(Entry { part, index, id, group, file_name, present, unknown });
        }
        self.known.push(labels);
        self.complete.push(matches!(dataset.task(), Task::SingleLabel { .. }));
        Ok(())
    }

    fn add_list(&mut self, part: usize, list: &FileList) {
        let labels = self.places(&list.names);
        let global = |places: &[usize]| {
            places.iter().filter_map(|&place| labels.get(place).copied()).collect()
        };
        for (index, row) in list.rows.iter().enumerate() {
            self.list.push(Entry {
                part,
                index,
                id: row.file.clone(),
                group: row.group.clone().unwrap_or_else(|| row.file.clone()),
                file_name: Some(last_component(&row.file).to_owned()),
                present: global(&row.present),
                unknown: global(&row.unknown),
            });
        }
        self.known.push(labels);
        self.complete.push(list.complete);
    }

    /// The places of these names in the list of all labels, where new ones are added.
    fn places(&mut self, names: &[String]) -> Vec<usize> {
        let mut known: HashMap<String, usize> =
            self.labels.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        let mut place = |name: &String| {
            *known.entry(name.clone()).or_insert_with(|| {
                self.labels.push(name.clone());
                self.labels.len() - 1
            })
        };
        names.iter().map(&mut place).collect()
    }

    pub(super) fn part(&self, entry: &Entry) -> &str {
        self.parts.get(entry.part).map_or("", |part| part.name.as_str())
    }

    pub(super) fn dataset(&self, entry: &Entry) -> Option<&dyn Dataset> {
        match &self.parts.get(entry.part)?.content {
            Content::Pictures(dataset) => Some(dataset.as_ref()),
            Content::List(_) => None,
        }
    }

    /// Names of the attributes that the data tell.
    pub(super) fn attribute_names(&self) -> BTreeSet<&str> {
        let datasets = self.parts.iter().filter_map(|part| match &part.content {
            Content::Pictures(dataset) => Some(dataset.attribute_names()),
            Content::List(_) => None,
        });
        datasets.flatten().map(String::as_str).collect()
    }

    /// Its labels as text, sorted by name, so that lists with other orders compare equal.
    pub(super) fn label(&self, entry: &Entry) -> String {
        let mut names: Vec<&str> = self.names(&entry.present).collect();
        names.sort_unstable();
        names.join("|")
    }

    /// The names of some labels.
    pub(super) fn names(&self, places: &[usize]) -> impl Iterator<Item = &str> {
        places.iter().filter_map(|&place| self.labels.get(place).map(String::as_str))
    }

    pub(super) fn vocabulary(&self, part: usize) -> Vocabulary<'_> {
        let known = self.known.get(part).map(Vec::as_slice).unwrap_or_default();
        let complete = self.complete.get(part).copied().unwrap_or_default();
        Vocabulary { names: self.names(known).collect(), complete }
    }

    /// Names of the parts that these samples are in, in order.
    pub(super) fn parts_of<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) -> Vec<&str> {
        let mut numbers: Vec<usize> = entries.into_iter().map(|entry| entry.part).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let name = |&number: &usize| self.parts.get(number).map(|part| part.name.as_str());
        numbers.iter().filter_map(name).collect()
    }

    pub(super) fn finding<'e>(
        &self,
        kind: FindingKind,
        detail: String,
        entries: impl IntoIterator<Item = &'e Entry>,
    ) -> Finding {
        let sample = |entry: &Entry| SampleRef {
            part: self.part(entry).to_owned(),
            id: entry.id.clone(),
            group: entry.group.clone(),
            label: self.label(entry),
        };
        let samples = entries.into_iter().map(sample).collect();
        Finding { kind, severity: kind.severity(), detail, samples }
    }
}

pub(super) fn last_component(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn file_name(id: &str) -> Option<String> {
    let name = last_component(id);
    name.contains('.').then(|| name.to_owned())
}
