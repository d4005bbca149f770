//! Pictures inside a page.

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
        format!("data:{};base64,{}", self.kind, base64(&self.bytes))
    }
}

/// Base 64 with padding (RFC 4648). The crate of that name is in candle's tree in an older version,
/// and two copies of it would be more code than this.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize);
            let letter = letter.filter(|_| place <= group.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    /// The vectors of RFC 4648, section 10, and bytes that need every kind of letter.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
