use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::with_extensions;
use crate::card::{HYPERKVASIR_16, HYPERKVASIR_23, HYPERKVASIR_UNLABELLED};
use crate::files::{Builder, Row, Sheet, Walk, first_file};
use crate::{Card, Error, FileDataset, FileOptions, Result, Target, Task};

/// The class of the split files, its folder below `labeled-images`, and other spellings in use.
const CLASSES: [(&str, &str, &[&str]); 23] = [
    ("barretts", "upper-gi-tract/pathological-findings/barretts", &[]),
    ("bbps-0-1", "lower-gi-tract/quality-of-mucosal-views/bbps-0-1", &[]),
    ("bbps-2-3", "lower-gi-tract/quality-of-mucosal-views/bbps-2-3", &[]),
    ("dyed-lifted-polyps", "lower-gi-tract/therapeutic-interventions/dyed-lifted-polyps", &[]),
    (
        "dyed-resection-margins",
        "lower-gi-tract/therapeutic-interventions/dyed-resection-margins",
        &[],
    ),
    ("hemorroids", "lower-gi-tract/pathological-findings/hemorrhoids", &[]),
    ("ileum", "lower-gi-tract/anatomical-landmarks/ileum", &[]),
    ("impacted-stool", "lower-gi-tract/quality-of-mucosal-views/impacted-stool", &[]),
    ("normal-cecum", "lower-gi-tract/anatomical-landmarks/cecum", &[]),
    ("normal-pylorus", "upper-gi-tract/anatomical-landmarks/pylorus", &[]),
    ("normal-z-line", "upper-gi-tract/anatomical-landmarks/z-line", &[]),
    ("oesophagitis-a", "upper-gi-tract/pathological-findings/esophagitis-a", &[]),
    ("oesophagitis-b-d", "upper-gi-tract/pathological-findings/esophagitis-b-d", &[]),
    ("polyp", "lower-gi-tract/pathological-findings/polyps", &[]),
    ("retroflex-rectum", "lower-gi-tract/anatomical-landmarks/retroflex-rectum", &[]),
    ("retroflex-stomach", "upper-gi-tract/anatomical-landmarks/retroflex-stomach", &[]),
    ("short-segment-barretts", "upper-gi-tract/pathological-findings/barretts-short-segment", &[]),
    (
        "ulcerative-colitis-grade-0-1",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-0-1",
        &["ulcerative-colitis-0-1"],
    ),
    (
        "ulcerative-colitis-grade-1-2",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-1-2",
        &["ulcerative-colitis-1-2"],
    ),
    (
        "ulcerative-colitis-grade-2-3",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-2-3",
        &["ulcerative-colitis-2-3"],
    ),
    (
        "ulcerative-colitis-grade-1",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-1",
        &["ulcerative-colitis-1"],
    ),
    (
        "ulcerative-colitis-grade-2",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-2",
        &["ulcerative-colitis-2"],
    ),
    (
        "ulcerative-colitis-grade-3",
        "lower-gi-tract/pathological-findings/ulcerative-colitis-grade-3",
        &["ulcerative-colitis-3"],
    ),
];

/// Which classes of `HyperKvasir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HyperKvasirClasses {
    /// All 23, numbered as the README's list; the smallest has 6 pictures.
    #[default]
    All23,
    /// The 16 with at least 131 pictures, numbered by their folders' names.
    Large16,
}

impl HyperKvasirClasses {
    fn card(self) -> &'static Card {
        match self {
            Self::All23 => &HYPERKVASIR_23,
            Self::Large16 => &HYPERKVASIR_16,
        }
    }

    /// The names, as the split files write them, in the order of their numbers.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        self.card().labels
    }
}

/// Which part of an official split file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HyperKvasirPart {
    /// All rows.
    #[default]
    All,
    /// One fold.
    Fold(u32),
    /// All other folds.
    Without(u32),
}

