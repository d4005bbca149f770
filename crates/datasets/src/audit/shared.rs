//! Patients, files and pictures that are where they must not be, or twice.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::{Entries, Entry};
use super::paths::{Paths, components, normal, without_split};
use super::picture::Facts;
use super::report::{Finding, FindingKind};

/// Patients in more than one part; parts that do not know patients.
pub(super) fn groups(entries: &Entries<'_>, findings: &mut Vec<Finding>) {
    let mut known = vec![false; entries.parts.len()];
    for entry in &entries.list {
        if let Some(known) = known.get_mut(entry.part) {
            *known |= entry.group != entry.id;
        }
    }
    for (part, _) in entries.parts.iter().zip(&known).filter(|(_, known)| !**known) {
        let detail = format!(
            "{}: every picture counts as a patient of its own, so shared patients cannot be found",
            part.name
        );
        findings.push(entries.finding(FindingKind::NoGroups, detail, []));
    }
    let patient = |entry: &&Entry| known.get(entry.part).copied().unwrap_or_default();
    let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.list.iter().filter(patient) {
        groups.entry(&entry.group).or_default().push(entry);
    }
    for (group, members) in &groups {
        let parts = entries.parts_of(members.iter().copied());
        if parts.len() > 1 {
            let detail =
                format!("patient '{group}' has {} pictures in {}", members.len(), parts.join(", "));
            let members = members.iter().copied();
            findings.push(entries.finding(FindingKind::SharedGroup, detail, members));
        }
    }
    similar_groups(entries, &groups, findings);
}

/// Patients of different parts whose names differ in blanks, leading zeros or case only.
fn similar_groups(
    entries: &Entries<'_>,
    groups: &BTreeMap<&str, Vec<&Entry>>,
    findings: &mut Vec<Finding>,
) {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for group in groups.keys() {
        let plain = group.trim().to_lowercase();
        alike.entry(plain.trim_start_matches('0').to_owned()).or_default().push(group);
    }
    for names in alike.into_values().filter(|names| names.len() > 1) {
        let members = names.iter().filter_map(|name| groups.get(name)).flatten().copied();
        let members: Vec<&Entry> = members.collect();
        let parts = entries.parts_of(members.iter().copied());
        if parts.len() > 1 {
            let detail = format!("patients '{}' in {}", names.join("', '"), parts.join(", "));
            findings.push(entries.finding(FindingKind::SimilarGroup, detail, members));
        }
    }
}

/// Files that are listed in more than one part. Paths are the same file if one ends in the other;
/// bare names, which are not unique in every data set, count with their labels.
pub(super) fn files(entries: &Entries<'_>, facts: &[Option<Facts>], findings: &mut Vec<Finding>) {
    type Member<'a> = (&'a Entry, Option<&'a Facts>);
    let paths = Paths::of(entries);
    let mut files: BTreeMap<(String, String), Vec<Member<'_>>> = BTreeMap::new();
    for (entry, fact) in entries.list.iter().zip(facts) {
        if entry.file_name.is_some() {
            let key = paths.key(&entry.id, || entries.label(entry));
            files.entry(key).or_default().push((entry, fact.as_ref()));
        }
    }
    for (_, members) in files {
        let parts = entries.parts_of(members.iter().map(|(entry, _)| *entry));
        if parts.len() > 1 && may_be_one_file(&members) {
            let Some((first, _)) = members.first() else { continue };
            let name = first.file_name.as_deref().unwrap_or_default();
            let label = entries.label(first);
            let detail = format!("'{name}' ({label}) is in {}", parts.join(", "));
            let members = members.iter().map(|(entry, _)| *entry);
            findings.push(entries.finding(FindingKind::SharedFile, detail, members));
        }
    }
}

/// Files of one name that were read and are different pictures are not the same file: where all
/// were looked at, one picture must be in two parts.
fn may_be_one_file(members: &[(&Entry, Option<&Facts>)]) -> bool {
    if members.iter().any(|(_, fact)| fact.is_none()) {
        return true;
    }
    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    members.iter().any(|(entry, fact)| {
        let pixels = fact.map_or("", |fact| fact.pixels.as_str());
        !pixels.is_empty() && *parts.entry(pixels).or_insert(entry.part) != entry.part
    })
}

/// One file name with several labels. Folders are part of the name, but for those of the split and
/// the class.
pub(super) fn names(entries: &Entries<'_>, findings: &mut Vec<Finding>) {
    let mut names: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.list.iter().filter(|entry| entry.file_name.is_some()) {
        let label = entries.label(entry);
        let path = normal(&entry.id);
        let folders = components(without_split(&path));
        let name: Vec<&str> = folders.filter(|part| *part != label).collect();
        names.entry(name.join("/")).or_default().push(entry);
    }
    for (name, members) in names {
        let labels: BTreeSet<String> = members.iter().map(|entry| entries.label(entry)).collect();
        if labels.len() > 1 {
            let labels: Vec<String> = labels.into_iter().collect();
            let detail =
                format!("'{name}' comes {} times, as {}", members.len(), labels.join("; "));
            findings.push(entries.finding(FindingKind::NameInClasses, detail, members));
        }
    }
}

/// In what way pictures with the same pixels are the same.
fn how_equal<'f>(facts: impl Iterator<Item = &'f Facts> + Clone) -> String {
    let modes: BTreeSet<&str> = facts.clone().filter_map(|fact| fact.mode.as_deref()).collect();
    if modes.len() > 1 {
        let modes: Vec<&str> = modes.into_iter().collect();
        return format!(", the same pixels in other modes: {}", modes.join("; "));
    }
    let bytes: BTreeSet<Option<&String>> = facts.map(|fact| fact.file.as_ref()).collect();
    match (bytes.len(), bytes.contains(&None)) {
        (_, true) => String::new(),
        (1, _) => ", the same bytes".into(),
        _ => ", other bytes".into(),
    }
}

/// Samples with the same pixels.
pub(super) fn duplicates(
    entries: &Entries<'_>,
    facts: &[Option<Facts>],
    findings: &mut Vec<Finding>,
) {
    let mut pictures: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, fact) in facts.iter().enumerate() {
        if let Some(fact) = fact.as_ref().filter(|fact| !fact.pixels.is_empty()) {
            pictures.entry(&fact.pixels).or_default().push(at);
        }
    }
    let mut groups: Vec<Vec<usize>> =
        pictures.into_values().filter(|members| members.len() > 1).collect();
    // In the order of the data: hashes have none.
    groups.sort_unstable();
    for places in groups {
        let members: Vec<&Entry> = places.iter().filter_map(|&at| entries.list.get(at)).collect();
        let how = how_equal(places.iter().filter_map(|&at| facts.get(at)?.as_ref()));
        let ids: Vec<String> = members
            .iter()
            .map(|entry| format!("{} in {}", entry.id, entries.part(entry)))
            .collect();
        let detail = format!("{}{how}", ids.join(" = "));
        let kind = if entries.parts_of(members.iter().copied()).len() > 1 {
            FindingKind::DuplicateAcross
        } else {
            FindingKind::DuplicateWithin
        };
        findings.push(entries.finding(kind, detail, members.iter().copied()));

        let labels: BTreeSet<String> = members.iter().map(|entry| entries.label(entry)).collect();
        if labels.len() > 1 {
            let labels: Vec<String> = labels.into_iter().collect();
            let detail = format!("{}: {}", ids.join(" = "), labels.join("; "));
            findings.push(entries.finding(FindingKind::DuplicateLabels, detail, members));
        }
    }
}
