use std::collections::HashSet;
use std::fmt;

use crate::{Dataset, Expected, LeftOut, Result, Target};

/// What a data set holds, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name of the data set from its [`crate::Card`], and its part; empty without a card.
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

/// Counts samples, groups and classes without reading pictures.
///
/// # Errors
/// The error of the first record that cannot be read.
pub fn describe(dataset: &dyn Dataset) -> Result<Description> {
    let expected = dataset.card().and_then(|card| card.expected(dataset.part())).copied();
    let count = |name: &String| {
        let labels = dataset.card().map_or(&[][..], |card| card.labels);
        let position = labels.iter().position(|label| label == name);
        let expected = position.and_then(|position| expected?.labels.get(position).copied());
        ClassCount { name: name.clone(), present: 0, unknown: 0, expected }
    };
    let mut classes: Vec<ClassCount> = dataset.task().names().iter().map(count).collect();
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
    Ok(Description { name, len: dataset.len(), groups: groups.len(), classes, expected, left_out })
}

impl Description {
    /// Where the counts are not those of the card; empty if all agree or nothing is known. Labels
    /// are compared by name.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
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
        if self.expected.is_none() {
            return Ok(());
        }
        let differences = self.differences();
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