/// How to read the labelled pictures of [HyperKvasir](https://osf.io/mh9sj) with an official split
/// file.
///
/// Class names are taken in the spelling of the split files, of the folders and of the README. No
/// patient numbers are published, so every picture is its own group, and the official folds may
/// divide patients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HyperKvasir {
    /// The folder with `labeled-images`, or that folder.
    pub root: PathBuf,
    /// Number of folds of the split file, 2 or 5.
    pub folds: u32,
    /// Which of them.
    #[serde(default)]
    pub part: HyperKvasirPart,
    /// The split file; without one, `official_splits/N_fold_split.csv` or `N_fold_split.csv` below
    /// the root.
    #[serde(default)]
    pub list: Option<PathBuf>,
    /// Which classes.
    #[serde(default)]
    pub classes: HyperKvasirClasses,
    /// A table of similar pictures (`ssim`, `filename1`, `label1`, `filename2`, `label2`): both
    /// pictures of each pair with two labels are left out, as in the "+quality" results of
    /// `SSL-Endoscopy-MAE`. They are left out of the validation too, which makes it easier.
    #[serde(default)]
    pub similarities: Option<PathBuf>,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl HyperKvasir {
    /// All 23 classes and both folds of the 2-fold split.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            folds: 2,
            part: HyperKvasirPart::All,
            list: None,
            classes: HyperKvasirClasses::All23,
            similarities: None,
            files: FileOptions::default(),
        }
    }

    /// Reads the split file and checks that the pictures are there.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Label`] for a fold that is no number below `folds`;
    /// [`Error::Config`] when `part` asks for such a fold.
    pub fn open(&self) -> Result<FileDataset> {
        self.check()?;
        let list = match &self.list {
            Some(list) => list.clone(),
            None => first_file(&self.root, self.lists())?,
        };
        let sheet = Sheet::read(&list, b';')?;
        let [file, class, fold] = sheet.columns(["file-name", "class-name", "split-index"])?;
        let conflicts = match &self.similarities {
            Some(path) => conflicting(path)?,
            None => HashSet::new(),
        };
        let mut builder = Builder::new(&list, &self.root, self.files, &["fold"])?;
        for line in sheet.lines() {
            let name = line.required(file)?;
            let found = find(line.required(class)?).ok_or_else(|| Error::UnknownClass {
                place: line.place(),
                class: line.cell(class).into(),
                known: HYPERKVASIR_23.labels.iter().map(ToString::to_string).collect(),
            })?;
            let number = line.cell(fold).parse().ok().filter(|&number: &u32| number < self.folds);
            let Some(number) = number else {
                return Err(line.label_error(fold, &format!("0 to {}", self.folds - 1)));
            };
            let Some(class) = self.classes.names().iter().position(|&known| known == found.0)
            else {
                continue;
            };
            if !self.keeps(number) || conflicts.contains(stem(name)) {
                continue;
            }
            let row = Row::new(line.number, "", Target::Class(class));
            let paths = places(found, name);
            builder.add(Row { paths, ..row }.attributes(vec![line.cell(fold)]))?;
        }
        let classes = self.classes.names().iter().map(ToString::to_string).collect();
        let data = builder.finish(Task::SingleLabel { classes })?;
        Ok(data.described(self.classes.card(), self.part_name()))
    }

    fn check(&self) -> Result<()> {
        let fail = |option, reason| Err(Error::Config { option, reason });
        if !matches!(self.folds, 2 | 5) {
            return fail("HyperKvasir::folds", format!("{} is neither 2 nor 5", self.folds));
        }
        match self.part {
            HyperKvasirPart::Fold(fold) | HyperKvasirPart::Without(fold) if fold >= self.folds => {
                fail("HyperKvasir::part", format!("fold {fold} of {} folds", self.folds))
            }
            _ => Ok(()),
        }
    }

    fn lists(&self) -> &'static [&'static str] {
        if self.folds == 2 {
            &["official_splits/2_fold_split.csv", "2_fold_split.csv"]
        } else {
            &["official_splits/5_fold_split.csv", "5_fold_split.csv"]
        }
    }

    fn keeps(&self, number: u32) -> bool {
        match self.part {
            HyperKvasirPart::All => true,
            HyperKvasirPart::Fold(fold) => number == fold,
            HyperKvasirPart::Without(fold) => number != fold,
        }
    }

    fn part_name(&self) -> String {
        let name = match (self.part, self.folds) {
            (HyperKvasirPart::All, _) => "all".to_owned(),
            (HyperKvasirPart::Fold(fold), folds) => format!("{folds}-fold {fold}"),
            (HyperKvasirPart::Without(fold), 2) => format!("2-fold {}", 1 - fold.min(1)),
            (HyperKvasirPart::Without(fold), folds) => format!("{folds}-fold without {fold}"),
        };
        if self.similarities.is_some() { format!("{name}, filtered") } else { name }
    }
}

type Class = (&'static str, &'static str, &'static [&'static str]);

/// The class with this name in any of its spellings.
pub(super) fn find(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|(split, folder, others)| {
        *split == name || others.contains(&name) || folder.rsplit('/').next() == Some(name)
    })
}

fn places((class, folder, _): &Class, name: &str) -> Vec<String> {
    let short = folder.rsplit('/').next().unwrap_or(class);
    [
        format!("labeled-images/{folder}"),
        (*folder).to_owned(),
        (*class).to_owned(),
        short.to_owned(),
    ]
    .iter()
    .flat_map(|folder| with_extensions(&format!("{folder}/{name}")))
    .collect()
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Names without extension of the pictures that look like one of another class.
fn conflicting(path: &Path) -> Result<HashSet<String>> {
    let sheet = Sheet::read(path, b',')?;
    let [first, label, second, other] =
        sheet.columns(["filename1", "label1", "filename2", "label2"])?;
    let mut names = HashSet::new();
    for line in sheet.lines() {
        if line.required(label)? != line.required(other)? {
            names.insert(stem(line.required(first)?).to_owned());
            names.insert(stem(line.required(second)?).to_owned());
        }
    }
    Ok(names)
}

/// How to read the 99,417 pictures of `HyperKvasir` without labels, for pre-training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HyperKvasirUnlabelled {
    /// The folder with `unlabeled-images`, or that folder, at any depth.
    pub root: PathBuf,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl HyperKvasirUnlabelled {
    /// Lists the pictures below `root/unlabeled-images`, or `root` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read, [`Error::Outside`] for a link out of the root,
    /// [`Error::Empty`] when there are no pictures.
    pub fn open(&self) -> Result<FileDataset> {
        let below = Walk::new(&self.root)?.folder("unlabeled-images")?;
        let root = below.as_ref().unwrap_or(&self.root);
        let mut walk = Walk::new(root)?;
        let mut builder = Builder::new(root, root, self.files, &[])?;
        for (position, (id, _)) in walk.pictures(root)?.into_iter().enumerate() {
            builder.add(Row::new(position as u64 + 1, id, Target::None))?;
        }
        builder.also_left_out(walk.left_out());
        Ok(builder.finish(Task::Unlabelled)?.described(&HYPERKVASIR_UNLABELLED, "unlabelled"))
    }
}
