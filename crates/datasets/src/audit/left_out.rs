//! What lies beside the samples and is none.

use std::collections::BTreeMap;

use super::entries::{Content, Entries, last_component};
use super::report::{Finding, FindingKind};

/// What the data sets of the parts left out, each once: parts of one data set all tell of the whole.
pub(super) fn left_out(entries: &Entries<'_>, findings: &mut Vec<Finding>) {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for part in entries.parts {
        if let Content::Pictures(dataset) = &part.content {
            for mut entry in dataset.left_out() {
                // Reports are the same wherever files lie.
                entry.first = last_component(&entry.first).to_owned();
                all.entry(entry.to_string()).or_default().push(&part.name);
            }
        }
    }
    for (entry, parts) in all {
        let detail = format!("{}: {entry}", parts.join(", "));
        findings.push(entries.finding(FindingKind::LeftOut, detail, []));
    }
}
