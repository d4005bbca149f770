//! What is known of samples beside their labels: age, sex, device, hospital.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::entries::{Entries, Entry};
use super::list::delimiter as ascii;
use super::report::{Finding, FindingKind};
use super::rows::{Found, RowPaths, ambiguous};
use crate::files::Sheet;
use crate::{Error, Result};

/// A table of attributes of samples or patients.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    path: PathBuf,
    key: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    key: String,
    line: u64,
    cells: Vec<String>,
}

impl Attributes {
    /// Reads a table, packed with gzip or not. `key` is the column that tells which samples a row is
    /// about: an id, a path as in [`Audit::master`](super::Audit::master), or a group.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Header`], [`Error::NotUtf8`], [`Error::Column`] and [`Error::Row`]
    /// for a table that cannot be used, [`Error::Config`] for a delimiter that cannot be one.
    pub fn read(path: &Path, key: &str, delimiter: char) -> Result<Self> {
        let sheet = Sheet::read(path, ascii(delimiter)?)?;
        let column = sheet.column(key)?;
        let mut rows = Vec::new();
        for line in sheet.lines() {
            let cells = (0..sheet.header.len()).map(|column| line.cell(column).to_owned());
            let key = line.required(column)?.to_owned();
            rows.push(Row { key, line: line.number, cells: cells.collect() });
        }
        Ok(Self { path: path.into(), key: key.to_owned(), columns: sheet.header, rows })
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Its name without folders: reports are the same wherever files lie.
    fn name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// The rows that are about each sample.
    fn find<'t>(&'t self, paths: &'t RowPaths, entries: &Entries<'_>) -> Vec<Found<'t>> {
        let mut keys: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, row) in self.rows.iter().enumerate() {
            keys.entry(&row.key).or_default().push(place);
        }
        let exact = |key: &str| keys.get(key).map(|rows| Found::Rows(rows.clone()));
        let by_path = paths.find(entries, false);
        let found = entries.list.iter().zip(by_path).map(|(entry, by_path)| {
            // Samples without files have made-up names.
            let by_path = if entry.file_name.is_some() { by_path } else { Found::Nothing };
            match (exact(&entry.id), by_path) {
                (Some(rows), _) | (None, rows @ Found::Rows(_)) => rows,
                (None, other) => exact(&entry.group).unwrap_or(other),
            }
        });
        found.collect()
    }
}

/// The attributes of all samples: those of the table, and those that the data tell themselves.
pub(super) struct Known<'a> {
    entries: &'a Entries<'a>,
    table: Option<&'a Attributes>,
    /// For each sample its rows in the table.
    rows: Vec<Vec<usize>>,
}

/// Where an attribute stands.
pub(super) enum Column<'c> {
    /// In the table.
    Table(usize),
    /// In the data, by name.
    Data(&'c str),
}

impl<'a> Known<'a> {
    /// Finds the rows of the table; those that it does not have are findings.
    pub(super) fn new(
        entries: &'a Entries<'a>,
        table: Option<&'a Attributes>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let Some(attributes) = table else {
            return Self { entries, table, rows: Vec::new() };
        };
        let paths = RowPaths::new(attributes.rows.iter().map(|row| row.key.as_str()));
        let found = attributes.find(&paths, entries);
        missing(entries, attributes, &found, findings);
        let rows = found.into_iter().map(|found| match found {
            Found::Rows(rows) => rows,
            _ => Vec::new(),
        });
        Self { entries, table, rows: rows.collect() }
    }

    /// Where a column is; the table goes before the data.
    pub(super) fn column<'c>(&self, name: &'c str) -> Result<Column<'c>> {
        if let Some(place) = self.table.and_then(|table| table.place(name)) {
            return Ok(Column::Table(place));
        }
        let told = self.entries.attribute_names();
        if told.contains(&name) {
            return Ok(Column::Data(name));
        }
        let path =
            self.table.map_or_else(|| "what the data tell".into(), |table| table.path.clone());
        let columns = self.table.map(|table| table.columns.as_slice()).unwrap_or_default();
        let told = told.into_iter().map(str::to_owned);
        let available = columns.iter().cloned().chain(told).collect();
        Err(Error::Column { path, column: name.to_owned(), available })
    }

    /// The value for the sample at a place in the list of all; empty where it is not known.
    ///
    /// # Errors
    /// [`Error::Row`] where two rows about it differ, or the error of a sample that cannot be read.
    pub(super) fn value(&self, at: usize, column: &Column<'_>) -> Result<Cow<'a, str>> {
        match (column, self.table) {
            (Column::Table(column), Some(table)) => self.of_table(table, at, *column),
            (Column::Data(name), _) => {
                let entry = self.entries.list.get(at);
                let Some((entry, data)) = entry.and_then(|e| Some((e, self.entries.dataset(e)?)))
                else {
                    return Ok(Cow::default());
                };
                Ok(data.attribute(entry.index, name)?.unwrap_or_default().into())
            }
            (Column::Table(_), None) => Ok(Cow::default()),
        }
    }

    fn of_table(&self, table: &'a Attributes, at: usize, column: usize) -> Result<Cow<'a, str>> {
        let rows = self.rows.get(at).map(Vec::as_slice).unwrap_or_default();
        let mut rows = rows.iter().filter_map(|&row| table.rows.get(row));
        let cell = |row: &'a Row| row.cells.get(column).map_or("", String::as_str);
        let Some(first) = rows.next() else { return Ok(Cow::default()) };
        match rows.find(|row| cell(row) != cell(first)) {
            None => Ok(cell(first).into()),
            Some(other) => Err(Error::Row {
                path: table.path.clone(),
                line: other.line,
                reason: format!(
                    "{} '{}' has the {} '{}', but '{}' in line {}: a key must tell which is meant",
                    table.key,
                    other.key,
                    table.columns.get(column).map_or("", String::as_str),
                    cell(other),
                    cell(first),
                    first.line
                ),
            }),
        }
    }
}

/// Samples that the table does not have.
fn missing(
    entries: &Entries<'_>,
    table: &Attributes,
    found: &[Found<'_>],
    findings: &mut Vec<Finding>,
) {
    let mut absent: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
    for (entry, found) in entries.list.iter().zip(found) {
        if *found == Found::Nothing {
            absent.entry(entry.part).or_default().push(entry);
        }
    }
    let (name, key) = (table.name(), &table.key);
    let none = !found.iter().any(|found| matches!(found, Found::Rows(_)));
    if let (true, Some(entry)) = (none, entries.list.first()) {
        let detail = format!(
            "{name}: none of {} samples is in it: column '{key}' has '{}', ..., where '{}' of the \
             patient '{}' is looked for",
            entries.list.len(),
            table.rows.first().map_or("nothing", |row| &row.key),
            entry.id,
            entry.group
        );
        findings.push(entries.finding(FindingKind::AttributesUnused, detail, []));
        return;
    }
    for members in absent.into_values() {
        let Some(first) = members.first() else { continue };
        let part = entries.parts.get(first.part);
        let of = entries.list.iter().filter(|entry| entry.part == first.part).count();
        let detail = format!(
            "{}: {} of {of} samples are not in {name}; the first is {}",
            part.map_or("", |part| part.name.as_str()),
            members.len(),
            first.id
        );
        findings.push(entries.finding(FindingKind::AttributesMissing, detail, members));
    }
    let wording = (&*format!("{name}'s "), "nothing was taken from it");
    ambiguous(entries, entries.list.iter().zip(found), wording, findings);
}
