use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::card::{PLACES205, PLACES365};
use crate::files::{Builder, List, Row};
use crate::{Card, Error, FileDataset, FileOptions, Result, Target, Task};

/// More classes than this are taken for a damaged list.
const MAX_CLASSES: usize = 1_000_000;

/// Whose list of paths and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathListKind {
    /// Nobody's in particular, such as the labels of a flat `ImageNet` validation folder.
    #[default]
    Other,
    /// Places205: `a/abbey/gsun_0001.jpg,0`.
    Places205,
    /// Places365: `/a/airfield/00000001.jpg 0`; the slash at the beginning is dropped.
    Places365,
}

/// How to read a list of `path label`, with a blank or a comma between them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PathList {
    /// The folder that the paths begin in.
    pub root: PathBuf,
    /// The list.
    pub list: PathBuf,
    /// Names of the classes as `name number`, such as `categories_places365.txt`; without it they
    /// are called by their numbers.
    #[serde(default)]
    pub classes: Option<PathBuf>,
    /// Whose list.
    #[serde(default)]
    pub kind: PathListKind,
    /// Part of the data set, `train` or `val`: decides what [`crate::describe`] expects.
    #[serde(default)]
    pub part: String,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl PathList {
    /// A list with every option at its default.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, list: impl Into<PathBuf>) -> Self {
        let (kind, files) = <(PathListKind, FileOptions)>::default();
        let (classes, part) = (None, String::new());
        Self { root: root.into(), list: list.into(), classes, kind, part, files }
    }

    /// Reads the list and checks that the pictures are there.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Label`] for a label that is no class.
    pub fn open(&self) -> Result<FileDataset> {
        let names = self.classes.as_deref().map(class_names).transpose()?;
        let limit = names.as_ref().map_or(MAX_CLASSES, Vec::len);
        let list = List::read(&self.list, 0)?;
        let mut builder = Builder::new(&self.list, &self.root, self.files, &[])?;
        let mut count = 0;
        for entry in &list.entries {
            let pair = entry.name.rsplit_once(|c: char| c.is_whitespace() || c == ',');
            let Some((path, label)) = pair else {
                return Err(list.error(entry.line, "a path and a label are needed".into()));
            };
            let class = label.parse().ok().filter(|&class: &usize| class < limit);
            let class = class.ok_or_else(|| Error::Label {
                place: list.place(entry.line),
                value: label.into(),
                expected: format!("0 to {}", limit - 1),
            })?;
            count = count.max(class + 1);
            let path = match self.kind {
                PathListKind::Places365 => path.trim_end().strip_prefix('/').unwrap_or(path),
                _ => path,
            };
            builder.add(Row::new(entry.line, path.trim_end(), Target::Class(class)))?;
        }
        let classes = names.unwrap_or_else(|| (0..count).map(|n| n.to_string()).collect());
        let data = builder.finish(Task::SingleLabel { classes })?;
        let card: &'static Card = match self.kind {
            PathListKind::Other => return Ok(data),
            PathListKind::Places205 => &PLACES205,
            PathListKind::Places365 => &PLACES365,
        };
        Ok(data.described(card, self.part.clone()))
    }
}

/// Names in the order of their numbers, which must be 0, 1, 2 and so on.
fn class_names(path: &Path) -> Result<Vec<String>> {
    let list = List::read(path, 1)?;
    let mut named: Vec<(usize, u64, &str)> = Vec::new();
    for entry in &list.entries {
        let word = entry.words.first().map_or("", String::as_str);
        let number =
            word.parse().map_err(|_| list.error(entry.line, format!("'{word}' is no number")))?;
        named.push((number, entry.line, &entry.name));
    }
    named.sort_unstable();
    if named.is_empty() {
        return Err(Error::Empty { path: path.into(), what: "classes" });
    }
    for (position, (number, line, name)) in named.iter().enumerate() {
        if *number != position {
            return Err(list.error(*line, format!("'{name}' has number {number}, not {position}")));
        }
    }
    Ok(named.into_iter().map(|(_, _, name)| name.to_owned()).collect())
}
