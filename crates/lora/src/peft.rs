//! PEFT's layout: `adapter_model.safetensors` beside `adapter_config.json`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;
use serde_json::{Value, json};
use vit_models::{ParamStore, write_atomic};

use crate::adapter::LowRank;
use crate::foreign::PREFIX;
use crate::sites::{Site, sites_of_store};
use crate::trainable::{NEW_PARTS, is_new_part};
use crate::{Error, LoraConfig, Result};

/// End of the names of layers that can have several slices.
const FUSED: &str = "attn.qkv";

/// Writes the adapters as PEFT does, for a Python model of the same module names (timm, MAE).
///
/// PEFT knows one adapter per module. The slices of a fused projection become one of rank
/// `slices · rank` and strength `slices · alpha`, its `B` zero outside each slice's own rows and
/// columns: the same function, exactly. Head and pooled norm are stored as `modules_to_save`.
/// `base_model` becomes `base_model_name_or_path`.
///
/// # Errors
/// As [`crate::merge`] for a configuration that does not fit the store; [`Error::File`] when
/// tensors cannot be stored; [`Error::Model`] when a file cannot be written.
pub fn save_peft(
    folder: &Path,
    store: &ParamStore,
    config: &LoraConfig,
    base_model: &str,
) -> Result<()> {
    let sites = sites_of_store(store, config)?;
    let model_path = folder.join("adapter_model.safetensors");
    let config_path = folder.join("adapter_config.json");
    let fault = |path: &Path, reason: String| Error::File { path: path.to_path_buf(), reason };
    let header = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(&tensors(store, config, &sites)?, Some(header))
        .map_err(|e| fault(&model_path, e.to_string()))?;
    let text = serde_json::to_vec_pretty(&description(store, config, &sites, base_model))
        .map_err(|e| fault(&config_path, e.to_string()))?;
    write_atomic(&model_path, |file| file.write_all(&bytes))?;
    write_atomic(&config_path, |file| file.write_all(&text))?;
    Ok(())
}

fn tensors(
    store: &ParamStore,
    config: &LoraConfig,
    sites: &[Site],
) -> Result<BTreeMap<String, Tensor>> {
    let vb = store.frozen();
    let mut tensors = BTreeMap::new();
    for site in sites {
        let (layer, adapter) = (&site.layer.name, LowRank::new(site, config, &vb)?);
        tensors.insert(format!("{PREFIX}{layer}.lora_A.weight"), adapter.down()?);
        tensors.insert(format!("{PREFIX}{layer}.lora_B.weight"), adapter.up()?);
    }
    for (name, param) in store.iter().filter(|(name, _)| whole_module(name, sites)) {
        tensors.insert(format!("{PREFIX}{name}"), param.var().as_detached_tensor());
    }
    Ok(tensors)
}

/// Whether a parameter is saved as part of a whole module; PEFT refuses one that is adapted too.
fn whole_module(name: &str, sites: &[Site]) -> bool {
    let adapted = |site: &Site| name.starts_with(&format!("{}.", site.layer.name));
    is_new_part(name) && !sites.iter().any(adapted)
}

fn description(store: &ParamStore, config: &LoraConfig, sites: &[Site], base_model: &str) -> Value {
    // Only a fused projection can have several slices, and then every one has the same. Where all
    // layers do, that is the general rank: patterns are matched differently by PEFT's versions.
    let most = sites.iter().map(|site| site.slices.len()).max().unwrap_or(1);
    let uniform = sites.iter().all(|site| site.slices.len() == most);
    let (rank, alpha) = (most * config.rank, most as f64 * config.alpha);
    let (general, patterns) = match uniform {
        true => ((rank, alpha), (json!({}), json!({}))),
        false => {
            let fused = (json!({ FUSED: rank }), json!({ FUSED: alpha }));
            ((config.rank, config.alpha), fused)
        }
    };
    let saved: BTreeSet<&str> = store
        .iter()
        .filter(|(name, _)| whole_module(name, sites))
        .filter_map(|(name, _)| NEW_PARTS.iter().find(|part| name.starts_with(**part)))
        .map(|part| part.trim_end_matches('.'))
        .collect();
    let layers: Vec<&str> = sites.iter().map(|site| site.layer.name.as_str()).collect();
    json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": base_model,
        "inference_mode": true,
        "r": general.0,
        "lora_alpha": general.1,
        "lora_dropout": config.dropout,
        "target_modules": layers,
        "rank_pattern": patterns.0,
        "alpha_pattern": patterns.1,
        "modules_to_save": if saved.is_empty() { Value::Null } else { json!(saved) },
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "use_dora": false,
    })
}
