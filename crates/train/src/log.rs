use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, Result};

/// Name of the log in a run's folder.
pub const LOG_FILE: &str = "log.jsonl";

/// A log of one JSON object per line.
///
/// It holds values only, no times, so that two runs with the same settings write the same bytes.
/// A resumed run cuts it back to where its checkpoint was taken and goes on from there.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    /// Opens the log and cuts it to `bytes`.
    pub(crate) fn open(folder: &Path, bytes: u64) -> Result<Self> {
        let path = folder.join(LOG_FILE);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(false).write(true).open(&path).map_err(io)?;
        if file.metadata().map_err(io)?.len() < bytes {
            let reason = format!("is shorter than the {bytes} bytes the checkpoint knows of");
            return Err(Error::Checkpoint { path, reason });
        }
        file.set_len(bytes).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self { path, file, bytes })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut text = serde_json::to_string(line).map_err(|e| io(e.into()))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(io)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Makes sure that everything written so far survives a crash: a checkpoint will rely on it.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}
