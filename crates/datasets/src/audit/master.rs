//! Labels against those of a master table.

use std::collections::{BTreeSet, HashSet};

use super::entries::{Entries, Entry, Part};
use super::report::{Finding, FindingKind};
use super::rows::{Found, RowPaths, ambiguous};
use crate::Result;

/// Files that the master table does not have or that cannot be told from others, and labels that
/// differ. Where the table has a file several times, one row must agree.
pub(super) fn against_master(
    entries: &Entries<'_>,
    master: &Part,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let master = Entries::collect(std::slice::from_ref(master))?;
    let comparisons: Vec<Comparison<'_>> =
        (0..entries.parts.len()).map(|part| Comparison::new(entries, part, &master)).collect();
    for comparison in &comparisons {
        comparison.check(findings);
    }
    without_files(entries, findings);
    let paths = RowPaths::new(master.list.iter().map(|entry| entry.id.as_str()));
    // Samples without files have made-up names.
    let rows = paths.find(entries, true);
    let files = || entries.list.iter().zip(&rows).filter(|(entry, _)| entry.file_name.is_some());
    for (entry, found) in files() {
        let place = format!("{}: {}", entries.part(entry), entry.id);
        if let Found::Rows(rows) = found {
            let rows: Vec<&Entry> = rows.iter().filter_map(|&row| master.list.get(row)).collect();
            let agrees = |row: &&Entry| {
                comparisons.get(entry.part).is_none_or(|comparison| comparison.agree(entry, row))
            };
            if !rows.iter().any(agrees) {
                let there: BTreeSet<String> = rows.iter().map(|row| master.label(row)).collect();
                let there = Vec::from_iter(there).join("' or '");
                let label = entries.label(entry);
                let detail = format!("{place} is '{label}', in the master table '{there}'");
                findings.push(entries.finding(FindingKind::LabelDisagreement, detail, [entry]));
            }
        } else if *found == Found::Nothing {
            let detail = format!("{place} is not in the master table");
            findings.push(entries.finding(FindingKind::NotInMaster, detail, [entry]));
        }
    }
    ambiguous(entries, files(), ("", "its label was not compared"), findings);
    Ok(())
}

/// Parts whose samples have no files, so that the table tells nothing of them.
fn without_files(entries: &Entries<'_>, findings: &mut Vec<Finding>) {
    for (number, part) in entries.parts.iter().enumerate() {
        let mut own = entries.list.iter().filter(|entry| entry.part == number);
        if own.all(|entry| entry.file_name.is_none()) {
            let detail =
                format!("{}: no sample has a file, so that none is in the master table", part.name);
            findings.push(entries.finding(FindingKind::NotInMaster, detail, []));
        }
    }
}

/// The labels of a part beside those of the master table.
struct Comparison<'a> {
    entries: &'a Entries<'a>,
    part: usize,
    master: &'a Entries<'a>,
    /// The labels that both know: what one side does not know cannot differ.
    common: HashSet<&'a str>,
}

/// A table that says "No Finding" and one whose columns are all 0 agree.
fn is_finding(label: &&str) -> bool {
    !label.eq_ignore_ascii_case("No Finding")
}

impl<'a> Comparison<'a> {
    fn new(entries: &'a Entries<'a>, part: usize, master: &'a Entries<'a>) -> Self {
        let (own, there) = (entries.vocabulary(part), master.vocabulary(0));
        let names = own.names.iter().chain(&there.names).copied().filter(is_finding);
        let common = names.filter(|name| own.knows(name) && there.knows(name)).collect();
        Self { entries, part, master, common }
    }

    /// Labels that are all written in another way would be compared with nothing.
    fn check(&self, findings: &mut Vec<Finding>) {
        let names = |entries: &'a Entries<'a>, part| -> Vec<&str> {
            entries.vocabulary(part).names.into_iter().filter(is_finding).collect()
        };
        let (own, there) = (names(self.entries, self.part), names(self.master, 0));
        if own.is_empty() || there.is_empty() || own.iter().any(|name| there.contains(name)) {
            return;
        }
        let part = self.entries.parts.get(self.part).map_or("", |part| part.name.as_str());
        let detail = format!(
            "{part} and the master table have no label in common: '{}' and '{}'",
            own.join("', '"),
            there.join("', '")
        );
        findings.push(self.entries.finding(FindingKind::LabelDisagreement, detail, []));
    }

    fn agree(&self, entry: &Entry, row: &Entry) -> bool {
        let unknown: HashSet<&str> =
            self.entries.names(&entry.unknown).chain(self.master.names(&row.unknown)).collect();
        let compared = |name: &&str| self.common.contains(name) && !unknown.contains(name);
        let own: BTreeSet<&str> = self.entries.names(&entry.present).filter(compared).collect();
        let there: BTreeSet<&str> = self.master.names(&row.present).filter(compared).collect();
        own == there
    }
}
