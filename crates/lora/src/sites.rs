//! Which rows of which layers a configuration means.

use vit_models::{ParamSpec, ParamStore};

use crate::{Error, LoraConfig, Result};

/// What marks a parameter as an adapter's.
pub(crate) const MARK: &str = "lora_";

/// How many names an error lists.
const LISTED: usize = 8;

/// A linear layer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) in_dim: usize,
    pub(crate) out_dim: usize,
}

/// Output rows of a layer that have an adapter of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Last part of the parameters' names.
    name: &'static str,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// A layer with the slices to adapt, in the order of their rows and without overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) layer: Layer,
    pub(crate) slices: Vec<Slice>,
}

impl Site {
    /// Name of a slice's `A`. That of a whole layer is PEFT's: `<layer>.lora_A.weight`.
    pub(crate) fn a_name(&self, slice: &Slice) -> String {
        format!("{}.{MARK}A.{}", self.layer.name, slice.name)
    }

    /// Name of a slice's `B`.
    pub(crate) fn b_name(&self, slice: &Slice) -> String {
        format!("{}.{MARK}B.{}", self.layer.name, slice.name)
    }

    /// Name of the base weight.
    pub(crate) fn weight_name(&self) -> String {
        format!("{}.weight", self.layer.name)
    }

    /// Names of all adapter parameters.
    pub(crate) fn names(&self) -> Vec<String> {
        let of = |slice| [self.a_name(slice), self.b_name(slice)];
        self.slices.iter().flat_map(of).collect()
    }
}

/// The linear layers among parameters: matrices called `<layer>.weight`.
pub(crate) fn layers<'a>(shapes: impl Iterator<Item = (&'a str, &'a [usize])>) -> Vec<Layer> {
    let layer = |(name, shape): (&str, &[usize])| match (name.strip_suffix(".weight"), shape) {
        (Some(layer), [out_dim, in_dim]) if !name.contains(MARK) => {
            Some(Layer { name: layer.to_string(), in_dim: *in_dim, out_dim: *out_dim })
        }
        _ => None,
    };
    shapes.filter_map(layer).collect()
}

/// The sites of a model that is only described.
pub(crate) fn sites_of_specs(specs: &[ParamSpec], config: &LoraConfig) -> Result<Vec<Site>> {
    let shapes = specs.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice()));
    sites(layers(shapes), config)
}

/// The sites of a model whose parameters, adapters included, are in a store.
///
/// # Errors
/// Besides those of [`sites`]: [`Error::Parameter`] for an adapter in the store that the
/// configuration does not name, which would otherwise be lost.
pub(crate) fn sites_of_store(store: &ParamStore, config: &LoraConfig) -> Result<Vec<Site>> {
    let shapes = store.iter().map(|(name, param)| (name, param.var().dims()));
    let sites = sites(layers(shapes), config)?;
    let named: Vec<String> = sites.iter().flat_map(Site::names).collect();
    for (name, _) in store.iter().filter(|(name, _)| name.contains(MARK)) {
        if !named.iter().any(|n| n == name) {
            let reason = "is an adapter the configuration does not name".to_string();
            return Err(Error::Parameter { name: name.to_string(), reason });
        }
    }
    Ok(sites)
}

/// The sites a configuration means among given layers.
///
/// # Errors
/// [`Error::NoSuchLayer`] for a target without a layer, [`Error::Layer`] for targets that overlap,
/// for a fused projection that is not three equal parts, for a rank above the layer's width.
pub(crate) fn sites(layers: Vec<Layer>, config: &LoraConfig) -> Result<Vec<Site>> {
    config.check()?;
    for target in &config.targets {
        if !layers.iter().any(|layer| target.matches(&layer.name)) {
            return Err(Error::NoSuchLayer { target: target.to_string(), layers: list(&layers) });
        }
    }
    let mut sites = Vec::new();
    for layer in layers {
        let slices = slices(&layer, config)?;
        if !slices.is_empty() {
            sites.push(Site { layer, slices });
        }
    }
    Ok(sites)
}

fn slices(layer: &Layer, config: &LoraConfig) -> Result<Vec<Slice>> {
    let fail = |reason: String| Err(Error::Layer { layer: layer.name.clone(), reason });
    let mut slices = Vec::new();
    for target in config.targets.iter().filter(|target| target.matches(&layer.name)) {
        slices.push(match target.third() {
            None => Slice { name: "weight", first: 0, rows: layer.out_dim },
            Some((third, name)) if layer.out_dim.is_multiple_of(3) => {
                let rows = layer.out_dim / 3;
                Slice { name, first: third * rows, rows }
            }
            Some(_) => {
                return fail(format!("{} outputs are not query, key and value", layer.out_dim));
            }
        });
    }
    slices.sort_by_key(|slice| slice.first);
    let mut end = 0;
    for slice in &slices {
        if slice.first < end {
            return fail("two targets name the same rows".to_string());
        }
        end = slice.first + slice.rows;
    }
    // A higher rank adds nothing; a wild one, read from a file, would ask for all memory.
    if !slices.is_empty() && config.rank > layer.in_dim {
        return fail(format!("rank {} is more than its {} inputs", config.rank, layer.in_dim));
    }
    Ok(slices)
}

/// Names of layers, cut after a few.
fn list(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return "none".to_string();
    }
    let names: Vec<&str> = layers.iter().take(LISTED).map(|layer| layer.name.as_str()).collect();
    let rest = if layers.len() > LISTED { ", …" } else { "" };
    format!("{}{rest}", names.join(", "))
}
