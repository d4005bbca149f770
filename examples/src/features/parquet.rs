//! Features as Parquet: columns `id`, `group`, the labels, and `features`, a list of floats.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use hyper::body::Bytes;
use parquet::basic::{LogicalType, Repetition, Type as Kind};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use vit_datasets::{Record, Target, Task};

use super::TENSOR;

/// Rows per row group: what is in memory at a time.
const GROUP: usize = 4096;

/// Rows of `numbers` (little-endian bytes) with their records.
pub(super) fn write(
    out: impl Write + Send,
    numbers: &mut dyn Read,
    dim: usize,
    records: &[Record],
    task: &Task,
) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut file = SerializedFileWriter::new(out, schema(task)?, Arc::new(properties))?;
    for records in records.chunks(GROUP) {
        let mut group = file.next_row_group()?;
        texts(&mut group, records.iter().map(|record| record.id.as_str()))?;
        texts(&mut group, records.iter().map(|record| record.group.as_str()))?;
        labels(&mut group, records, task)?;
        let mut bytes = vec![0u8; records.len() * dim * 4];
        numbers.read_exact(&mut bytes)?;
        let (bytes, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        // Every element is there, and the first of a row begins a list.
        let present = vec![1i16; values.len()];
        let level = |at: usize| i16::from(!at.is_multiple_of(dim.max(1)));
        let repeated: Vec<i16> = (0..values.len()).map(level).collect();
        floats(&mut group, &values, Some(&present), Some(&repeated))?;
        group.close()?;
    }
    file.close()?;
    Ok(())
}

/// The features of all rows.
pub(super) fn read(bytes: Vec<u8>) -> Result<Vec<f32>> {
    let file = SerializedFileReader::new(Bytes::from(bytes))?;
    let columns = file.metadata().file_metadata().schema_descr().columns();
    let path = format!("{TENSOR}.list.element");
    let column = columns.iter().position(|column| column.path().string() == path);
    let column = column.with_context(|| format!("there is no column {path}"))?;
    let mut all = Vec::new();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        let ColumnReader::FloatColumnReader(mut reader) = group.get_column_reader(column)? else {
            bail!("column {path} does not hold floats");
        };
        let (mut values, mut present, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        let most = usize::try_from(group.metadata().num_rows())?;
        reader.read_records(most, Some(&mut present), Some(&mut repeated), &mut values)?;
        all.extend(values);
    }
    Ok(all)
}

fn schema(task: &Task) -> Result<Arc<Type>> {
    let text = |name: &str| -> Result<Arc<Type>> {
        let kind = Type::primitive_type_builder(name, Kind::BYTE_ARRAY);
        let kind = kind.with_repetition(Repetition::REQUIRED);
        Ok(Arc::new(kind.with_logical_type(Some(LogicalType::String)).build()?))
    };
    let float = |name: &str, repetition| -> Result<Arc<Type>> {
        let kind = Type::primitive_type_builder(name, Kind::FLOAT);
        Ok(Arc::new(kind.with_repetition(repetition).build()?))
    };
    let mut fields = vec![text("id")?, text("group")?];
    match task {
        Task::SingleLabel { .. } => fields.push(text("label")?),
        Task::MultiLabel { findings } => {
            for finding in findings {
                fields.push(float(finding, Repetition::OPTIONAL)?);
            }
        }
        _ => {}
    }
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![float("element", Repetition::REQUIRED)?])
        .build()?;
    let features = Type::group_type_builder(TENSOR)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()?;
    fields.push(Arc::new(features));
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

type Group<'a, W> = SerializedRowGroupWriter<'a, W>;

fn texts<'t, W: Write + Send>(
    group: &mut Group<W>,
    texts: impl Iterator<Item = &'t str>,
) -> Result<()> {
    let values: Vec<ByteArray> = texts.map(ByteArray::from).collect();
    let mut column = group.next_column()?.context("a column too many")?;
    column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
    Ok(column.close()?)
}

fn floats<W: Write + Send>(
    group: &mut Group<W>,
    values: &[f32],
    present: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.context("a column too many")?;
    column.typed::<FloatType>().write_batch(values, present, repeated)?;
    Ok(column.close()?)
}

fn labels<W: Write + Send>(group: &mut Group<W>, records: &[Record], task: &Task) -> Result<()> {
    match task {
        Task::SingleLabel { classes } => {
            let name = |record: &Record| match record.target {
                Target::Class(class) => classes.get(class).map_or("", String::as_str),
                _ => "",
            };
            texts(group, records.iter().map(name))
        }
        Task::MultiLabel { findings } => {
            for finding in 0..findings.len() {
                let label = |record: &Record| match &record.target {
                    Target::Labels(labels) => labels.get(finding).copied().flatten(),
                    _ => None,
                };
                let cells: Vec<Option<f32>> = records.iter().map(label).collect();
                let present: Vec<i16> = cells.iter().map(|c| i16::from(c.is_some())).collect();
                let values: Vec<f32> = cells.into_iter().flatten().collect();
                floats(group, &values, Some(&present), None)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
