use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::DecodeOptions;

use crate::files::{Builder, Line, Row, Sheet};
use crate::left_out::LeftOutLog;
use crate::{
    Card, Dataset, Error, FileDataset, FileOptions, OnMissing, Record, Result, Sample, Target, Task,
};

/// Where the labels of a [`CsvTable`] stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CsvLabels {
    /// No labels.
    #[default]
    None,
    /// One column that names the class.
    Single {
        /// The column.
        column: String,
        /// The classes in the order of their numbers; without them, those found, sorted (by number where
        /// all are whole numbers).
        #[serde(default)]
        classes: Option<Vec<String>>,
        /// Leaves out rows without a class, and counts them ([`Dataset::left_out`]), instead of
        /// failing.
        #[serde(default)]
        skip_missing: bool,
    },
    /// One column per finding with a number from 0 (absent) to 1 (present); empty is unknown.
    Multi {
        /// The columns in the order of the findings.
        columns: Vec<String>,
    },
}

/// Keeps only the rows with this value in this column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvFilter {
    /// The column.
    pub column: String,
    /// The value, compared without surrounding blanks.
    pub value: String,
}

/// How to read a [`CsvTable`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CsvOptions {
    /// Folder that the file names are relative to. No row can name a file outside it.
    #[serde(default)]
    pub root: PathBuf,
    /// Column with the file names.
    #[serde(default)]
    pub file_column: String,
    /// What to append to each file name, such as `.png`.
    #[serde(default)]
    pub file_suffix: String,
    /// Where the labels are.
    #[serde(default)]
    pub labels: CsvLabels,
    /// Column with the patient; without it every row is its own group.
    #[serde(default)]
    pub group_column: Option<String>,
    /// Rows to keep.
    #[serde(default)]
    pub filter: Option<CsvFilter>,
    /// Columns that become attributes ([`Dataset::attribute`]) under their own names; `["*"]` for
    /// all but those of the file and the group.
    #[serde(default)]
    pub attribute_columns: Vec<String>,
    /// The character between two cells.
    #[serde(default = "comma")]
    pub delimiter: u8,
    /// What to do about files that are not there.
    #[serde(default)]
    pub missing: OnMissing,
    /// Limits of the decoder, and its rule for DICOM.
    #[serde(default)]
    pub decode: DecodeOptions,
    /// Most bytes that are read of the table, unpacked; without it, 1 GiB of text, or 4 GiB in the
    /// cells of Parquet files together, which hold the pictures themselves.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

fn comma() -> u8 {
    b','
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
            attribute_columns: Vec::new(),
            delimiter: b',',
            missing: OnMissing::Refuse,
            decode: DecodeOptions::default(),
            max_bytes: None,
        }
    }
}

/// Pictures named in a table, one row each.
#[derive(Debug, Clone)]
pub struct CsvTable(FileDataset);

impl CsvTable {
    /// Reads the table, packed with gzip or not, and checks that every file is there; no picture is
    /// read. With the feature `parquet`, a name that ends in `.parquet` is read as such.
    ///
    /// # Errors
    /// [`Error::Io`] when the table cannot be read; [`Error::Header`] and [`Error::NotUtf8`];
    /// [`Error::Column`] for a column that it does not have; [`Error::Row`] for a row with the
    /// wrong number of cells, no file, class or group, a path that leaves the root, or a file that
    /// an earlier row has; [`Error::Outside`]; [`Error::UnknownClass`] and [`Error::Label`] for
    /// labels that do not exist; [`Error::MissingFiles`]; and [`Error::Empty`] when no row is left.
    pub fn open(csv: &Path, options: &CsvOptions) -> Result<Self> {
        Self::from_sheet(&read(csv, options)?, options)
    }

    pub(crate) fn from_sheet(sheet: &Sheet, options: &CsvOptions) -> Result<Self> {
        let columns = Columns::find(sheet, options)?;
        let mut left_out = LeftOutLog::default();
        let lines = columns.used(sheet, options, &mut left_out)?;
        let task = columns.task(&lines, &options.labels);
        let files = FileOptions { missing: options.missing, decode: options.decode };
        let attributes: Vec<&str> = columns
            .attributes
            .iter()
            .filter_map(|&c| Some(sheet.header.get(c)?.as_str()))
            .collect();
        let mut builder = Builder::new(&sheet.path, &options.root, files, &attributes)?;
        builder.also_left_out(left_out);
        for line in lines {
            builder.add(columns.row(line, &task, options)?)?;
        }
        Ok(Self(builder.finish(task)?))
    }

    #[cfg(feature = "parquet")]
    pub(crate) fn into_files(self) -> FileDataset {
        self.0
    }

    /// The file of a sample.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        self.0.path(index)
    }
}

crate::files::delegate!(CsvTable);

fn read(path: &Path, options: &CsvOptions) -> Result<Sheet> {
    #[cfg(feature = "parquet")]
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
        return crate::parquet_files::read_sheet(path, options.max_bytes);
    }
    match options.max_bytes {
        Some(limit) => Sheet::read_up_to(path, options.delimiter, limit),
        None => Sheet::read(path, options.delimiter),
    }
}

