use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};
use vit_datasets::{Record, Target, Task};
use vit_models::write_atomic;

use super::{Format, Origin, Sidecar, Skipped, beside, parquet};

/// Writes a feature file with its table and its origin.
pub(crate) struct Writer {
    path: PathBuf,
    format: Format,
}

/// Whether a finished file of the same origin is there.
///
/// # Errors
/// When a file of another origin is in the way.
pub(crate) fn already_there(path: &Path, origin: &Origin) -> Result<bool> {
    let (table, json) = beside(path);
    if !json.exists() {
        return Ok(false);
    }
    let text = std::fs::read(&json).with_context(|| json.display().to_string())?;
    let there: Result<Sidecar, _> = serde_json::from_slice(&text);
    match there {
        Ok(there) if there.origin == *origin && path.exists() && table.exists() => Ok(true),
        _ => bail!(
            "{} was made from another model, other settings or other pictures; remove it with its \
             .csv and .json, or choose another --out",
            path.display()
        ),
    }
}

impl Writer {
    /// For a path that ends in `.safetensors`, `.npy` or `.parquet`.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), format: Format::of(path)? })
    }

    /// Writes all three files. `numbers` gives the rows as little-endian bytes.
    pub(crate) fn write(
        &self,
        origin: Origin,
        dim: usize,
        numbers: &mut dyn Read,
        records: &[Record],
        task: &Task,
        skipped: Vec<Skipped>,
    ) -> Result<()> {
        let (table_path, json_path) = beside(&self.path);
        let mut fault = None;
        let mut hash = Sha256::new();
        let written = write_atomic(&self.path, |file| {
            let out = Hashing { out: file, hash: &mut hash };
            self.numbers(out, dim, numbers, records, task).map_err(|error| {
                let text = std::io::Error::other(error.to_string());
                fault = Some(error);
                text
            })
        });
        if let Some(fault) = fault {
            return Err(fault.context(self.path.display().to_string()));
        }
        written?;
        let table = table(records, task)?;
        write_atomic(&table_path, |file| file.write_all(&table))?;
        let sidecar = Sidecar {
            origin,
            rows: records.len(),
            dim,
            task: task.clone(),
            skipped,
            features_sha256: format!("{:x}", hash.finalize()),
            table_sha256: format!("{:x}", Sha256::digest(&table)),
        };
        let json = serde_json::to_vec_pretty(&sidecar)?;
        write_atomic(&json_path, |file| file.write_all(&json))?;
        Ok(())
    }
}

impl Writer {
    /// The feature file itself.
    fn numbers(
        &self,
        mut out: Hashing,
        dim: usize,
        numbers: &mut dyn Read,
        records: &[Record],
        task: &Task,
    ) -> Result<()> {
        if self.format == Format::Parquet {
            return parquet::write(out, numbers, dim, records, task);
        }
        out.write_all(&self.format.header(records.len(), dim)?)?;
        std::io::copy(numbers, &mut out)?;
        Ok(())
    }
}

/// Hashes what it writes.
struct Hashing<'a> {
    out: &'a mut File,
    hash: &'a mut Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// One line per row: id, group, and the class or one column per finding.
fn table(records: &[Record], task: &Task) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["id".to_string(), "group".to_string()];
    match task {
        Task::SingleLabel { .. } => header.push("label".to_string()),
        Task::MultiLabel { findings } => header.extend(findings.iter().cloned()),
        _ => {}
    }
    table.write_record(&header)?;
    for record in records {
        let mut cells = vec![record.id.clone(), record.group.clone()];
        match &record.target {
            Target::Class(class) => {
                let name = task.names().get(*class);
                cells.push(name.with_context(|| format!("class {class} has no name"))?.clone());
            }
            Target::Labels(labels) => {
                cells.extend(
                    labels.iter().map(|label| label.map_or(String::new(), |l| l.to_string())),
                );
            }
            _ => {}
        }
        table.write_record(&cells)?;
    }
    Ok(table.into_inner()?)
}
