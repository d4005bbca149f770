use std::path::PathBuf;

/// What can go wrong between a file and a tensor-ready picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Sides, channels and number of values do not belong together.
    #[error(
        "{values} values do not make a picture of width {width}, height {height} and {channels} channel(s) (1 or 3 channels, no side zero)"
    )]
    Shape {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Channels.
        channels: usize,
        /// Number of values given.
        values: usize,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
