use std::fmt;
use std::str::FromStr;

use vit_hub::{HubRepo, RepoKind, is_below};

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
    repo: HubRepo,
    file: Option<String>,
}

impl HubAddress {
    /// What an address begins with.
    pub const SCHEME: &'static str = "hf://";

    /// Owner and name, as `owner/name`.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.repo.id()
    }

    /// Branch, tag or commit; `main` unless told. A branch with `/` in its name is written `%2F`.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.repo.revision()
    }

    pub(super) fn repo(&self) -> &HubRepo {
        &self.repo
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
        let repo = HubRepo::new(RepoKind::Model, format!("{owner}/{name}"), revision);
        let repo = repo.map_err(|_| fail())?;
        if file.as_deref().is_some_and(|file| !is_below(file)) {
            return Err(fail());
        }
        Ok(Self { repo, file })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.revision().replace('/', "%2F");
        write!(f, "{}{}@{revision}", Self::SCHEME, self.repository())?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
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
}
