//! Presets against what timm says of its models: fixture of `fixtures/gen/make_presets.py`.

use std::collections::BTreeMap;

use serde::Deserialize;
use vit_models::{ParamSpec, Pooling, PositionTable, Preset, Vit, VitConfig};

use crate::support::fixture;

#[derive(Deserialize)]
struct Timm {
    tensors: usize,
    elements: usize,
    shapes: BTreeMap<String, Vec<usize>>,
    depth: usize,
    eps: f64,
    heads: usize,
    input_size: [usize; 3],
    crop_pct: f64,
    interpolation: String,
    mean: Vec<f64>,
    std: Vec<f64>,
}

#[test]
fn presets_are_timms() {
    let text = std::fs::read_to_string(fixture("presets.json")).unwrap();
    let table: BTreeMap<String, Timm> = serde_json::from_str(&text).unwrap();
    assert!(table.len() >= 30);
    for (name, timm) in table {
        let preset = Preset::by_name(&name).unwrap();
        let (config, pictures) = (&preset.config, &preset.preprocessing);
        let specs = Vit::specs(config).unwrap();
        assert_eq!(specs.len(), timm.tensors, "{name}");
        assert_eq!(specs.iter().map(ParamSpec::elements).sum::<usize>(), timm.elements, "{name}");
        let shapes: BTreeMap<_, _> = specs.into_iter().map(|s| (s.name, s.shape)).collect();
        for (tensor, shape) in &timm.shapes {
            assert_eq!(shapes.get(tensor), Some(shape), "{name} {tensor}");
        }
        assert_eq!((config.depth, config.num_heads), (timm.depth, timm.heads), "{name}");
        assert_eq!(config.layer_norm_eps, timm.eps, "{name}");
        let filter = serde_json::to_value(pictures.interpolation).unwrap();
        assert_eq!(filter.as_str(), Some(timm.interpolation.as_str()), "{name}");
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&pictures.mean, &timm.mean) && close(&pictures.std, &timm.std), "{name}");
        assert_eq!((pictures.input_size, pictures.crop_pct), (timm.input_size, timm.crop_pct));
    }
}

#[test]
fn the_seeds_names_are_known() {
    let seed = Preset::by_name("mae_vit_large_patch16").unwrap();
    assert_eq!(seed.config.position_table, PositionTable::SinCos);
    assert_eq!((seed.config.depth, seed.config.img_size), (24, 224.into()));
    let retfound = Preset::by_name("retfound_mae").unwrap();
    assert_eq!(retfound.config.pooling, Pooling::GlobalPool);
    assert_eq!(Preset::by_name("vit_small_patch16").unwrap().config.num_heads, 6);
    for wrong in ["", "vit", "vit_base", "vit_base_patch15_224", "vit_base_patchx_224", "resnet50"]
    {
        let error = Preset::by_name(wrong).unwrap_err().to_string();
        assert!(error.contains(wrong) && error.contains("vit_base_patch16_224"), "{error}");
    }
}

/// A configuration in a file may have been written before a field existed, and a size is a number
/// or a pair.
#[test]
fn old_and_new_files_hold_the_same_configuration() {
    let old = r#"{"img_size": 64, "patch_size": 8, "in_chans": 3, "embed_dim": 192, "depth": 12,
        "num_heads": 3, "mlp_ratio": 4.0, "qkv_bias": true, "layer_norm_eps": 1e-6,
        "drop_path": 0.0, "pooling": "class_token", "num_classes": 0,
        "position_table": "learned", "init": "timm"}"#;
    let mut config: VitConfig = serde_json::from_str(old).unwrap();
    assert_eq!(config, VitConfig::vit_tiny(8, 64));
    config.img_size = (64, 32).into();
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains("[64,32]"), "{text}");
    assert_eq!(serde_json::from_str::<VitConfig>(&text).unwrap(), config);
    let misspelt = old.replace("drop_path", "drop_paht");
    assert!(serde_json::from_str::<VitConfig>(&misspelt).is_err());
}
