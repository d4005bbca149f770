use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeOptions, decode_file_with};
use walkdir::{DirEntry, WalkDir};

use crate::files;
use crate::{Dataset, Error, Record, Result, Sample, Split, Target, Task};

/// Which pictures of a folder belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupRule {
    /// Every file is its own group: right only if no patient has two pictures.
    #[default]
    PerFile,
    /// What stands before the first separator of the file name, as `p017` of `p017_03.png` (the
    /// name without extension where there is no separator).
    FileNamePrefix {
        /// The character after the patient.
        separator: char,
    },
}

impl GroupRule {
    fn group(self, id: &str, path: &Path) -> String {
        match self {
            Self::PerFile => id.to_owned(),
            Self::FileNamePrefix { separator } => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                stem.split(separator).next().unwrap_or_default().to_owned()
            }
        }
    }
}

/// How to read an [`ImageFolder`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFolderOptions {
    /// Reads `root/<split>/<class>/**` instead of `root/<class>/**`. The validation split may also
    /// be called `valid` or `validation`.
    pub split: Option<Split>,
    /// The classes in the order of their numbers. Without them: the folders of the training split
    /// if `split` is given and there is one, else the folders found, sorted by name.
    pub classes: Option<Vec<String>>,
    /// Takes all pictures below the root, at any depth, without labels: for pre-training.
    pub unlabelled: bool,
    /// Which pictures belong to one patient.
    pub group: GroupRule,
    /// Limits of the decoder, and its rule for DICOM.
    pub decode: DecodeOptions,
}

/// Picture files sorted into one folder per class, or a flat folder without labels.
///
/// Files with other extensions, names that begin with a dot and symbolic links are left out (a
/// link could lead out of the root). Ids are paths below the root, so the same file name may occur
/// in several classes.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    task: Task,
    decode: DecodeOptions,
    entries: Vec<(PathBuf, Record)>,
}

impl ImageFolder {
    /// Lists the files; no picture is read.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read, [`Error::Empty`] when it or one of its class
    /// folders has no pictures, [`Error::UnknownClass`] for a class folder that the list (or the
    /// training split) does not have, [`Error::Layout`] when pictures lie beside class folders or
    /// `root` has split folders and no split was chosen.
    pub fn open(root: &Path, options: &ImageFolderOptions) -> Result<Self> {
        let base = match options.split {
            Some(split) => split_folder(root, split)?,
            None => root.to_path_buf(),
        };
        if options.unlabelled {
            return Self::unlabelled(root, &base, options);
        }
        let (folders, loose) = children(&base)?;
        if folders.is_empty() {
            return Self::unlabelled(root, &base, options);
        }
        check_layout(&base, &folders, loose.first(), options)?;
        let classes = match &options.classes {
            Some(classes) => classes.clone(),
            None => default_classes(root, &folders, options)?,
        };
        let mut entries = Vec::new();
        for (name, folder) in &folders {
            let Some(class) = classes.iter().position(|known| known == name) else {
                let (place, class) = (folder.display().to_string(), name.clone());
                return Err(Error::UnknownClass { place, class, known: classes });
            };
            let files = pictures(folder)?;
            entries.extend(files.into_iter().map(|path| {
                let record = record(root, &path, options.group, Target::Class(class));
                (path, record)
            }));
        }
        Ok(Self { task: Task::SingleLabel { classes }, decode: options.decode, entries })
    }

    fn unlabelled(root: &Path, base: &Path, options: &ImageFolderOptions) -> Result<Self> {
        let entry = |path: PathBuf| {
            let record = record(root, &path, options.group, Target::None);
            (path, record)
        };
        let entries = pictures(base)?.into_iter().map(entry).collect();
        Ok(Self { task: Task::Unlabelled, decode: options.decode, entries })
    }

