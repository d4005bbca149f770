use std::fmt;
use std::path::PathBuf;

/// What became of one tensor when a file was fitted to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// In the model, not in the file: left at its first value.
    Missing,
    /// In the file, not in the model.
    Unexpected,
    /// In both, but of no use.
    Dropped {
        /// Why.
        reason: String,
    },
}

/// One row of a [`LoadReport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorReport {
    /// Name in the model, or in the file where the model has none.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a weight file gave a model, tensor by tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// One row per tensor of the model or the file, sorted by name.
    pub tensors: Vec<TensorReport>,
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

    /// How many tensors of the model got values.
    #[must_use]
    pub fn loaded(&self) -> usize {
        let loaded = |outcome: &Outcome| {
            matches!(outcome, Outcome::Matched | Outcome::Renamed { .. } | Outcome::Resized { .. })
        };
        self.names(loaded).len()
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
        for tensor in &self.tensors {
            match &tensor.outcome {
                Outcome::Renamed { from } => {
                    writeln!(f, "  renamed     {} (was {from})", tensor.name)?;
                }
                Outcome::Resized { from, to } => {
                    writeln!(f, "  resized     {} from {from:?} to {to:?}", tensor.name)?;
                }
                Outcome::Dropped { reason } => {
                    writeln!(f, "  dropped     {}: {reason}", tensor.name)?;
                }
                Outcome::Matched | Outcome::Missing | Outcome::Unexpected => {}
            }
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
