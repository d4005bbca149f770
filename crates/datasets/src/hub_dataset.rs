use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vit_hub::{HubClient, HubFault, HubOptions, HubProgress, HubRepo, RepoKind, is_below};

use crate::parquet_files::image_column;
use crate::{Card, CsvOptions, Dataset, Error, ParquetImages, Record, Result, Sample, Task};

/// One split of a data set of the Hugging Face hub, as Parquet files.
///
/// Files are those of `config/split/*.parquet`, as the hub makes them for most data sets on the
/// branch `refs/convert/parquet`, or `config/split-00000-of-00002.parquet`, as many repositories
/// have them on `main` (where the folder `data` is the config `default`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HubDataset {
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit.
    #[serde(default = "converted")]
    pub revision: String,
    /// The config; without it, the only one.
    #[serde(default)]
    pub config: Option<String>,
    /// The split, such as `train`.
    pub split: String,
    /// The column of the pictures; without it, the only one.
    #[serde(default)]
    pub column: Option<String>,
    /// Folder of the hub's cache, as `~/.cache/huggingface/hub`.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// Takes everything from the cache.
    #[serde(default)]
    pub offline: bool,
    /// Labels, groups, filter and attributes.
    #[serde(flatten)]
    pub options: CsvOptions,
}

fn converted() -> String {
    "refs/convert/parquet".into()
}

/// The pictures of a [`HubDataset`], with what the hub says of them.
#[derive(Debug, Clone)]
pub struct HubImages {
    images: ParquetImages,
    commit: String,
    licence: Option<String>,
}

impl HubImages {
    /// The commit that the files are of.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The licence that the owner names, if any.
    #[must_use]
    pub fn licence(&self) -> Option<&str> {
        self.licence.as_deref()
    }
}

/// Files by config and split, in order.
type Splits = BTreeMap<String, BTreeMap<String, Vec<String>>>;

impl HubDataset {
    /// A split of the only config, converted by the hub, without labels.
    #[must_use]
    pub fn new(repo: impl Into<String>, split: impl Into<String>) -> Self {
        Self {
            repo: repo.into(),
            revision: converted(),
            config: None,
            split: split.into(),
            column: None,
            cache: None,
            offline: false,
            options: CsvOptions::new("", ""),
        }
    }

    /// Fetches what the cache lacks from the public hub, without a token, and reads it.
    ///
    /// # Errors
    /// As [`HubDataset::open_with`]; [`Error::Config`] when no cache is named.
    pub fn open(&self) -> Result<HubImages> {
        let cache = self.cache.clone().ok_or_else(|| {
            config("HubDataset::cache", "name the folder of the hub's cache".into())
        })?;
        self.open_with(HubOptions::new(cache), &mut |_| ())
    }

