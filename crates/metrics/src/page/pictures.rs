//! Pictures inside a page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{MetricsError, Result};

/// A picture with what to say about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    caption: String,
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Picture {
    /// Refuses what is neither PNG nor JPEG, by its first bytes.
    pub(super) fn new(caption: &str, bytes: Vec<u8>) -> Result<Self> {
        let kind = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            "image/png"
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            "image/jpeg"
        } else {
            let message = "the picture is neither PNG nor JPEG".to_owned();
            return Err(MetricsError::File { path: caption.to_owned(), message });
        };
        Ok(Self { caption: caption.to_owned(), kind, bytes })
    }

    pub(super) fn caption(&self) -> &str {
        &self.caption
    }

    /// The picture as an address that needs no network.
    pub(super) fn address(&self) -> String {
        format!("data:{};base64,{}", self.kind, STANDARD.encode(&self.bytes))
    }
}
