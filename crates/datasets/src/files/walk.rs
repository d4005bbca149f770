use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::lookup::{below, is_picture};
use super::root::{Root, check_inside};
use crate::left_out::LeftOutLog;
use crate::{Error, Result};

/// Lists what lies below a root, always in the same order, and counts what it leaves out.
///
/// Names that begin with a dot are not there. A symbolic link that leads out of the root is an
/// error; any other is left out, since its target is read where it lies.
#[derive(Debug)]
pub(crate) struct Walk {
    root: Root,
    left_out: LeftOutLog,
}

impl Walk {
    pub(crate) fn new(root: &Path) -> Result<Self> {
        Ok(Self { root: Root::open(root)?, left_out: LeftOutLog::default() })
    }

    pub(crate) fn left_out(self) -> LeftOutLog {
        self.left_out
    }

    /// Starts to count anew, for who lists the same folder once more.
    pub(crate) fn forget_left_out(&mut self) {
        self.left_out = LeftOutLog::default();
    }

    /// The folder of this name right below the root, if there is one. It may be a link to another
    /// place inside.
    ///
    /// # Errors
    /// [`Error::Outside`] for a link out of the root.
    pub(crate) fn folder(&self, name: &str) -> Result<Option<PathBuf>> {
        let path = self.root.path().join(name);
        check_inside(self.root.path(), &path)?;
        Ok(path.is_dir().then_some(path))
    }

    /// Paths below the root of all pictures in a folder, at any depth, sorted.
    pub(crate) fn pictures(&mut self, folder: &Path) -> Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in walk(folder).into_iter().filter_entry(|entry| !hidden(entry)) {
            let entry = entry.map_err(|error| io_error(folder, error))?;
            if let Some(id) = self.picture(&entry)? {
                found.push((id, entry.into_path()));
            }
        }
        Ok(found)
    }

    /// The folders in a folder by name, and pictures that lie beside them.
    pub(crate) fn children(
        &mut self,
        folder: &Path,
    ) -> Result<(BTreeMap<String, PathBuf>, Vec<PathBuf>)> {
        let (mut folders, mut loose) = (BTreeMap::new(), Vec::new());
        for entry in walk(folder).max_depth(1) {
            let entry = entry.map_err(|error| io_error(folder, error))?;
            if hidden(&entry) {
                continue;
            }
            if !entry.file_type().is_dir() {
                if self.picture(&entry)?.is_some() {
                    loose.push(entry.into_path());
                }
                continue;
            }
            match entry.file_name().to_str() {
                Some(name) => {
                    folders.insert(name.to_owned(), entry.into_path());
                }
                None => self.left_out.note(NOT_UTF8, || entry.path().display().to_string()),
            }
        }
        Ok((folders, loose))
    }

    /// The path below the root of a picture; what is none is counted.
    fn picture(&mut self, entry: &DirEntry) -> Result<Option<String>> {
        let place = || entry.path().display().to_string();
        if entry.path_is_symlink() {
            check_inside(self.root.path(), entry.path())?;
            self.left_out.note("symbolic links", place);
            return Ok(None);
        }
        if !entry.file_type().is_file() {
            return Ok(None);
        }
        let Some(id) = below(self.root.path(), entry.path()) else {
            self.left_out.note(NOT_UTF8, place);
            return Ok(None);
        };
        if is_picture(&id) {
            return Ok(Some(id));
        }
        self.left_out.note("files that are no pictures by their names", place);
        Ok(None)
    }
}

const NOT_UTF8: &str = "names that are not UTF-8";

/// Sorted by name, so that indices do not depend on the file system.
fn walk(folder: &Path) -> WalkDir {
    WalkDir::new(folder).min_depth(1).sort_by_file_name().follow_links(false)
}

fn hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn io_error(folder: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(folder).to_path_buf();
    Error::Io { path, source: error.into() }
}
