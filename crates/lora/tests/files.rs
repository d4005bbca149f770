//! Adapter files: what is saved, what is refused, PEFT's layout.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::path::Path;

use common::{adapted, bits, images, lora, pattern, train_b, vit};
use serde_json::{Map, Value, json};
use vit_lora::vit_models::candle_core::{DType, Device, Tensor};
use vit_lora::vit_models::{
    Classifier, Context, ParamStore, Vit, VitConfig, WeightFile, save_weights,
};
use vit_lora::{
    AdapterOptions, BaseCheck, Error, LoraConfig, METADATA_PART, Target, load_adapter,
    load_loralib, load_peft, mark_only_lora_trainable, max_difference, read_adapter_config,
    save_adapter, save_peft, specs,
};

fn logits(model: &Vit) -> Tensor {
    model.logits(&images(2, DType::F32), &Context::eval()).unwrap()
}

/// As after training: adapters and head differ from a fresh store's.
fn trained(vit: &VitConfig, lora: &LoraConfig) -> ParamStore {
    let mut store = common::store(vit, lora, DType::F32);
    mark_only_lora_trainable(&mut store, &[]).unwrap();
    train_b(&store);
    for (name, param) in store.iter().filter(|(name, _)| name.starts_with("head.")) {
        store.set(name, &pattern(param.var().dims(), 5., DType::F32)).unwrap();
    }
    store
}

/// The same base with fresh adapters and head.
fn fresh(vit: &VitConfig, lora: &LoraConfig) -> ParamStore {
    common::store(vit, lora, DType::F32)
}

fn all(store: &ParamStore) -> Vec<Vec<u64>> {
    store.iter().map(|(_, param)| bits(param.var())).collect()
}

fn load(path: &Path, store: &ParamStore, lora: &LoraConfig) -> Result<BaseCheck, Error> {
    load_adapter(path, store, lora, AdapterOptions::default()).map(|report| report.base)
}

#[test]
fn an_adapter_file_restores_the_model() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("adapter.safetensors");
    let store = trained(&vit(), &lora());
    let metadata = Map::from_iter([("labels".to_string(), json!(["a", "b", "c"]))]);
    save_adapter(&path, &store, &lora(), &metadata).unwrap();
    assert_eq!(read_adapter_config(&path).unwrap(), lora());

    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.shapes().len(), 2 * 4 + 4, "adapters, head and pooled norm only");
    assert_eq!(file.metadata_part::<Vec<String>>("labels").unwrap(), ["a", "b", "c"]);

    let other = fresh(&vit(), &lora());
    assert_ne!(all(&store), all(&other));
    let report = load_adapter(&path, &other, &lora(), AdapterOptions::default()).unwrap();
    assert_eq!((report.base, report.load.loaded()), (BaseCheck::Same, 12));
    assert_eq!(all(&store), all(&other));
    let expected = logits(&adapted(&vit(), &lora(), &store));
    assert_eq!(bits(&logits(&adapted(&vit(), &lora(), &other))), bits(&expected));
}

#[test]
fn the_same_adapter_gives_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let store = trained(&vit(), &lora());
    let bytes = |name: &str| {
        let path = folder.join(name);
        save_adapter(&path, &store, &lora(), &Map::new()).unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(bytes("a"), bytes("b"));
}

#[test]
fn another_base_is_refused_unless_allowed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("adapter.safetensors");
    save_adapter(&path, &trained(&vit(), &lora()), &lora(), &Map::new()).unwrap();
    let other = fresh(&vit(), &lora());
    let name = "blocks.1.mlp.fc1.weight";
    let mut values =
        other.get(name).unwrap().var().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values[7] += 1e-4;
    let shape = other.get(name).unwrap().var().dims().to_vec();
    other.set(name, &Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap();
    let before = all(&other);
    let error = load(&path, &other, &lora()).unwrap_err();
    assert!(
        matches!(&error, Error::OtherBase { .. }) && error.to_string().contains(name),
        "{error}"
    );
    assert_eq!(before, all(&other), "a refused file changes nothing");
    let options = AdapterOptions { allow_other_base: true, ..AdapterOptions::default() };
    let report = load_adapter(&path, &other, &lora(), options).unwrap();
    assert!(matches!(report.base, BaseCheck::Differs { tensors, .. } if tensors == [name]));
}

