use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which linear map gets an adapter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// Rows `0..D` of every fused `attn.qkv`.
    Query,
    /// Rows `D..2D` of every fused `attn.qkv`.
    Key,
    /// Rows `2D..3D` of every fused `attn.qkv`.
    Value,
    /// Every `attn.proj`.
    Proj,
    /// Every `mlp.fc1`.
    Fc1,
    /// Every `mlp.fc2`.
    Fc2,
    /// The classification head.
    Head,
    /// Every linear layer whose name is this or ends with a dot and this: `attn.qkv` for the
    /// whole fused projection, `blocks.11.mlp.fc2` for one layer.
    Linear(String),
}

impl Target {
    /// What the names of the layers end with.
    pub(crate) fn suffix(&self) -> &str {
        match self {
            Self::Query | Self::Key | Self::Value => "attn.qkv",
            Self::Proj => "attn.proj",
            Self::Fc1 => "mlp.fc1",
            Self::Fc2 => "mlp.fc2",
            Self::Head => "head",
            Self::Linear(suffix) => suffix,
        }
    }

    /// Whether a layer is meant. Whole name parts count: `fc1` does not mean `myfc1`.
    pub(crate) fn matches(&self, layer: &str) -> bool {
        layer
            .strip_suffix(self.suffix())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// Place among the three parts of a fused projection; `None` for a whole layer.
    pub(crate) fn third(&self) -> Option<(usize, &'static str)> {
        match self {
            Self::Query => Some((0, "query")),
            Self::Key => Some((1, "key")),
            Self::Value => Some((2, "value")),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.third() {
            Some((_, part)) => write!(f, "'{}' ({part})", self.suffix()),
            None => write!(f, "'{}'", self.suffix()),
        }
    }
}

/// What adapters look like: `y += alpha / rank · B · A · dropout(x)` (Hu et al.,
/// arXiv 2106.09685), with `A` `[rank, in]` and `B` `[rows, rank]`.
///
/// The default is MED-PEFT's: rank 4, alpha 32 whatever the rank, dropout 0.1, query and value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of each update; every slice of a fused layer has its own.
    pub rank: usize,
    /// Strength: the update is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Dropout on the adapter's input in training, in [0, 1). The layer's own input is untouched.
    pub dropout: f64,
    /// What is adapted.
    pub targets: Vec<Target>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 32., dropout: 0.1, targets: vec![Target::Query, Target::Value] }
    }
}

impl LoraConfig {
    /// The default with another rank. `alpha` stays, so the effective step falls as the rank
    /// rises, as in MED-PEFT.
    #[must_use]
    pub fn with_rank(rank: usize) -> Self {
        Self { rank, ..Self::default() }
    }

    /// `alpha / rank`.
    #[must_use]
    pub fn scaling(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field at fault.
    pub fn check(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if self.rank == 0 {
            return fail("rank is 0".to_string());
        }
        if !self.alpha.is_finite() || self.alpha <= 0. {
            return fail(format!("alpha {} is not a positive number", self.alpha));
        }
        if !(0. ..1.).contains(&self.dropout) {
            return fail(format!("dropout {} is not in [0, 1)", self.dropout));
        }
        if self.targets.is_empty() {
            return fail("targets is empty: nothing would be adapted".to_string());
        }
        let mut seen = BTreeSet::new();
        for target in &self.targets {
            if target.suffix().is_empty() {
                return fail("targets has a linear layer with an empty name".to_string());
            }
            if !seen.insert(target) {
                return fail(format!("targets names {target} twice"));
            }
        }
        Ok(())
    }
}
