use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::card::{IMAGENET, IMAGENET_A, IMAGENET_C, IMAGENET_R, IMAGENET_SKETCH, IMAGENET_V2};
use crate::files::{Builder, List, OnMissing, Row, Walk, attribute};
use crate::{Card, Error, FileDataset, FileOptions, Result, Target, Task};

/// Which `ImageNet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImageNetVariant {
    /// `train/<wnid>/*`, or the class folders themselves.
    Train,
    /// `val/<wnid>/*`, or the class folders themselves. A flat folder with a list of labels is
    /// read by [`crate::PathList`].
    Val,
    /// ImageNet-A: 200 of the thousand classes.
    A,
    /// ImageNet-R: 200 others.
    R,
    /// ImageNet-Sketch: all thousand.
    Sketch,
    /// ImageNet-V2: folders named by class number, which do not sort by name.
    V2,
    /// ImageNet-C: `<corruption>/<severity>/<wnid>/*`.
    C {
        /// Such as `gaussian_noise`.
        corruption: String,
        /// 1 to 5.
        severity: u8,
    },
}

/// How to read `ImageNet` and the variants that robustness is measured on.
///
/// The class numbers are those of the thousand classes in every variant. A and R have 200 of them:
/// compare only the scores of [`FileDataset::present_classes`], as their authors do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageNet {
    /// The folder that the variant's layout begins in.
    pub root: PathBuf,
    /// Which variant.
    pub variant: ImageNetVariant,
    /// Other classes than the thousand: a file with one folder name per line, words behind it are
    /// ignored.
    #[serde(default)]
    pub classes: Option<PathBuf>,
    /// How to treat the files. They are found by looking, so none is missing.
    #[serde(default)]
    pub files: FileOptions,
}

impl ImageNet {
    /// A variant with the thousand classes.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, variant: ImageNetVariant) -> Self {
        Self { root: root.into(), variant, classes: None, files: FileOptions::default() }
    }

    /// Lists the pictures.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read, [`Error::Outside`] for a link out of the root,
    /// [`Error::UnknownClass`] for a folder that is no
    /// class, [`Error::Layout`] for a picture outside of class folders, [`Error::Empty`] when there
    /// are none, [`Error::Config`] for a corruption or severity that cannot be.
    pub fn open(&self) -> Result<FileDataset> {
        let classes = self.class_names()?;
        let numbers: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
        let root = self.folder()?;
        let files = FileOptions { missing: OnMissing::Unchecked, ..self.files };
        let mut builder = Builder::new(&root, &root, files, &[attribute::SOURCE])?;
        let source = match &self.variant {
            ImageNetVariant::C { corruption, severity } => format!("{corruption}/{severity}"),
            _ => String::new(),
        };
        let mut walk = Walk::new(&root)?;
        for (position, (id, _)) in walk.pictures(&root)?.into_iter().enumerate() {
            let Some((class, _)) = id.split_once('/') else {
                let reason = format!("{id} lies beside the class folders");
                return Err(Error::Layout { path: root, reason });
            };
            let number = match self.variant {
                ImageNetVariant::V2 => class.parse().ok().filter(|&n: &usize| n < classes.len()),
                _ => numbers.get(class).copied(),
            };
            let Some(number) = number else {
                let place = root.display().to_string();
                let known = classes.iter().take(3).cloned().chain(["…".into()]).collect();
                return Err(Error::UnknownClass { place, class: class.into(), known });
            };
            let row = Row::new(position as u64 + 1, id.clone(), Target::Class(number));
            builder.add(row.attributes(vec![&source]))?;
        }
        builder.also_left_out(walk.left_out());
        let (card, part): (&'static Card, _) = match &self.variant {
            ImageNetVariant::Train => (&IMAGENET, "train"),
            ImageNetVariant::Val => (&IMAGENET, "val"),
            ImageNetVariant::A => (&IMAGENET_A, "a"),
            ImageNetVariant::R => (&IMAGENET_R, "r"),
            ImageNetVariant::Sketch => (&IMAGENET_SKETCH, "sketch"),
            ImageNetVariant::V2 => (&IMAGENET_V2, "v2"),
            ImageNetVariant::C { .. } => (&IMAGENET_C, "c"),
        };
        // Of some of the classes, nobody has published how many there are.
        let part = if self.classes.is_none() { part } else { "" };
        Ok(builder.finish(Task::SingleLabel { classes })?.described(card, part))
    }

    fn class_names(&self) -> Result<Vec<String>> {
        let Some(path) = &self.classes else {
            return Ok(IMAGENET.labels.iter().map(ToString::to_string).collect());
        };
        let first = |name: &str| name.split_whitespace().next().unwrap_or_default().to_owned();
        let entries = List::read(path, 0)?.entries;
        Ok(entries.iter().map(|entry| first(&entry.name)).collect())
    }

    fn folder(&self) -> Result<PathBuf> {
        let below = |name: &str| -> Result<PathBuf> {
            Ok(Walk::new(&self.root)?.folder(name)?.unwrap_or_else(|| self.root.clone()))
        };
        match &self.variant {
            ImageNetVariant::Train => below("train"),
            ImageNetVariant::Val => below("val"),
            ImageNetVariant::C { corruption, severity } => {
                corrupted(&self.root, corruption, *severity)
            }
            _ => Ok(self.root.clone()),
        }
    }
}

fn corrupted(root: &Path, corruption: &str, severity: u8) -> Result<PathBuf> {
    let fail = |reason| Err(Error::Config { option: "ImageNetVariant::C", reason });
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if corruption.is_empty() || !corruption.chars().all(plain) {
        return fail(format!("'{corruption}' is no name of a corruption"));
    }
    if !(1..=5).contains(&severity) {
        return fail(format!("severity {severity} is not 1 to 5"));
    }
    Ok(root.join(corruption).join(severity.to_string()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_thousand_names_are_sorted() {
        let names = super::IMAGENET.labels;
        assert_eq!((names.len(), names[0], names[999]), (1000, "n01440764", "n15075141"));
        assert!(names.is_sorted_by(|a, b| a < b));
    }
}
