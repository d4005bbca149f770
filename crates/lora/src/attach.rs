use std::sync::Arc;

use vit_models::candle_nn::VarBuilder;
use vit_models::{Adapter, Linear, ParamInit, ParamSpec};

use crate::adapter::LowRank;
use crate::sites::{Layer, sites, sites_of_specs};
use crate::{Error, LoraConfig, Result};

/// The adapter parameters for a model whose own parameters are `base`, to be added to its store.
///
/// Of each slice `A` `[rank, in]`, `<layer>.lora_A.<slice>`, uniform within `±1/√in`
/// (Kaiming-uniform with `a = √5`), and `B` `[rows, rank]`, `<layer>.lora_B.<slice>`, zero, so that
/// the adapted model starts as the base. `<slice>` is `query`, `key` or `value` of a fused
/// projection and `weight` of a whole layer.
///
/// # Errors
/// [`Error::Config`] for a contradictory configuration, [`Error::NoSuchLayer`] for a target that
/// matches nothing, [`Error::Layer`] for a layer that cannot be adapted so.
pub fn specs(base: &[ParamSpec], config: &LoraConfig) -> Result<Vec<ParamSpec>> {
    let mut specs = Vec::new();
    for site in sites_of_specs(base, config)? {
        let in_dim = site.layer.in_dim;
        for slice in &site.slices {
            let init = ParamInit::fan_in_uniform(in_dim);
            specs.push(ParamSpec::new(site.a_name(slice), &[config.rank, in_dim], init));
            let shape = [slice.rows, config.rank];
            specs.push(ParamSpec::new(site.b_name(slice), &shape, ParamInit::Constant(0.)));
        }
    }
    Ok(specs)
}

/// Puts adapters on a model's layers, as `Vit::linears_mut` lists them, and gives back how many
/// layers were adapted. The adapters' parameters are read from `vb`, which stands at the model's
/// root; nothing is changed unless all can be read.
///
/// In training the adapter's input gets dropout with the random stream `lora_dropout/<layer>`, one
/// mask for all slices of a layer.
///
/// # Errors
/// As [`specs`]; [`Error::Layer`] for a layer that has an adapter already; [`Error::Candle`]
/// naming a parameter that is missing or has another shape.
pub fn attach(
    mut linears: Vec<(String, &mut Linear)>,
    config: &LoraConfig,
    vb: &VarBuilder,
) -> Result<usize> {
    let layers = linears.iter().map(|(name, linear)| Layer {
        name: name.clone(),
        in_dim: linear.in_dim(),
        out_dim: linear.out_dim(),
    });
    let mut adapters: Vec<(String, Arc<dyn Adapter>)> = Vec::new();
    for site in sites(layers.collect(), config)? {
        adapters.push((site.layer.name.clone(), Arc::new(LowRank::new(&site, config, vb)?)));
    }
    let count = adapters.len();
    for (name, _) in &adapters {
        refuse_adapted(&mut linears, name)?;
    }
    for (name, adapter) in adapters {
        if let Some((_, linear)) = linears.iter_mut().find(|(n, _)| *n == name) {
            linear.set_adapter(Some(adapter));
        }
    }
    Ok(count)
}

/// A second adapter would silently replace the first.
fn refuse_adapted(linears: &mut [(String, &mut Linear)], name: &str) -> Result<()> {
    let Some((_, linear)) = linears.iter_mut().find(|(n, _)| n == name) else { return Ok(()) };
    match linear.set_adapter(None) {
        None => Ok(()),
        Some(present) => {
            linear.set_adapter(Some(present));
            let reason = "has an adapter already; detach it first".to_string();
            Err(Error::Layer { layer: name.to_string(), reason })
        }
    }
}

/// Takes all adapters off and gives back how many there were.
// Called for its effect; the number is for those who want it.
#[allow(clippy::must_use_candidate)]
pub fn detach(linears: Vec<(String, &mut Linear)>) -> usize {
    let adapted = |(_, linear): (String, &mut Linear)| linear.set_adapter(None);
    linears.into_iter().filter_map(adapted).count()
}
