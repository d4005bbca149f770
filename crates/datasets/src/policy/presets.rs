use super::{BlankRule, FindingRule, LabelPolicy, NO_FINDING, UncertainRule};
use crate::card::{CHEXPERT, MIMIC_CXR};

impl LabelPolicy {
    /// Names that [`LabelPolicy::preset`] knows.
    pub const PRESETS: [&'static str; 6] =
        ["medical_mae", "med_peft", "ones", "zeros", "ignore", "medical_mae_mimic"];

    /// A policy in use by its name:
    ///
    /// - `medical_mae`: Cardiomegaly, Edema, Consolidation, Atelectasis, Pleural Effusion; doubt is
    ///   1 for Edema and Atelectasis, else 0; blank is 0.
    /// - `med_peft`: Atelectasis, Cardiomegaly, Consolidation, Edema, Pleural Effusion; doubt is 0
    ///   for Cardiomegaly and Consolidation, else 1; blank is 0. The lists of MED-PEFT and MRM were
    ///   made with it.
    /// - `ones`, `zeros`, `ignore`: the fourteen columns of `CheXpert`; doubt is 1, 0 or unknown;
    ///   blank is 0.
    /// - `medical_mae_mimic`: thirteen findings of MIMIC-CXR by name; doubt and blank are unknown;
    ///   `No Finding` makes all absent.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let fourteen =
            |uncertain| Some(Self::uniform(name, CHEXPERT.labels, uncertain, BlankRule::Zero));
        let others = || MIMIC_CXR.labels.iter().copied().filter(|label| *label != NO_FINDING);
        match name {
            "medical_mae" => Some(five(
                name,
                ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"],
                &["Edema", "Atelectasis"],
            )),
            "med_peft" => Some(five(
                name,
                ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"],
                &["Atelectasis", "Edema", "Pleural Effusion"],
            )),
            "ones" => fourteen(UncertainRule::Ones),
            "zeros" => fourteen(UncertainRule::Zeros),
            "ignore" => fourteen(UncertainRule::Ignore),
            "medical_mae_mimic" => Some(Self {
                no_finding_means_absent: true,
                ..Self::uniform(
                    name,
                    &others().collect::<Vec<_>>(),
                    UncertainRule::Ignore,
                    BlankRule::Missing,
                )
            }),
            _ => None,
        }
    }
}

/// Five findings; doubt is 1 for some of them.
fn five(name: &str, findings: [&str; 5], ones: &[&str]) -> LabelPolicy {
    let rule = |finding: &str| FindingRule {
        finding: finding.into(),
        uncertain: if ones.contains(&finding) { UncertainRule::Ones } else { UncertainRule::Zeros },
        blank: BlankRule::Zero,
    };
    let findings = findings.map(rule).to_vec();
    LabelPolicy { name: name.into(), findings, no_finding_means_absent: false, seed: 0 }
}
