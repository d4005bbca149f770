//! Adapters of PEFT and loralib.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::Tensor;
use serde::Deserialize;
use vit_models::{LoadReport, Outcome, ParamStore, TensorReport, WeightFile};

use crate::adapter::values;
use crate::sites::{MARK, Site, sites_of_store};
use crate::trainable::is_new_part;
use crate::{Error, LoraConfig, Result};

/// What PEFT puts before every name.
pub(crate) const PREFIX: &str = "base_model.model.";

/// A file whose tensors are collected for a store: all must fit before one is set.
struct Fitting<'a> {
    file: WeightFile,
    store: &'a ParamStore,
    values: Vec<(String, Tensor)>,
    used: BTreeSet<String>,
}

impl<'a> Fitting<'a> {
    fn open(path: &Path, store: &'a ParamStore) -> Result<Self> {
        let file = WeightFile::open(path)?;
        Ok(Self { file, store, values: Vec::new(), used: BTreeSet::new() })
    }

    fn fault(&self, name: &str, reason: String) -> Error {
        Error::Tensor { path: self.file.path().to_path_buf(), name: name.to_string(), reason }
    }

    /// A tensor of the file that must have this shape.
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        match self.file.shapes().get(name) {
            None => return Err(self.fault(name, "is not in the file".to_string())),
            Some(found) if found != shape => {
                let reason = format!("shape {found:?} in the file, {shape:?} is needed");
                return Err(self.fault(name, reason));
            }
            Some(_) => {}
        }
        self.used.insert(name.to_string());
        Ok(self.file.tensor(name, self.store.device())?)
    }

    /// The stacked `A` `[slices · rank, in]` of a layer, cut into its slices.
    fn cut_down(&mut self, from: &str, site: &Site, rank: usize) -> Result<()> {
        let stacked = self.read(from, &[site.slices.len() * rank, site.layer.in_dim])?;
        for (i, slice) in site.slices.iter().enumerate() {
            self.values.push((site.a_name(slice), stacked.narrow(0, i * rank, rank)?));
        }
        Ok(())
    }

    /// A parameter of the store from the tensor `prefix + name`.
    fn whole(&mut self, prefix: &str, name: &str, shape: &[usize]) -> Result<()> {
        let value = self.read(&format!("{prefix}{name}"), shape)?;
        self.values.push((name.to_string(), value));
        Ok(())
    }

    /// Sets everything and reports; a tensor of the file for which `needless` is false must have
    /// been used.
    fn finish(self, needless: impl Fn(&str) -> bool) -> Result<LoadReport> {
        let mut tensors = Vec::new();
        for name in self.file.shapes().keys().filter(|name| !self.used.contains(*name)) {
            if !needless(name) {
                let reason = "is in the file and not in the model".to_string();
                return Err(self.fault(name, reason));
            }
            tensors.push(TensorReport { name: name.clone(), outcome: Outcome::Unexpected });
        }
        for (name, value) in &self.values {
            self.store.set(name, value)?;
            tensors.push(TensorReport { name: name.clone(), outcome: Outcome::Matched });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(LoadReport { path: self.file.path().to_path_buf(), tensors })
    }
}

/// Loads a whole checkpoint of loralib as MED-PEFT writes it (`.pth` or safetensors): the base and
/// `<layer>.lora_A` `[slices · rank, in]` and `<layer>.lora_B` `[slices · rows, rank]`, which hold
/// the enabled parts one above the other. The file stores neither alpha nor rank: `config` must
/// say them. It must have been saved in training mode; one saved merged cannot be told apart.
///
/// # Errors
/// [`Error::Tensor`] naming a parameter of the store that is missing or of another shape, or an
/// adapter the store does not have; [`Error::Model`] when the file cannot be read; as
/// [`crate::merge`] for a configuration that does not fit the store. The store then is as it was.
pub fn load_loralib(path: &Path, store: &ParamStore, config: &LoraConfig) -> Result<LoadReport> {
    let mut fitting = Fitting::open(path, store)?;
    for site in sites_of_store(store, config)? {
        fitting.cut_down(&format!("{}.lora_A", site.layer.name), &site, config.rank)?;
        let rows: usize = site.slices.iter().map(|slice| slice.rows).sum();
        let stacked = fitting.read(&format!("{}.lora_B", site.layer.name), &[rows, config.rank])?;
        let mut row = 0;
        for slice in &site.slices {
            fitting.values.push((site.b_name(slice), stacked.narrow(0, row, slice.rows)?));
            row += slice.rows;
        }
    }
    for (name, param) in store.iter().filter(|(name, _)| !name.contains(MARK)) {
        fitting.whole("", name, param.var().dims())?;
    }
    fitting.finish(|name| !name.contains(MARK))
}