#[test]
fn another_data_type_is_compared_by_sums() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("adapter.safetensors");
    save_adapter(&path, &trained(&vit(), &lora()), &lora(), &Map::new()).unwrap();
    let half = common::store(&vit(), &lora(), DType::BF16);
    assert_eq!(load(&path, &half, &lora()).unwrap(), BaseCheck::Similar);
    let base = Vit::specs(&vit()).unwrap();
    let mut other = ParamStore::init(&base, 99, DType::BF16, &Device::Cpu).unwrap();
    other.add(&specs(&base, &lora()).unwrap(), 0).unwrap();
    assert!(matches!(load(&path, &other, &lora()), Err(Error::OtherBase { .. })));
}

#[test]
fn what_does_not_fit_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("adapter.safetensors");
    save_adapter(&path, &trained(&vit(), &lora()), &lora(), &Map::new()).unwrap();
    let refused = |vit: &VitConfig, lora: &LoraConfig, parts: &[&str]| {
        let store = fresh(vit, lora);
        let before = all(&store);
        let error = load(&path, &store, lora).unwrap_err().to_string();
        assert!(error.contains("adapter.safetensors"), "{error}");
        for part in parts {
            assert!(error.contains(part), "'{part}' is not in: {error}");
        }
        assert_eq!(before, all(&store));
    };
    let wider = LoraConfig { rank: 3, ..lora() };
    refused(&vit(), &wider, &["attn.qkv.lora_A.query", "rank 2 in the file, 3 here"]);
    refused(&vit(), &LoraConfig { alpha: 8., ..lora() }, &["alpha 4 in the file, 8 here"]);
    let fewer = LoraConfig { targets: vec![Target::Query], ..lora() };
    refused(&vit(), &fewer, &["lora_A.value", "not in the model"]);
    let more = LoraConfig { targets: [lora().targets, vec![Target::Fc1]].concat(), ..lora() };
    refused(&vit(), &more, &["mlp.fc1.lora_A.weight", "not in the file"]);
    let mut classes = vit();
    classes.num_classes = 5;
    refused(&classes, &lora(), &["'head.", "in the file"]);
    let mut deeper = vit();
    deeper.depth = 3;
    refused(&deeper, &lora(), &["blocks.2.attn.qkv.lora_A.query"]);
}

#[test]
fn a_head_may_be_new_if_told() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("adapter.safetensors");
    save_adapter(&path, &trained(&vit(), &lora()), &lora(), &Map::new()).unwrap();
    let mut classes = vit();
    classes.num_classes = 5;
    let store = fresh(&classes, &lora());
    let options = AdapterOptions { allow_new_head: true, ..AdapterOptions::default() };
    let report = load_adapter(&path, &store, &lora(), options).unwrap();
    assert_eq!((report.base, report.load.loaded()), (BaseCheck::Same, 10));
}

#[test]
fn a_missing_head_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let path = folder.join("adapter.safetensors");
    save_adapter(&path, &trained(&vit(), &lora()), &lora(), &Map::new()).unwrap();
    let file = WeightFile::open(&path).unwrap();
    let kept = file.shapes().keys().filter(|name| !name.starts_with("head."));
    let tensors = kept.map(|name| (name.clone(), file.tensor(name, &Device::Cpu).unwrap()));
    let headless = folder.join("headless.safetensors");
    save_weights(&headless, &tensors.collect(), file.metadata()).unwrap();
    let error = load(&headless, &fresh(&vit(), &lora()), &lora()).unwrap_err();
    assert!(matches!(error, Error::Tensor { name, .. } if name == "head.bias"));
}

#[test]
fn foreign_and_damaged_files_are_errors() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let path = folder.join("adapter.safetensors");
    let store = trained(&vit(), &lora());
    save_adapter(&path, &store, &lora(), &Map::new()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let cut = folder.join("cut.safetensors");
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        assert!(load(&cut, &store, &lora()).is_err(), "{length}");
    }
    assert!(read_adapter_config(&folder.join("absent")).is_err());
    let plain = folder.join("plain.safetensors");
    save_weights(&plain, &store.tensors(), &Map::new()).unwrap();
    let error = read_adapter_config(&plain).unwrap_err().to_string();
    assert!(error.contains("plain.safetensors") && error.contains("lora"), "{error}");
    let taken = Map::from_iter([(METADATA_PART.to_string(), json!(1))]);
    assert!(matches!(save_adapter(&path, &store, &lora(), &taken), Err(Error::File { .. })));
    let wrong = LoraConfig { targets: vec![Target::Query], ..lora() };
    assert!(matches!(
        save_adapter(&path, &store, &wrong, &Map::new()),
        Err(Error::Parameter { .. })
    ));
}

