use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeOptions, decode_file_with};

use crate::files::Walk;
use crate::left_out::LeftOutLog;
use crate::{Dataset, Error, LeftOut, Record, Result, Sample, Split, Target, Task};

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
    fn group(self, id: &str, path: &Path) -> Result<String> {
        let Self::FileNamePrefix { separator } = self else { return Ok(id.to_owned()) };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match stem.split(separator).next() {
            Some(group) if !group.is_empty() => Ok(group.to_owned()),
            _ => {
                let reason =
                    format!("its name has no group (patient) before the first '{separator}'");
                Err(Error::Layout { path: path.into(), reason })
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
/// Names that begin with a dot are not there. A symbolic link that leads out of the root is an
/// error; other links and files with other extensions are left out and counted
/// ([`Dataset::left_out`]). Ids are paths below the root, so the same file name may occur in several
/// classes.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    task: Task,
    decode: DecodeOptions,
    entries: Vec<(PathBuf, Record)>,
    left_out: LeftOutLog,
}

impl ImageFolder {
    /// Lists the files; no picture is read.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read, [`Error::Outside`] for a link out of `root`,
    /// [`Error::Empty`] when it or one of its class folders has no pictures,
    /// [`Error::UnknownClass`] for a class folder that the list (or the training split) does not
    /// have, [`Error::Layout`] when pictures lie beside class folders, `root` has split folders and
    /// no split was chosen, or a file's name has no group.
    pub fn open(root: &Path, options: &ImageFolderOptions) -> Result<Self> {
        let mut walk = Walk::new(root)?;
        let base = match options.split {
            Some(split) => find_split(&walk, split)?.ok_or_else(|| Error::Layout {
                path: root.into(),
                reason: format!("it has no folder '{}'", split_names(split).join("' or '")),
            })?,
            None => root.to_path_buf(),
        };
        let mut entries = Vec::new();
        let mut add = |walk: &mut Walk, folder: &Path, target: Target| -> Result<()> {
            let files = walk.pictures(folder)?;
            if files.is_empty() {
                return Err(Error::Empty { path: folder.into(), what: "pictures" });
            }
            for (id, path) in files {
                let group = options.group.group(&id, &path)?;
                entries.push((path, Record { group, id, target: target.clone() }));
            }
            Ok(())
        };
        let (folders, classes) = match options.unlabelled {
            true => (BTreeMap::new(), None),
            false => class_folders(&mut walk, root, &base, options)?,
        };
        let task = match classes {
            None => {
                add(&mut walk, &base, Target::None)?;
                Task::Unlabelled
            }
            Some(classes) => {
                for (name, folder) in &folders {
                    let Some(class) = classes.iter().position(|known| known == name) else {
                        let (place, class) = (folder.display().to_string(), name.clone());
                        return Err(Error::UnknownClass { place, class, known: classes });
                    };
                    add(&mut walk, folder, Target::Class(class))?;
                }
                Task::SingleLabel { classes }
            }
        };
        Ok(Self { task, decode: options.decode, entries, left_out: walk.left_out() })
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

    fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.list()
    }

    fn decoding(&self) -> String {
        crate::files::decoding(&self.decode)
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        self.path(index).map(Path::to_path_buf)
    }
}

/// Folders by class and the names of the classes; none where there are no folders.
type Classes = (BTreeMap<String, PathBuf>, Option<Vec<String>>);

fn class_folders(
    walk: &mut Walk,
    root: &Path,
    base: &Path,
    options: &ImageFolderOptions,
) -> Result<Classes> {
    let (folders, loose) = walk.children(base)?;
    if folders.is_empty() {
        // All is listed once more; what was left out here must not count twice.
        walk.forget_left_out();
        return Ok((folders, None));
    }
    check_layout(base, &folders, loose.first(), options)?;
    let classes = match &options.classes {
        Some(classes) => classes.clone(),
        None => default_classes(walk, root, &folders, options)?,
    };
    Ok((folders, Some(classes)))
}

/// Names a split's folder may have.
pub(crate) fn split_names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Val => &["val", "valid", "validation"],
        Split::Test => &["test"],
    }
}

fn find_split(walk: &Walk, split: Split) -> Result<Option<PathBuf>> {
    for name in split_names(split) {
        if let Some(folder) = walk.folder(name)? {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Names that look like a split, some of which nobody reads as one.
fn looks_like_a_split(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = Split::ALL.iter().any(|&split| split_names(split).contains(&name.as_str()));
    known || matches!(name.as_str(), "training" | "testing" | "validate" | "dev")
}

/// Folders that are splits would silently become classes, and loose pictures would be lost.
fn check_layout(
    base: &Path,
    folders: &BTreeMap<String, PathBuf>,
    loose: Option<&PathBuf>,
    options: &ImageFolderOptions,
) -> Result<()> {
    let fail = |reason| Err(Error::Layout { path: base.into(), reason });
    let splits: Vec<&str> =
        folders.keys().map(String::as_str).filter(|name| looks_like_a_split(name)).collect();
    let taken = splits.len() > 1 || splits.len() == folders.len();
    if options.split.is_none() && options.classes.is_none() && taken {
        return fail(format!(
            "its folders {} are splits, not classes: choose one with ImageFolderOptions::split \
             (`train`, `val` or `valid` or `validation`, `test`), or name the classes with \
             ImageFolderOptions::classes",
            splits.join(", ")
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
    walk: &Walk,
    root: &Path,
    folders: &BTreeMap<String, PathBuf>,
    options: &ImageFolderOptions,
) -> Result<Vec<String>> {
    if options.split.is_some_and(|split| split != Split::Train)
        && let Some(train) = find_split(walk, Split::Train)?
    {
        // Of its own, since this data set leaves out nothing of the training split.
        return Ok(Walk::new(root)?.children(&train)?.0.into_keys().collect());
    }
    Ok(folders.keys().cloned().collect())
}
