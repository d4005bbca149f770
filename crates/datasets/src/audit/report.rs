//! What an audit found, as data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::options::AuditOptions;
use crate::hash::of_bytes;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// May bias results.
    Warning,
    /// Makes results wrong.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Writes the enumeration of findings with severity and title in one place.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident, $severity:ident, $title:literal;)*) => {
        /// What was found.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[doc = $doc])* $name,)*
        }

        impl FindingKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How bad it is, unless the options say otherwise.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// A heading.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// A patient has pictures in more than one split.
    SharedGroup, Error, "Patients in several splits";
    /// A file is listed in more than one split.
    SharedFile, Error, "Files in several splits";
    /// The same pixels in more than one split.
    DuplicateAcross, Error, "Same picture in several splits";
    /// The same pixels with different labels.
    DuplicateLabels, Error, "Same picture, different labels";
    /// A list's label is not that of the master table.
    LabelDisagreement, Error, "Labels that differ from the master table";
    /// A subset has files that the larger one does not have.
    NotNested, Error, "Subsets that are not nested";
    /// The attribute table has a row of no sample: its key is not that of the data.
    AttributesUnused, Error, "Attribute tables that fit no sample";
    /// A file that is not there.
    Missing, Error, "Missing files";
    /// A file of no bytes.
    EmptyFile, Error, "Empty files";
    /// A file that ends before its picture does.
    Truncated, Error, "Truncated pictures";
    /// A file that cannot be decoded for another reason.
    Unreadable, Error, "Unreadable pictures";
    /// Patients in several splits whose names differ in blanks, leading zeros or case only.
    SimilarGroup, Warning, "Patients of nearly one name in several splits";
    /// Pictures that hardly differ, in more than one split.
    NearDuplicateAcross, Warning, "Nearly the same picture in several splits";
    /// The same pixels twice within a split.
    DuplicateWithin, Warning, "Same picture twice in a split";
    /// One file name with different labels: they must not be told apart by name alone.
    NameInClasses, Warning, "One file name, several labels";
    /// A file that the master table does not have.
    NotInMaster, Warning, "Files that the master table does not have";
    /// A file that could be several rows of the master or attribute table.
    AmbiguousName, Warning, "Files that could be several rows of a table";
    /// Samples without a row in the attribute table.
    AttributesMissing, Warning, "Samples that the attribute table does not have";
    /// A DICOM file that may tell who the patient is (feature `dicom`).
    Identifying, Warning, "DICOM files that may identify the patient";
    /// All pixels have one value.
    Constant, Warning, "Constant pictures";
    /// Channels or depth are not those of most pictures.
    WrongMode, Warning, "Pictures of another kind than most";
    /// An age that no patient has.
    ImpossibleAge, Warning, "Impossible ages";
    /// Pictures that hardly differ, within a split.
    NearDuplicateWithin, Info, "Nearly the same picture in one split";
    /// The name says another format than the contents.
    WrongExtension, Info, "File names of another format";
    /// Files, rows or links that became no samples.
    LeftOut, Info, "Entries that are no samples";
    /// Every picture is its own patient: nobody can tell whether patients are shared.
    NoGroups, Info, "No patient information";
}

/// A sample that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleRef {
    /// Name of the part.
    pub part: String,
    /// The sample's id, or what a list calls the file.
    pub id: String,
    /// The patient.
    pub group: String,
    /// Classes or present findings, separated by `|`.
    pub label: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// What exactly, in words.
    pub detail: String,
    /// The samples.
    pub samples: Vec<SampleRef>,
}

/// What a part of the data holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    /// Its name.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
    /// Number of patients.
    pub groups: usize,
    /// Pictures that were read; 0 for lists.
    pub pictures: usize,
    /// How many pictures of each kind (channels and depth) there are.
    pub modes: BTreeMap<String, usize>,
    /// SHA-256 of ids, labels and pictures in order: two parts with equal ones are equal.
    pub content: String,
}

