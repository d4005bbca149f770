//! Classifiers on frozen features: k nearest neighbours and logistic regression.
//!
//! Features are rows of plain numbers, wherever they come from; no tensors here.

mod knn;
mod logistic;
mod newton;

pub use knn::{Knn, KnnWeights};
pub use logistic::{LogisticConfig, LogisticFit, LogisticProbe};

use crate::{Error, Result};

/// The labels of rows of features.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProbeLabels {
    /// One class per row.
    Classes {
        /// Class of each row, below `classes`.
        labels: Vec<usize>,
        /// Number of classes.
        classes: usize,
    },
    /// Several findings per row, row-major rows × findings; `None` is unknown.
    Findings {
        /// 1 present, 0 absent, between for a soft label.
        labels: Vec<Option<f32>>,
        /// Number of findings.
        findings: usize,
    },
}

impl ProbeLabels {
    /// Scores per row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Findings { findings, .. } => *findings,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Findings { labels, findings } => labels.len() / (*findings).max(1),
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        match self {
            Self::Classes { labels, classes } => {
                if let Some(row) = labels.iter().position(|label| label >= classes) {
                    return fail(format!("row {row} has a class beyond the {classes} there are"));
                }
            }
            Self::Findings { labels, findings } => {
                let bad = |label: &Option<f32>| label.is_some_and(|l| !(0. ..=1.).contains(&l));
                if let Some(at) = labels.iter().position(bad) {
                    let row = at / (*findings).max(1);
                    return fail(format!("row {row} has a finding that is not from 0 to 1"));
                }
                if *findings == 0 || !labels.len().is_multiple_of(*findings) {
                    return fail(format!("{} labels of {findings} findings", labels.len()));
                }
            }
        }
        if rows == 0 || self.rows() != rows {
            return fail(format!("{rows} rows of features for {} labels", self.rows()));
        }
        Ok(())
    }
}

/// Number of rows, if the values make whole rows of finite numbers.
fn check_rows(features: &[f32], dim: usize) -> Result<usize> {
    if dim == 0 || !features.len().is_multiple_of(dim) {
        let message = format!("{} values do not make rows of {dim}", features.len());
        return Err(Error::Config(message));
    }
    if let Some(at) = features.iter().position(|value| !value.is_finite()) {
        let (row, column) = (at / dim, at % dim);
        return Err(Error::Config(format!("feature {column} of row {row} is not finite")));
    }
    Ok(features.len() / dim)
}
