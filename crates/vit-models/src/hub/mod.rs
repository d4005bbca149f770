//! Models by `hf://owner/name[@revision][/file]`.
//!
//! `vit-hub` fetches and keeps files; here is which of them are the model.

mod address;
mod choose;

pub use address::HubAddress;
pub use vit_hub::{HubFault, HubFile, HubOptions, HubProgress};

use choose::{Weights, shards};
use vit_hub::{HubClient, read_text};

use crate::Error;

/// No index or configuration is larger than this.
const MOST_TEXT: u64 = 64 << 20;

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
    client: HubClient,
}

impl Hub {
    /// Opens no connection.
    ///
    /// # Errors
    /// [`Error::Hub`] when the endpoint is no `http` or `https` address or the client cannot be
    /// built.
    pub fn new(options: HubOptions) -> crate::Result<Self> {
        let address = options.endpoint.clone();
        let client = HubClient::new(options).map_err(|fault| Error::Hub { address, fault })?;
        Ok(Self { client })
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
        let result = self.client.open(address.repo()).and_then(|snapshot| {
            let get = &mut |file: &str| snapshot.fetch(file, progress);
            let model = collect(address, snapshot.commit(), snapshot.files(), get)?;
            snapshot.remember()?;
            Ok(model)
        });
        result.map_err(|fault| Error::Hub { address: address.to_string(), fault })
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
            let names = shards(&name, &read_text(&index.path, MOST_TEXT)?)?;
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
