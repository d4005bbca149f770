//! Lists of files with labels that an audit compares.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{Line, Sheet};
use crate::{Error, Result};

/// Where a [`FileList`] has its labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListLabels {
    /// Nowhere.
    #[default]
    None,
    /// Names in one column, several of them with a separator in between (`Mass|Nodule`).
    Names {
        /// The column.
        column: String,
        /// Between two names.
        separator: Option<char>,
    },
    /// One column per finding: 1 is present, 0 absent, -1 and nothing are unknown.
    Columns(Vec<String>),
}

/// How to read a [`FileList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOptions {
    /// Column with the file names.
    pub file: String,
    /// Where the labels stand.
    pub labels: ListLabels,
    /// Column with the patient.
    pub group: Option<String>,
    /// Keeps only the rows with this value (second) in this column (first), as of one split.
    pub filter: Option<(String, String)>,
    /// Between two cells.
    pub delimiter: char,
}

impl ListOptions {
    /// Files of this column, no labels, no patients, commas.
    #[must_use]
    pub fn new(file: impl Into<String>) -> Self {
        let file = file.into();
        Self { file, labels: ListLabels::None, group: None, filter: None, delimiter: ',' }
    }
}

/// A list of files with their labels, as publications give for their splits: the pictures need not
/// be there, and a file may come more than once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FileList {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Whether a label that a row does not name is absent.
    pub(super) complete: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) file: String,
    pub(super) group: Option<String>,
    /// Places in [`FileList::names`].
    pub(super) present: Vec<usize>,
    pub(super) unknown: Vec<usize>,
}

impl FileList {
    /// Reads a table, packed with gzip or not.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Header`], [`Error::NotUtf8`], [`Error::Column`] and [`Error::Row`]
    /// for a table that cannot be used, [`Error::Label`] for a finding that is not 0, 1, -1 or
    /// nothing, [`Error::Empty`] when no row is left, [`Error::Config`] for a delimiter that cannot
    /// be one, or a label column that is named twice.
    pub fn read(path: &Path, options: &ListOptions) -> Result<Self> {
        let sheet = Sheet::read(path, delimiter(options.delimiter)?)?;
        let file = sheet.column(&options.file)?;
        let group = options.group.as_deref().map(|name| sheet.column(name)).transpose()?;
        let filter = match &options.filter {
            Some((column, value)) => Some((sheet.column(column)?, value.trim())),
            None => None,
        };
        let kept =
            |line: &Line<'_>| filter.is_none_or(|(column, value)| line.cell(column) == value);
        let lines: Vec<Line<'_>> = sheet.lines().filter(kept).collect();
        let labels = Labels::new(&sheet, &options.labels)?;
        let names = labels.names(&lines);
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            let (present, unknown) = labels.read(line, &names)?;
            // A blank cell is no patient that rows could share.
            let group = group.map(|column| line.cell(column)).filter(|group| !group.is_empty());
            let (file, group) = (line.required(file)?.to_owned(), group.map(str::to_owned));
            rows.push(Row { file, group, present, unknown });
        }
        if rows.is_empty() {
            return Err(Error::Empty { path: path.into(), what: "rows to use" });
        }
        Ok(Self { names, rows, complete: matches!(labels, Labels::Names(..)) })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A delimiter as the reader of tables takes it.
pub(super) fn delimiter(delimiter: char) -> Result<u8> {
    let fail = |reason| Error::Config { option: "ListOptions::delimiter", reason };
    if ['"', '\n', '\r'].contains(&delimiter) {
        return Err(fail(format!("{delimiter:?} cannot stand between two cells")));
    }
    u8::try_from(delimiter)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| fail(format!("'{delimiter}' is not ASCII")))
}

/// Where the labels stand in a sheet.
enum Labels<'a> {
    None,
    Names(usize, Option<char>),
    Columns(Vec<(usize, &'a str)>),
}

impl<'a> Labels<'a> {
    fn new(sheet: &Sheet, labels: &'a ListLabels) -> Result<Self> {
        Ok(match labels {
            ListLabels::None => Self::None,
            ListLabels::Names { column, separator } => {
                Self::Names(sheet.column(column)?, *separator)
            }
            ListLabels::Columns(columns) => {
                let mut seen = BTreeSet::new();
                if let Some(twice) = columns.iter().find(|name| !seen.insert(*name)) {
                    let reason = format!("column '{twice}' is named twice");
                    return Err(Error::Config { option: "ListLabels::Columns", reason });
                }
                let find = |name: &'a String| Ok((sheet.column(name)?, name.as_str()));
                Self::Columns(columns.iter().map(find).collect::<Result<_>>()?)
            }
        })
    }

    /// In alphabetical order, whatever the order of the rows; columns in their own.
    fn names(&self, lines: &[Line<'_>]) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Names(column, separator) => {
                let cells = lines.iter().flat_map(|line| split(line.cell(*column), *separator));
                let names: BTreeSet<&str> = cells.collect();
                names.into_iter().map(str::to_owned).collect()
            }
            Self::Columns(columns) => columns.iter().map(|(_, name)| (*name).to_owned()).collect(),
        }
    }

    /// The places of the labels that are present, and of those that are unknown.
    fn read(&self, line: Line<'_>, names: &[String]) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut present, mut unknown) = (Vec::new(), Vec::new());
        match self {
            Self::None => {}
            Self::Names(column, separator) => {
                let known = |name: &str| names.binary_search_by(|n| n.as_str().cmp(name)).ok();
                present.extend(split(line.cell(*column), *separator).filter_map(known));
                present.sort_unstable();
                present.dedup();
            }
            Self::Columns(columns) => {
                for (label, &(column, _)) in columns.iter().enumerate() {
                    match finding(line, column)? {
                        Some(true) => present.push(label),
                        Some(false) => {}
                        None => unknown.push(label),
                    }
                }
            }
        }
        Ok((present, unknown))
    }
}

/// Whether a finding is present; `None` where it is unknown.
fn finding(line: Line<'_>, column: usize) -> Result<Option<bool>> {
    let cell = line.cell(column);
    if cell.is_empty() {
        return Ok(None);
    }
    let value = cell.parse::<f32>().ok();
    let known = [(1.0, Some(true)), (0.0, Some(false)), (-1.0, None)];
    // Tables write 1 and 1.0.
    let found = known.into_iter().find(|(number, _)| value == Some(*number));
    found.map(|(_, meaning)| meaning).ok_or_else(|| line.label_error(column, "1, 0, -1 or nothing"))
}

fn split(cell: &str, separator: Option<char>) -> impl Iterator<Item = &str> {
    let parts = move |c: char| Some(c) == separator;
    cell.split(parts).map(str::trim).filter(|name| !name.is_empty())
}
