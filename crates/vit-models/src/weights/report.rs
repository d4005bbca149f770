use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What became of one tensor when a file was fitted to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Same name and shape.
    Matched,
    /// Same shape under another name in the file.
    Renamed {
        /// The name in the file.
        from: String,
    },
    /// A position table brought to another grid.
    Resized {
        /// Shape in the file.
        from: Vec<usize>,
        /// Shape in the model.
        to: Vec<usize>,
    },
    /// Put together from tensors that the file keeps apart: query, key and value.
    Fused {
        /// The names in the file, from top to bottom.
        from: Vec<String>,
    },
    /// Taken apart, into a family that keeps the parts of a tensor apart.
    Split {
        /// The names of the parts, from top to bottom.
        into: Vec<String>,
    },
    /// Made to fit otherwise: another number of input channels, a row of the position table moved
    /// into the class token.
    Adapted {
        /// The names in the file.
        from: Vec<String>,
        /// Shape in the file.
        from_shape: Vec<usize>,
        /// Shape in the model.
        to_shape: Vec<usize>,
        /// What was done.
        how: String,
    },
    /// In the model, not in the file: left at its first value.
    Missing,
    /// In the file, and nothing is known of it.
    Unexpected,
    /// In the file, of no use to the model.
    Dropped {
        /// Why.
        reason: String,
    },
}

/// One row of a [`LoadReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorReport {
    /// Name in the model, or in the file where the model has none.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a weight file gave a model, tensor by tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// One row per tensor of the model or the file, sorted by name.
    pub tensors: Vec<TensorReport>,
}

impl Outcome {
    /// Whether the model got values.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        matches!(
            self,
            Self::Matched
                | Self::Renamed { .. }
                | Self::Resized { .. }
                | Self::Fused { .. }
                | Self::Split { .. }
                | Self::Adapted { .. }
        )
    }

    /// In one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Renamed { .. } => "renamed",
            Self::Resized { .. } => "resized",
            Self::Fused { .. } => "fused",
            Self::Split { .. } => "split",
            Self::Adapted { .. } => "adapted",
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Dropped { .. } => "dropped",
        }
    }
}

/// What there is to say beside the word; nothing for some.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renamed { from } => write!(f, "was {from}"),
            Self::Resized { from, to } => write!(f, "from {from:?} to {to:?}"),
            Self::Fused { from } => write!(f, "from {}", from.join(" + ")),
            Self::Split { into } => write!(f, "into {}", into.join(" + ")),
            Self::Adapted { from, how, .. } => write!(f, "{how} (was {})", from.join(" + ")),
            Self::Dropped { reason } => f.write_str(reason),
            Self::Missing => f.write_str("left at its first value"),
            Self::Matched | Self::Unexpected => Ok(()),
        }
    }
}

impl LoadReport {
    /// Names whose outcome satisfies a condition.
    pub fn names(&self, condition: impl Fn(&Outcome) -> bool) -> Vec<&str> {
        let chosen = self.tensors.iter().filter(|tensor| condition(&tensor.outcome));
        chosen.map(|tensor| tensor.name.as_str()).collect()
    }

    /// Names left at their first values.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        self.names(|outcome| *outcome == Outcome::Missing)
    }

    /// Names in the file the model has no use for.
    #[must_use]
    pub fn unexpected(&self) -> Vec<&str> {
        self.names(|outcome| *outcome == Outcome::Unexpected)
    }

    /// Names of dropped tensors by reason.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for tensor in &self.tensors {
            if let Outcome::Dropped { reason } = &tensor.outcome {
                by_reason.entry(reason).or_default().push(&tensor.name);
            }
        }
        by_reason
    }

    /// How many tensors of the model got values.
    #[must_use]
    pub fn loaded(&self) -> usize {
        self.names(Outcome::is_loaded).len()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matched = self.names(|outcome| *outcome == Outcome::Matched).len();
        writeln!(
            f,
            "{}: {} tensors loaded, {matched} of them as they are",
            self.path.display(),
            self.loaded()
        )?;
        let told = |outcome: &Outcome| {
            matches!(outcome, Outcome::Resized { .. } | Outcome::Adapted { .. })
        };
        for tensor in self.tensors.iter().filter(|tensor| told(&tensor.outcome)) {
            writeln!(f, "  {:<11} {} {}", tensor.outcome.word(), tensor.name, tensor.outcome)?;
        }
        write_list(f, "renamed", &self.names(|o| matches!(o, Outcome::Renamed { .. })))?;
        write_list(
            f,
            "put together from parts",
            &self.names(|o| matches!(o, Outcome::Fused { .. })),
        )?;
        for (reason, names) in self.dropped() {
            write_list(f, &format!("dropped, {reason}"), &names)?;
        }
        write_list(f, "left at its first value", &self.missing())?;
        write_list(f, "in the file, not used", &self.unexpected())
    }
}

/// A list with its length, cut after a few names.
fn write_list(f: &mut fmt::Formatter<'_>, title: &str, names: &[&str]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    let shown = names.iter().take(6).copied().collect::<Vec<_>>().join(", ");
    let rest = if names.len() > 6 { ", …" } else { "" };
    writeln!(f, "  {title} ({}): {shown}{rest}", names.len())
}