    /// The same from another hub or with a token. `cache` and `offline` of the description win.
    ///
    /// # Errors
    /// [`Error::Hub`] when files cannot be had; [`Error::Config`] for a config or split that is not
    /// there, naming those that are; and those of [`ParquetImages::open`].
    pub fn open_with(
        &self,
        mut options: HubOptions,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<HubImages> {
        if let Some(cache) = &self.cache {
            options.cache.clone_from(cache);
        }
        options.offline |= self.offline;
        let hub =
            |fault| Error::Hub { address: format!("{} at {}", self.repo, self.revision), fault };
        let client = HubClient::new(options).map_err(hub)?;
        let repo = HubRepo::new(RepoKind::Dataset, &self.repo, &self.revision).map_err(hub)?;
        let snapshot = client.open(&repo).map_err(hub)?;
        let mut paths = Vec::new();
        for name in self.choose(snapshot.files()).map_err(|fault| fault.or(hub))? {
            paths.push(snapshot.fetch(&name, progress).map_err(hub)?.path);
        }
        snapshot.remember().map_err(hub)?;
        let column = match (&self.column, paths.first()) {
            (None, Some(first)) => image_column(first)?,
            (column, _) => column.clone().unwrap_or_default(),
        };
        let prefix = format!("{}/", self.split);
        let images = ParquetImages::with_prefix(&paths, &column, &self.options, &prefix)?;
        let (commit, licence) = (snapshot.commit().into(), snapshot.licence().map(str::to_owned));
        Ok(HubImages { images, commit, licence })
    }

    fn choose(&self, files: &[String]) -> std::result::Result<Vec<String>, Wrong> {
        let mut splits = splits(files).map_err(Wrong::Fault)?;
        let known =
            |all: Vec<&String>| all.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let wrong = |option, reason| Err(Wrong::Error(config(option, reason)));
        let there = known(splits.keys().collect());
        let name = match (&self.config, splits.len()) {
            (_, 0) => {
                let reason = format!("{} has no Parquet files of splits there", self.repo);
                return wrong("HubDataset::revision", reason);
            }
            (Some(name), _) => name.clone(),
            (None, 1) => there.clone(),
            (None, _) => {
                let reason = format!("{} has several; name one of {there}", self.repo);
                return wrong("HubDataset::config", reason);
            }
        };
        let Some(mut of_config) = splits.remove(&name) else {
            return wrong("HubDataset::config", format!("'{name}' is none of {there}"));
        };
        let there = known(of_config.keys().collect());
        let Some(files) = of_config.remove(&self.split) else {
            return wrong("HubDataset::split", format!("'{}' is none of {there}", self.split));
        };
        let missing = missing(&files);
        if !missing.is_empty() {
            let reason = format!("files {missing:?} of '{}' are not listed", self.split);
            return wrong("HubDataset::split", reason);
        }
        Ok(files)
    }
}

/// Why no files are chosen.
enum Wrong {
    Fault(HubFault),
    Error(Error),
}

impl Wrong {
    fn or(self, hub: impl Fn(HubFault) -> Error) -> Error {
        match self {
            Self::Fault(fault) => hub(fault),
            Self::Error(error) => error,
        }
    }
}

fn config(option: &'static str, reason: String) -> Error {
    Error::Config { option, reason }
}

/// Sorts a repository's Parquet files by config and split.
fn splits(files: &[String]) -> std::result::Result<Splits, HubFault> {
    let mut splits = Splits::new();
    for file in files.iter().filter(|file| file.ends_with(".parquet")) {
        if !is_below(file) {
            let reason = format!("'{file}' is not a file of the repository");
            return Err(HubFault::Transfer(reason));
        }
        let parts: Vec<&str> = file.trim_end_matches(".parquet").split('/').collect();
        let (folder, split) = match parts.as_slice() {
            [name] => ("default", part_of(name).map_or(*name, |(split, ..)| split)),
            [folder, name] => (*folder, part_of(name).map_or(*name, |(split, ..)| split)),
            [folder, split, _] => (*folder, *split),
            _ => continue,
        };
        let config = if folder == "data" { "default" } else { folder };
        let of_config = splits.entry(config.to_owned()).or_default();
        of_config.entry(split.to_owned()).or_default().push(file.clone());
    }
    splits.values_mut().flat_map(BTreeMap::values_mut).for_each(|files| files.sort());
    Ok(splits)
}

/// `train-00001-of-00003`, perhaps with `-hash` behind: split, number and how many.
fn part_of(name: &str) -> Option<(&str, usize, usize)> {
    let (before, after) = name.rsplit_once("-of-")?;
    let (split, number) = before.rsplit_once('-')?;
    let of = after.split('-').next()?;
    Some((split, number.parse().ok()?, of.parse().ok()?))
}

/// Numbers of files that a split must have and has not. Names `0000`, `0001` … tell no total.
fn missing(files: &[String]) -> Vec<usize> {
    let stems =
        files.iter().map(|f| f.rsplit('/').next().unwrap_or(f).trim_end_matches(".parquet"));
    let (mut found, mut total) = (BTreeSet::new(), 0);
    for stem in stems {
        if let Some((_, number, of)) = part_of(stem) {
            found.insert(number);
            // No split has so many; a name could claim any number.
            total = total.max(of.min(100_000));
        } else if let Ok(number) = stem.parse::<usize>() {
            found.insert(number);
            total = total.max(number.saturating_add(1).min(100_000));
        }
    }
    (0..total).filter(|number| !found.contains(number)).take(5).collect()
}

impl Dataset for HubImages {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn task(&self) -> &Task {
        self.images.task()
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.images.record(index)
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.images.get(index)
    }

    crate::forward_provenance!(images);

    fn card(&self) -> Option<&'static Card> {
        None
    }
}
