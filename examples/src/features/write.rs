use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};
use vit_datasets::{Record, Target, Task};
use vit_models::write_atomic;

use super::{Format, Origin, Sidecar, Skipped, beside};

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
    /// For a path that ends in `.safetensors` or `.npy`.
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
        let header = self.format.header(records.len(), dim)?;
        let mut hash = Sha256::new();
        write_atomic(&self.path, |file| {
            hash.update(&header);
            file.write_all(&header)?;
            let mut piece = vec![0u8; 1 << 18];
            loop {
                let read = numbers.read(&mut piece)?;
                let Some(new) = piece.get(..read).filter(|new| !new.is_empty()) else { break };
                hash.update(new);
                file.write_all(new)?;
            }
            Ok(())
        })?;
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
