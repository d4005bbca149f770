use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// The path with `/` between its parts, if it cannot leave the folder it is joined to. A backslash
/// is refused because it separates on one system and not on another.
pub(crate) fn inside(name: &str) -> Option<String> {
    if name.contains(['\\', '\0']) {
        return None;
    }
    let mut parts = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    if parts.is_empty() { None } else { Some(parts.join("/")) }
}

/// A folder that nothing may lead out of.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// The folder without links: it may itself be one.
    real: PathBuf,
    /// Folders already looked at, and whether they lie inside.
    folders: HashMap<PathBuf, bool>,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        let real = path.canonicalize().map_err(io)?;
        if !real.is_dir() {
            return Err(Error::Layout { path: path.into(), reason: "it is not a folder".into() });
        }
        Ok(Self { path: path.into(), real, folders: HashMap::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `id` (from [`inside`]) is a file below the root.
    ///
    /// # Errors
    /// [`Error::Outside`] when a link on the way leads out of it.
    pub(crate) fn has(&mut self, id: &str) -> Result<bool> {
        let path = self.path.join(id);
        let Ok(metadata) = path.symlink_metadata() else { return Ok(false) };
        let outside = || Error::Outside { root: self.path.clone(), path: path.clone() };
        if metadata.is_symlink() {
            return match path.canonicalize() {
                Ok(real) if !real.starts_with(&self.real) => Err(outside()),
                Ok(real) => Ok(real.is_file()),
                // A link to nothing.
                Err(_) => Ok(false),
            };
        }
        let Some(folder) = path.parent() else { return Ok(false) };
        let known = self.folders.get(folder).copied();
        let fine = known.unwrap_or_else(|| {
            folder.canonicalize().is_ok_and(|real| real.starts_with(&self.real))
        });
        if known.is_none() {
            self.folders.insert(folder.into(), fine);
        }
        if fine { Ok(metadata.is_file()) } else { Err(outside()) }
    }
}

/// Checks one file just before it is read.
///
/// # Errors
/// [`Error::Outside`] when a link on the way leads out of the root.
pub(crate) fn check_inside(root: &Path, path: &Path) -> Result<()> {
    let (Ok(real), Ok(real_root)) = (path.canonicalize(), root.canonicalize()) else {
        // What is not there is reported by the reading itself.
        return Ok(());
    };
    if real.starts_with(real_root) {
        return Ok(());
    }
    Err(Error::Outside { root: root.into(), path: path.into() })
}
