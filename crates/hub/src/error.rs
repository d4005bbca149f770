use std::path::PathBuf;

/// What can go wrong between the hub and the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubFault {
    /// An address or endpoint is not one.
    #[error("{0}")]
    Address(String),
    /// The hub knows no such repository, revision or file.
    #[error(
        "there is no such repository, revision or file (or it is private and there is no token)"
    )]
    NotFound,
    /// The hub refuses.
    #[error("no permission (status {status}): give a token of somebody who may read it")]
    Denied {
        /// The answer's status.
        status: u16,
    },
    /// Another answer than what was asked for.
    #[error("the hub answered with status {status}")]
    Status {
        /// The answer's status.
        status: u16,
    },
    /// The repository has no file of this name.
    #[error("there is no file '{file}'; there are {}", there.join(", "))]
    NoFile {
        /// The file asked for.
        file: String,
        /// The files there are.
        there: Vec<String>,
    },
    /// The repository has no weights.
    #[error("no weights (.safetensors, .bin, .pth, .pt) among {}", there.join(", "))]
    NoWeights {
        /// The files there are.
        there: Vec<String>,
    },
    /// There are several weight files, of which none is the usual one.
    #[error("several weight files; append one of them to the address: {}", candidates.join(", "))]
    Ambiguous {
        /// The files.
        candidates: Vec<String>,
    },
    /// An index of parts cannot be used.
    #[error("{file}: {reason}")]
    Index {
        /// The index.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Offline, and not in the cache.
    #[error(
        "{} not in the cache, and offline nothing is fetched",
        file.as_deref().map_or("this revision is".to_string(), |file| format!("'{file}' is"))
    )]
    NotCached {
        /// The file, if the revision is known.
        file: Option<String>,
    },
    /// The connection failed or the answer makes no sense.
    #[error("{0}")]
    Transfer(String),
    /// The transfer broke off and could not be taken up again.
    #[error("'{file}' broke off after {got} of {size} bytes; the next attempt goes on from there")]
    Truncated {
        /// The file.
        file: String,
        /// Bytes that arrived.
        got: u64,
        /// Bytes that were announced.
        size: u64,
    },
    /// What arrived, or what is in the cache, is not what the hub announced.
    #[error("'{file}' is damaged: its checksum is {got}, the hub announced {expected}")]
    Checksum {
        /// The file.
        file: String,
        /// Checksum of the content.
        got: String,
        /// Checksum announced.
        expected: String,
    },
    /// The cache could not be read or written.
    #[error("{path}: {source}")]
    Cache {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl HubFault {
    /// For an answer that is none of success.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            404 => Self::NotFound,
            401 | 403 => Self::Denied { status },
            status => Self::Status { status },
        }
    }

    /// Whether trying again can help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Transfer(_) | Self::Truncated { .. } => true,
            Self::Status { status } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
