//! Models by `hf://owner/name[@revision][/file]`.
//!
//! hf-hub gives the addresses, the layout of the cache (which is that of Python's
//! `huggingface_hub`, so that both share files) and the list of a repository's files. The transfer
//! is ours: hf-hub 0.5 writes what it got under the final name without looking at its size or
//! checksum, adds a whole body to half a file where a server ignores `Range`, and hands the token
//! on to the host that a redirect names.

mod cache;
mod choose;
mod error;
mod name;
mod transfer;

use std::path::PathBuf;
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

use cache::Folder;
use choose::{Weights, shards};
pub use error::HubFault;
pub use name::HubAddress;
use transfer::Transfer;

use crate::Error;

/// No index or configuration is larger than this.
const MOST_TEXT: u64 = 64 << 20;

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
}

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

/// A model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// What was asked for.
    pub address: HubAddress,
    /// The commit that the revision stood for. All files are of this commit.
    pub commit: String,
    /// The weights: one file, or all parts in the order of their names.
    pub weights: Vec<HubFile>,
    /// The index of the parts, if there are parts.
    pub index: Option<HubFile>,
    /// `config.json`, if the repository has one.
    pub config: Option<HubFile>,
    /// `preprocessor_config.json`, if the repository has one.
    pub preprocessor: Option<HubFile>,
}

/// Fetches models and keeps them.
#[derive(Debug)]
pub struct Hub {
    options: HubOptions,
    api: Api,
}

impl Hub {
    /// Opens no connection.
    ///
    /// # Errors
    /// [`Error::Hub`] when the endpoint is no `http` or `https` address or the client cannot be
    /// built.
    pub fn new(options: HubOptions) -> crate::Result<Self> {
        let fail = |fault| Error::Hub { address: options.endpoint.clone(), fault };
        let known = ["http://", "https://"].iter().any(|s| options.endpoint.starts_with(s));
        if !known || options.endpoint.ends_with('/') {
            let reason = "an endpoint reads https://host, without a slash at the end";
            return Err(fail(HubFault::Address(reason.to_string())));
        }
        let api = ApiBuilder::from_cache(Cache::new(options.cache.clone()))
            .with_endpoint(options.endpoint.clone())
            .with_token(options.token.clone())
            .with_progress(false)
            .build();
        let api = api.map_err(|e| fail(HubFault::Transfer(e.to_string())))?;
        Ok(Self { options, api })
    }

    /// Fetches the model's files, or finds them in the cache. `progress` is called for each piece.
    ///
    /// Safetensors are preferred (`model.safetensors`, all parts of an index, or the only one);
    /// else the only `.bin`, `.pth` or `.pt` is taken. A transfer that breaks is taken up where it
    /// stopped, by this call or the next. Files get their final names once their size and checksum
    /// are those that the hub announced.
    ///
    /// # Errors
    /// [`Error::Hub`] saying what is wrong: no such model, revision or file, no permission, no
    /// connection, several weight files to choose from, not in the cache (offline), damaged.
    pub fn fetch(
        &self,
        address: &HubAddress,
        progress: &mut dyn FnMut(HubProgress),
    ) -> crate::Result<HubModel> {
        let result = if self.options.offline {
            self.fetch_offline(address)
        } else {
            self.fetch_online(address, progress)
        };
        result.map_err(|fault| Error::Hub { address: address.to_string(), fault })
    }

    fn repo(address: &HubAddress) -> Repo {
        let (id, revision) = (address.repository().to_string(), address.revision().to_string());
        Repo::with_revision(id, RepoType::Model, revision)
    }

    fn fetch_online(
        &self,
        address: &HubAddress,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<HubModel, HubFault> {
        let folder = Folder::new(&self.options.cache, Self::repo(address));
        let info = self.info(address)?;
        if !name::is_word(&info.sha) {
            return Err(HubFault::Transfer(format!("'{}' is no commit", info.sha)));
        }
        let files: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let transfer = Transfer::new(&self.options, address, &info.sha, &folder);
        let model = collect(address, &info.sha, &files, &mut |file| transfer.file(file, progress))?;
        folder.remember(&info.sha)?;
        Ok(model)
    }

    /// The commit and the files of a revision.
    fn info(&self, address: &HubAddress) -> Result<RepoInfo, HubFault> {
        let request = self.api.repo(Self::repo(address)).info_request();
        let request = request.config().timeout_global(Some(self.options.timeout)).build();
        match request.call() {
            Ok(mut response) => {
                let info = response.body_mut().read_json();
                info.map_err(|e| HubFault::Transfer(format!("the list of files: {e}")))
            }
            Err(ureq::Error::StatusCode(status)) => Err(HubFault::of_status(status)),
            Err(error) => Err(HubFault::Transfer(error.to_string())),
        }
    }

    fn fetch_offline(&self, address: &HubAddress) -> Result<HubModel, HubFault> {
        let folder = Folder::new(&self.options.cache, Self::repo(address));
        let commit = folder.commit(address.revision()).ok_or(HubFault::NotCached { file: None })?;
        let files = folder.files(&commit)?;
        collect(address, &commit, &files, &mut |file| {
            let found = folder.find(&commit, file)?;
            found.ok_or_else(|| HubFault::NotCached { file: Some(file.to_string()) })
        })
    }
}

/// Gets the files that make the model, wherever they come from.
fn collect(
    address: &HubAddress,
    commit: &str,
    files: &[String],
    get: &mut dyn FnMut(&str) -> Result<HubFile, HubFault>,
) -> Result<HubModel, HubFault> {
    let (index, names) = match Weights::choose(files, address.file())? {
        Weights::Whole(name) => (None, vec![name]),
        Weights::Sharded(name) => {
            let index = get(&name)?;
            let names = shards(&name, &cache::read_text(&index.path, MOST_TEXT)?)?;
            (Some(index), names)
        }
    };
    let folder = names.first().and_then(|name| name.rsplit_once('/'));
    let mut beside = |name: &str| {
        let path = folder.map_or(name.to_string(), |(folder, _)| format!("{folder}/{name}"));
        files.contains(&path).then(|| get(&path)).transpose()
    };
    let config = beside("config.json")?;
    let preprocessor = beside("preprocessor_config.json")?;
    let weights = names.iter().map(|name| get(name)).collect::<Result<_, _>>()?;
    Ok(HubModel {
        address: address.clone(),
        commit: commit.to_string(),
        weights,
        index,
        config,
        preprocessor,
    })
}
