//! Which of two paths may be the same file.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entries::Entries;

/// The folders of a path and its name.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".")
}

/// Folders that say which split a file is in, not which file it is.
const SPLITS: [&str; 5] = ["train", "val", "valid", "validation", "test"];

/// The ends of a path, the bare name first and all of it (but the folder of a split) last.
pub(super) fn suffixes(path: &str) -> Vec<String> {
    let mut parts: Vec<&str> = components(path).collect();
    if parts.len() > 1 && parts.first().is_some_and(|first| SPLITS.contains(first)) {
        parts.remove(0);
    }
    (0..parts.len()).rev().filter_map(|from| Some(parts.get(from..)?.join("/"))).collect()
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
