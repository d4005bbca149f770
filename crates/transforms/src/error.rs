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
    /// Bytes that are not a whole picture in a format this crate reads.
    #[error("cannot decode {name}: {reason}")]
    Decode {
        /// Path of the file, or the name given with the bytes.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is larger than the caller allows.
    #[error("{name}: {value} {unit} are more than the limit of {limit}")]
    Limit {
        /// File or transform that would exceed the limit.
        name: String,
        /// What is counted: `"pixels"`, `"bytes"` or `"values"`.
        unit: &'static str,
        /// How many there would be.
        value: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A picture could not be encoded.
    #[error("cannot encode the picture as PNG: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// A transform got a picture of a kind it cannot take.
    #[error("{transform} takes {expected}, got {got}")]
    Kind {
        /// Name of the transform.
        transform: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A parameter of a transform makes no sense.
    #[error("{transform}: {reason}")]
    Parameter {
        /// Name of the transform.
        transform: &'static str,
        /// Which parameter, its value and what is allowed.
        reason: String,
    },
    /// An output buffer does not have the size of the picture.
    #[error("the output buffer holds {got} values, the picture has {expected}")]
    Buffer {
        /// Values of the picture.
        expected: usize,
        /// Values of the buffer.
        got: usize,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
