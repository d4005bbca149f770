use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use super::HubFault;
use crate::{Error, Result};

/// Where a model is on the hub: `hf://owner/name[@revision][/file]`.
///
/// ```
/// let address: vit_models::HubAddress = "hf://facebook/dinov2-small@main".parse()?;
/// assert_eq!((address.repository(), address.revision()), ("facebook/dinov2-small", "main"));
/// # Ok::<(), vit_models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    repository: String,
    revision: String,
    file: Option<String>,
}

impl HubAddress {
    /// What an address begins with.
    pub const SCHEME: &'static str = "hf://";

    /// Owner and name, as `owner/name`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Branch, tag or commit; `main` unless told. A branch with `/` in its name is written `%2F`.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The file asked for, if one is.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

impl FromStr for HubAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = || Error::Hub {
            address: text.to_string(),
            fault: HubFault::Address("it must read hf://owner/name[@revision][/file]".to_string()),
        };
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(fail)?;
        let (owner, rest) = rest.split_once('/').ok_or_else(fail)?;
        let (model, file) = match rest.split_once('/') {
            Some((model, file)) => (model, Some(file.to_string())),
            None => (rest, None),
        };
        let (name, revision) = model.split_once('@').unwrap_or((model, "main"));
        let revision = revision.replace("%2F", "/");
        let words = is_word(owner) && is_word(name) && revision.split('/').all(is_word);
        if !words || file.as_deref().is_some_and(|file| !is_below(file)) {
            return Err(fail());
        }
        Ok(Self { repository: format!("{owner}/{name}"), revision, file })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.revision.replace('/', "%2F");
        write!(f, "{}{}@{revision}", Self::SCHEME, self.repository)?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
}

/// Whether a text may be one part of a path, on disk and in a URL.
pub(super) fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && text.chars().all(allowed) && !text.starts_with('.')
}

/// Whether a file name stays below the folder it is joined to, on every system.
pub(super) fn is_below(name: &str) -> bool {
    let plain = |part: Component| matches!(part, Component::Normal(_));
    !name.is_empty()
        && !name.contains(['\\', '\0', ':'])
        && name.split('/').all(|part| !part.is_empty())
        && Path::new(name).components().all(plain)
}

/// A file name as part of a URL.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<HubAddress>();
        let plain = parse("hf://facebook/dinov2-small").unwrap();
        assert_eq!(plain.revision(), "main");
        assert_eq!(plain.file(), None);
        let full = parse("hf://o/n@refs%2Fpr%2F1/sub/model.safetensors").unwrap();
        assert_eq!(full.revision(), "refs/pr/1");
        assert_eq!(full.file(), Some("sub/model.safetensors"));
        assert_eq!(parse(&full.to_string()).unwrap(), full);
        for bad in [
            "facebook/dinov2",
            "hf://facebook",
            "hf://facebook/",
            "hf:///name",
            "hf://../name",
            "hf://o/..",
            "hf://o/n@",
            "hf://o/n@..%2F..",
            "hf://o/n/../../etc/passwd",
            "hf://o/n/a\\b",
            "hf://o/n/",
            "hf://o/n?x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_in_urls() {
        assert_eq!(escape("a b/c#d%.bin"), "a%20b/c%23d%25.bin");
    }
}
