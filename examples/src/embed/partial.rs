//! What an interrupted run leaves behind: `OUT.partial/` with the rows so far and a journal.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use vit_models::write_atomic;

use crate::features::{Origin, Skipped};

const PLAN: &str = "plan.json";
const ROWS: &str = "rows.f32";
const JOURNAL: &str = "journal.jsonl";

/// One finished batch; a line of the journal, written after the batch's rows.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Rows up to and with this batch.
    rows: usize,
    dim: Option<usize>,
    skipped: Vec<Skipped>,
}

/// The rows so far.
pub(super) struct Partial {
    folder: PathBuf,
    rows_file: File,
    journal: File,
    batches: usize,
    rows: usize,
    dim: Option<usize>,
    skipped: Vec<Skipped>,
}

impl Partial {
    /// Begins, or goes on where the journal ends.
    ///
    /// # Errors
    /// When what is there was made with other settings, or cannot be read.
    pub(super) fn open(out: &Path, origin: &Origin) -> Result<Self> {
        let mut name = out.as_os_str().to_os_string();
        name.push(".partial");
        let folder = PathBuf::from(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        check_plan(&folder, origin)?;
        let open = |name| {
            let path = folder.join(name);
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).read(true).write(true).open(&path);
            file.with_context(|| path.display().to_string())
        };
        let (rows_file, journal) = (open(ROWS)?, open(JOURNAL)?);
        let mut partial = Self {
            rows_file,
            journal,
            batches: 0,
            rows: 0,
            dim: None,
            skipped: Vec::new(),
            folder,
        };
        partial.replay().with_context(|| partial.folder.display().to_string())?;
        Ok(partial)
    }

    /// Takes the journal's whole lines whose rows are there; cuts off what came after them.
    fn replay(&mut self) -> Result<()> {
        let mut text = String::new();
        // A line that was cut off may end within a letter.
        let mut bytes = Vec::new();
        self.journal.read_to_end(&mut bytes)?;
        text.push_str(&String::from_utf8_lossy(&bytes));
        let stored = self.rows_file.metadata()?.len();
        let mut kept = 0u64;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { break };
            let dim = entry.dim.or(self.dim);
            if size(entry.rows, dim) > stored {
                break;
            }
            kept += line.len() as u64;
            self.batches += 1;
            (self.rows, self.dim) = (entry.rows, dim);
            self.skipped.extend(entry.skipped);
        }
        self.journal.set_len(kept)?;
        self.journal.seek(SeekFrom::Start(kept))?;
        let end = size(self.rows, self.dim);
        self.rows_file.set_len(end)?;
        self.rows_file.seek(SeekFrom::Start(end))?;
        Ok(())
    }

    /// Adds a batch. Once this returns, it survives.
    pub(super) fn append(&mut self, rows: &[Vec<f32>], skipped: Vec<Skipped>) -> Result<()> {
        let dim = rows.first().map(Vec::len);
        if let (Some(before), Some(now)) = (self.dim, dim)
            && before != now
        {
            bail!("rows of {now} numbers after rows of {before}");
        }
        let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        self.rows_file.write_all(&bytes)?;
        self.rows_file.sync_data()?;
        self.dim = self.dim.or(dim);
        self.rows += rows.len();
        self.batches += 1;
        let entry = Entry { rows: self.rows, dim: self.dim, skipped };
        let line = serde_json::to_string(&entry)? + "\n";
        self.journal.write_all(line.as_bytes())?;
        self.journal.sync_data()?;
        self.skipped.extend(entry.skipped);
        Ok(())
    }

    /// Batches that are done.
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    /// Rows that are done.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per row, once there is one.
    pub(super) fn dim(&self) -> Option<usize> {
        self.dim
    }

    /// Pictures left out so far.
    pub(super) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// All rows as bytes, from the first.
    pub(super) fn numbers(&self) -> Result<impl Read + use<>> {
        Ok(BufReader::new(File::open(self.folder.join(ROWS))?))
    }

    /// Removes the folder: everything is in the finished file.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())
    }
}

fn size(rows: usize, dim: Option<usize>) -> u64 {
    (rows as u64).saturating_mul(dim.unwrap_or(0) as u64).saturating_mul(4)
}

/// The same settings as when the run began.
fn check_plan(folder: &Path, origin: &Origin) -> Result<()> {
    let path = folder.join(PLAN);
    if let Ok(text) = std::fs::read(&path) {
        let before: Option<Origin> = serde_json::from_slice(&text).ok();
        if before.as_ref() != Some(origin) {
            bail!(
                "{} is an interrupted run with another model, other settings or other pictures; \
                 remove it to start anew",
                folder.display()
            );
        }
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(origin)?;
    Ok(write_atomic(&path, |file| file.write_all(&text))?)
}
