use std::collections::HashSet;
use std::fmt;

use crate::{Dataset, Expected, LeftOut, Result, Target};

/// What a data set holds, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the data set from its [`crate::Card`], and its part; empty without a card. That of
    /// a constituent begins with its place: `chexpert: CheXpert, train`.
    pub name: String,
    /// Number of samples.
    pub len: usize,
    /// Number of groups (patients).
    pub groups: usize,
    /// One entry per class or finding, in their order; empty without labels.
    pub classes: Vec<ClassCount>,
    /// What the card says of this part.
    pub expected: Option<Expected>,
    /// What the files have and the samples have not.
    pub left_out: Vec<LeftOut>,
    /// What it is made of, down to what stands for itself ([`Dataset::constituents`]).
    pub constituents: Vec<Description>,
}

/// How often a class or finding occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// Name of the class or finding.
    pub name: String,
    /// Samples that have it (for a soft label: 0.5 or more).
    pub present: usize,
    /// Samples where it is unknown; always 0 for classes.
    pub unknown: usize,
    /// How many the card says, if it does.
    pub expected: Option<usize>,
}

/// A count that is not what the card says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `samples`, `groups` or the label.
    pub what: String,
    /// What the card says.
    pub expected: usize,
    /// What is there.
    pub found: usize,
}

/// Counts samples, groups and classes without reading pictures, of the data set and of what it is
/// made of.
///
/// # Errors
/// The error of the first record that cannot be read.
pub fn describe(dataset: &dyn Dataset) -> Result<Description> {
    let mut whole = count(dataset)?;
    for (place, part) in leaves("", dataset) {
        let mut description = count(part)?;
        description.name = match (&*place, &*description.name) {
            (name, "") | ("", name) => name.to_owned(),
            (place, name) => format!("{place}: {name}"),
        };
        whole.constituents.push(description);
    }
    Ok(whole)
}

/// What a data set is made of, with the place of each; nothing for one that stands for itself.
fn leaves<'a>(place: &str, dataset: &'a dyn Dataset) -> Vec<(String, &'a dyn Dataset)> {
    let mut all = Vec::new();
    for (name, part) in dataset.constituents() {
        let place = match (place, name) {
            (place, "") => place.to_owned(),
            ("", name) => name.to_owned(),
            (place, name) => format!("{place}/{name}"),
        };
        let inner = leaves(&place, part);
        if inner.is_empty() {
            all.push((place, part));
        }
        all.extend(inner);
    }
    all
}

fn count(dataset: &dyn Dataset) -> Result<Description> {
    let expected = dataset.card().and_then(|card| card.expected(dataset.part())).copied();
    let entry = |name: &String| {
        let labels = dataset.card().map_or(&[][..], |card| card.labels);
        let position = labels.iter().position(|label| label == name);
        let expected = position.and_then(|position| expected?.labels.get(position).copied());
        ClassCount { name: name.clone(), present: 0, unknown: 0, expected }
    };
    let mut classes: Vec<ClassCount> = dataset.task().names().iter().map(entry).collect();
    let mut groups = HashSet::new();
    for index in 0..dataset.len() {
        let record = dataset.record(index)?;
        groups.insert(record.group);
        match record.target {
            Target::None => {}
            Target::Class(class) => {
                if let Some(entry) = classes.get_mut(class) {
                    entry.present += 1;
                }
            }
            Target::Labels(labels) => {
                for (entry, label) in classes.iter_mut().zip(labels) {
                    match label {
                        Some(value) if value >= 0.5 => entry.present += 1,
                        Some(_) => {}
                        None => entry.unknown += 1,
                    }
                }
            }
        }
    }
    let name = match dataset.card() {
        Some(card) if dataset.part().is_empty() => card.name.to_owned(),
        Some(card) => format!("{}, {}", card.name, dataset.part()),
        None => String::new(),
    };
    let left_out = dataset.left_out();
    Ok(Description {
        name,
        len: dataset.len(),
        groups: groups.len(),
        classes,
        expected,
        left_out,
        constituents: Vec::new(),
    })
}

impl Description {
    /// Where the counts are not those of the card; empty if all agree or nothing is known. Labels
    /// are compared by name. Those of constituents follow, behind their names.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let of_part = |part: &Self| {
            let name = part.name.clone();
            let named = move |found: Difference| Difference {
                what: format!("{name}: {}", found.what),
                ..found
            };
            part.own_differences().into_iter().map(named)
        };
        let mut all = self.own_differences();
        all.extend(self.constituents.iter().flat_map(of_part));
        all
    }

    fn own_differences(&self) -> Vec<Difference> {
        let Some(expected) = &self.expected else { return Vec::new() };
        let mut all = vec![("samples".to_owned(), expected.samples, self.len)];
        all.extend(expected.groups.map(|groups| ("groups".to_owned(), groups, self.groups)));
        all.extend(self.classes.iter().filter_map(|class| {
            class.expected.map(|expected| (class.name.clone(), expected, class.present))
        }));
        all.into_iter()
            .filter(|(_, expected, found)| expected != found)
            .map(|(what, expected, found)| Difference { what, expected, found })
            .collect()
    }

    /// Whether anything here was compared with a card: without it, that there are no
    /// [`Description::differences`] says nothing.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.expected.is_some() || self.constituents.iter().any(Self::is_checked)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{}: ", self.name)?;
        }
        write!(f, "{} samples, {} groups", self.len, self.groups)?;
        for (position, class) in self.classes.iter().enumerate() {
            f.write_str(if position == 0 { "; " } else { ", " })?;
            write!(f, "{} {}", class.name, class.present)?;
            if class.unknown > 0 {
                write!(f, " ({} unknown)", class.unknown)?;
            }
        }
        for entry in &self.left_out {
            write!(f, "; {entry}")?;
        }
        self.verdict(f)?;
        for part in &self.constituents {
            let name = if part.name.is_empty() { "its source" } else { &part.name };
            write!(f, "; of {name}: {} samples", part.len)?;
            if part.expected.is_none() {
                f.write_str("; not checked")?;
            }
            part.verdict(f)?;
        }
        Ok(())
    }
}

impl Description {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expected.is_none() {
            return Ok(());
        }
        let differences = self.own_differences();
        if differences.is_empty() {
            return f.write_str("; as expected");
        }
        for (position, difference) in differences.iter().enumerate() {
            f.write_str(if position == 0 { "; NOT as expected: " } else { ", " })?;
            write!(f, "{difference}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} instead of {}", self.what, self.found, self.expected)
    }
}
