use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use vit_transforms::decode_bytes_with;

use crate::files::{FileOptions, Sheet};
use crate::table::CsvTable;
use crate::{
    Card, CsvOptions, Dataset, Error, FileDataset, OnMissing, Record, Result, Sample, Task,
};

/// Most bytes that the cells of one file may have together, and pictures of all files by default.
const MAX_BYTES: usize = 4 << 30;
/// Most rows of one file; a few bytes can claim any number of equal ones.
const MAX_ROWS: usize = 100_000_000;

/// Reads the columns of simple types as text; lists, groups and bytes are left out.
pub(crate) fn read_sheet(path: &Path) -> Result<Sheet> {
    let mut rows = Vec::new();
    let header = each_row(path, None, &mut |cells, _| {
        rows.push(cells.iter().map(String::as_str).collect::<StringRecord>());
        Ok(())
    })?;
    Sheet::from_rows(path, header, rows)
}

/// Pictures inside of Parquet files, as the data sets of the Hugging Face hub have them: a column of
/// bytes, or a group with a field `bytes`, beside columns of labels.
///
/// All pictures are held in memory as they are packed (PNG, JPEG). Several files are put together
/// with [`crate::Concat`].
#[derive(Debug, Clone)]
pub struct ParquetImages {
    path: PathBuf,
    data: FileDataset,
    pictures: Vec<Vec<u8>>,
}

impl ParquetImages {
    /// Reads a file whose pictures are in `column`.
    ///
    /// Labels, groups, filter and attributes are those of `options`; its `root`, `file_column` and
    /// `file_suffix` do not matter. Numbers of classes are told by text, so name them
    /// (`["0", "1", …]`) where there are more than ten. Ids are the rows, counted from 0.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Archive`] when it is no whole Parquet
    /// file or has too much in it, [`Error::Column`], and as [`CsvTable::open`] for labels and
    /// groups, with rows counted from 2.
    pub fn open(path: &Path, column: &str, options: &CsvOptions) -> Result<Self> {
        let mut rows = Vec::new();
        let mut pictures = Vec::new();
        let mut header = each_row(path, Some(column), &mut |cells, picture| {
            let number = format!("{:09}", pictures.len());
            pictures.push(picture);
            let cells = cells.iter().map(String::as_str).chain([number.as_str()]);
            rows.push(cells.collect::<StringRecord>());
            Ok(())
        })?;
        // A column of our own, whose name no file has.
        let file_column = "\u{0}row".to_owned();
        header.push(file_column.clone());
        let sheet = Sheet::from_rows(path, header, rows)?;
        let options = CsvOptions {
            root: path
                .parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new("."))
                .into(),
            file_column,
            file_suffix: String::new(),
            missing: OnMissing::Unchecked,
            ..options.clone()
        };
        let data = CsvTable::from_sheet(&sheet, &options)?.into_files();
        Ok(Self { path: path.into(), data, pictures })
    }
}

impl Dataset for ParquetImages {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn task(&self) -> &Task {
        self.data.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.data.record(index)
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        let picture = record.id.parse().ok().and_then(|row: usize| self.pictures.get(row));
        let bytes = picture.map_or(&[][..], Vec::as_slice);
        let name = format!("{}, row {}", self.path.display(), record.id);
        let FileOptions { decode, .. } = self.data.options();
        let image = decode_bytes_with(&name, bytes, &decode)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn attribute_names(&self) -> &[String] {
        self.data.attribute_names()
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        self.data.attribute(index, name)
    }

    fn card(&self) -> Option<&'static Card> {
        self.data.card()
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        (index < self.len()).then(|| self.path.clone())
    }
}

type Visit<'a> = &'a mut dyn FnMut(&[String], Vec<u8>) -> std::result::Result<(), String>;

/// Calls `visit` with the text of every row, and with the bytes of the picture if a column for them
/// is named. Gives the names of the text columns.
fn each_row(path: &Path, picture: Option<&str>, visit: Visit<'_>) -> Result<Vec<String>> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.into(), source })?;
    // The format is intricate and the file foreign: a decoder that gives up must not stop the
    // program. Nothing that was being changed is looked at afterwards.
    let result = catch_unwind(AssertUnwindSafe(|| visit_rows(path, file, picture, visit)));
    result.unwrap_or_else(|_| Err(archive(path, "its decoder gave up".into())))
}

fn archive(path: &Path, reason: String) -> Error {
    Error::Archive { path: path.into(), reason }
}

fn visit_rows(
    path: &Path,
    file: File,
    picture: Option<&str>,
    visit: Visit<'_>,
) -> Result<Vec<String>> {
    let fail = |error: parquet::errors::ParquetError| archive(path, error.to_string());
    let reader = SerializedFileReader::new(file).map_err(fail)?;
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields();
    if let Some(name) = picture
        && !fields.iter().any(|field| field.name() == name)
    {
        let available = fields.iter().map(|field| field.name().to_owned()).collect();
        return Err(Error::Column { path: path.into(), column: name.into(), available });
    }
    let wanted = |name: &str, simple: bool| simple || Some(name) == picture;
    let used = fields.iter().filter(|field| wanted(field.name(), field.is_primitive())).cloned();
    let projection = Type::group_type_builder(schema.name())
        .with_fields(used.collect())
        .build()
        .map_err(fail)?;
    let header = fields
        .iter()
        .filter(|field| field.is_primitive() && Some(field.name()) != picture)
        .map(|field| field.name().to_owned())
        .collect();
    let mut bytes = 0usize;
    for (number, row) in reader.get_row_iter(Some(projection)).map_err(fail)?.enumerate() {
        if number >= MAX_ROWS {
            return Err(archive(path, format!("more than {MAX_ROWS} rows")));
        }
        let mut cells = Vec::new();
        let mut encoded = Vec::new();
        for (name, field) in row.map_err(fail)?.into_columns() {
            if Some(name.as_str()) == picture {
                encoded = packed(field).ok_or_else(|| {
                    archive(path, format!("column '{name}' holds no bytes in row {number}"))
                })?;
            } else {
                cells.push(text(&field));
            }
        }
        bytes += encoded.len() + cells.iter().map(String::len).sum::<usize>();
        if bytes > MAX_BYTES {
            return Err(archive(path, format!("more than {MAX_BYTES} bytes in its cells")));
        }
        visit(&cells, encoded).map_err(|reason| archive(path, reason))?;
    }
    Ok(header)
}

/// The bytes of a picture: the field itself, or the field `bytes` of a group.
fn packed(field: Field) -> Option<Vec<u8>> {
    match field {
        Field::Bytes(bytes) => Some(bytes.data().to_vec()),
        Field::Group(row) => {
            let mut inner = row.into_columns().into_iter();
            inner.find(|(name, _)| name == "bytes").and_then(|(_, field)| match field {
                Field::Bytes(bytes) => Some(bytes.data().to_vec()),
                _ => None,
            })
        }
        _ => None,
    }
}

/// As a cell of a CSV would read; nothing for null and bytes.
fn text(field: &Field) -> String {
    match field {
        Field::Null | Field::Bytes(_) => String::new(),
        Field::Bool(value) => u8::from(*value).to_string(),
        Field::Str(value) => value.trim().to_owned(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        other => other.to_string(),
    }
}
