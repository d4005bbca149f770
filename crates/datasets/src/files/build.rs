use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{AttributeStore, FileDataset, FileOptions, FindingBox, OnMissing, Root, inside};
use crate::left_out::LeftOutLog;
use crate::{Card, Error, Record, Result, Target, Task};

/// One sample on its way into a [`FileDataset`].
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// Line of the table.
    pub(crate) line: u64,
    /// Paths below the root where the file may be, the most likely first.
    pub(crate) paths: Vec<String>,
    /// The patient; without one the picture is its own group.
    pub(crate) group: Option<String>,
    pub(crate) target: Target,
    /// One value per attribute name.
    pub(crate) attributes: Vec<&'a str>,
    pub(crate) boxes: Vec<FindingBox>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(line: u64, path: impl Into<String>, target: Target) -> Self {
        let paths = vec![path.into()];
        Self { line, paths, group: None, target, attributes: Vec::new(), boxes: Vec::new() }
    }

    pub(crate) fn group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    pub(crate) fn attributes(self, attributes: Vec<&'a str>) -> Self {
        Self { attributes, ..self }
    }
}

/// Collects rows and checks what holds for every table: no path leaves the root, no file occurs
/// twice, every file is there.
#[derive(Debug)]
pub(crate) struct Builder {
    table: PathBuf,
    root: Root,
    options: FileOptions,
    records: Vec<Record>,
    attributes: AttributeStore,
    boxes: HashMap<usize, Vec<FindingBox>>,
    lines: HashMap<String, u64>,
    absent: usize,
    first_absent: Option<(u64, PathBuf)>,
    left_out: LeftOutLog,
}

impl Builder {
    /// For the rows of `table`, whose files lie below `root`.
    pub(crate) fn new(
        table: &Path,
        root: &Path,
        options: FileOptions,
        attributes: &[&str],
    ) -> Result<Self> {
        Ok(Self {
            table: table.into(),
            root: Root::open(root)?,
            options,
            records: Vec::new(),
            attributes: AttributeStore::new(attributes.iter().map(|&n| n.to_owned()).collect()),
            boxes: HashMap::new(),
            lines: HashMap::new(),
            absent: 0,
            first_absent: None,
            left_out: LeftOutLog::default(),
        })
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Counts a row that becomes no sample.
    pub(crate) fn leave_out(&mut self, line: u64, reason: &str) {
        self.left_out.note(reason, || format!("line {line}"));
    }

    /// Counts what was left out before there was a builder.
    pub(crate) fn also_left_out(&mut self, log: LeftOutLog) {
        self.left_out.append(log);
    }

    fn row_error(&self, line: u64, reason: String) -> Error {
        Error::Row { path: self.table.clone(), line, reason }
    }

    pub(crate) fn add(&mut self, row: Row<'_>) -> Result<()> {
        let Some(id) = self.locate(row.line, &row.paths)? else { return Ok(()) };
        if let Some(first) = self.lines.insert(id.clone(), row.line) {
            let reason = format!("file '{id}' is already in line {first}");
            return Err(self.row_error(row.line, reason));
        }
        if !row.boxes.is_empty() {
            self.boxes.insert(self.records.len(), row.boxes);
        }
        self.attributes.push(row.attributes);
        let group = row.group.unwrap_or_else(|| id.clone());
        self.records.push(Record { id, group, target: row.target });
        Ok(())
    }

    /// The first of the paths that is a file; `None` when there is none and that was counted.
    fn locate(&mut self, line: u64, paths: &[String]) -> Result<Option<String>> {
        let mut first = None;
        for path in paths {
            let id = inside(path).ok_or_else(|| {
                self.row_error(line, format!("'{path}' is not a path below the root"))
            })?;
            if self.options.missing == OnMissing::Unchecked || self.root.has(&id)? {
                return Ok(Some(id));
            }
            first.get_or_insert(id);
        }
        let Some(path) = first.map(|id| self.root.path().join(id)) else { return Ok(None) };
        self.absent += 1;
        self.left_out
            .note("files that do not exist", || format!("line {line}, {}", path.display()));
        self.first_absent.get_or_insert((line, path));
        Ok(None)
    }

    /// # Errors
    /// [`Error::MissingFiles`] when files are absent and must not be, [`Error::Empty`] when no row
    /// is left.
    pub(crate) fn finish(self, task: Task) -> Result<FileDataset> {
        if let (OnMissing::Refuse, Some((line, first))) = (self.options.missing, self.first_absent)
        {
            return Err(Error::MissingFiles { path: self.table, count: self.absent, line, first });
        }
        if self.records.is_empty() {
            return Err(Error::Empty { path: self.table, what: "rows to use" });
        }
        for entry in self.left_out.list() {
            tracing::warn!(table = %self.table.display(), "{entry}");
        }
        Ok(FileDataset {
            root: self.root.path().to_path_buf(),
            task,
            missing: self.options.missing,
            decode: self.options.decode,
            records: self.records,
            attributes: self.attributes,
            boxes: self.boxes,
            card: None,
            part: String::new(),
            left_out: self.left_out,
        })
    }
}

impl FileDataset {
    /// Names the data set, and the part of it that this is.
    pub(crate) fn described(mut self, card: &'static Card, part: impl Into<String>) -> Self {
        self.card = Some(card);
        self.part = part.into();
        self
    }
}