    /// The file of a sample.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.entries.get(index).map(|(path, _)| path.as_path())
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        let len = self.len();
        self.entries.get(index).map(|(_, record)| record.clone()).ok_or(Error::Index { index, len })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let len = self.len();
        let (path, record) = self.entries.get(index).ok_or(Error::Index { index, len })?;
        let image = decode_file_with(path, &self.decode)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record: record.clone(), image })
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.path(index).map(Path::to_path_buf)
    }
}

fn record(root: &Path, path: &Path, rule: GroupRule, target: Target) -> Record {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    let id = parts.join("/");
    Record { group: rule.group(&id, path), id, target }
}

/// Names a split's folder may have.
pub(crate) fn split_names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Val => &["val", "valid", "validation"],
        Split::Test => &["test"],
    }
}

fn split_folder(root: &Path, split: Split) -> Result<PathBuf> {
    let mut candidates = split_names(split).iter().map(|name| root.join(name));
    candidates.find(|path| path.is_dir()).ok_or_else(|| Error::Layout {
        path: root.into(),
        reason: format!("it has no folder '{}'", split_names(split).join("' or '")),
    })
}

/// Folders that are splits would silently become classes, and loose pictures would be lost.
fn check_layout(
    base: &Path,
    folders: &BTreeMap<String, PathBuf>,
    loose: Option<&PathBuf>,
    options: &ImageFolderOptions,
) -> Result<()> {
    let fail = |reason| Err(Error::Layout { path: base.into(), reason });
    let is_split =
        |name: &String| Split::ALL.iter().any(|&split| split_names(split).contains(&name.as_str()));
    if options.split.is_none() && options.classes.is_none() && folders.keys().all(is_split) {
        let names: Vec<&str> = folders.keys().map(String::as_str).collect();
        return fail(format!(
            "its folders ({}) are splits, not classes: choose one with ImageFolderOptions::split",
            names.join(", ")
        ));
    }
    match loose {
        Some(file) => fail(format!(
            "{} lies beside class folders and has no class; move it, or set ImageFolderOptions::unlabelled",
            file.display()
        )),
        None => Ok(()),
    }
}

/// The training split decides the classes, so that numbers agree between splits.
fn default_classes(
    root: &Path,
    folders: &BTreeMap<String, PathBuf>,
    options: &ImageFolderOptions,
) -> Result<Vec<String>> {
    if options.split.is_some_and(|split| split != Split::Train)
        && let Ok(train) = split_folder(root, Split::Train)
    {
        return Ok(children(&train)?.0.into_keys().collect());
    }
    Ok(folders.keys().cloned().collect())
}

/// Sub-folders by name, and pictures that lie beside them.
fn children(folder: &Path) -> Result<(BTreeMap<String, PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut loose) = (BTreeMap::new(), Vec::new());
    for entry in walk(folder).max_depth(1) {
        let entry = entry.map_err(|error| io_error(folder, error))?;
        if hidden(&entry) {
            continue;
        }
        if entry.file_type().is_dir() {
            folders.insert(entry.file_name().to_string_lossy().into_owned(), entry.into_path());
        } else if is_picture(&entry) {
            loose.push(entry.into_path());
        }
    }
    Ok((folders, loose))
}

/// All pictures below a folder, sorted; at least one.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walk(folder).into_iter().filter_entry(|entry| !hidden(entry)) {
        let entry = entry.map_err(|error| io_error(folder, error))?;
        if is_picture(&entry) {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        return Err(Error::Empty { path: folder.into(), what: "pictures" });
    }
    Ok(files)
}

/// Sorted by name, so that indices do not depend on the file system.
fn walk(folder: &Path) -> WalkDir {
    WalkDir::new(folder).min_depth(1).sort_by_file_name().follow_links(false)
}

fn hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn is_picture(entry: &DirEntry) -> bool {
    entry.file_type().is_file() && files::is_picture(&entry.file_name().to_string_lossy())
}

fn io_error(folder: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(folder).to_path_buf();
    Error::Io { path, source: error.into() }
}