/// PEFT's one adapter per module is the same function as our slices: its tensors, put on whole
/// layers with PEFT's rank and strength, give the same logits.
#[test]
fn the_peft_layout_is_the_same_function() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let store = trained(&vit(), &lora());
    save_peft(folder, &store, &lora(), "vit_base").unwrap();
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8.)));
    assert_eq!(config["target_modules"], json!(["blocks.0.attn.qkv", "blocks.1.attn.qkv"]));
    assert_eq!(config["modules_to_save"], json!(["fc_norm", "head"]));
    assert_eq!(config["rank_pattern"], json!({}));

    let whole = LoraConfig {
        rank: 4,
        alpha: 8.,
        targets: vec![Target::Linear("attn.qkv".to_string())],
        ..lora()
    };
    let file = WeightFile::open(&folder.join("adapter_model.safetensors")).unwrap();
    assert_eq!(file.shapes().len(), 2 * 2 + 4);
    let other = fresh(&vit(), &whole);
    assert_eq!(load_peft(folder, &other, &whole).unwrap().loaded(), 8);
    let expected = logits(&adapted(&vit(), &lora(), &store));
    let found = logits(&adapted(&vit(), &whole, &other));
    let difference = max_difference(&found, &expected).unwrap();
    assert!(difference < 1e-5, "{difference}");

    let slices = fresh(&vit(), &lora());
    load_peft(folder, &slices, &lora()).unwrap();
    assert_eq!(all(&slices), all(&store), "its own slices come back to the bit");
}

#[test]
fn peft_adapters_that_do_not_fit_are_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let whole = LoraConfig { rank: 4, targets: vec![Target::Linear("attn.qkv".into())], ..lora() };
    save_peft(folder, &trained(&vit(), &whole), &whole, "vit_base").unwrap();
    let refused = |lora: &LoraConfig, part: &str| {
        let store = fresh(&vit(), lora);
        let before = all(&store);
        let error = load_peft(folder, &store, lora).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(before, all(&store));
    };
    refused(&LoraConfig { alpha: 2., ..lora() }, "is not zero outside");
    refused(&LoraConfig { alpha: 5., ..whole.clone() }, "lora_alpha / r is 1");
    refused(&LoraConfig { rank: 3, ..whole.clone() }, "blocks.0.attn.qkv.lora_A.weight");
    let one = LoraConfig { targets: vec![Target::Linear("0.attn.qkv".into())], ..whole.clone() };
    refused(&one, "is in the file and not in the model");
    let path = folder.join("adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"use_dora\": false", "\"use_dora\": true")).unwrap();
    refused(&whole, "use_dora");
}

/// A checkpoint as MED-PEFT writes it: enabled parts stacked under one name.
#[test]
fn loralib_checkpoints_are_cut_into_slices() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("checkpoint.safetensors");
    let store = trained(&vit(), &lora());
    let mut tensors = store.tensors();
    for layer in ["blocks.0.attn.qkv", "blocks.1.attn.qkv"] {
        for letter in ["A", "B"] {
            let mut part = |slice| tensors.remove(&format!("{layer}.lora_{letter}.{slice}"));
            let parts = [part("query").unwrap(), part("value").unwrap()];
            let stacked = Tensor::cat(&parts, 0).unwrap();
            tensors.insert(format!("{layer}.lora_{letter}"), stacked);
        }
    }
    save_weights(&path, &tensors, &Map::new()).unwrap();
    let other = fresh(&vit(), &lora());
    let report = load_loralib(&path, &other, &lora()).unwrap();
    assert_eq!(report.loaded(), other.len());
    assert_eq!(all(&store), all(&other));
    let fewer = LoraConfig { targets: vec![Target::Query], ..lora() };
    let error = load_loralib(&path, &fresh(&vit(), &fewer), &fewer).unwrap_err().to_string();
    assert!(error.contains("blocks.0.attn.qkv.lora_A"), "{error}");
}

#[test]
fn the_peft_layout_names_other_ranks() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let lora = LoraConfig { targets: [lora().targets, vec![Target::Proj]].concat(), ..lora() };
    save_peft(folder, &trained(&vit(), &lora), &lora, "vit_base").unwrap();
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(2), &json!(4.)));
    assert_eq!(config["rank_pattern"], json!({"attn.qkv": 4}));
    assert_eq!(config["alpha_pattern"], json!({"attn.qkv": 8.}));
}
