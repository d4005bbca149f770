use std::collections::HashMap;
use std::path::Path;

use walkdir::WalkDir;

use super::root::Root;
use crate::{Error, Result};

/// Where the files below a folder lie, by name: several data sets come in a dozen archives that
/// everybody unpacks in another way.
#[derive(Debug)]
pub(crate) struct Lookup {
    places: HashMap<String, Place>,
}

#[derive(Debug)]
enum Place {
    One(String),
    Several(String, String),
}

impl Lookup {
    /// Walks through the folder; links to files are seen, links to folders are not followed.
    pub(crate) fn walk(root: &Root) -> Result<Self> {
        let base = root.path();
        let mut places: HashMap<String, Place> = HashMap::new();
        for entry in WalkDir::new(base).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(base).to_path_buf();
                Error::Io { path, source: error.into() }
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let (Some(name), Some(id)) = (entry.file_name().to_str(), below(base, entry.path()))
            else {
                continue;
            };
            let place = match places.remove(name) {
                None => Place::One(id),
                Some(Place::One(first)) => Place::Several(first, id),
                Some(several) => several,
            };
            places.insert(name.to_owned(), place);
        }
        Ok(Self { places })
    }

    /// The path below the root; the name itself where there is no such file.
    ///
    /// # Errors
    /// A message naming two places when the name is not unique.
    pub(crate) fn find(&self, name: &str) -> std::result::Result<String, String> {
        match self.places.get(name) {
            Some(Place::One(id)) => Ok(id.clone()),
            Some(Place::Several(first, second)) => {
                Err(format!("'{name}' is in several places: {first} and {second}"))
            }
            None => Ok(name.to_owned()),
        }
    }
}

pub(super) fn below(base: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(base).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// The first of these files that exists below `root`.
///
/// # Errors
/// [`Error::Layout`] naming what was looked for.
pub(crate) fn first_file(root: &Path, names: &[&str]) -> Result<std::path::PathBuf> {
    names.iter().map(|name| root.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let reason = format!("it holds none of {}", names.join(", "));
        Error::Layout { path: root.into(), reason }
    })
}

/// Whether the name is that of a picture this crate reads.
pub(crate) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let known = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "dcm"];
    known.iter().any(|known| extension.eq_ignore_ascii_case(known))
}
