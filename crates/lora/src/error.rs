use std::path::PathBuf;

/// What can go wrong adapting a model or reading and writing adapters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration contradicts itself.
    #[error("LoRA configuration: {0}")]
    Config(String),
    /// A target names a layer the model does not have.
    #[error("target {target} matches no linear layer of the model, which has {layers}")]
    NoSuchLayer {
        /// The target.
        target: String,
        /// The layers there are.
        layers: String,
    },
    /// A layer cannot be adapted as asked.
    #[error("layer '{layer}': {reason}")]
    Layer {
        /// The layer.
        layer: String,
        /// What is wrong.
        reason: String,
    },
    /// A parameter is not as the configuration says.
    #[error("parameter '{name}': {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor of an adapter file does not fit.
    #[error("{path}: tensor '{name}': {reason}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file is not what its name or place promises.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The adapter was trained on other base weights.
    #[error("{path}: was trained on another base model: {reason}")]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// Where the bases differ.
        reason: String,
    },
    /// The model or a weight file failed.
    #[error(transparent)]
    Model(#[from] vit_models::Error),
    /// An operator of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
