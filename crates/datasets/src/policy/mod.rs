//! What becomes of labels that are neither yes nor no.

mod form;
mod presets;
mod vocabulary;

pub use vocabulary::{Harmonized, Vocabulary};

use serde::{Deserialize, Serialize};
use vit_random::Streams;
use vit_random::rand::Rng;

use crate::{Error, Result, Target};

/// The column that says that there is none of the others.
const NO_FINDING: &str = "No Finding";

/// What a table of `CheXpert` or MIMIC says of one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotation {
    /// `1`: mentioned as present.
    Positive,
    /// `0`: mentioned as absent.
    Negative,
    /// `-1`: mentioned with doubt.
    Uncertain,
    /// Nothing: not mentioned.
    Blank,
}

impl Annotation {
    /// Reads `1`, `1.0`, `0`, `0.0`, `-1`, `-1.0` or nothing.
    #[must_use]
    pub fn parse(cell: &str) -> Option<Self> {
        match cell.trim() {
            "" => Some(Self::Blank),
            "1" | "1.0" => Some(Self::Positive),
            "0" | "0.0" => Some(Self::Negative),
            "-1" | "-1.0" => Some(Self::Uncertain),
            _ => None,
        }
    }
}

/// What becomes of an uncertain annotation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UncertainRule {
    /// Present (U-Ones).
    Ones,
    /// Absent (U-Zeros).
    Zeros,
    /// Unknown: the loss leaves it out (U-Ignore).
    Ignore,
    /// A value drawn evenly between the two, as (0.55, 0.85) for U-Ones and (0, 0.3) for U-Zeros
    /// with label smoothing (Pham et al., arXiv:1911.06475). It is drawn once per sample, as the
    /// published code does while it reads the table, from the stream of (seed, finding and sample);
    /// it does not change from epoch to epoch.
    Soft {
        /// Smallest value, from 0.
        low: f32,
        /// Largest value, to 1.
        high: f32,
    },
    /// A label of its own, `<finding> uncertain`, behind all findings (U-MultiClass). The finding
    /// itself is then absent.
    OwnClass,
}

/// What becomes of a finding that is not mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlankRule {
    /// Absent.
    #[default]
    Zero,
    /// Unknown.
    Missing,
}

/// One finding of a [`LabelPolicy`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "form::Finding")]
pub struct FindingRule {
    /// The column of the table, which is also the label's name.
    pub finding: String,
    /// What becomes of doubt.
    pub uncertain: UncertainRule,
    /// What becomes of silence; in JSON, [`BlankRule::Zero`] where nothing is said.
    pub blank: BlankRule,
}

/// Which findings become labels, in which order, and what becomes of doubt and silence.
///
/// A policy is data: it is printed, compared and stored with the model. In JSON, the name of a
/// preset may stand for it.
///
/// # Examples
/// ```
/// use vit_datasets::{Annotation, LabelPolicy, Target};
/// let policy = LabelPolicy::preset("medical_mae").unwrap();
/// assert_eq!(policy.labels()[0], "Cardiomegaly");
/// let doubt = [Annotation::Uncertain; 5];
/// let target = policy.target("a sample", &doubt, Annotation::Blank)?;
/// let expected = [0.0, 1.0, 0.0, 1.0, 0.0].map(Some).to_vec();
/// assert_eq!(target, Target::Labels(expected));
/// # Ok::<(), vit_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelPolicy {
    /// A name for reports.
    pub name: String,
    /// The findings in the order of the labels.
    pub findings: Vec<FindingRule>,
    /// Whether a study with `No Finding` has every finding absent, whatever else is blank or in
    /// doubt (as `medical_mae` and torchxrayvision read MIMIC-CXR). As there, this overwrites what
    /// is annotated as present too. A finding `No Finding` keeps its own annotation.
    pub no_finding_means_absent: bool,
    /// Seed of the soft labels.
    pub seed: u64,
}

impl LabelPolicy {
    /// The same rules for all findings.
    #[must_use]
    pub fn uniform(
        name: &str,
        findings: &[&str],
        uncertain: UncertainRule,
        blank: BlankRule,
    ) -> Self {
        let rule = |finding: &&str| FindingRule { finding: (*finding).into(), uncertain, blank };
        let findings = findings.iter().map(rule).collect();
        Self { name: name.into(), findings, no_finding_means_absent: false, seed: 0 }
    }

