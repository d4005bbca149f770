use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use csv::StringRecord;
use vit_transforms::{DecodeLimits, decode_file};

use crate::{Dataset, Error, Record, Result, Sample, Target, Task};

/// Where the labels of a [`CsvTable`] stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CsvLabels {
    /// No labels.
    #[default]
    None,
    /// One column that names the class.
    Single {
        /// The column.
        column: String,
        /// The classes in the order of their numbers; without them, those found, sorted.
        classes: Option<Vec<String>>,
        /// Leaves out rows without a class instead of failing.
        skip_missing: bool,
    },
    /// One column per finding with a number from 0 (absent) to 1 (present); empty is unknown.
    Multi {
        /// The columns in the order of the findings.
        columns: Vec<String>,
    },
}

/// Keeps only the rows with this value in this column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFilter {
    /// The column.
    pub column: String,
    /// The value, compared without surrounding blanks.
    pub value: String,
}

/// How to read a [`CsvTable`].
#[derive(Debug, Clone)]
pub struct CsvOptions {
    /// Folder that the file names are relative to. No row can name a file outside it.
    pub root: PathBuf,
    /// Column with the file names.
    pub file_column: String,
    /// What to append to each file name, such as `.png`.
    pub file_suffix: String,
    /// Where the labels are.
    pub labels: CsvLabels,
    /// Column with the patient; without it every row is its own group.
    pub group_column: Option<String>,
    /// Rows to keep.
    pub filter: Option<CsvFilter>,
    /// The character between two cells.
    pub delimiter: u8,
    /// How large a picture may be.
    pub limits: DecodeLimits,
}

impl CsvOptions {
    /// Files below `root` named in `file_column`, no labels, no groups, commas.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, file_column: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            file_column: file_column.into(),
            file_suffix: String::new(),
            labels: CsvLabels::None,
            group_column: None,
            filter: None,
            delimiter: b',',
            limits: DecodeLimits::default(),
        }
    }
}

/// Pictures named in a table, one row each.
#[derive(Debug, Clone)]
pub struct CsvTable {
    root: PathBuf,
    task: Task,
    limits: DecodeLimits,
    records: Vec<Record>,
}

impl CsvTable {
    /// Reads the table and checks that every file is there; no picture is read.
    ///
    /// # Errors
    /// [`Error::Io`] when the table cannot be read; [`Error::Column`] for a column that it does not
    /// have; [`Error::Row`] for a row with the wrong number of cells, no file, class or group, a
    /// path that leaves the root, or a file that an earlier row has; [`Error::UnknownClass`] and
    /// [`Error::Label`] for labels that do not exist; [`Error::MissingFiles`]; and
    /// [`Error::Empty`] when no row is left.
    pub fn open(csv: &Path, options: &CsvOptions) -> Result<Self> {
        let table = Table::read(csv, options.delimiter)?;
        let columns = Columns::find(&table, options)?;
        let rows = table
            .rows
            .iter()
            .filter(|row| columns.keeps(row, options))
            .map(|row| columns.parse(&table, row, options))
            .collect::<Result<Vec<_>>>()?;
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        if rows.is_empty() {
            return Err(Error::Empty { path: csv.into(), what: "rows to use" });
        }
        check_duplicates(&table, &rows)?;
        check_files(&table, &rows, &options.root)?;
        let (task, records) = label(&table, rows, &options.labels)?;
        Ok(Self { root: options.root.clone(), task, limits: options.limits, records })
    }

    /// The file of a sample.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        self.records.get(index).map(|record| self.root.join(&record.id))
    }
}

impl Dataset for CsvTable {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.records.get(index).cloned().ok_or(Error::Index { index, len: self.len() })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        let image = decode_file(&self.root.join(&record.id), &self.limits)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.path(index)
    }
}

/// The text of a table.
struct Table {
    path: PathBuf,
    header: StringRecord,
    rows: Vec<StringRecord>,
}

impl Table {
    fn read(path: &Path, delimiter: u8) -> Result<Self> {
        let fail = |error| csv_error(path, error);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(fail)?;
        let header = reader.headers().map_err(fail)?.clone();
        let rows = reader.records().collect::<csv::Result<_>>().map_err(fail)?;
        Ok(Self { path: path.into(), header, rows })
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.header.iter().position(|column| column == name).ok_or_else(|| Error::Column {
            path: self.path.clone(),
            column: name.into(),
            available: self.header.iter().map(str::to_owned).collect(),
        })
    }

    fn row_error(&self, line: u64, reason: String) -> Error {
        Error::Row { path: self.path.clone(), line, reason }
    }

    fn place(&self, line: u64) -> String {
        format!("{}, line {line}", self.path.display())
    }
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.into(), source },
        _ => Error::Row { path: path.into(), line, reason },
    }
}

/// Positions of the columns that are needed.
struct Columns {
    file: usize,
    group: Option<usize>,
    filter: Option<usize>,
    labels: Vec<usize>,
}

/// A row that is kept; `labels` holds the text of the label cells.
struct Row {
    line: u64,
    id: String,
    group: String,
    labels: Vec<String>,
}

