use std::collections::BTreeMap;

use candle_core::Var;
use vit_models::ParamStore;

/// Parameters that share a learning-rate scale and a weight decay.
#[derive(Debug, Clone)]
pub struct ParamGroup {
    /// Name, for logs: `decay`, `layer_3_no_decay`, ….
    pub name: String,
    /// The parameters, by name.
    pub params: BTreeMap<String, Var>,
    /// Factor on the schedule's learning rate.
    pub lr_scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// MAE's pre-training groups: no decay for one-dimensional tensors and biases, `weight_decay` for
/// the rest. The class and mask tokens, being three-dimensional, are decayed, as in the reference.
#[must_use]
pub fn pretrain_groups(store: &ParamStore, weight_decay: f64) -> Vec<ParamGroup> {
    group_by(
        store,
        |name, var| {
            let no_decay = var.rank() <= 1 || name.ends_with(".bias");
            (usize::from(!no_decay), if no_decay { "no_decay" } else { "decay" }.to_string(), 1.)
        },
        weight_decay,
    )
}

/// Fine-tuning groups with layer-wise learning-rate decay (Clark et al., arXiv 2003.10555; Bao et
/// al., arXiv 2106.08254): scale `layer_decay^(depth + 1 − id)`, where id 0 is the stem, `i + 1`
/// block `i`, and `depth + 1` norm and head. No weight decay for one-dimensional tensors,
/// `pos_embed`, `cls_token` and `dist_token`.
#[must_use]
pub fn layer_decay_groups(
    store: &ParamStore,
    depth: usize,
    layer_decay: f64,
    weight_decay: f64,
) -> Vec<ParamGroup> {
    group_by(
        store,
        |name, var| {
            let id = layer_id(name, depth);
            let no_decay =
                var.rank() <= 1 || matches!(name, "pos_embed" | "cls_token" | "dist_token");
            let suffix = if no_decay { "no_decay" } else { "decay" };
            let scale = layer_decay.powi(i32::try_from(depth + 1 - id).unwrap_or(i32::MAX));
            (2 * id + usize::from(!no_decay), format!("layer_{id}_{suffix}"), scale)
        },
        weight_decay,
    )
}

/// 0 for the stem, `i + 1` for block `i`, `depth + 1` for everything after the blocks.
fn layer_id(name: &str, depth: usize) -> usize {
    let stem = ["patch_embed.", "norm_pre."];
    if matches!(name, "cls_token" | "dist_token" | "reg_token" | "pos_embed")
        || stem.iter().any(|part| name.starts_with(part))
    {
        return 0;
    }
    let block = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next());
    match block.and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => (index + 1).min(depth + 1),
        None => depth + 1,
    }
}

/// Groups the trainable parameters by (rank, name, scale); groups whose name ends in `no_decay`
/// are not decayed.
fn group_by(
    store: &ParamStore,
    key: impl Fn(&str, &Var) -> (usize, String, f64),
    weight_decay: f64,
) -> Vec<ParamGroup> {
    let mut groups: BTreeMap<usize, ParamGroup> = BTreeMap::new();
    for (param, var) in store.trainable() {
        let (rank, name, lr_scale) = key(param, var);
        let weight_decay = if name.ends_with("no_decay") { 0. } else { weight_decay };
        let group = groups.entry(rank).or_insert_with(|| ParamGroup {
            name,
            params: BTreeMap::new(),
            lr_scale,
            weight_decay,
        });
        group.params.insert(param.to_string(), var.clone());
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use vit_models::{Pooling, Vit, VitConfig};

    fn store(depth: usize) -> ParamStore {
        let config = VitConfig { depth, embed_dim: 16, num_heads: 2, ..VitConfig::vit_tiny(8, 16) };
        let config = config.classifier(3, Pooling::GlobalPool);
        ParamStore::init(&Vit::specs(&config).unwrap(), 0, DType::F32, &Device::Cpu).unwrap()
    }

    /// `spec/mae.md` 4.4: depth 2, decay 0.75.
    #[test]
    fn layer_decay_has_the_published_scales() {
        let groups = layer_decay_groups(&store(2), 2, 0.75, 0.05);
        let scales: Vec<f64> = groups.iter().map(|group| group.lr_scale).collect();
        assert_eq!(scales, [0.421875, 0.421875, 0.5625, 0.5625, 0.75, 0.75, 1., 1.]);
        let stem: Vec<&str> = groups[0].params.keys().map(String::as_str).collect();
        assert_eq!(stem, ["cls_token", "patch_embed.proj.bias", "pos_embed"]);
        assert_eq!(groups[0].weight_decay, 0.);
        assert_eq!(groups[1].params.keys().collect::<Vec<_>>(), ["patch_embed.proj.weight"]);
        assert_eq!(groups[1].weight_decay, 0.05);
        assert_eq!(groups[0].name, "layer_0_no_decay");
        assert!(groups[7].params.contains_key("head.weight"));
    }

    /// `spec/xray-lora.md` 2.2: depth 12, decay 0.55.
    #[test]
    fn layer_decay_of_a_deep_model() {
        let groups = layer_decay_groups(&store(12), 12, 0.55, 0.05);
        let want = [
            0.00042142, 0.00076622, 0.00139312, 0.00253295, 0.00460537, 0.00837339, 0.01522435,
            0.02768064, 0.05032844, 0.09150625, 0.166375, 0.3025, 0.55, 1.,
        ];
        for (pair, want) in groups.chunks(2).zip(want) {
            assert!((pair[0].lr_scale - want).abs() < 5e-9, "{} {want}", pair[0].lr_scale);
        }
    }

    #[test]
    fn frozen_parameters_are_in_no_group() {
        let mut store = store(2);
        store.set_trainable(|name, _| name.starts_with("head."));
        let groups = layer_decay_groups(&store, 2, 0.75, 0.05);
        let names: Vec<_> = groups.iter().flat_map(|group| group.params.keys()).collect();
        assert_eq!(names, ["head.bias", "head.weight"]);
    }
}
