use std::path::PathBuf;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings contradict each other or the data.
    #[error("configuration: {0}")]
    Config(String),
    /// The gradient-reach audit found tensors that training would not treat as meant.
    #[error("the gradient-reach audit failed before the first step: {0}")]
    Audit(Box<crate::AuditReport>),
    /// The loss or the gradient was not finite too often in a row.
    #[error(
        "{count} steps in a row without a finite {what}, the last at epoch {epoch}, batch {batch}; samples: {}. Try a lower learning rate, longer warm-up or --clip-grad",
        ids.join(", ")
    )]
    NonFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Number of steps in a row.
        count: usize,
        /// Epoch of the last one.
        epoch: u64,
        /// Batch of the last one.
        batch: usize,
        /// Samples of the last one.
        ids: Vec<String>,
    },
    /// A checkpoint does not belong to this run.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What differs and what to do.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something about the data.
    #[error(transparent)]
    Data(#[from] vit_datasets::Error),
    /// Something about the model or its weights.
    #[error(transparent)]
    Model(#[from] vit_models::Error),
    /// Something about the metrics.
    #[error(transparent)]
    Metrics(#[from] vit_metrics::MetricsError),
    /// An operator of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
