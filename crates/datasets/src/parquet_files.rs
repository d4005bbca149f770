use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::Value;
use vit_transforms::decode_bytes_with;

use crate::files::{FileOptions, Sheet};
use crate::table::CsvTable;
use crate::{
    Card, CsvLabels, CsvOptions, Dataset, Error, FileDataset, LeftOut, OnMissing, Record, Result,
    Sample, Task,
};

/// Most bytes that the cells of a table may have together, in all of its files, unless
/// [`CsvOptions::max_bytes`] says something else.
const MAX_BYTES: u64 = 4 << 30;
/// Most rows of one file; a few bytes can claim any number of equal ones.
const MAX_ROWS: usize = 100_000_000;

/// Reads the columns of simple types as text; lists, groups and bytes are left out.
pub(crate) fn read_sheet(path: &Path, max_bytes: Option<u64>) -> Result<Sheet> {
    let mut rows = Vec::new();
    let mut room = Room::new(max_bytes);
    let (header, _) = each_row(path, None, &mut room, &mut |cells, _| {
        rows.push(cells.iter().map(String::as_str).collect::<StringRecord>());
        Ok(())
    })?;
    Sheet::from_rows(path, header, rows)
}

/// Pictures inside of Parquet files, as the data sets of the Hugging Face hub have them: a column of
/// bytes, or a group with a field `bytes`, beside columns of labels.
///
/// All pictures are held in memory as they are packed (PNG, JPEG), up to
/// [`CsvOptions::max_bytes`].
#[derive(Debug, Clone)]
pub struct ParquetImages {
    /// Each file with the number of its first row.
    shards: Vec<(usize, PathBuf)>,
    prefix: String,
    data: FileDataset,
    pictures: Vec<Vec<u8>>,
}

impl ParquetImages {
    /// Reads a file whose pictures are in `column`.
    ///
    /// Labels, groups, filter and attributes are those of `options`; its `root`, `file_column` and
    /// `file_suffix` do not matter. Ids are the rows, counted from 0.
    ///
    /// Where the file says what the numbers of the class column mean (`ClassLabel` of Hugging Face
    /// `datasets`), the classes are those names in that order. Classes given in `options` win: if
    /// they are numbers, the numbers in the file are what they are compared with. Without either,
    /// numbers are sorted as text, so give them (`["0", "1", …]`) where there are more than ten.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Archive`] when it is no whole Parquet
    /// file or has too much in it, [`Error::Column`], and as [`CsvTable::open`] for labels and
    /// groups, with rows counted from 2.
    pub fn open(path: &Path, column: &str, options: &CsvOptions) -> Result<Self> {
        Self::open_shards(&[path.into()], column, options)
    }

    /// Reads files that are parts of one table, in this order; patients and classes may be in
    /// several of them. Ids are the rows of the whole.
    ///
    /// # Errors
    /// As [`ParquetImages::open`]; [`Error::Archive`] also when the files differ in their columns or
    /// classes; [`Error::Empty`] when there is no file.
    pub fn open_shards(paths: &[PathBuf], column: &str, options: &CsvOptions) -> Result<Self> {
        Self::with_prefix(paths, column, options, "")
    }

    /// `prefix` stands before the ids, so that parts of a data set have none in common.
    pub(crate) fn with_prefix(
        paths: &[PathBuf],
        column: &str,
        options: &CsvOptions,
        prefix: &str,
    ) -> Result<Self> {
        let (mut rows, mut pictures, mut shards) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = Room::new(options.max_bytes);
        let mut first: Option<(Vec<String>, Classes)> = None;
        for path in paths {
            shards.push((pictures.len(), path.clone()));
            let found = each_row(path, Some(column), &mut room, &mut |cells, picture| {
                let number = format!("{prefix}{:09}", pictures.len());
                pictures.push(picture);
                let cells = cells.iter().map(String::as_str).chain([number.as_str()]);
                rows.push(cells.collect::<StringRecord>());
                Ok(())
            })?;
            if first.as_ref().is_some_and(|first| *first != found) {
                let reason = "its columns or classes are not those of the first file".into();
                return Err(archive(path, reason));
            }
            first = Some(found);
        }
        let (Some((mut header, classes)), Some(path)) = (first, paths.first()) else {
            return Err(Error::Empty { path: PathBuf::new(), what: "Parquet file" });
        };
        let mut labels = options.labels.clone();
        name_classes(&mut labels, &header, &classes, &mut rows);
        // A column of our own, whose name no file has.
        let file_column = "\u{0}row".to_owned();
        header.push(file_column.clone());
        let sheet = Sheet::from_rows(path, header, rows)?;
        let root = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let options = CsvOptions {
            root: root.into(),
            file_column,
            file_suffix: String::new(),
            missing: OnMissing::Unchecked,
            labels,
            ..options.clone()
        };
        let data = CsvTable::from_sheet(&sheet, &options)?.into_files();
        Ok(Self { shards, prefix: prefix.into(), data, pictures })
    }

    /// Row of a record in all files together.
    fn row(&self, record: &Record) -> usize {
        let row = record.id.strip_prefix(&self.prefix).and_then(|row| row.parse().ok());
        row.unwrap_or(usize::MAX)
    }

    /// First row and file of the shard that a row is in.
    fn shard(&self, row: usize) -> Option<&(usize, PathBuf)> {
        self.shards.iter().rfind(|(start, _)| *start <= row)
    }
}

/// Names of the classes by column, as `ClassLabel` stores them.
type Classes = BTreeMap<String, Vec<String>>;

