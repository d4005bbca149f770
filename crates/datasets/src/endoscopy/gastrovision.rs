use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::with_extensions;
use crate::card::GASTROVISION;
use crate::files::{Builder, Row, Sheet, attribute, first_file};
use crate::{Error, FileDataset, FileOptions, Result, Split, Target, Task};

/// Which classes of `GastroVision`, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GastroVisionClasses {
    /// The 22 classes of the official split, by name, as the official scripts number them.
    #[default]
    Official22,
    /// The same 22 by falling number of pictures, as `SSL-Endoscopy-MAE` numbers them.
    ByFrequency22,
    /// All 27, by name.
    All27,
}

/// The five classes of at most 25 pictures that the official split leaves out.
const LEFT_OUT: [&str; 5] =
    ["Angiectasia", "Erythema", "Esophageal varices", "Resection margins", "Ulcer"];

/// The 22 classes as `SSL-Endoscopy-MAE` numbers them: by falling count, Mucosal inflammation
/// before Colon diverticula, which has as many.
const BY_FREQUENCY: [&str; 22] = [
    "Normal mucosa and vascular pattern in the large bowel",
    "Accessory tools",
    "Normal stomach",
    "Small bowel_terminal ileum",
    "Colon polyps",
    "Pylorus",
    "Gastroesophageal_junction_normal z-line",
    "Dyed-resection-margins",
    "Duodenal bulb",
    "Ileocecal valve",
    "Blood in lumen",
    "Dyed-lifted-polyps",
    "Normal esophagus",
    "Colorectal cancer",
    "Cecum",
    "Esophagitis",
    "Barrett's esophagus",
    "Resected polyps",
    "Retroflex rectum",
    "Gastric polyps",
    "Mucosal inflammation large bowel",
    "Colon diverticula",
];

impl GastroVisionClasses {
    /// The names in the order of their numbers.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::All27 => GASTROVISION.labels.to_vec(),
            Self::ByFrequency22 => BY_FREQUENCY.to_vec(),
            Self::Official22 => GASTROVISION
                .labels
                .iter()
                .copied()
                .filter(|name| !LEFT_OUT.contains(name))
                .collect(),
        }
    }
}

/// How to read [GastroVision](https://osf.io/84e7f): one folder per class, or one per class below
/// `train`, `val` and `test`.
///
/// A picture is known by class and file name: 27 file names occur in several classes. There are no
/// patient numbers, so every picture is its own group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GastroVision {
    /// The folder with the class folders.
    pub root: PathBuf,
    /// A part of the official split; without one, every picture of the metadata.
    #[serde(default)]
    pub split: Option<Split>,
    /// The list to read; without one, `Split/{train,validate,test}.csv` or
    /// `GastroVision_metadata.csv` below the root.
    #[serde(default)]
    pub list: Option<PathBuf>,
    /// Which classes.
    #[serde(default)]
    pub classes: GastroVisionClasses,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl GastroVision {
    /// The official 22 classes of the pictures below `root`; all parts.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (split, list) = (None, None);
        let (classes, files) = <(GastroVisionClasses, FileOptions)>::default();
        Self { root: root.into(), split, list, classes, files }
    }

    /// Reads the list and checks that the pictures are there.
    ///
    /// Pictures of classes that were not chosen are left out; a class that `GastroVision` does not
    /// have is an error.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`].
    pub fn open(&self) -> Result<FileDataset> {
        let list = match &self.list {
            Some(list) => list.clone(),
            None => first_file(&self.root, self.lists())?,
        };
        let sheet = Sheet::read(&list, b',')?;
        let [file, class] = sheet.columns(["Filename", "Class"])?;
        let classes = self.classes.names();
        let part = self.split.map_or("all", Split::name);
        let mut builder = Builder::new(&list, &self.root, self.files, &[attribute::SPLIT])?;
        for line in sheet.lines() {
            let (name, class) = (line.required(file)?, line.required(class)?);
            if !GASTROVISION.labels.contains(&class) {
                return Err(Error::UnknownClass {
                    place: line.place(),
                    class: class.into(),
                    known: classes.iter().map(ToString::to_string).collect(),
                });
            }
            let Some(number) = classes.iter().position(|known| *known == class) else { continue };
            let mut paths = with_extensions(&format!("{class}/{name}"));
            paths.extend(with_extensions(&format!("{part}/{class}/{name}")));
            let row = Row { paths, ..Row::new(line.number, "", Target::Class(number)) };
            let value = self.split.map_or("", Split::name);
            builder.add(row.attributes(vec![value]))?;
        }
        let task = Task::SingleLabel { classes: classes.iter().map(ToString::to_string).collect() };
        let part = match (self.split, self.classes) {
            (None, GastroVisionClasses::Official22 | GastroVisionClasses::ByFrequency22) => {
                "all, 22 classes"
            }
            _ => part,
        };
        Ok(builder.finish(task)?.described(&GASTROVISION, part))
    }

    fn lists(&self) -> &'static [&'static str] {
        match self.split {
            Some(Split::Train) => &["Split/train.csv", "train.csv"],
            Some(Split::Val) => &["Split/validate.csv", "validate.csv", "Split/val.csv", "val.csv"],
            Some(Split::Test) => &["Split/test.csv", "test.csv"],
            None => &["GastroVision_metadata.csv"],
        }
    }
}
