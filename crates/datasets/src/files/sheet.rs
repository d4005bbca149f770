use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, StringRecord};
use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// Most bytes of a table, unpacked. The largest of those known (MIMIC's metadata) has 60 MB; a
/// packed file could grow a thousandfold.
const MAX_BYTES: u64 = 1 << 30;

/// The text of a table with a header, checked: every row has as many cells as the header, all of
/// it is UTF-8, and no column stands twice.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) path: PathBuf,
    pub(crate) header: Vec<String>,
    rows: Vec<StringRecord>,
}

/// One row of a [`Sheet`].
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    sheet: &'a Sheet,
    record: &'a StringRecord,
    pub(crate) number: u64,
}

impl Sheet {
    /// Reads a table, packed with gzip or not. A byte order mark and `\r` are dropped; blanks
    /// around cells too.
    pub(crate) fn read(path: &Path, delimiter: u8) -> Result<Self> {
        Self::read_up_to(path, delimiter, MAX_BYTES)
    }

    /// The same with another limit of its bytes, unpacked.
    pub(crate) fn read_up_to(path: &Path, delimiter: u8, limit: u64) -> Result<Self> {
        Self::parse(path, open_up_to(path, limit)?, delimiter)
    }

    /// Reads a table from its text; `path` is only used in errors.
    pub(crate) fn parse(path: &Path, text: impl Read, delimiter: u8) -> Result<Self> {
        let fail = |error| csv_error(path, error);
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text);
        let header = reader.byte_headers().map_err(fail)?.clone();
        let header = utf8(path, &ByteRecord::new(), header)?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        let sheet = Self { path: path.into(), header, rows: Vec::new() };
        sheet.check_header()?;
        let names: ByteRecord = sheet.header.iter().collect();
        let rows = reader
            .byte_records()
            .map(|record| utf8(path, &names, record.map_err(fail)?))
            .collect::<Result<_>>()?;
        Ok(Self { rows, ..sheet })
    }

    /// A table that does not come from text.
    #[cfg(feature = "parquet")]
    pub(crate) fn from_rows(
        path: &Path,
        header: Vec<String>,
        rows: Vec<StringRecord>,
    ) -> Result<Self> {
        let sheet = Self { path: path.into(), header, rows };
        sheet.check_header()?;
        Ok(sheet)
    }

    fn check_header(&self) -> Result<()> {
        let path = || self.path.clone();
        if self.header.iter().all(String::is_empty) {
            return Err(Error::Header { path: path(), reason: "there is none".into() });
        }
        let mut seen = HashSet::new();
        for name in &self.header {
            // Several tables end their header with empty names.
            if !name.is_empty() && !seen.insert(name) {
                let reason = format!("column '{name}' stands twice in the header");
                return Err(Error::Header { path: path(), reason });
            }
        }
        Ok(())
    }

    /// Position of a column.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| Error::Column {
            path: self.path.clone(),
            column: name.into(),
            available: self.header.clone(),
        })
    }

    /// Position of a column that some versions of the table do not have.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    pub(crate) fn columns<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N]> {
        let mut positions = [0; N];
        for (position, name) in positions.iter_mut().zip(names) {
            *position = self.column(name)?;
        }
        Ok(positions)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.rows.iter().enumerate().map(|(row, record)| {
            let number = record.position().map_or(row as u64 + 2, csv::Position::line);
            Line { sheet: self, record, number }
        })
    }
}

impl<'a> Line<'a> {
    /// A cell; empty beyond the row's end.
    pub(crate) fn cell(&self, column: usize) -> &'a str {
        self.record.get(column).unwrap_or_default()
    }

    /// A cell that must not be empty.
    pub(crate) fn required(&self, column: usize) -> Result<&'a str> {
        match self.cell(column) {
            "" => {
                let name = self.sheet.header.get(column).map_or("", String::as_str);
                Err(self.error(format!("column '{name}' is empty")))
            }
            value => Ok(value),
        }
    }

    pub(crate) fn error(&self, reason: String) -> Error {
        Error::Row { path: self.sheet.path.clone(), line: self.number, reason }
    }

    pub(crate) fn label_error(&self, column: usize, expected: &str) -> Error {
        let name = self.sheet.header.get(column).map_or("", String::as_str);
        Error::Label {
            place: format!("{}, column '{name}'", self.place()),
            value: self.cell(column).into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn place(&self) -> String {
        format!("{}, line {}", self.sheet.path.display(), self.number)
    }
}

/// The file's text, unpacked if it is packed, without a byte order mark, up to a limit.
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn BufRead>> {
    open_up_to(path, MAX_BYTES)
}

fn open_up_to(path: &Path, limit: u64) -> Result<Box<dyn BufRead>> {
    let io = |source| Error::Io { path: path.into(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let packed = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = BufReader::new(Bounded { reader, limit, left: limit });
    if text.fill_buf().map_err(io)?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    Ok(Box::new(text))
}

/// Fails where [`Read::take`] would end quietly.
struct Bounded {
    reader: Box<dyn Read>,
    limit: u64,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let limit = self.limit;
            std::io::Error::other(format!("the table has more than {limit} bytes of text"))
        })?;
        Ok(count)
    }
}

fn utf8(path: &Path, header: &ByteRecord, record: ByteRecord) -> Result<StringRecord> {
    let line = record.position().map_or(1, csv::Position::line);
    StringRecord::from_byte_record(record).map_err(|error| {
        let position = error.utf8_error().field();
        let column = match header.get(position).map(String::from_utf8_lossy) {
            Some(name) if !name.is_empty() => format!("'{name}'"),
            _ => (position + 1).to_string(),
        };
        Error::NotUtf8 { path: path.into(), line, column }
    })
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let path = path.to_path_buf();
    let line = error.position().map_or(0, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cell(s), but the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path, source },
        _ => Error::Row { path, line, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_unpacks_to_too_much_is_refused() {
        let text = |left| {
            let mut text = String::new();
            let reader = Box::new(&b"0123456789"[..]);
            Bounded { reader, limit: left, left }.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(text(10).unwrap(), "0123456789");
        assert!(text(9).unwrap_err().to_string().contains("bytes of text"));
    }
}
