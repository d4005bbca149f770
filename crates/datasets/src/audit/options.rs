use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::look::HASH_BITS;
use super::report::{FindingKind, Severity};
use crate::{Error, Result};

/// What an [`Audit`](super::Audit) looks at. All of it is part of the report and of its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditOptions {
    /// Whether pictures are read. Without it only names, patients and labels are compared.
    pub pictures: bool,
    /// Two pictures are nearly the same if at most this many of 256 bits of their perceptual
    /// hashes differ (Krawetz 2013), 0 to 256 ...
    pub near_bits: u32,
    /// ... and their 32 × 32 grey miniatures correlate at least this much, 0 to 1.
    pub near_correlation: f32,
    /// Whether one of the two may also be mirrored, or turned by 90, 180 or 270 degrees.
    pub near_turned: bool,
    /// Column of the attributes with ages, in years unless a letter says otherwise (`058Y`, `3M`).
    pub age: Option<String>,
    /// The highest age in years that is believed, above 0.
    pub max_age: f64,
    /// Columns of the attributes by which labels are counted.
    pub subgroups: Vec<String>,
    /// Severities in place of [`FindingKind::severity`].
    pub severities: BTreeMap<FindingKind, Severity>,
}

impl Default for AuditOptions {
    /// All pictures, 24 bits, correlation 0.98, turned ones too, ages up to 120.
    fn default() -> Self {
        Self {
            pictures: true,
            near_bits: 24,
            near_correlation: 0.98,
            near_turned: true,
            age: None,
            max_age: 120.0,
            subgroups: Vec::new(),
            severities: BTreeMap::new(),
        }
    }
}

impl AuditOptions {
    /// That values are in their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the option.
    pub fn check(&self) -> Result<()> {
        let fail = |option, reason| Err(Error::Config { option, reason });
        if self.near_bits > HASH_BITS {
            let reason = format!("{} is more than the {HASH_BITS} bits there are", self.near_bits);
            return fail("AuditOptions::near_bits", reason);
        }
        if !(0.0..=1.0).contains(&self.near_correlation) {
            let reason = format!("{} is not from 0 to 1", self.near_correlation);
            return fail("AuditOptions::near_correlation", reason);
        }
        if !(self.max_age > 0.0 && self.max_age.is_finite()) {
            let reason = format!("{} is not a number above 0", self.max_age);
            return fail("AuditOptions::max_age", reason);
        }
        if self.age.as_deref() == Some("") {
            return fail("AuditOptions::age", "the column has no name".into());
        }
        let mut seen = BTreeSet::new();
        match self.subgroups.iter().find(|name| name.is_empty() || !seen.insert(*name)) {
            Some(name) => {
                let reason = format!("column '{name}' has no name or stands twice");
                fail("AuditOptions::subgroups", reason)
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for AuditOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pictures {
            let turned =
                if self.near_turned { "mirrored and turned ones too" } else { "upright only" };
            write!(
                f,
                "nearly the same: at most {} of {HASH_BITS} bits differ, correlation from {}, {turned}",
                self.near_bits, self.near_correlation
            )?;
        } else {
            write!(f, "pictures not read")?;
        }
        if let Some(age) = &self.age {
            write!(f, "; ages of '{age}' up to {}", self.max_age)?;
        }
        if !self.subgroups.is_empty() {
            write!(f, "; by {}", self.subgroups.join(", "))?;
        }
        for (kind, severity) in &self.severities {
            write!(f, "; \"{}\" counts as {severity}", kind.title())?;
        }
        Ok(())
    }
}
