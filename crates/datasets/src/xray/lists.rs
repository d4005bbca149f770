use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::chexpert;
use super::nih::{Places, patient};
use crate::card::{
    CHEST_XRAY14_MEDICAL_MAE, CHEST_XRAY14_MRM, CHEXPERT_MED_PEFT, CHEXPERT_MRM, MRM_COVID,
    MRM_VIRAL, RSNA_MRM,
};
use crate::files::{Builder, List, Row};
use crate::{Card, Error, FileDataset, FileOptions, Result, Target, Task};

/// Which lists of file names and labels: whose, and of which data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum XrayListKind {
    /// `ChestX-ray14` of `medical_mae`: the official test set.
    #[serde(rename = "chest_xray14_medical_mae")]
    ChestXray14MedicalMae,
    /// `ChestX-ray14` of MRM and MED-PEFT: another test set.
    #[serde(rename = "chest_xray14_mrm")]
    ChestXray14Mrm,
    /// `CheXpert` of MED-PEFT: validates on the official `valid`, tests on the official `test`.
    #[serde(rename = "chexpert_med_peft")]
    CheXpertMedPeft,
    /// `CheXpert` of MRM: validates on a part of `train`, tests on the official `valid`.
    #[serde(rename = "chexpert_mrm")]
    CheXpertMrm,
    /// RSNA Pneumonia of MRM and MED-PEFT.
    Rsna,
    /// COVID-19 or not, of MRM, five divisions.
    Covid {
        /// 1 to 5.
        repeat: u32,
    },
    /// Viral or bacterial pneumonia, of MRM, five divisions.
    Viral {
        /// 1 to 5.
        repeat: u32,
    },
}

/// Which list of a [`XrayListKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListPart {
    /// The whole training list.
    Train,
    /// A tenth of it. The list of 1 % is not a part of this one.
    TenPercent,
    /// A hundredth of it.
    OnePercent,
    /// Validation; in files also `valid`, `validate` or `validation`.
    #[serde(alias = "valid", alias = "validate", alias = "validation")]
    Val,
    /// Test.
    Test,
}

impl ListPart {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::TenPercent => "train 10 %",
            Self::OnePercent => "train 1 %",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// What to do about a label that is neither `0` nor `1`: `viral1`'s test list of MRM has an `11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadLabel {
    /// Stops with [`Error::Label`].
    #[default]
    Refuse,
    /// Leaves the line out and counts it ([`crate::Dataset::left_out`]).
    Skip,
}

/// How to read one of the lists that published chest X-ray models were trained with:
/// `file label label …` per line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct XrayList {
    /// The folder with the pictures. Those of `ChestX-ray14` may lie anywhere below it.
    pub root: PathBuf,
    /// The list.
    pub list: PathBuf,
    /// Whose list.
    pub kind: XrayListKind,
    /// Which part it is: decides what [`crate::describe`] expects.
    pub part: ListPart,
    /// What to do about labels that are none.
    #[serde(default)]
    pub bad_labels: OnBadLabel,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl XrayListKind {
    fn card(self) -> &'static Card {
        match self {
            Self::ChestXray14MedicalMae => &CHEST_XRAY14_MEDICAL_MAE,
            Self::ChestXray14Mrm => &CHEST_XRAY14_MRM,
            Self::CheXpertMedPeft => &CHEXPERT_MED_PEFT,
            Self::CheXpertMrm => &CHEXPERT_MRM,
            Self::Rsna => &RSNA_MRM,
            Self::Covid { .. } => &MRM_COVID,
            Self::Viral { .. } => &MRM_VIRAL,
        }
    }

    fn is_nih(self) -> bool {
        matches!(self, Self::ChestXray14MedicalMae | Self::ChestXray14Mrm)
    }

    fn is_chexpert(self) -> bool {
        matches!(self, Self::CheXpertMedPeft | Self::CheXpertMrm)
    }

    /// The division of the COVID lists.
    fn repeat(self) -> Option<u32> {
        match self {
            Self::Covid { repeat } | Self::Viral { repeat } => Some(repeat),
            _ => None,
        }
    }
}

