//! Which of two paths may be the same file.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entries::Entries;
use crate::Split;
use crate::folder::split_names;

/// The folders of a path and its name.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".")
}

/// A path whose components have one slash in between.
pub(super) fn normal(path: &str) -> String {
    components(path).collect::<Vec<_>>().join("/")
}

/// A normal path without the folder of a split, which says where the file is used, not which it is.
pub(super) fn without_split(path: &str) -> &str {
    let is_split = |name| Split::ALL.iter().any(|&split| split_names(split).contains(&name));
    path.split_once('/').filter(|(first, _)| is_split(*first)).map_or(path, |(_, rest)| rest)
}

/// What is left of a normal path without one, two, ... of its folders, down to the bare name.
pub(super) fn shorter(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(at + 1..))
}

/// The ends of a path, the bare name first and all of it (but the folder of a split) last.
fn suffixes(path: &str) -> Vec<String> {
    let path = normal(path);
    let path = without_split(&path);
    shorter(path).rev().chain([path]).map(str::to_owned).collect()
}

/// The paths of all samples.
pub(super) struct Paths {
    whole: HashSet<String>,
    /// Ends that are paths of their own, and whether no part has two paths with this end.
    unique: HashMap<String, bool>,
}

impl Paths {
    pub(super) fn of(entries: &Entries<'_>) -> Self {
        let files = || entries.list.iter().filter(|entry| entry.file_name.is_some());
        let whole: HashSet<String> =
            files().filter_map(|entry| suffixes(&entry.id).pop()).collect();
        let mut owners: BTreeMap<(usize, String), String> = BTreeMap::new();
        let mut unique = HashMap::new();
        for entry in files() {
            let mut ends = suffixes(&entry.id);
            let Some(own) = ends.last().cloned() else { continue };
            ends.retain(|end| whole.contains(end));
            for end in ends {
                let owner = owners.entry((entry.part, end.clone())).or_insert_with(|| own.clone());
                *unique.entry(end).or_insert(true) &= *owner == own;
            }
        }
        Self { whole, unique }
    }

    /// What is equal for two paths of the same file: the shortest end that is somebody's path and
    /// no more than one in each part has, and the label where that is a bare name.
    pub(super) fn key(&self, path: &str, label: impl Fn() -> String) -> (String, String) {
        let mut ends = suffixes(path);
        let label = |end: &str| if end.contains('/') { String::new() } else { label() };
        if let [name] = ends.as_slice() {
            // Of names that collide, the class folder tells which is which.
            let in_class = format!("{}/{name}", label(name));
            if self.unique.get(name) != Some(&true) && self.whole.contains(&in_class) {
                return (in_class, String::new());
            }
        }
        let own = ends.pop().unwrap_or_default();
        let shared = ends.into_iter().find(|end| self.unique.get(end) == Some(&true));
        let end = shared.unwrap_or(own);
        let label = label(&end);
        (end, label)
    }
}
