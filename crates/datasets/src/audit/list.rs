//! Tables that an audit compares: lists of files with labels, and attributes of samples.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Result};

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
    /// One column per finding: numbers from 0.5 are present, negative ones and nothing unknown.
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
    /// Reads a table.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Column`] and [`Error::Row`] for a table that cannot be used,
    /// [`Error::Label`] for a cell that is no number where there must be one.
    pub fn read(path: &Path, options: &ListOptions) -> Result<Self> {
        let table = Table::read(path, options.delimiter)?;
        let file = table.column(&options.file)?;
        let group = options.group.as_deref().map(|name| table.column(name)).transpose()?;
        let filter = match &options.filter {
            Some((column, value)) => Some((table.column(column)?, value)),
            None => None,
        };
        let complete = matches!(options.labels, ListLabels::Names { .. });
        let mut list = Self { complete, ..Self::default() };
        let labels = LabelReader::new(&table, &options.labels, &mut list.names)?;
        for row in &table.rows {
            if filter.is_some_and(|(column, value)| row.cell(column) != value) {
                continue;
            }
            if row.cell(file).is_empty() {
                return Err(table.row_error(row, format!("column '{}' is empty", options.file)));
            }
            let (present, unknown) = labels.read(&table, row, &mut list.names)?;
            // A blank cell is no patient that rows could share.
            let group = group.map(|column| row.cell(column)).filter(|group| !group.is_empty());
            let group = group.map(str::to_owned);
            list.rows.push(Row { file: row.cell(file).to_owned(), group, present, unknown });
        }
        Ok(list)
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

enum LabelReader<'a> {
    None,
    Names(usize, Option<char>),
    Columns(Vec<(usize, &'a str)>),
}

impl<'a> LabelReader<'a> {
    fn new(table: &Table, labels: &'a ListLabels, names: &mut Vec<String>) -> Result<Self> {
        Ok(match labels {
            ListLabels::None => Self::None,
            ListLabels::Names { column, separator } => {
                let column = table.column(column)?;
                // In alphabetical order, whatever the order of the rows.
                let cells = table.rows.iter().flat_map(|row| split(row.cell(column), *separator));
                names.extend(cells.map(str::to_owned).collect::<BTreeSet<_>>());
                Self::Names(column, *separator)
            }
            ListLabels::Columns(columns) => {
                names.clone_from(columns);
                let find = |name: &'a String| Ok((table.column(name)?, name.as_str()));
                Self::Columns(columns.iter().map(find).collect::<Result<_>>()?)
            }
        })
    }

    fn read(
        &self,
        table: &Table,
        row: &TableRow,
        names: &mut [String],
    ) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut present, mut unknown) = (Vec::new(), Vec::new());
        match self {
            Self::None => {}
            Self::Names(column, separator) => {
                let known = |name: &str| names.binary_search_by(|n| n.as_str().cmp(name)).ok();
                present.extend(split(row.cell(*column), *separator).filter_map(known));
                present.sort_unstable();
            }
            Self::Columns(columns) => {
                for (label, &(column, name)) in columns.iter().enumerate() {
                    let cell = row.cell(column);
                    match cell.parse::<f32>() {
                        Ok(value) if value >= 0.5 => present.push(label),
                        Ok(value) if value < 0.0 => unknown.push(label),
                        Ok(_) => {}
                        Err(_) if cell.is_empty() => unknown.push(label),
                        Err(_) => {
                            return Err(Error::Label {
                                place: format!("{}, line {}", table.path, row.line),
                                value: cell.to_owned(),
                                expected: format!("a number, in column '{name}'"),
                            });
                        }
                    }
                }
            }
        }
        Ok((present, unknown))
    }
}

fn split(cell: &str, separator: Option<char>) -> impl Iterator<Item = &str> {
    let parts = move |c: char| Some(c) == separator;
    cell.split(parts).map(str::trim).filter(|name| !name.is_empty())
}

/// What else is known of samples or patients: age, sex, device, hospital.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes {
    columns: Vec<String>,
    rows: HashMap<String, Vec<String>>,
}

impl Attributes {
    /// Reads a table. `key` is the column whose value is a sample's id, its file name with or
    /// without extension, or its group; of several rows with one key the first counts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Column`] and [`Error::Row`] for a table that cannot be used.
    pub fn read(path: &Path, key: &str, delimiter: char) -> Result<Self> {
        let table = Table::read(path, delimiter)?;
        let key = table.column(key)?;
        let mut rows = HashMap::with_capacity(table.rows.len());
        for row in table.rows {
            rows.entry(row.cell(key).to_owned()).or_insert(row.cells);
        }
        Ok(Self { columns: table.header, rows })
    }

    /// What data sets know of their samples ([`Dataset::attribute`]), by the samples' ids.
    ///
    /// # Errors
    /// The error of a record that cannot be read.
    pub fn of<'a>(datasets: impl IntoIterator<Item = &'a dyn Dataset>) -> Result<Self> {
        let datasets: Vec<&dyn Dataset> = datasets.into_iter().collect();
        let mut columns: Vec<String> = Vec::new();
        for name in datasets.iter().flat_map(|dataset| dataset.attribute_names()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let mut rows = HashMap::new();
        for dataset in datasets.into_iter().filter(|dataset| !dataset.attribute_names().is_empty())
        {
            for index in 0..dataset.len() {
                let value = |name: &String| Ok(dataset.attribute(index, name)?.unwrap_or_default());
                let cells = columns.iter().map(value).collect::<Result<Vec<_>>>()?;
                rows.entry(dataset.record(index)?.id).or_insert(cells);
            }
        }
        Ok(Self { columns, rows })
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column == name)
    }

    /// The place of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| Error::Column {
            path: "the attribute table".into(),
            column: name.to_owned(),
            available: self.columns.clone(),
        })
    }

    /// The value for the first of these keys that the table has.
    pub(super) fn value(&self, keys: &[&str], column: usize) -> Option<&str> {
        let row = keys.iter().find_map(|key| self.rows.get(*key))?;
        row.get(column).map(String::as_str)
    }
}

/// A table as text.
struct Table {
    path: String,
    header: Vec<String>,
    places: BTreeMap<String, usize>,
    rows: Vec<TableRow>,
}

struct TableRow {
    line: u64,
    cells: Vec<String>,
}

impl TableRow {
    fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }
}

impl Table {
    fn read(path: &Path, delimiter: char) -> Result<Self> {
        let delimiter = u8::try_from(delimiter).map_err(|_| Error::Config {
            option: "ListOptions::delimiter",
            reason: format!("'{delimiter}' is not ASCII"),
        })?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|error| csv_error(path, error))?;
        let header = reader.headers().map_err(|error| csv_error(path, error))?;
        let header: Vec<String> =
            header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        let places = header.iter().enumerate().rev().map(|(at, name)| (name.clone(), at)).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| csv_error(path, error))?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(TableRow { line, cells: record.iter().map(str::to_owned).collect() });
        }
        Ok(Self { path: path.display().to_string(), header, places, rows })
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.places.get(name).copied().ok_or_else(|| Error::Column {
            path: self.path.clone().into(),
            column: name.to_owned(),
            available: self.header.clone(),
        })
    }

    fn row_error(&self, row: &TableRow, reason: String) -> Error {
        Error::Row { path: self.path.clone().into(), line: row.line, reason }
    }
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.into(), source },
        other => Error::Row { path: path.into(), line, reason: format!("{other:?}") },
    }
}