impl XrayList {
    /// A list with every option at its default.
    #[must_use]
    pub fn new(
        root: impl Into<PathBuf>,
        list: impl Into<PathBuf>,
        kind: XrayListKind,
        part: ListPart,
    ) -> Self {
        let (bad_labels, files) = <(OnBadLabel, FileOptions)>::default();
        Self { root: root.into(), list: list.into(), kind, part, bad_labels, files }
    }

    /// Reads the list and looks for the pictures. `ChestX-ray14`, `CheXpert` and RSNA give
    /// findings, the COVID lists two classes.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Label`] for a label that is not 0 or 1;
    /// [`Error::Config`] for a division that is not 1 to 5.
    pub fn open(&self) -> Result<FileDataset> {
        if let Some(repeat) = self.kind.repeat()
            && !(1..=5).contains(&repeat)
        {
            let reason = format!("division {repeat} is not one of 1 to 5");
            return Err(Error::Config { option: "XrayListKind", reason });
        }
        let card = self.kind.card();
        let single = self.kind.repeat().is_some();
        let list = List::read(&self.list, if single { 1 } else { card.labels.len() })?;
        let mut builder = Builder::new(&self.list, &self.root, self.files, &[])?;
        let places =
            if self.kind.is_nih() { Some(Places::new(&builder, self.files)?) } else { None };
        let mut bad = "";
        for entry in &list.entries {
            // Names of these lists hold no blanks: what looks like one is a label too many.
            if !single && entry.name.contains(char::is_whitespace) {
                let (found, wanted) = (entry.name.split_whitespace().count(), card.labels.len());
                let reason = format!("{} labels, but {wanted} are known", found - 1 + wanted);
                return Err(list.error(entry.line, reason));
            }
            let flags: Result<Vec<f32>> =
                entry.words.iter().map(|word| list.flag(entry.line, word)).collect();
            let flags = match (flags, self.bad_labels) {
                (Ok(flags), _) => flags,
                (Err(error), OnBadLabel::Refuse) => return Err(error),
                (Err(_), OnBadLabel::Skip) => {
                    bad = ", without bad labels";
                    builder.leave_out(entry.line, "labels that are neither 0 nor 1");
                    continue;
                }
            };
            let target = if single {
                Target::Class(usize::from(flags.first().is_some_and(|&flag| flag > 0.5)))
            } else {
                Target::Labels(flags.into_iter().map(Some).collect())
            };
            let mut row = Row::new(entry.line, "", target);
            row.paths = match &places {
                Some(places) => {
                    vec![places.find(&entry.name).map_err(|why| list.error(entry.line, why))?]
                }
                None => self.places(&entry.name),
            };
            row.group = self.group(&entry.name);
            builder.add(row)?;
        }
        let names = card.labels.iter().map(ToString::to_string).collect();
        let task = if single {
            Task::SingleLabel { classes: names }
        } else {
            Task::MultiLabel { findings: names }
        };
        let part = match self.kind.repeat() {
            Some(repeat) => format!("{} {repeat}", self.part.name()),
            None => self.part.name().to_owned(),
        };
        Ok(builder.finish(task)?.described(card, part + bad))
    }

    fn places(&self, name: &str) -> Vec<String> {
        if self.kind.is_chexpert() {
            return chexpert::places(chexpert::without_edition(name));
        }
        if self.kind == XrayListKind::Rsna {
            return super::rsna::places(name);
        }
        vec![name.to_owned(), format!("images/{name}")]
    }

    /// `None` where the list does not tell the patient: then each picture stands alone.
    fn group(&self, name: &str) -> Option<String> {
        match self.kind {
            kind if kind.is_nih() => Some(patient(name).to_owned()),
            kind if kind.is_chexpert() => {
                let path = chexpert::without_edition(name);
                chexpert::patient_and_study(path).map(|(patient, _)| patient.to_owned())
            }
            XrayListKind::Rsna => {
                let file = name.rsplit('/').next().unwrap_or(name);
                Some(file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned())
            }
            _ => None,
        }
    }
}
