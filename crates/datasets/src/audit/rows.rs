//! Which rows of a table are about which sample.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entries::{Entries, Entry};
use super::paths::{components, normal, shorter, without_split};
use super::report::{Finding, FindingKind};
use crate::files::is_picture;

/// What a table has for a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'t> {
    Nothing,
    /// At least one row; several where the path stands several times.
    Rows(Vec<usize>),
    /// Two paths of the table, at least, end in the sample's.
    Several(&'t str, &'t str),
    /// Several samples of one part end in this path of the table.
    Shared(&'t str),
}

impl Found<'_> {
    /// Why it cannot be told which row is meant.
    fn ambiguity(&self) -> Option<String> {
        match self {
            Self::Several(first, second) => Some(format!("'{first}' or '{second}'")),
            Self::Shared(path) => Some(format!("'{path}', as may others")),
            Self::Nothing | Self::Rows(_) => None,
        }
    }
}

/// Samples of which it cannot be told which row is meant, by part and by what they may be.
/// `owner` stands before the names of the rows, and `consequence` says what was not done.
pub(super) fn ambiguous<'e, 'f: 'e>(
    entries: &Entries<'_>,
    found: impl Iterator<Item = (&'e Entry, &'e Found<'f>)>,
    (owner, consequence): (&str, &str),
    findings: &mut Vec<Finding>,
) {
    let mut unclear: BTreeMap<(usize, String), Vec<&Entry>> = BTreeMap::new();
    for (entry, found) in found {
        if let Some(why) = found.ambiguity() {
            unclear.entry((entry.part, why)).or_default().push(entry);
        }
    }
    for ((_, why), members) in unclear {
        let Some(first) = members.first() else { continue };
        let (part, id) = (entries.part(first), &first.id);
        let detail = format!("{part}: {id} may be {owner}{why}; {consequence}");
        findings.push(entries.finding(FindingKind::AmbiguousName, detail, members));
    }
}

/// The paths that the rows of a table are about.
pub(super) struct RowPaths(Vec<String>);

impl RowPaths {
    pub(super) fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        Self(paths.into_iter().map(normal).collect())
    }

    /// The rows for each sample. A path is the same file if one ends in the other, with or without
    /// the extension of a picture. Where `classes`, a folder that is the sample's label is no part
    /// of its path: the label tells it from others of its name.
    pub(super) fn find<'t>(&'t self, entries: &Entries<'_>, classes: bool) -> Vec<Found<'t>> {
        let rows = || self.0.iter().map(String::as_str);
        let (whole, stems) = (Index::new(rows()), Index::new(rows().map(stem)));
        // Which samples of a part end in which path of the table.
        let mut owners: BTreeMap<(usize, &str), BTreeSet<String>> = BTreeMap::new();
        let mut ends = Vec::with_capacity(entries.list.len());
        let mut found = Vec::with_capacity(entries.list.len());
        for entry in &entries.list {
            let label = if classes { entries.label(entry) } else { String::new() };
            let path = Path::new(entry, &label);
            let (rows, end) = match whole.find(&path) {
                (Found::Nothing, _) => stems.find(&path.stem()),
                some => some,
            };
            let end = end.map(|end| (entry.part, end));
            if let Some(end) = end {
                owners.entry(end).or_default().insert(path.classless);
            }
            found.push(rows);
            ends.push(end);
        }
        for (rows, end) in found.iter_mut().zip(ends) {
            if let Some(end) = end
                && owners.get(&end).is_some_and(|paths| paths.len() > 1)
            {
                *rows = Found::Shared(end.1);
            }
        }
        found
    }
}

/// A path without the extension of a picture.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').filter(|_| is_picture(path)).map_or(path, |(stem, _)| stem)
}

/// The ways to look for a sample's path.
struct Path {
    all: String,
    /// Without the folders of its split and its class.
    classless: String,
    /// Below the folder of its class; only for bare names.
    in_class: Option<String>,
}

impl Path {
    fn new(entry: &Entry, label: &str) -> Self {
        let all = normal(&entry.id);
        let below = without_split(&all);
        let bare = !label.is_empty() && !below.contains('/');
        let in_class = bare.then(|| format!("{label}/{below}"));
        let classless: Vec<&str> = components(below).filter(|part| *part != label).collect();
        Self { classless: classless.join("/"), in_class, all }
    }

    fn stem(&self) -> Self {
        Self {
            all: stem(&self.all).to_owned(),
            classless: stem(&self.classless).to_owned(),
            in_class: self.in_class.as_deref().map(|path| stem(path).to_owned()),
        }
    }
}

/// Rows by path, and by what their paths end in.
struct Index<'t> {
    whole: HashMap<&'t str, Vec<usize>>,
    ends: HashMap<&'t str, Longer<'t>>,
}

/// The paths with a common end.
#[derive(Clone, Copy)]
enum Longer<'t> {
    One(&'t str),
    Several(&'t str, &'t str),
}

impl<'t> Index<'t> {
    fn new(paths: impl Iterator<Item = &'t str>) -> Self {
        let mut all = Self { whole: HashMap::new(), ends: HashMap::new() };
        for (row, path) in paths.enumerate() {
            let below = without_split(path);
            for name in BTreeSet::from([path, below]) {
                all.whole.entry(name).or_default().push(row);
            }
            for end in shorter(below) {
                let longer = all.ends.entry(end).or_insert(Longer::One(below));
                if let Longer::One(first) = *longer
                    && first != below
                {
                    *longer = Longer::Several(first, below);
                }
            }
        }
        all
    }

    fn rows(&self, path: &str) -> Option<Found<'t>> {
        self.whole.get(path).map(|rows| Found::Rows(rows.clone()))
    }

    /// What the table has, and the row's path where it is shorter than the sample's: others may end
    /// in it, too. The path itself comes first, then longer ones, then shorter ones.
    fn find(&self, path: &Path) -> (Found<'t>, Option<&'t str>) {
        let below = without_split(&path.all);
        let mut same =
            [&path.all, below, &path.classless].into_iter().chain(path.in_class.as_deref());
        if let Some(rows) = same.find_map(|name| self.rows(name)) {
            return (rows, None);
        }
        match [below, &path.classless].iter().find_map(|name| self.ends.get(name)) {
            Some(Longer::One(longer)) => {
                return (self.rows(longer).unwrap_or(Found::Nothing), None);
            }
            Some(Longer::Several(first, second)) => return (Found::Several(first, second), None),
            None => {}
        }
        let shorter = shorter(below).find_map(|end| self.whole.get_key_value(end));
        shorter
            .map_or((Found::Nothing, None), |(path, rows)| (Found::Rows(rows.clone()), Some(path)))
    }
}
