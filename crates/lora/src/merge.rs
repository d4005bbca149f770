use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use vit_models::ParamStore;
use vit_models::candle_nn::VarBuilder;

use crate::adapter::LowRank;
use crate::sites::{MARK, Site, sites_of_store};
use crate::{Error, LoraConfig, Result};

/// The dense update `alpha / rank · B · A` `[out, in]` of every adapted layer, by layer name: zero
/// in rows without an adapter. In f32, or f64 for f64 parameters.
///
/// # Errors
/// As [`crate::specs`]; [`Error::Candle`] naming an adapter parameter that is missing or has
/// another shape; [`Error::Parameter`] for one the configuration does not name.
pub fn delta_weights(store: &ParamStore, config: &LoraConfig) -> Result<BTreeMap<String, Tensor>> {
    let deltas = deltas(store, config)?;
    Ok(deltas.into_iter().map(|(site, delta)| (site.layer.name, delta)).collect())
}

fn deltas(store: &ParamStore, config: &LoraConfig) -> Result<Vec<(Site, Tensor)>> {
    let vb = store.frozen();
    let mut deltas = Vec::new();
    for site in sites_of_store(store, config)? {
        let delta = LowRank::new(&site, config, &vb)?.delta()?;
        deltas.push((site, delta));
    }
    Ok(deltas)
}

/// Base weight plus update, added in the update's precision.
fn merged_weight(store: &ParamStore, site: &Site, delta: &Tensor) -> Result<Tensor> {
    let base = base_weight(store, &site.weight_name())?;
    Ok((base.to_dtype(delta.dtype())? + delta)?.to_dtype(store.dtype())?)
}

fn base_weight(store: &ParamStore, name: &str) -> Result<Tensor> {
    let missing =
        || Error::Parameter { name: name.to_string(), reason: "is not in the store".to_string() };
    Ok(store.get(name).ok_or_else(missing)?.var().as_detached_tensor())
}

/// All weights of the model with the adapters merged in, under plain names, for a model without
/// adapters. The store stays as it is; tensors without an adapter share its memory.
///
/// Weights in half precision are added in f32 and rounded once.
///
/// # Errors
/// As [`delta_weights`].
pub fn merge(store: &ParamStore, config: &LoraConfig) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = store.tensors();
    tensors.retain(|name, _| !name.contains(MARK));
    for (site, delta) in deltas(store, config)? {
        tensors.insert(site.weight_name(), merged_weight(store, &site, &delta)?);
    }
    Ok(tensors)
}

/// A store with its adapters merged in place, until [`Merged::unmerge`] or drop restores the very
/// bytes from before: a pristine copy is kept, nothing is subtracted.
///
/// While merged, every `B` is zero. So a model built before, which shares the store's memory and
/// has adapters attached, gives the merged output too, and a clone of the store that is merged
/// again gains nothing: an update can never be added twice. The borrow keeps the store from being
/// trained, saved or merged again meanwhile; of clones merged at the same time, unmerge the last
/// first, since each restores what it found:
///
/// ```compile_fail,E0499
/// # use vit_lora::{LoraConfig, Merged, Result, vit_models::ParamStore};
/// # fn twice(store: &mut ParamStore, config: &LoraConfig) -> Result<()> {
/// let once = Merged::new(store, config)?;
/// let twice = Merged::new(store, config)?;
/// once.unmerge()
/// # }
/// ```
#[derive(Debug)]
pub struct Merged<'a> {
    store: &'a mut ParamStore,
    /// Values from before, in memory of their own.
    pristine: BTreeMap<String, Tensor>,
}

impl<'a> Merged<'a> {
    /// Merges in place.
    ///
    /// # Errors
    /// As [`delta_weights`]; the store then is as it was.
    pub fn new(store: &'a mut ParamStore, config: &LoraConfig) -> Result<Self> {
        let mut merged = BTreeMap::new();
        for (site, delta) in deltas(store, config)? {
            merged.insert(site.weight_name(), merged_weight(store, &site, &delta)?);
            for slice in &site.slices {
                let name = site.b_name(slice);
                let zeros = base_weight(store, &name)?.zeros_like()?;
                merged.insert(name, zeros);
            }
        }
        let mut pristine = BTreeMap::new();
        for name in merged.keys() {
            pristine.insert(name.clone(), base_weight(store, name)?.copy()?);
        }
        // From here on a failure drops the guard, which restores what was changed.
        let guard = Self { store, pristine };
        for (name, value) in &merged {
            guard.store.set(name, value)?;
        }
        Ok(guard)
    }

    /// For building a model without adapters that evaluates; it shares the store's memory, so it
    /// is the base model again once unmerged.
    #[must_use]
    pub fn frozen(&self) -> VarBuilder<'static> {
        self.store.frozen()
    }

    /// The merged weights under plain names, sharing the store's memory.
    #[must_use]
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let mut tensors = self.store.tensors();
        tensors.retain(|name, _| !name.contains(MARK));
        tensors
    }

    /// Data type of the weights.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.store.dtype()
    }

    /// Restores the store. Dropping does the same but cannot tell of a failure.
    ///
    /// # Errors
    /// [`Error::Model`] when a device fails.
    pub fn unmerge(mut self) -> Result<()> {
        self.restore()
    }

    fn restore(&mut self) -> Result<()> {
        for (name, value) in &self.pristine {
            self.store.set(name, value)?;
        }
        self.pristine.clear();
        Ok(())
    }
}

impl Drop for Merged<'_> {
    fn drop(&mut self) {
        // Only a failing device can make this fail, and then there is nobody to tell.
        self.restore().ok();
    }
}
