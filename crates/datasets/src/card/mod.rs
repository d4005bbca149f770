//! What is known of each data set before it is read.

mod endoscopy;
mod medmnist;
mod natural;
mod xray;

pub(crate) use endoscopy::{GASTROVISION, HYPERKVASIR_16, HYPERKVASIR_23, HYPERKVASIR_UNLABELLED};
pub use medmnist::{MedMnistInfo, MedMnistTask};
pub(crate) use natural::{
    IMAGENET, IMAGENET_A, IMAGENET_C, IMAGENET_R, IMAGENET_SKETCH, IMAGENET_V2, INATURALIST_17,
    INATURALIST_18, INATURALIST_19, PLACES205, PLACES365,
};
pub(crate) use xray::{
    CHEST_XRAY14, CHEST_XRAY14_MEDICAL_MAE, CHEST_XRAY14_MRM, CHEXPERT, CHEXPERT_MED_PEFT,
    CHEXPERT_MRM, COVIDX_9A, COVIDX_9B, MIMIC_CXR, MRM_COVID, MRM_VIRAL, RSNA, RSNA_DETAILED,
    RSNA_MRM,
};

use serde::Serialize;

/// More labels than this are not printed one by one.
const MOST_LABELS: usize = 40;

/// The facts of a published data set: who may use it for what, and how much there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Card {
    /// Name, with the version or label set where several are in use.
    pub name: &'static str,
    /// Labels in the order of their numbers; empty where the files decide.
    pub labels: &'static [&'static str],
    /// Licence, in a few words.
    pub licence: &'static str,
    /// What its terms ask for.
    pub terms: &'static str,
    /// What to cite.
    pub citation: &'static str,
    /// Where it comes from.
    pub link: &'static str,
    /// What the parts should hold.
    pub counts: &'static [Expected],
}

/// What one part of a data set should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// Name of the part, as [`crate::Dataset::part`] gives it.
    pub part: &'static str,
    /// Number of samples.
    pub samples: usize,
    /// Number of patients; `None` where it was never published.
    pub groups: Option<usize>,
    /// Samples of each label, in the order of the labels; empty where it was never published.
    pub labels: &'static [usize],
}

impl Expected {
    /// Only the number of samples is known.
    const fn samples(part: &'static str, samples: usize) -> Self {
        Self { part, samples, groups: None, labels: &[] }
    }
}

impl Card {
    /// What this part should hold, if that is known.
    #[must_use]
    pub fn expected(&self, part: &str) -> Option<&Expected> {
        self.counts.iter().find(|expected| expected.part == part)
    }
}

impl std::fmt::Display for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} ({})", self.name, self.link)?;
        match self.labels {
            [] => writeln!(f, "labels: those of the files")?,
            [first, .., last] if self.labels.len() > MOST_LABELS => {
                writeln!(f, "labels: {} from {first} to {last}", self.labels.len())?;
            }
            // Some names hold commas.
            labels => writeln!(f, "labels: {}", labels.join("; "))?,
        }
        writeln!(f, "licence: {}", self.licence)?;
        writeln!(f, "terms: {}", self.terms)?;
        write!(f, "cite: {}", self.citation)?;
        for part in self.counts {
            write!(f, "\n{}: {} samples", part.part, part.samples)?;
            if let Some(groups) = part.groups {
                write!(f, ", {groups} patients")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_every_card_fit_its_labels() {
        let mut cards = vec![
            &GASTROVISION,
            &HYPERKVASIR_16,
            &HYPERKVASIR_23,
            &HYPERKVASIR_UNLABELLED,
            &IMAGENET,
            &IMAGENET_A,
            &IMAGENET_C,
            &IMAGENET_R,
            &IMAGENET_SKETCH,
            &IMAGENET_V2,
            &INATURALIST_17,
            &INATURALIST_18,
            &INATURALIST_19,
            &PLACES205,
            &PLACES365,
            &CHEST_XRAY14,
            &CHEST_XRAY14_MEDICAL_MAE,
            &CHEST_XRAY14_MRM,
            &CHEXPERT,
            &CHEXPERT_MED_PEFT,
            &CHEXPERT_MRM,
            &COVIDX_9A,
            &COVIDX_9B,
            &MIMIC_CXR,
            &MRM_COVID,
            &MRM_VIRAL,
            &RSNA,
            &RSNA_DETAILED,
            &RSNA_MRM,
        ];
        cards.extend(MedMnistInfo::all().iter().map(|info| &info.card));
        for card in cards {
            assert!(!card.licence.is_empty() && !card.citation.is_empty(), "{}", card.name);
            let mut parts = std::collections::HashSet::new();
            for part in card.counts {
                assert!(parts.insert(part.part), "{}: {} twice", card.name, part.part);
                assert!(
                    part.labels.is_empty() || part.labels.len() == card.labels.len(),
                    "{}",
                    card.name
                );
                assert!(
                    part.labels.iter().all(|&n| n <= part.samples),
                    "{}: {}",
                    card.name,
                    part.part
                );
                assert!(part.groups.is_none_or(|n| n <= part.samples), "{}", card.name);
            }
            let text = card.to_string();
            assert!(text.contains(card.name) && text.contains(card.licence));
        }
    }
}