/// Puts names for the numbers of the class column, unless the classes asked for are others.
fn name_classes(
    labels: &mut CsvLabels,
    header: &[String],
    known: &Classes,
    rows: &mut [StringRecord],
) {
    let CsvLabels::Single { column, classes, .. } = labels else { return };
    let Some(names) = known.get(column) else { return };
    let Some(place) = header.iter().position(|name| name == column) else { return };
    let asked = classes.get_or_insert_with(|| names.clone());
    if !asked.iter().all(|class| names.contains(class)) {
        return;
    }
    for row in rows {
        let named = |(at, cell): (usize, &str)| match cell.parse::<i64>() {
            // What `datasets` writes for a row without a label.
            Ok(-1) if at == place => String::new(),
            Ok(number) if at == place => {
                let name = usize::try_from(number).ok().and_then(|number| names.get(number));
                name.map_or(cell, String::as_str).to_owned()
            }
            _ => cell.to_owned(),
        };
        *row = row.iter().enumerate().map(named).collect::<Vec<_>>().into();
    }
}

/// The columns of classes and of pictures that `datasets` noted in the file.
fn features(reader: &SerializedFileReader<File>) -> serde_json::Map<String, Value> {
    let noted = reader.metadata().file_metadata().key_value_metadata();
    let entry = noted.into_iter().flatten().find(|entry| entry.key == "huggingface");
    let text = entry.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.pointer("/info/features").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn classes(features: &serde_json::Map<String, Value>) -> Classes {
    let names = |feature: &Value| -> Option<Vec<String>> {
        let names =
            feature.get("names").filter(|_| feature["_type"] == "ClassLabel")?.as_array()?;
        names.iter().map(|name| Some(name.as_str()?.trim().to_owned())).collect()
    };
    features.iter().filter_map(|(column, f)| Some((column.clone(), names(f)?))).collect()
}

/// The only column of pictures: the one noted as such, else the only one of bytes.
///
/// # Errors
/// [`Error::Column`] when there is none, or several.
#[cfg(feature = "hub")]
pub(crate) fn image_column(path: &Path) -> Result<String> {
    let look = || -> Result<String> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let reader =
            SerializedFileReader::new(file).map_err(|error| archive(path, error.to_string()))?;
        let noted = features(&reader);
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let names = |wanted: &dyn Fn(&Type) -> bool| -> Vec<String> {
            let fields = fields.iter().filter(|field| wanted(field));
            fields.map(|field| field.name().to_owned()).collect()
        };
        let images = names(&|field| noted.get(field.name()).is_some_and(|f| f["_type"] == "Image"));
        let candidates = if images.is_empty() { names(&holds_bytes) } else { images };
        match candidates.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let reason = format!("no column of pictures among {}", names(&|_| true).join(", "));
                Err(archive(path, reason))
            }
            several => Err(archive(
                path,
                format!("several columns of pictures; name one of {}", several.join(", ")),
            )),
        }
    };
    catch_unwind(AssertUnwindSafe(look))
        .unwrap_or_else(|_| Err(archive(path, "its decoder gave up".into())))
}

#[cfg(feature = "hub")]
fn holds_bytes(field: &Type) -> bool {
    if field.is_group() {
        return field.get_fields().iter().any(|f| f.name() == "bytes" && holds_bytes(f));
    }
    field.get_physical_type() == parquet::basic::Type::BYTE_ARRAY
        && field.get_basic_info().logical_type_ref().is_none()
        && field.get_basic_info().converted_type() == parquet::basic::ConvertedType::NONE
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
        let row = self.row(&record);
        let bytes = self.pictures.get(row).map_or(&[][..], Vec::as_slice);
        let name = self.shard(row).map_or(String::new(), |(start, path)| {
            format!("{}, row {}", path.display(), row - start)
        });
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

    fn left_out(&self) -> Vec<LeftOut> {
        self.data.left_out()
    }

    fn decoding(&self) -> String {
        self.data.decoding()
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        let row = self.row(&self.record(index).ok()?);
        self.shard(row).map(|(_, path)| path.clone())
    }
}

/// Bytes that may still come.
struct Room {
    limit: u64,
    left: u64,
}

impl Room {
    fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(MAX_BYTES);
        Self { limit, left: limit }
    }

    fn take(&mut self, bytes: usize) -> std::result::Result<(), String> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| {
            format!(
                "its cells have more than {} bytes together, which would be held in memory; allow \
                 more with `max_bytes`, or put the pictures into files",
                self.limit
            )
        })?;
        Ok(())
    }
}

type Visit<'a> = &'a mut dyn FnMut(&[String], Vec<u8>) -> std::result::Result<(), String>;

/// Calls `visit` with the text of every row, and with the bytes of the picture if a column for them
/// is named. Gives the names of the text columns and of classes. `room` is that of all files.
fn each_row(
    path: &Path,
    picture: Option<&str>,
    room: &mut Room,
    visit: Visit<'_>,
) -> Result<(Vec<String>, Classes)> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.into(), source })?;
    // The format is intricate and the file foreign: a decoder that gives up must not stop the
    // program. Nothing that was being changed is looked at afterwards.
    let result = catch_unwind(AssertUnwindSafe(|| visit_rows(path, file, picture, room, visit)));
    result.unwrap_or_else(|_| Err(archive(path, "its decoder gave up".into())))
}

fn archive(path: &Path, reason: String) -> Error {
    Error::Archive { path: path.into(), reason }
}

fn visit_rows(
    path: &Path,
    file: File,
    picture: Option<&str>,
    room: &mut Room,
    visit: Visit<'_>,
) -> Result<(Vec<String>, Classes)> {
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
        room.take(encoded.len() + cells.iter().map(String::len).sum::<usize>())
            .map_err(|reason| archive(path, reason))?;
        visit(&cells, encoded).map_err(|reason| archive(path, reason))?;
    }
    Ok((header, classes(&features(&reader))))
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