/// How often a label occurs in a part or subgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prevalence {
    /// The part.
    pub part: String,
    /// `None` for the whole part, else column and value of the attribute table.
    pub subgroup: Option<(String, String)>,
    /// The class or finding.
    pub label: String,
    /// Samples that have it.
    pub present: usize,
    /// Samples where it is known whether they have it.
    pub known: usize,
}

/// All that an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// What it was asked to look at.
    pub options: AuditOptions,
    /// The parts in the order given.
    pub parts: Vec<PartSummary>,
    /// The findings: the worst first, then by kind, then in the order of the data.
    pub findings: Vec<Finding>,
    /// Labels by part and subgroup.
    pub prevalence: Vec<Prevalence>,
    /// See [`AuditReport::hash`].
    pub(super) hash: String,
}

impl AuditReport {
    pub(super) fn new(
        options: AuditOptions,
        parts: Vec<PartSummary>,
        mut findings: Vec<Finding>,
        prevalence: Vec<Prevalence>,
    ) -> Self {
        findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.kind));
        let mut report = Self { options, parts, findings, prevalence, hash: String::new() };
        report.hash = report.content_hash();
        report
    }

    /// SHA-256 of all of the report (in hexadecimal): the same data and options give the same
    /// value on every machine, for any number of threads and wherever the files lie. To be stored
    /// with a training run: it says which audit, of which pictures, stood before it.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether [`AuditReport::hash`] is that of this report: `false` for a file somebody edited.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.hash == self.content_hash()
    }

    fn content_hash(&self) -> String {
        // Plain data under string keys: there is nothing that could fail.
        let text =
            serde_json::to_vec(&(&self.options, &self.parts, &self.findings, &self.prevalence));
        of_bytes(&text.unwrap_or_default())
    }

    /// The findings of a kind.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// The worst finding; `None` without any.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Findings by kind, in the order of the report.
    pub(super) fn by_kind(&self) -> Vec<(FindingKind, &[Finding])> {
        let same = |a: &Finding, b: &Finding| (a.kind, a.severity) == (b.kind, b.severity);
        let chunks = self.findings.chunk_by(same);
        chunks.filter_map(|chunk| Some((chunk.first()?.kind, chunk))).collect()
    }
}

/// Findings of a kind that the text shows in full.
const SHOWN: usize = 10;

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            write!(f, "{}: {} samples, {} groups", part.name, part.samples, part.groups)?;
            let modes: Vec<String> =
                part.modes.iter().map(|(mode, count)| format!("{count} {mode}")).collect();
            if modes.is_empty() {
                writeln!(f, ", no pictures read")?;
            } else {
                writeln!(f, ", {}", modes.join(", "))?;
            }
        }
        for (kind, findings) in self.by_kind() {
            let severity = findings.first().map_or(kind.severity(), |first| first.severity);
            writeln!(f, "\n{severity}: {} ({})", kind.title(), findings.len())?;
            for finding in findings.iter().take(SHOWN) {
                writeln!(f, "  {}", finding.detail)?;
            }
            if findings.len() > SHOWN {
                writeln!(f, "  and {} more", findings.len() - SHOWN)?;
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "\nnothing found")?;
        }
        self.write_prevalence(f)?;
        writeln!(f, "\noptions: {}", self.options)?;
        write!(f, "result {}", self.hash)
    }
}

impl AuditReport {
    fn write_prevalence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.prevalence.is_empty() {
            writeln!(f, "\nlabels")?;
        }
        let place = |row: &Prevalence| match &row.subgroup {
            Some((column, value)) => format!("{}, {column} {value}", row.part),
            None => row.part.clone(),
        };
        for rows in self.prevalence.chunk_by(|a, b| place(a) == place(b)) {
            let cell = |row: &Prevalence| {
                let share = 100.0 * row.present as f64 / row.known.max(1) as f64;
                format!("{} {} ({share:.1} %)", row.label, row.present)
            };
            let cells: Vec<String> = rows.iter().map(cell).collect();
            let name = rows.first().map(place).unwrap_or_default();
            writeln!(f, "  {name}: {}", cells.join(", "))?;
        }
        Ok(())
    }
}
