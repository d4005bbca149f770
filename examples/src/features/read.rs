use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest, Sha256};
use vit_datasets::{Record, Target, Task};

use super::{FeatureTable, Format, Sidecar, beside, parquet};

impl FeatureTable {
    /// Reads a feature file with its table, and checks that they belong together.
    ///
    /// # Errors
    /// When one of the three files is missing or is not the one that was written.
    pub fn open(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        let (table_path, json_path) = beside(path);
        let sidecar: Sidecar = serde_json::from_slice(&read(&json_path)?)
            .with_context(|| json_path.display().to_string())?;
        let (bytes, table) = (read(path)?, read(&table_path)?);
        for (path, bytes, sha256) in
            [(path, &bytes, &sidecar.features_sha256), (&table_path, &table, &sidecar.table_sha256)]
        {
            ensure!(
                &format!("{:x}", Sha256::digest(bytes)) == sha256,
                "{} is not the file that {} was written for",
                path.display(),
                json_path.display()
            );
        }
        let values = values(format, bytes, &sidecar).with_context(|| path.display().to_string())?;
        let records =
            records(&table, &sidecar.task).with_context(|| table_path.display().to_string())?;
        ensure!(records.len() == sidecar.rows, "{} rows in the table", records.len());
        let Sidecar { dim, task, origin, .. } = sidecar;
        Ok(Self { values, dim, records, task, origin })
    }
}

fn values(format: Format, bytes: Vec<u8>, sidecar: &Sidecar) -> Result<Vec<f32>> {
    let values: Vec<f32> = if format == Format::Parquet {
        parquet::read(bytes)?
    } else {
        let header = format.header(sidecar.rows, sidecar.dim)?;
        let numbers = bytes.strip_prefix(header.as_slice()).context("another header")?;
        let (numbers, rest) = numbers.as_chunks::<4>();
        ensure!(rest.is_empty(), "the last number is cut off");
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let (rows, dim) = (sidecar.rows, sidecar.dim);
    ensure!(rows.checked_mul(dim) == Some(values.len()), "it does not hold {rows} rows of {dim}");
    Ok(values)
}

fn records(table: &[u8], task: &Task) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for row in csv::Reader::from_reader(table).records() {
        let row = row?;
        let mut cells = row.iter();
        let (Some(id), Some(group)) = (cells.next(), cells.next()) else { bail!("a row is short") };
        let target = match task {
            Task::SingleLabel { classes } => {
                let label = cells.next().context("a row has no label")?;
                let class = classes.iter().position(|class| class == label);
                Target::Class(class.with_context(|| format!("'{label}' is no class"))?)
            }
            Task::MultiLabel { .. } => {
                let label = |text: &str| -> Result<Option<f32>> {
                    Ok(if text.is_empty() { None } else { Some(text.parse()?) })
                };
                Target::Labels(cells.map(label).collect::<Result<_>>()?)
            }
            _ => Target::None,
        };
        records.push(Record { id: id.to_string(), group: group.to_string(), target });
    }
    Ok(records)
}
