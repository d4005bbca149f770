//! Chest radiographs.

mod chexpert;
mod covidx;
mod lists;
mod mimic;
mod nih;
mod rsna;

pub use chexpert::CheXpert;
pub use covidx::{Covidx, CovidxVersion};
pub use lists::{ListPart, OnBadLabel, XrayList, XrayListKind};
pub use mimic::{MimicCxr, MimicLabels};
pub use nih::{ChestXray14, ChestXray14Part};
pub use rsna::{RsnaPneumonia, RsnaTask};

use crate::files::{Line, Sheet};
use crate::policy::{Annotation, LabelPolicy};
use crate::{Result, Target};

/// `female` and `male` for the letters and words in use.
fn sex(cell: &str) -> &str {
    match cell {
        "F" | "f" | "Female" => "female",
        "M" | "m" | "Male" => "male",
        other => other,
    }
}

/// The columns that a label policy reads.
struct Findings {
    columns: Vec<usize>,
    no_finding: Option<usize>,
}

impl Findings {
    fn find(sheet: &Sheet, policy: &LabelPolicy) -> Result<Self> {
        policy.check()?;
        let columns = policy.findings.iter().map(|rule| sheet.column(&rule.finding));
        Ok(Self { columns: columns.collect::<Result<_>>()?, no_finding: sheet.find("No Finding") })
    }

    fn target(&self, policy: &LabelPolicy, line: Line<'_>, key: &str) -> Result<Target> {
        let read = |column: usize| {
            Annotation::parse(line.cell(column))
                .ok_or_else(|| line.label_error(column, "1, 0, -1 or nothing"))
        };
        let annotations =
            self.columns.iter().map(|&column| read(column)).collect::<Result<Vec<_>>>()?;
        let no_finding = self.no_finding.map_or(Ok(Annotation::Blank), read)?;
        policy.target(key, &annotations, no_finding)
    }
}
