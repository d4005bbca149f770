use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::sheet::open_text;
use crate::{Error, Result};

/// Lines of blank-separated words without a header, as the X-ray lists are: a name, which may hold
/// blanks, and then a fixed number of words.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<Entry>,
}

/// One line of a [`List`].
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) line: u64,
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
}

impl List {
    /// Reads a list with `words` words after each name. Empty lines, `\r`, blanks at the end and a
    /// byte order mark do not matter.
    pub(crate) fn read(path: &Path, words: usize) -> Result<Self> {
        let mut list = Self { path: path.into(), entries: Vec::new() };
        let mut reader = open_text(path)?;
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let read = reader
                .read_until(b'\n', &mut bytes)
                .map_err(|source| Error::Io { path: path.into(), source })?;
            if read == 0 {
                break;
            }
            let text = std::str::from_utf8(&bytes).map_err(|error| {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let column = String::from_utf8_lossy(before).split_whitespace().count().max(1);
                Error::NotUtf8 { path: path.into(), line, column: column.to_string() }
            })?;
            if !text.trim().is_empty() {
                list.entries.push(list.entry(line, text.trim(), words)?);
            }
        }
        Ok(list)
    }

    fn entry(&self, line: u64, text: &str, words: usize) -> Result<Entry> {
        let mut name = text;
        let mut tail = Vec::with_capacity(words);
        for _ in 0..words {
            let Some((before, word)) = name.rsplit_once(char::is_whitespace) else {
                let found = text.split_whitespace().count();
                let wanted = words + 1;
                return Err(self.error(line, format!("{found} word(s), but {wanted} are needed")));
            };
            tail.push(word.to_owned());
            name = before.trim_end();
        }
        tail.reverse();
        Ok(Entry { line, name: name.into(), words: tail })
    }

    pub(crate) fn error(&self, line: u64, reason: String) -> Error {
        Error::Row { path: self.path.clone(), line, reason }
    }

    pub(crate) fn place(&self, line: u64) -> String {
        format!("{}, line {line}", self.path.display())
    }

    /// A word that says whether something is there: `0` or `1`.
    pub(crate) fn flag(&self, line: u64, word: &str) -> Result<f32> {
        match word {
            "0" => Ok(0.0),
            "1" => Ok(1.0),
            other => Err(Error::Label {
                place: self.place(line),
                value: other.into(),
                expected: "0 and 1".into(),
            }),
        }
    }
}
