//! Labels, subsets, ages and subgroups.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditOptions;
use super::attributes::Known;
use super::entries::{Entries, Entry};
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

/// Ages below zero, above the limit, or that are no numbers.
pub(super) fn ages(
    entries: &Entries<'_>,
    attributes: &Known<'_>,
    options: &AuditOptions,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let Some(name) = &options.age else { return Ok(()) };
    let column = attributes.column(name)?;
    for (at, entry) in entries.list.iter().enumerate() {
        let text = attributes.value(at, &column)?;
        if text.is_empty() {
            continue;
        }
        let age = years(&text);
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

/// The samples of a part or subgroup, and how many of them have each label, or may have it.
#[derive(Default)]
struct Tally {
    samples: usize,
    present: BTreeMap<usize, usize>,
    unknown: BTreeMap<usize, usize>,
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.samples += 1;
        for label in &entry.present {
            *self.present.entry(*label).or_default() += 1;
        }
        for label in &entry.unknown {
            *self.unknown.entry(*label).or_default() += 1;
        }
    }
}

/// How often each label occurs in each part, or in each part and value of a column. Samples of
/// parts without labels are counted as such.
pub(super) fn prevalence(
    entries: &Entries<'_>,
    by: Option<(&str, &Known<'_>)>,
) -> Result<Vec<Prevalence>> {
    let by = match by {
        Some((name, attributes)) => Some((name, attributes, attributes.column(name)?)),
        None => None,
    };
    let mut tallies: BTreeMap<(usize, Option<(String, String)>), Tally> = BTreeMap::new();
    for (at, entry) in entries.list.iter().enumerate() {
        let subgroup = match &by {
            Some((name, attributes, column)) => {
                let value = attributes.value(at, column)?;
                let value = if value.is_empty() { "unknown".into() } else { value };
                Some(((*name).to_owned(), value.into_owned()))
            }
            None => None,
        };
        tallies.entry((entry.part, subgroup)).or_default().add(entry);
    }
    let mut rows = Vec::new();
    for ((place, subgroup), tally) in tallies {
        let part = entries.parts.get(place).map(|part| part.name.clone()).unwrap_or_default();
        let row = |label: &str, present, known| {
            let (part, subgroup) = (part.clone(), subgroup.clone());
            Prevalence { part, subgroup, label: label.to_owned(), present, known }
        };
        let labels = entries.known.get(place).map(Vec::as_slice).unwrap_or_default();
        if labels.is_empty() {
            rows.push(row("no label", tally.samples, tally.samples));
        }
        for label in labels.iter().collect::<BTreeSet<_>>() {
            let count = |counts: &BTreeMap<usize, usize>| counts.get(label).copied().unwrap_or(0);
            let name = entries.labels.get(*label).map_or("", String::as_str);
            let known = tally.samples - count(&tally.unknown);
            rows.push(row(name, count(&tally.present), known));
        }
    }
    Ok(rows)
}