/// What is needed of `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct PeftConfig {
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
}

impl PeftConfig {
    fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Model(vit_models::Error::Io { path: path.to_path_buf(), source });
        let fault = |reason: String| Error::File { path: path.to_path_buf(), reason };
        let text = std::fs::read(path).map_err(io)?;
        let config: Self = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
        let variants = [
            (config.fan_in_fan_out, "fan_in_fan_out"),
            (config.use_rslora, "use_rslora"),
            (config.use_dora, "use_dora"),
        ];
        match variants.into_iter().find(|(used, _)| *used) {
            Some((_, name)) => Err(fault(format!("{name} is not supported"))),
            None => Ok(config),
        }
    }

    /// `lora_alpha / r` of a layer.
    fn scaling(&self, layer: &str) -> f64 {
        let rank = for_layer(&self.rank_pattern, layer).copied().unwrap_or(self.r);
        let alpha = for_layer(&self.alpha_pattern, layer).copied().unwrap_or(self.lora_alpha);
        alpha / rank as f64
    }
}

/// The value of the pattern that names a layer or the end of its name. PEFT allows regular
/// expressions here; files that need them do not fit and say so by rank or strength.
fn for_layer<'a, T>(patterns: &'a BTreeMap<String, T>, layer: &str) -> Option<&'a T> {
    let meant = |pattern: &str| {
        let before = layer.strip_suffix(pattern);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    patterns.iter().find(|(pattern, _)| meant(pattern)).map(|(_, value)| value)
}

/// Loads a folder that PEFT or [`crate::save_peft`] wrote: adapters, and of head and pooled norm
/// what the file has (PEFT leaves them out unless told to save them: see the report).
///
/// An adapter of PEFT on a whole fused projection needs the target `Linear("attn.qkv")`. It fits
/// slices only where it is zero outside of them, as the ones of [`crate::save_peft`] are.
///
/// # Errors
/// [`Error::Tensor`] naming a tensor that is missing, left over, of another shape, or cannot be
/// cut into slices; [`Error::File`] for another strength than `config`'s or a variant of LoRA that
/// is not supported; [`Error::Model`] when a file cannot be read; as [`crate::merge`] for a
/// configuration that does not fit the store. The store then is as it was.
pub fn load_peft(folder: &Path, store: &ParamStore, config: &LoraConfig) -> Result<LoadReport> {
    let config_path = folder.join("adapter_config.json");
    let peft = PeftConfig::read(&config_path)?;
    let mut fitting = Fitting::open(&folder.join("adapter_model.safetensors"), store)?;
    for site in sites_of_store(store, config)? {
        let layer = &site.layer.name;
        fitting.cut_down(&format!("{PREFIX}{layer}.lora_A.weight"), &site, config.rank)?;
        cut_up(&mut fitting, &site, config.rank)?;
        let (theirs, ours) = (peft.scaling(layer), config.scaling());
        let agree = (theirs - ours).abs() <= 1e-6 * ours;
        if !agree {
            let reason = format!("lora_alpha / r is {theirs} for '{layer}', alpha / rank {ours}");
            return Err(Error::File { path: config_path, reason });
        }
    }
    for (name, param) in store.iter().filter(|(name, _)| is_new_part(name)) {
        if !name.contains(MARK) && fitting.file.shapes().contains_key(&format!("{PREFIX}{name}")) {
            fitting.whole(PREFIX, name, param.var().dims())?;
        }
    }
    fitting.finish(|_| false)
}

/// The `B` `[out, slices · rank]` of a layer, cut into its slices; the rest must be zero.
fn cut_up(fitting: &mut Fitting, site: &Site, rank: usize) -> Result<()> {
    let name = format!("{PREFIX}{}.lora_B.weight", site.layer.name);
    let whole = fitting.read(&name, &[site.layer.out_dim, site.slices.len() * rank])?;
    let total = non_zeros(&whole)?;
    let mut kept = 0;
    for (i, slice) in site.slices.iter().enumerate() {
        let part = whole.narrow(0, slice.first, slice.rows)?.narrow(1, i * rank, rank)?;
        kept += non_zeros(&part)?;
        fitting.values.push((site.b_name(slice), part.contiguous()?));
    }
    if kept != total {
        let layer = &site.layer.name;
        let reason =
            format!("is not zero outside the targets' slices; adapt '{layer}' as a whole layer");
        return Err(fitting.fault(&name, reason));
    }
    Ok(())
}

fn non_zeros(tensor: &Tensor) -> Result<usize> {
    Ok(values(tensor)?.into_iter().filter(|value| *value != 0.).count())
}
