use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Findings;
use crate::card::MIMIC_CXR;
use crate::files::{Builder, Line, Row, Sheet, attribute, first_file};
use crate::policy::LabelPolicy;
use crate::{FileDataset, FileOptions, Result, Split, Target, Task};

/// Which program read the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MimicLabels {
    /// `mimic-cxr-2.0.0-chexpert.csv.gz`.
    #[default]
    Chexpert,
    /// `mimic-cxr-2.0.0-negbio.csv.gz`.
    Negbio,
}

/// How to read [MIMIC-CXR-JPG](https://physionet.org/content/mimic-cxr-jpg): three tables, packed
/// with gzip or not, joined by picture and study.
///
/// Pictures of studies without labels are left out and counted ([`crate::Dataset::left_out`]),
/// unless the policy has no findings; then all are taken, without labels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MimicCxr {
    /// The folder with the tables and `files`.
    pub root: PathBuf,
    /// A part of the official split; without one, all.
    #[serde(default)]
    pub split: Option<Split>,
    /// What becomes of doubt and silence, and which findings are labels.
    pub policy: LabelPolicy,
    /// Whose labels.
    #[serde(default)]
    pub labels: MimicLabels,
    /// Keeps these views, as `AP` and `PA`; empty keeps all.
    #[serde(default)]
    pub views: Vec<String>,
    /// Keeps only the first picture of each patient, in the order of the metadata.
    #[serde(default)]
    pub first_per_patient: bool,
    /// Folder of the pictures below the root: `files`, or `files_resized_320` of `medical_mae`.
    #[serde(default = "files_folder")]
    pub folder: String,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

fn files_folder() -> String {
    "files".into()
}

impl MimicCxr {
    /// All pictures below `root` that have labels.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, policy: LabelPolicy) -> Self {
        Self {
            root: root.into(),
            split: None,
            policy,
            labels: MimicLabels::Chexpert,
            views: Vec::new(),
            first_per_patient: false,
            folder: files_folder(),
            files: FileOptions::default(),
        }
    }

    /// Reads and joins the tables and checks that the pictures are there.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`crate::Error::Row`] for a picture that the table of splits
    /// does not have, one that stands twice in a table, or a number that is none; [`crate::Error::Label`] for a cell or a split that
    /// is none of those known.
    pub fn open(&self) -> Result<FileDataset> {
        let labels = match self.labels {
            MimicLabels::Chexpert => "chexpert",
            MimicLabels::Negbio => "negbio",
        };
        let splits = splits(&self.table("split")?)?;
        let targets = self.targets(&self.table(labels)?)?;
        let sheet = self.table("metadata")?;
        let [dicom, subject, study, view] =
            sheet.columns(["dicom_id", "subject_id", "study_id", "ViewPosition"])?;
        let attributes = [attribute::VIEW, attribute::STUDY, attribute::SPLIT];
        let mut builder = Builder::new(&sheet.path, &self.root, self.files, &attributes)?;
        let mut seen = HashSet::new();
        let mut names = HashSet::new();
        for line in sheet.lines() {
            let name = line.required(dicom)?;
            if !names.insert(name) {
                return Err(line.error(format!("picture '{name}' stands twice")));
            }
            let Some(&split) = splits.get(name) else {
                return Err(line.error(format!("the table of splits does not have '{name}'")));
            };
            let (patient, number) = (digits(line, subject)?, digits(line, study)?);
            let wanted = self.split.is_none_or(|wanted| wanted == split)
                && (self.views.is_empty()
                    || self.views.iter().any(|known| known == line.cell(view)));
            if !wanted {
                continue;
            }
            let target = match targets.get(number) {
                _ if self.policy.findings.is_empty() => Target::None,
                Some(target) => target.clone(),
                None => {
                    builder.leave_out(line.number, "pictures of studies without labels");
                    continue;
                }
            };
            if self.first_per_patient && !seen.insert(patient) {
                continue;
            }
            let decade = patient.get(..2).unwrap_or(patient);
            let path = format!("{}/p{decade}/p{patient}/s{number}/{name}.jpg", self.folder);
            let row = Row::new(line.number, path, target).group(patient);
            builder.add(row.attributes(vec![line.cell(view), number, split.name()]))?;
        }
        let task = if self.policy.findings.is_empty() {
            Task::Unlabelled
        } else {
            Task::MultiLabel { findings: self.policy.labels() }
        };
        // Views and missing labels change the count of every part but the whole.
        let whole = self.split.is_none() && self.views.is_empty() && !self.first_per_patient;
        let part = if whole && self.policy.findings.is_empty() { "all" } else { "" };
        Ok(builder.finish(task)?.described(&MIMIC_CXR, part))
    }

    fn table(&self, name: &str) -> Result<Sheet> {
        let packed = format!("mimic-cxr-2.0.0-{name}.csv.gz");
        let plain = format!("mimic-cxr-2.0.0-{name}.csv");
        Sheet::read(&first_file(&self.root, &[&packed, &plain])?, b',')
    }

    /// Labels by study. A soft label is drawn once per study.
    fn targets(&self, sheet: &Sheet) -> Result<HashMap<String, Target>> {
        let study = sheet.column("study_id")?;
        let findings = Findings::find(sheet, &self.policy)?;
        let mut targets = HashMap::new();
        for line in sheet.lines() {
            let number = digits(line, study)?;
            let target = findings.target(&self.policy, line, number)?;
            if targets.insert(number.to_owned(), target).is_some() {
                return Err(line.error(format!("study {number} stands twice")));
            }
        }
        Ok(targets)
    }
}

/// The part of each picture.
fn splits(sheet: &Sheet) -> Result<HashMap<String, Split>> {
    let [dicom, split] = sheet.columns(["dicom_id", "split"])?;
    let mut splits = HashMap::new();
    for line in sheet.lines() {
        let part = match line.cell(split) {
            "train" => Split::Train,
            "validate" => Split::Val,
            "test" => Split::Test,
            _ => return Err(line.label_error(split, "train, validate and test")),
        };
        let name = line.required(dicom)?;
        if splits.insert(name.to_owned(), part).is_some() {
            return Err(line.error(format!("picture '{name}' stands twice")));
        }
    }
    Ok(splits)
}

/// A number of a patient or study, which becomes part of a path.
fn digits<'a>(line: Line<'a>, column: usize) -> Result<&'a str> {
    let text = line.required(column)?;
    if text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text);
    }
    Err(line.error(format!("'{text}' is no number of a patient or study")))
}