impl Columns {
    fn find(table: &Table, options: &CsvOptions) -> Result<Self> {
        let optional = |name: Option<&String>| name.map(|name| table.column(name)).transpose();
        let labels = match &options.labels {
            CsvLabels::None => &[],
            CsvLabels::Single { column, .. } => std::slice::from_ref(column),
            CsvLabels::Multi { columns } => columns.as_slice(),
        };
        Ok(Self {
            file: table.column(&options.file_column)?,
            group: optional(options.group_column.as_ref())?,
            filter: optional(options.filter.as_ref().map(|filter| &filter.column))?,
            labels: labels.iter().map(|name| table.column(name)).collect::<Result<_>>()?,
        })
    }

    fn keeps(&self, row: &StringRecord, options: &CsvOptions) -> bool {
        match (self.filter, &options.filter) {
            (Some(column), Some(filter)) => row.get(column) == Some(filter.value.trim()),
            _ => true,
        }
    }

    /// `None` for a row that is left out because it has no class.
    fn parse(
        &self,
        table: &Table,
        row: &StringRecord,
        options: &CsvOptions,
    ) -> Result<Option<Row>> {
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let labels: Vec<String> = self.labels.iter().map(|&c| cell(c).to_owned()).collect();
        if let CsvLabels::Single { column, skip_missing, .. } = &options.labels
            && labels.iter().all(String::is_empty)
        {
            if *skip_missing {
                return Ok(None);
            }
            return Err(table.row_error(line, format!("column '{column}' has no class")));
        }
        let name = cell(self.file);
        if name.is_empty() {
            let reason = format!("column '{}' has no file name", options.file_column);
            return Err(table.row_error(line, reason));
        }
        let id = inside(&format!("{name}{}", options.file_suffix)).ok_or_else(|| {
            table.row_error(line, format!("'{name}' is not a path below the root"))
        })?;
        let group = match self.group {
            Some(column) if cell(column).is_empty() => {
                return Err(table.row_error(line, "the group (patient) is empty".into()));
            }
            Some(column) => cell(column).to_owned(),
            None => id.clone(),
        };
        Ok(Some(Row { line, id, group, labels }))
    }
}

/// The path with `/` between its parts, if it cannot leave the folder it is joined to. A backslash
/// is refused because it separates on one system and not on another.
fn inside(name: &str) -> Option<String> {
    if name.contains(['\\', '\0']) {
        return None;
    }
    let mut parts = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    if parts.is_empty() { None } else { Some(parts.join("/")) }
}

fn check_duplicates(table: &Table, rows: &[Row]) -> Result<()> {
    let mut lines: HashMap<&str, u64> = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(first) = lines.insert(&row.id, row.line) {
            let reason = format!("file '{}' is already in line {first}", row.id);
            return Err(table.row_error(row.line, reason));
        }
    }
    Ok(())
}

fn check_files(table: &Table, rows: &[Row], root: &Path) -> Result<()> {
    let mut missing = rows.iter().filter(|row| !root.join(&row.id).is_file());
    let Some(first) = missing.next() else { return Ok(()) };
    Err(Error::MissingFiles {
        path: table.path.clone(),
        count: 1 + missing.count(),
        line: first.line,
        first: root.join(&first.id),
    })
}

fn label(table: &Table, rows: Vec<Row>, labels: &CsvLabels) -> Result<(Task, Vec<Record>)> {
    let task = match labels {
        CsvLabels::None => Task::Unlabelled,
        CsvLabels::Single { classes, .. } => {
            Task::SingleLabel { classes: classes.clone().unwrap_or_else(|| classes_of(&rows)) }
        }
        CsvLabels::Multi { columns } => Task::MultiLabel { findings: columns.clone() },
    };
    let record = |row: Row| {
        let target = target(table, &row, &task)?;
        Ok(Record { id: row.id, group: row.group, target })
    };
    let records = rows.into_iter().map(record).collect::<Result<_>>()?;
    Ok((task, records))
}

fn classes_of(rows: &[Row]) -> Vec<String> {
    let mut classes: Vec<String> = rows.iter().flat_map(|row| row.labels.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn target(table: &Table, row: &Row, task: &Task) -> Result<Target> {
    match task {
        Task::Unlabelled => Ok(Target::None),
        Task::SingleLabel { classes } => {
            let class = row.labels.first().map_or("", String::as_str);
            let position = classes.iter().position(|known| known == class);
            position.map(Target::Class).ok_or_else(|| Error::UnknownClass {
                place: table.place(row.line),
                class: class.into(),
                known: classes.clone(),
            })
        }
        Task::MultiLabel { .. } => {
            let labels = row.labels.iter().map(|text| finding(table, row.line, text));
            Ok(Target::Labels(labels.collect::<Result<_>>()?))
        }
    }
}

fn finding(table: &Table, line: u64, text: &str) -> Result<Option<f32>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(Some(value)),
        _ => Err(Error::Label {
            place: table.place(line),
            value: text.into(),
            expected: "a number from 0 to 1, or nothing".into(),
        }),
    }
}
