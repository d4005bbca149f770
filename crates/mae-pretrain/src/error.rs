/// What can go wrong in masked pre-training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// Something about the model or its weights.
    #[error(transparent)]
    Model(#[from] vit_models::Error),
    /// Something about a picture.
    #[error(transparent)]
    Picture(#[from] vit_transforms::Error),
    /// An operator of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for vit_train::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Config(message) => Self::Config(message),
            Error::Model(error) => Self::Model(error),
            Error::Picture(error) => Self::Config(error.to_string()),
            Error::Candle(error) => Self::Candle(error),
        }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
