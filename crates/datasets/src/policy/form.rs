//! How policies stand in a file, and what is said of one that is wrong there.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{FindingRule, LabelPolicy};

const UNCERTAIN: &str = "\"ones\", \"zeros\", \"ignore\", \"own_class\" or \
                         {\"soft\": {\"low\": 0.55, \"high\": 0.85}}";
const BLANK: &str = "\"zero\" or \"missing\"";

/// A finding whose rules are still to be understood, so that an error can name it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    finding: String,
    uncertain: Value,
    #[serde(default = "zero")]
    blank: Value,
}

/// The default of [`super::BlankRule`] as it stands in a file. A null is none of the rules.
fn zero() -> Value {
    "zero".into()
}

impl TryFrom<Finding> for FindingRule {
    type Error = String;

    fn try_from(form: Finding) -> Result<Self, String> {
        let Finding { finding, uncertain, blank } = form;
        let uncertain = rule(&finding, "uncertain", uncertain, UNCERTAIN)?;
        let blank = rule(&finding, "blank", blank, BLANK)?;
        Ok(Self { finding, uncertain, blank })
    }
}

fn rule<T: DeserializeOwned>(
    finding: &str,
    key: &str,
    value: Value,
    allowed: &str,
) -> Result<T, String> {
    let text = value.to_string();
    serde_json::from_value(value).map_err(|error| {
        format!("finding '{finding}': `{key}` is {text}, but may be {allowed} ({error})")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    name: String,
    findings: Vec<FindingRule>,
    #[serde(default)]
    no_finding_means_absent: bool,
    #[serde(default)]
    seed: u64,
}

/// A policy, or the name of a preset.
impl<'de> Deserialize<'de> for LabelPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = LabelPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presets = LabelPolicy::PRESETS.join(", ");
        write!(f, "a label policy: one of the presets {presets}, or `name` and `findings`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LabelPolicy, E> {
        LabelPolicy::preset(name).ok_or_else(|| {
            let presets = LabelPolicy::PRESETS.join(", ");
            E::custom(format!("label policy '{name}' is none of {presets}"))
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LabelPolicy, A::Error> {
        let Whole { name, findings, no_finding_means_absent, seed } =
            Whole::deserialize(MapAccessDeserializer::new(map))?;
        let policy = LabelPolicy { name, findings, no_finding_means_absent, seed };
        policy.check().map_err(A::Error::custom)?;
        Ok(policy)
    }
}
