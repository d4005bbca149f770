use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Findings, sex};
use crate::card::CHEXPERT;
use crate::files::{Builder, Row, Sheet, attribute, first_file};
use crate::policy::LabelPolicy;
use crate::{FileDataset, FileOptions, Result, Split, Task};

/// Folders that the paths of the tables begin with: of the small and of the full edition.
const EDITIONS: [&str; 2] = ["CheXpert-v1.0-small", "CheXpert-v1.0"];

/// How to read [CheXpert](https://stanfordmlgroup.github.io/competitions/chexpert), small or full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheXpert {
    /// The folder with `train`, `valid` and `test`, or the one with `CheXpert-v1.0-small`.
    pub root: PathBuf,
    /// Which part: `Val` is the official `valid`.
    pub split: Split,
    /// What becomes of doubt and silence, and which findings are labels.
    pub policy: LabelPolicy,
    /// Leaves lateral views out.
    #[serde(default)]
    pub frontal_only: bool,
    /// The table; without one, `train.csv`, `valid.csv` or `test.csv`.
    #[serde(default)]
    pub table: Option<PathBuf>,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl CheXpert {
    /// All views of a part.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, split: Split, policy: LabelPolicy) -> Self {
        let files = FileOptions::default();
        Self { root: root.into(), split, policy, frontal_only: false, table: None, files }
    }

    /// Reads the table and checks that the pictures are there.
    ///
    /// The table of the test set has no sex, age and view; the view is then told from the file
    /// name.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`crate::Error::Label`] for a cell that is not 1, 0, -1 or
    /// empty; [`crate::Error::Row`] for a path without a patient; [`crate::Error::Config`] for a
    /// policy that makes no sense.
    pub fn open(&self) -> Result<FileDataset> {
        let table = match &self.table {
            Some(table) => table.clone(),
            None => first_file(&self.root, &self.tables())?,
        };
        let sheet = Sheet::read(&table, b',')?;
        let file = sheet.column("Path")?;
        let findings = Findings::find(&sheet, &self.policy)?;
        let [gender, age, projection, side] =
            ["Sex", "Age", "AP/PA", "Frontal/Lateral"].map(|name| sheet.find(name));
        let attributes = [attribute::AGE, attribute::SEX, attribute::VIEW, attribute::STUDY];
        let mut builder = Builder::new(&table, &self.root, self.files, &attributes)?;
        for line in sheet.lines() {
            let path = without_edition(line.required(file)?);
            let cell = |column: Option<usize>| column.map_or("", |column| line.cell(column));
            let lateral = match cell(side) {
                "" => is_lateral(path),
                side => side == "Lateral",
            };
            if self.frontal_only && lateral {
                continue;
            }
            let Some((patient, study)) = patient_and_study(path) else {
                return Err(line.error(format!("'{path}' has no folder 'patient…'")));
            };
            let view = match cell(projection) {
                "" if lateral => "LATERAL",
                other => other,
            };
            let values = vec![cell(age), sex(cell(gender)), view, study];
            let target = findings.target(&self.policy, line, path)?;
            let row = Row { paths: places(path), ..Row::new(line.number, "", target) };
            builder.add(row.group(patient).attributes(values))?;
        }
        let data = builder.finish(Task::MultiLabel { findings: self.policy.labels() })?;
        let view = if self.frontal_only { ", frontal" } else { "" };
        Ok(data.described(&CHEXPERT, format!("{}{view}", self.split)))
    }

    fn tables(&self) -> [&'static str; 3] {
        match self.split {
            Split::Train => {
                ["train.csv", "CheXpert-v1.0-small/train.csv", "CheXpert-v1.0/train.csv"]
            }
            Split::Val => ["valid.csv", "CheXpert-v1.0-small/valid.csv", "CheXpert-v1.0/valid.csv"],
            Split::Test => ["test.csv", "CheXpert-v1.0-small/test.csv", "CheXpert-v1.0/test.csv"],
        }
    }
}

/// The path below the edition's folder, the same in both editions.
pub(super) fn without_edition(path: &str) -> &str {
    match path.split_once('/') {
        Some((first, rest)) if EDITIONS.contains(&first) => rest,
        _ => path,
    }
}

/// Where the picture may be below the root.
pub(super) fn places(path: &str) -> Vec<String> {
    let editions = EDITIONS.iter().map(|edition| format!("{edition}/{path}"));
    std::iter::once(path.to_owned()).chain(editions).collect()
}

/// `patient00001` and `patient00001/study1` of `train/patient00001/study1/view1_frontal.jpg`.
pub(super) fn patient_and_study(path: &str) -> Option<(&str, &str)> {
    let start = path.split('/').position(|part| part.starts_with("patient"))?;
    let offset: usize = path.split('/').take(start).map(|part| part.len() + 1).sum();
    let rest = path.get(offset..)?;
    let (study, _) = rest.rsplit_once('/')?;
    Some((rest.split('/').next()?, study))
}

/// `view2_lateral.jpg`.
fn is_lateral(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains("lateral"))
}
