use hf_hub::{Repo, RepoType};
use std::fmt;

use crate::HubFault;
use std::path::{Component, Path};

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepoKind {
    /// Weights and configuration.
    Model,
    /// Tables, archives or pictures.
    Dataset,
}

/// One revision of a repository.
///
/// ```
/// use vit_hub::{HubRepo, RepoKind};
/// let repo = HubRepo::new(RepoKind::Dataset, "owner/name", "refs/convert/parquet")?;
/// assert_eq!(repo.to_string(), "datasets/owner/name@refs/convert/parquet");
/// assert!(HubRepo::new(RepoKind::Model, "owner/../name", "main").is_err());
/// # Ok::<(), vit_hub::HubFault>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRepo {
    kind: RepoKind,
    id: String,
    revision: String,
}

impl HubRepo {
    /// `id` is `owner/name`; `revision` a branch, tag or commit.
    ///
    /// # Errors
    /// [`HubFault::Address`] when one of them has other characters than the hub allows, so that
    /// neither can lead out of the cache or to another place of the hub.
    pub fn new(
        kind: RepoKind,
        id: impl Into<String>,
        revision: impl Into<String>,
    ) -> Result<Self, HubFault> {
        let (id, revision) = (id.into(), revision.into());
        if !id.split_once('/').is_some_and(|(owner, name)| is_word(owner) && is_word(name)) {
            return Err(HubFault::Address(format!("'{id}' does not read owner/name")));
        }
        if !revision.split('/').all(is_word) {
            return Err(HubFault::Address(format!("'{revision}' is no branch, tag or commit")));
        }
        Ok(Self { kind, id, revision })
    }

    /// Owner and name, as `owner/name`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Branch, tag or commit.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// The same in the words of hf-hub, which knows paths and addresses.
    pub(crate) fn repo(&self) -> Repo {
        let kind = match self.kind {
            RepoKind::Model => RepoType::Model,
            RepoKind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.id.clone(), kind, self.revision.clone())
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo().url(), self.revision)
    }
}

/// Whether a text may be one part of a path, on disk and in a URL.
pub(crate) fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && text.chars().all(allowed) && !text.starts_with('.')
}

/// Whether a file name of a repository stays below the folder it is joined to, on every system: the
/// names in an index or a list are foreign.
#[must_use]
pub fn is_below(name: &str) -> bool {
    let plain = |part: Component| matches!(part, Component::Normal(_));
    !name.is_empty()
        && !name.contains(['\\', '\0', ':'])
        && name.split('/').all(|part| !part.is_empty())
        && Path::new(name).components().all(plain)
}

/// A file name as part of a URL.
pub(crate) fn escape(name: &str) -> String {
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
    fn repositories() {
        for (id, revision) in [
            ("owner", "main"),
            ("owner/", "main"),
            ("/name", "main"),
            ("../name", "main"),
            ("owner/..", "main"),
            ("a/b/c", "main"),
            ("owner/n?x", "main"),
            ("owner/name", ""),
            ("owner/name", "../.."),
            ("owner/name", "refs//x"),
        ] {
            assert!(HubRepo::new(RepoKind::Dataset, id, revision).is_err(), "{id} {revision}");
        }
    }

    #[test]
    fn names_of_files() {
        for good in ["a.bin", "default/train/0000.parquet", "a b#.json"] {
            assert!(is_below(good), "{good}");
        }
        for bad in ["", "../x", "a/../../x", "/etc/passwd", "a\\b", "c:x", "a//b", "a/"] {
            assert!(!is_below(bad), "{bad}");
        }
    }

    #[test]
    fn names_in_urls() {
        assert_eq!(escape("a b/c#d%.bin"), "a%20b/c%23d%25.bin");
    }
}