/// Positions of the columns that are needed.
struct Columns {
    file: usize,
    group: Option<usize>,
    filter: Option<usize>,
    labels: Vec<usize>,
    attributes: Vec<usize>,
}

impl Columns {
    fn find(sheet: &Sheet, options: &CsvOptions) -> Result<Self> {
        let optional = |name: Option<&String>| name.map(|name| sheet.column(name)).transpose();
        let all = |names: &[String]| -> Result<Vec<usize>> {
            names.iter().map(|name| sheet.column(name)).collect()
        };
        let labels = match &options.labels {
            CsvLabels::None => &[],
            CsvLabels::Single { column, .. } => std::slice::from_ref(column),
            CsvLabels::Multi { columns } => columns.as_slice(),
        };
        let (file, group) =
            (sheet.column(&options.file_column)?, optional(options.group_column.as_ref())?);
        let attributes = match options.attribute_columns.as_slice() {
            [star] if star == "*" => {
                let named = sheet.header.iter().enumerate().filter(|(_, name)| !name.is_empty());
                let places = named.map(|(place, _)| place);
                places.filter(|&place| place != file && Some(place) != group).collect()
            }
            names => all(names)?,
        };
        Ok(Self {
            file,
            group,
            filter: optional(options.filter.as_ref().map(|filter| &filter.column))?,
            labels: all(labels)?,
            attributes,
        })
    }

    /// The lines that pass the filter and have a class.
    fn used<'a>(
        &self,
        sheet: &'a Sheet,
        options: &CsvOptions,
        left_out: &mut LeftOutLog,
    ) -> Result<Vec<Line<'a>>> {
        let mut lines = Vec::new();
        for line in sheet.lines() {
            if let (Some(column), Some(filter)) = (self.filter, &options.filter)
                && line.cell(column) != filter.value.trim()
            {
                continue;
            }
            if let CsvLabels::Single { column, skip_missing, .. } = &options.labels
                && self.labels.iter().all(|&label| line.cell(label).is_empty())
            {
                if *skip_missing {
                    left_out.note("rows without a class", || format!("line {}", line.number));
                    continue;
                }
                return Err(line.error(format!("column '{column}' has no class")));
            }
            lines.push(line);
        }
        Ok(lines)
    }

    fn task(&self, lines: &[Line<'_>], labels: &CsvLabels) -> Task {
        match labels {
            CsvLabels::None => Task::Unlabelled,
            CsvLabels::Multi { columns } => Task::MultiLabel { findings: columns.clone() },
            CsvLabels::Single { classes: Some(classes), .. } => {
                Task::SingleLabel { classes: classes.clone() }
            }
            CsvLabels::Single { classes: None, .. } => {
                let cells = lines.iter().flat_map(|line| self.labels.iter().map(|&c| line.cell(c)));
                let found: BTreeSet<&str> = cells.collect();
                Task::SingleLabel {
                    classes: sorted(found).into_iter().map(str::to_owned).collect(),
                }
            }
        }
    }

    fn row<'a>(&self, line: Line<'a>, task: &Task, options: &CsvOptions) -> Result<Row<'a>> {
        let name = match line.cell(self.file) {
            "" => {
                let reason = format!("column '{}' has no file name", options.file_column);
                return Err(line.error(reason));
            }
            name => format!("{name}{}", options.file_suffix),
        };
        let row = Row::new(line.number, name, self.target(line, task)?)
            .attributes(self.attributes.iter().map(|&column| line.cell(column)).collect());
        match self.group.map(|column| line.cell(column)) {
            Some("") => Err(line.error("the group (patient) is empty".into())),
            Some(group) => Ok(row.group(group)),
            None => Ok(row),
        }
    }

    fn target(&self, line: Line<'_>, task: &Task) -> Result<Target> {
        match task {
            Task::Unlabelled => Ok(Target::None),
            Task::SingleLabel { classes } => {
                let class = self.labels.first().map_or("", |&column| line.cell(column));
                let position = classes.iter().position(|known| known == class);
                position.map(Target::Class).ok_or_else(|| Error::UnknownClass {
                    place: line.place(),
                    class: class.into(),
                    known: classes.clone(),
                })
            }
            Task::MultiLabel { .. } => {
                let labels = self.labels.iter().map(|&column| finding(line, column));
                Ok(Target::Labels(labels.collect::<Result<_>>()?))
            }
        }
    }
}

/// By number where all are whole numbers, so that 3 stands before 10; else by name.
fn sorted(found: BTreeSet<&str>) -> Vec<&str> {
    let numbers: Option<Vec<i64>> = found.iter().map(|name| name.parse().ok()).collect();
    let mut names: Vec<&str> = found.into_iter().collect();
    if numbers.is_some() {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    names
}

fn finding(line: Line<'_>, column: usize) -> Result<Option<f32>> {
    if line.cell(column).is_empty() {
        return Ok(None);
    }
    match line.cell(column).parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(Some(value)),
        _ => Err(line.label_error(column, "the numbers from 0 to 1, or nothing")),
    }
}
