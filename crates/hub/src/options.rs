use std::path::PathBuf;
use std::time::Duration;

use crate::HubFault;

/// How to reach the hub. Nothing is read from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// Scheme and host, without a `/` at the end.
    pub endpoint: String,
    /// Folder of the cache, as `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Access token; sent to the endpoint's host and to no other.
    pub token: Option<String>,
    /// Takes everything from the cache and opens no connection.
    pub offline: bool,
    /// How often an interrupted transfer is taken up again before it is an error.
    pub retries: usize,
    /// Longest wait for a connection, an answer, or the next bytes of a body.
    pub timeout: Duration,
}

impl HubOptions {
    /// The public hub, no token, 4 retries, 30 seconds.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: "https://huggingface.co".to_string(),
            cache: cache.into(),
            token: None,
            offline: false,
            retries: 4,
            timeout: Duration::from_secs(30),
        }
    }

    pub(crate) fn check(&self) -> Result<(), HubFault> {
        let known = ["http://", "https://"].iter().any(|s| self.endpoint.starts_with(s));
        if !known || self.endpoint.ends_with('/') {
            let reason = "an endpoint reads https://host, without a slash at the end";
            return Err(HubFault::Address(reason.to_string()));
        }
        Ok(())
    }
}
