use std::path::PathBuf;

/// What can go wrong building a model or reading and writing its weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// Pictures do not fit the model.
    #[error(
        "the model takes pictures of [batch, {channels}, {height}, {width}]{}, these are {got:?}",
        multiples_of.map(|patch| format!(" or of other multiples of {patch}")).unwrap_or_default()
    )]
    Input {
        /// Channels the model was built for.
        channels: usize,
        /// Height the model was built for.
        height: usize,
        /// Width the model was built for.
        width: usize,
        /// For a model of dynamic size: what height and width must be multiples of.
        multiples_of: Option<usize>,
        /// Shape given.
        got: Vec<usize>,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name or place promises.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Weights a model cannot do without are not in the file.
    #[error(
        "{path}: {} of the model's tensors are not in the file, first {}; it holds {found} tensors that fit",
        names.len(), names.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensors without a value.
        names: Vec<String>,
        /// How many tensors did fit.
        found: usize,
    },
    /// A parameter was asked for that the store does not hold, or with another shape.
    #[error("parameter '{name}': {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An operator of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
