//! Labels, subsets, ages and subgroups.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditOptions;
use super::entries::{Entries, Entry};
use super::list::Attributes;
use super::report::{Finding, FindingKind, Prevalence};
use crate::Result;

/// Each part must be contained in the next one.
pub(super) fn nesting(entries: &Entries<'_>, findings: &mut Vec<Finding>) {
    let files = |part: usize| -> BTreeSet<&str> {
        let own = entries.list.iter().filter(|entry| entry.part == part);
        own.map(|entry| entry.id.as_str()).collect()
    };
    for (small, pair) in entries.parts.windows(2).enumerate() {
        let [smaller, larger] = pair else { continue };
        let there = files(small + 1);
        let missing: Vec<&Entry> = entries
            .list
            .iter()
            .filter(|entry| entry.part == small && !there.contains(entry.id.as_str()))
            .collect();
        if let Some(first) = missing.first() {
            let detail = format!(
                "{} of {} are not in {}; the first is {}",
                missing.len(),
                smaller.name,
                larger.name,
                first.id
            );
            findings.push(entries.finding(FindingKind::NotNested, detail, missing));
        }
    }
}

/// The keys under which the attributes may know a sample.
fn keys(entry: &Entry) -> Vec<&str> {
    let names = entry.file_name.as_deref().into_iter().chain(entry.stem());
    std::iter::once(entry.id.as_str()).chain(names).chain([entry.group.as_str()]).collect()
}

/// Ages below zero, above the limit, or that are no numbers.
pub(super) fn ages(
    entries: &Entries<'_>,
    attributes: &Attributes,
    options: &AuditOptions,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let Some(name) = &options.age else { return Ok(()) };
    let column = attributes.column(name)?;
    for entry in &entries.list {
        let text = attributes.value(&keys(entry), column).unwrap_or_default();
        if text.is_empty() {
            continue;
        }
        let age = years(text);
        if !age.is_some_and(|age| (0.0..=options.max_age).contains(&age)) {
            let detail = format!("{}: {}: {name} is '{text}'", entries.part(entry), entry.id);
            findings.push(entries.finding(FindingKind::ImpossibleAge, detail, [entry]));
        }
    }
    Ok(())
}

/// An age in years. DICOM's age strings have a letter for the unit: `058Y`, `003M`, `002W`,
/// `010D` (PS3.5, section 6.2).
fn years(text: &str) -> Option<f64> {
    let unit = |days: f64| days / 365.25;
    let (number, scale) = match text.char_indices().next_back()? {
        (at, 'Y' | 'y') => (text.get(..at)?, 1.0),
        (at, 'M' | 'm') => (text.get(..at)?, 1.0 / 12.0),
        (at, 'W' | 'w') => (text.get(..at)?, unit(7.0)),
        (at, 'D' | 'd') => (text.get(..at)?, unit(1.0)),
        _ => (text, 1.0),
    };
    number.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|n| n * scale)
}

/// How often each label occurs in each part, or in each part and value of a column. Samples of
/// parts without labels are counted as such.
pub(super) fn prevalence(
    entries: &Entries<'_>,
    column: Option<(&str, usize, &Attributes)>,
) -> Vec<Prevalence> {
    type Counts = BTreeMap<usize, (usize, usize)>;
    let mut cells: BTreeMap<(usize, Option<String>), Counts> = BTreeMap::new();
    for entry in &entries.list {
        let value = column.map(|(_, column, attributes)| {
            let value = attributes.value(&keys(entry), column).unwrap_or_default();
            if value.is_empty() { "unknown".to_owned() } else { value.to_owned() }
        });
        let counts = cells.entry((entry.part, value)).or_default();
        let labels = entries.known.get(entry.part).map(Vec::as_slice).unwrap_or_default();
        if labels.is_empty() {
            let (present, known) = counts.entry(entries.labels.len()).or_default();
            (*present, *known) = (*present + 1, *known + 1);
        }
        for label in labels {
            let (present, known) = counts.entry(*label).or_default();
            *present += usize::from(entry.present.contains(label));
            *known += usize::from(!entry.unknown.contains(label));
        }
    }
    let mut rows = Vec::new();
    for ((part, value), counts) in cells {
        let part = entries.parts.get(part).map(|part| part.name.clone()).unwrap_or_default();
        for (label, (present, known)) in counts {
            rows.push(Prevalence {
                part: part.clone(),
                subgroup: column.zip(value.clone()).map(|((name, ..), value)| (name.into(), value)),
                label: entries.labels.get(label).cloned().unwrap_or_else(|| "no label".into()),
                present,
                known,
            });
        }
    }
    rows
}
