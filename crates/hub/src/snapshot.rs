use std::fmt;
use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder};
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;

use crate::cache::{Folder, Listing, MOST_LIST};
use crate::name::is_word;
use crate::transfer::{Transfer, agent};
use crate::{HubFault, HubOptions, HubRepo, RepoKind};

/// How far a file is.
#[derive(Debug, Clone, Copy)]
pub struct HubProgress<'a> {
    /// Its name in the repository.
    pub file: &'a str,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes it has.
    pub total: u64,
}

/// A file in the cache, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// Its name in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Whether it was there before.
    pub cached: bool,
}

/// Knows where the hub and the cache are.
#[derive(Debug)]
pub struct HubClient {
    options: HubOptions,
    api: Api,
    agent: Agent,
}

impl HubClient {
    /// Opens no connection.
    ///
    /// # Errors
    /// [`HubFault::Address`] when the endpoint is no `http` or `https` address,
    /// [`HubFault::Transfer`] when the client cannot be built.
    pub fn new(options: HubOptions) -> Result<Self, HubFault> {
        options.check()?;
        let api = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
            .with_endpoint(options.endpoint.clone())
            .with_token(options.token.clone())
            .with_progress(false)
            .build()
            .map_err(|e| HubFault::Transfer(e.to_string()))?;
        let agent = agent(&options);
        Ok(Self { options, api, agent })
    }

    /// Asks the hub what the revision stands for and which files it has; offline, the cache is
    /// asked. For data sets the list is kept in the cache, since a part of a data set is all of its
    /// files: offline, one that was never fetched is then missed and not overlooked.
    ///
    /// # Errors
    /// [`HubFault`]: no such repository or revision, no permission, no connection, not in the cache.
    pub fn open<'a>(&'a self, repo: &HubRepo) -> Result<Snapshot<'a>, HubFault> {
        let folder = Folder::new(&self.options.cache, repo);
        let (commit, list) = if self.options.offline {
            let commit =
                folder.commit(repo.revision()).ok_or(HubFault::NotCached { file: None })?;
            let list = match folder.list(&commit)? {
                Some(list) => list,
                None => Listing { files: folder.files(&commit)?, licence: None },
            };
            (commit, list)
        } else {
            let info = self.info(repo)?;
            let (commit, list) = info.listing()?;
            if repo.kind() == RepoKind::Dataset {
                folder.keep_list(&commit, &list)?;
            }
            (commit, list)
        };
        Ok(Snapshot { client: self, repo: repo.clone(), folder, commit, list })
    }

    fn info(&self, repo: &HubRepo) -> Result<Info, HubFault> {
        let request = self.api.repo(repo.repo()).info_request();
        let request = request.config().timeout_global(Some(self.options.timeout)).build();
        match request.call() {
            Ok(mut response) => {
                let info = response.body_mut().with_config().limit(MOST_LIST).read_json();
                info.map_err(|e| HubFault::Transfer(format!("the list of files: {e}")))
            }
            Err(ureq::Error::StatusCode(status)) => Err(HubFault::of_status(status)),
            Err(error) => Err(HubFault::Transfer(error.to_string())),
        }
    }
}

/// The hub's answer about a revision.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
    /// The head of the README.
    #[serde(rename = "cardData", default)]
    card: Value,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Info {
    fn listing(self) -> Result<(String, Listing), HubFault> {
        if !is_word(&self.sha) {
            return Err(HubFault::Transfer(format!("'{}' is no commit", self.sha)));
        }
        let licence = self.licence();
        let files = self.siblings.into_iter().map(|file| file.rfilename).collect();
        Ok((self.sha, Listing { files, licence }))
    }

    /// From the card, else from the tags. A branch without README has tags only, if anything.
    fn licence(&self) -> Option<String> {
        let from_card = match self.card.get("license") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let from_tags = self.tags.iter().filter_map(|tag| tag.strip_prefix("license:"));
        let all = if from_card.is_empty() { from_tags.collect() } else { from_card };
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// The files of one commit.
pub struct Snapshot<'a> {
    client: &'a HubClient,
    repo: HubRepo,
    folder: Folder,
    commit: String,
    list: Listing,
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repo, commit, list, .. } = self;
        f.debug_struct("Snapshot")
            .field("repo", repo)
            .field("commit", commit)
            .field("list", list)
            .finish()
    }
}

impl Snapshot<'_> {
    /// The commit that the revision stands for.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Names of the files, as the hub lists them. They are foreign: [`Snapshot::fetch`] refuses
    /// those that lead elsewhere.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.list.files
    }

    /// The licence that the owner names, if any.
    #[must_use]
    pub fn licence(&self) -> Option<&str> {
        self.list.licence.as_deref()
    }

    /// Fetches a file, or finds it in the cache. `progress` is called for each piece.
    ///
    /// A transfer that breaks is taken up where it stopped, by this call or the next. The file gets
    /// its final name once size and checksum are those that the hub announced.
    ///
    /// # Errors
    /// [`HubFault`] saying what is wrong; [`HubFault::NotCached`] offline.
    pub fn fetch(
        &self,
        name: &str,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<HubFile, HubFault> {
        let HubClient { options, agent, .. } = self.client;
        if options.offline {
            let found = self.folder.find(&self.commit, name)?;
            return found.ok_or_else(|| HubFault::NotCached { file: Some(name.to_string()) });
        }
        Transfer::new(agent, options, &self.repo, &self.commit, &self.folder).file(name, progress)
    }

    /// Notes in the cache that the revision stands for this commit, for whoever is offline later.
    /// To be called when all files that are needed are there.
    ///
    /// # Errors
    /// [`HubFault::Cache`] when it cannot be written.
    pub fn remember(&self) -> Result<(), HubFault> {
        if self.client.options.offline { Ok(()) } else { self.folder.remember(&self.commit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licence(text: &str) -> Option<String> {
        serde_json::from_str::<Info>(text).unwrap().listing().unwrap().1.licence
    }

    #[test]
    fn licences() {
        let of = |rest: &str| licence(&format!(r#"{{"sha": "abc", "siblings": []{rest}}}"#));
        assert_eq!(
            of(r#", "cardData": {"license": "mit"}, "tags": ["license:x"]"#).unwrap(),
            "mit"
        );
        assert_eq!(of(r#", "cardData": {"license": ["mit", "cc0-1.0"]}"#).unwrap(), "mit, cc0-1.0");
        assert_eq!(
            of(r#", "cardData": null, "tags": ["a", "license:cc-by-4.0"]"#).unwrap(),
            "cc-by-4.0"
        );
        assert_eq!(of(""), None);
        let bad: Info = serde_json::from_str(r#"{"sha": "../x", "siblings": []}"#).unwrap();
        assert!(bad.listing().is_err());
    }
}