    /// Names of the labels: the findings, then those of [`UncertainRule::OwnClass`].
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let own = self.own_classes().map(|rule| format!("{} uncertain", rule.finding));
        self.findings.iter().map(|rule| rule.finding.clone()).chain(own).collect()
    }

    fn own_classes(&self) -> impl Iterator<Item = &FindingRule> {
        self.findings.iter().filter(|rule| rule.uncertain == UncertainRule::OwnClass)
    }

    /// Checks what a file could have got wrong.
    ///
    /// # Errors
    /// [`Error::Config`] for a finding that stands twice, or limits of a soft label that are not
    /// from 0 to 1 in this order.
    pub fn check(&self) -> Result<()> {
        let fail = |reason| Err(Error::Config { option: "LabelPolicy", reason });
        let labels = self.labels();
        for (position, label) in labels.iter().enumerate() {
            if labels.iter().take(position).any(|other| other == label) {
                return fail(format!("'{label}' stands twice in '{}'", self.name));
            }
        }
        for rule in &self.findings {
            if let UncertainRule::Soft { low, high } = rule.uncertain
                && !(0.0 <= low && low <= high && high <= 1.0)
            {
                return fail(format!("soft labels of '{}' from {low} to {high}", rule.finding));
            }
        }
        Ok(())
    }

    /// The labels of one sample. `key` names what shares one draw of a soft label: the picture, or
    /// the study where labels belong to studies.
    ///
    /// # Errors
    /// [`Error::Config`] when there are not as many annotations as findings.
    pub fn target(
        &self,
        key: &str,
        annotations: &[Annotation],
        no_finding: Annotation,
    ) -> Result<Target> {
        if annotations.len() != self.findings.len() {
            let (found, wanted) = (annotations.len(), self.findings.len());
            let reason = format!("{found} annotation(s) of '{key}' for {wanted} finding(s)");
            return Err(Error::Config { option: "LabelPolicy", reason });
        }
        let absent = self.no_finding_means_absent && no_finding == Annotation::Positive;
        let pairs = || self.findings.iter().zip(annotations);
        let finding = |(rule, &annotation): (&FindingRule, &Annotation)| {
            if absent && rule.finding != NO_FINDING {
                return Some(0.0);
            }
            self.value(rule, annotation, key)
        };
        let own = |(_, &annotation): (&FindingRule, &Annotation)| {
            Some(f32::from(!absent && annotation == Annotation::Uncertain))
        };
        let owners = pairs().filter(|(rule, _)| rule.uncertain == UncertainRule::OwnClass);
        Ok(Target::Labels(pairs().map(finding).chain(owners.map(own)).collect()))
    }

    fn value(&self, rule: &FindingRule, annotation: Annotation, key: &str) -> Option<f32> {
        match annotation {
            Annotation::Positive => Some(1.0),
            Annotation::Negative => Some(0.0),
            Annotation::Blank => match rule.blank {
                BlankRule::Zero => Some(0.0),
                BlankRule::Missing => None,
            },
            Annotation::Uncertain => match rule.uncertain {
                UncertainRule::Ones => Some(1.0),
                UncertainRule::Zeros | UncertainRule::OwnClass => Some(0.0),
                UncertainRule::Ignore => None,
                UncertainRule::Soft { low, high } => {
                    let purpose = format!("soft label/{}/{key}", rule.finding);
                    let share: f32 = Streams::new(self.seed).stream(&purpose, 0, 0).random();
                    Some(low + (high - low) * share)
                }
            },
        }
    }
}

impl std::fmt::Display for LabelPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.name)?;
        for (position, rule) in self.findings.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma} {} ", rule.finding)?;
            match rule.uncertain {
                UncertainRule::Ones => f.write_str("uncertain=1")?,
                UncertainRule::Zeros => f.write_str("uncertain=0")?,
                UncertainRule::Ignore => f.write_str("uncertain=unknown")?,
                UncertainRule::Soft { low, high } => write!(f, "uncertain={low}..{high}")?,
                UncertainRule::OwnClass => f.write_str("uncertain=own label")?,
            }
            f.write_str(match rule.blank {
                BlankRule::Zero => " blank=0",
                BlankRule::Missing => " blank=unknown",
            })?;
        }
        Ok(())
    }
}
