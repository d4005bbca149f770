use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vit_models::{LoadReport, Outcome, Param, ParamStore, TensorReport, WeightFile, save_weights};

use crate::fingerprint::describe;
use crate::sites::{MARK, Site, sites_of_store};
use crate::trainable::is_new_part;
use crate::{BaseCheck, Error, Fingerprint, LoraConfig, Result};

/// The part of a file's metadata that this crate writes and reads.
pub const METADATA_PART: &str = "lora";

/// What stands in the metadata part.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    config: LoraConfig,
    base: Fingerprint,
}

/// What to tolerate in an adapter file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdapterOptions {
    /// Accept an adapter that was trained on another base; the report tells.
    pub allow_other_base: bool,
    /// Leave head and pooled norm as they are where the file has none that fits: for going on with
    /// other classes.
    pub allow_new_head: bool,
}

/// What an adapter file gave a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterReport {
    /// Tensor by tensor.
    pub load: LoadReport,
    /// Whether the base is the one the adapter was trained on.
    pub base: BaseCheck,
}

/// Writes what the base model does not have: adapters, head, pooled norm and everything else that
/// is trainable, with the configuration and a fingerprint of the rest of the store, the base.
/// `metadata` is written beside them; whole or not at all.
///
/// # Errors
/// As [`crate::merge`] for a configuration that does not fit the store; [`Error::File`] when
/// `metadata` has a part called [`METADATA_PART`]; [`Error::Model`] when the file cannot be
/// written.
pub fn save_adapter(
    path: &Path,
    store: &ParamStore,
    config: &LoraConfig,
    metadata: &Map<String, Value>,
) -> Result<()> {
    let fault = |reason: String| Error::File { path: path.to_path_buf(), reason };
    check_store(store, config)?;
    let saved =
        |name: &str, param: &Param| name.contains(MARK) || is_new_part(name) || param.trainable();
    let tensors: BTreeMap<String, Tensor> = store
        .iter()
        .filter(|(name, param)| saved(name, param))
        .map(|(name, param)| (name.to_string(), param.var().as_detached_tensor()))
        .collect();
    let base = Fingerprint::of(store, |name| !tensors.contains_key(name))?;
    let header = serde_json::to_value(Header { config: config.clone(), base })
        .map_err(|e| fault(e.to_string()))?;
    let mut metadata = metadata.clone();
    if metadata.insert(METADATA_PART.to_string(), header).is_some() {
        return Err(fault(format!("the metadata part '{METADATA_PART}' is this crate's own")));
    }
    Ok(save_weights(path, &tensors, &metadata)?)
}

/// The configuration of the adapters in a file, with which to build the model that takes them.
///
/// # Errors
/// [`Error::Model`] when the file cannot be read or is not an adapter file; [`Error::Config`] when
/// its configuration contradicts itself.
pub fn read_adapter_config(path: &Path) -> Result<LoraConfig> {
    let header: Header = WeightFile::open(path)?.metadata_part(METADATA_PART)?;
    header.config.check()?;
    Ok(header.config)
}

/// Gives a store, which holds base and adapters of `config`, the tensors of an adapter file.
/// Nothing is changed unless all fits: every adapter, head and pooled norm of the store must be in
/// the file, every tensor of the file in the store, with the same shape; rank and alpha must be
/// those the file was trained with (dropout may differ); the base must be the same.
///
/// # Errors
/// [`Error::Tensor`] naming a tensor that is missing, left over or of another shape;
/// [`Error::File`] for another rank or alpha; [`Error::OtherBase`];
/// [`Error::Model`] when the file cannot be read or is not an adapter file; as [`crate::merge`]
/// for a configuration that does not fit the store.
pub fn load_adapter(
    path: &Path,
    store: &ParamStore,
    config: &LoraConfig,
    options: AdapterOptions,
) -> Result<AdapterReport> {
    check_store(store, config)?;
    let file = WeightFile::open(path)?;
    let header: Header = file.metadata_part(METADATA_PART)?;
    let rows = plan(&file, store, &header.config, config, options)?;
    check_config(path, &header.config, config)?;
    let own =
        |name: &str| name.contains(MARK) || is_new_part(name) || file.shapes().contains_key(name);
    let base = header.base.compare(&Fingerprint::of(store, |name| !own(name))?);
    if let BaseCheck::Differs { tensors, compared } = &base
        && !options.allow_other_base
    {
        let reason = describe(tensors, *compared);
        return Err(Error::OtherBase { path: path.to_path_buf(), reason });
    }
    let load = LoadReport { path: path.to_path_buf(), tensors: rows };
    let mut values = Vec::new();
    for name in load.names(|outcome| *outcome == Outcome::Matched) {
        values.push((name, file.tensor(name, store.device())?));
    }
    for (name, value) in values {
        store.set(name, &value)?;
    }
    Ok(AdapterReport { load, base })
}

/// What becomes of each tensor of file and store.
fn plan(
    file: &WeightFile,
    store: &ParamStore,
    theirs: &LoraConfig,
    ours: &LoraConfig,
    options: AdapterOptions,
) -> Result<Vec<TensorReport>> {
    let fail = |name: &str, reason: String| {
        Err(Error::Tensor { path: file.path().to_path_buf(), name: name.to_string(), reason })
    };
    let tolerated = |name: &str| options.allow_new_head && is_new_part(name);
    let row = |name: &str, outcome| TensorReport { name: name.to_string(), outcome };
    let mut rows = Vec::new();
    for (name, shape) in file.shapes() {
        match store.get(name).map(|param| param.var().dims()) {
            Some(dims) if dims == shape => rows.push(row(name, Outcome::Matched)),
            Some(dims) => {
                let ranks = match theirs.rank == ours.rank {
                    true => String::new(),
                    false => format!(": rank {} in the file, {} here", theirs.rank, ours.rank),
                };
                let reason = format!("shape {shape:?} in the file, {dims:?} in the model{ranks}");
                if !tolerated(name) {
                    return fail(name, reason);
                }
                rows.push(row(name, Outcome::Dropped { reason }));
            }
            None if tolerated(name) => rows.push(row(name, Outcome::Unexpected)),
            None => return fail(name, "is in the file and not in the model".to_string()),
        }
    }
    for (name, _) in store.iter().filter(|(name, _)| name.contains(MARK) || is_new_part(name)) {
        if file.shapes().contains_key(name) {
            continue;
        }
        if !tolerated(name) {
            return fail(name, "is in the model and not in the file".to_string());
        }
        rows.push(row(name, Outcome::Missing));
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// Differences that shapes do not show but that change what the model computes.
fn check_config(path: &Path, theirs: &LoraConfig, ours: &LoraConfig) -> Result<()> {
    let fail = |reason: String| Err(Error::File { path: path.to_path_buf(), reason });
    if theirs.rank != ours.rank {
        return fail(format!("rank {} in the file, {} here", theirs.rank, ours.rank));
    }
    // Equal to the bit: the number was written and read, not computed.
    if theirs.alpha.to_bits() != ours.alpha.to_bits() {
        return fail(format!("alpha {} in the file, {} here", theirs.alpha, ours.alpha));
    }
    Ok(())
}

/// That the store holds exactly the adapters of the configuration.
fn check_store(store: &ParamStore, config: &LoraConfig) -> Result<()> {
    let sites = sites_of_store(store, config)?;
    match sites.iter().flat_map(Site::names).find(|name| store.get(name).is_none()) {
        None => Ok(()),
        Some(name) => {
            let reason = "is not in the store; add the specs of the configuration".to_string();
            Err(Error::Parameter { name, reason })
        }
    }
}
