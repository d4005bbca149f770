/// What can go wrong reading a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sample was asked for that does not exist.
    #[error("sample {index} was asked for, but the data set has {len}")]
    Index {
        /// The index asked for.
        index: usize,
        /// Number of samples.
        len: usize,
    },
    /// Decoding or transforming a picture failed.
    #[error("sample '{id}': {source}")]
    Transform {
        /// The sample.
        id: String,
        /// Why.
        source: vit_transforms::Error,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
