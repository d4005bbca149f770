use std::collections::HashSet;
use std::fmt;

use crate::{Dataset, Result, Target};

/// What a data set holds, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Number of samples.
    pub len: usize,
    /// Number of groups (patients).
    pub groups: usize,
    /// One entry per class or finding, in their order; empty without labels.
    pub classes: Vec<ClassCount>,
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
}

/// Counts samples, groups and classes without reading pictures.
///
/// # Errors
/// The error of the first record that cannot be read.
pub fn describe(dataset: &dyn Dataset) -> Result<Description> {
    let count = |name: &String| ClassCount { name: name.clone(), present: 0, unknown: 0 };
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
    Ok(Description { len: dataset.len(), groups: groups.len(), classes })
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples, {} groups", self.len, self.groups)?;
        for (position, class) in self.classes.iter().enumerate() {
            f.write_str(if position == 0 { "; " } else { ", " })?;
            write!(f, "{} {}", class.name, class.present)?;
            if class.unknown > 0 {
                write!(f, " ({} unknown)", class.unknown)?;
            }
        }
        Ok(())
    }
}
