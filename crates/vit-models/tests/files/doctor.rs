//! The diagnosis of each family's fixture, correct to the tensor.

use std::collections::{BTreeMap, BTreeSet};

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Diagnosis, DoctorOptions, Family, ModelConfig, Outcome, Vit, VitConfig, WeightFile,
    save_weights,
};

use crate::families::{models, weights};
use crate::support::saved;

fn diagnosed(file: &str) -> Diagnosis {
    WeightFile::open(&weights(file)).unwrap().diagnose(&DoctorOptions::default()).unwrap()
}

/// What a guess cannot know from the file: the rest must be as it was built.
fn comparable(guess: &VitConfig, truth: &VitConfig) -> VitConfig {
    VitConfig {
        // Fixtures have two heads; a bare file does not say how many.
        num_heads: truth.num_heads,
        layer_norm_eps: truth.layer_norm_eps,
        init_values: guess.init_values.and(truth.init_values),
        init: truth.init,
        ..guess.clone()
    }
}

#[test]
fn the_guess_is_the_model_the_file_was_made_from() {
    for (name, model, config) in models() {
        let Some(config) = config else { continue };
        let path = weights(&model.file);
        let file = WeightFile::open(&path).unwrap();
        // A grid of 4 by 6 is nowhere in the file: 25 rows are taken for a square.
        if name == "timm_qk_norm" {
            continue;
        }
        let guess = file.guess().unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = guess.architecture.vit().unwrap_or_else(|| panic!("{name}: {guess:?}"));
        assert_eq!(comparable(found, &config), config, "{name}");
        if path.is_dir() {
            assert_eq!(found.num_heads, 2, "{name}: config.json says it");
            assert_eq!(found.layer_norm_eps, config.layer_norm_eps, "{name}");
        } else {
            assert!(guess.notes.iter().any(|note| note.contains("heads")), "{name}");
        }
    }
}

/// Each tensor of the model has one row and values, each of the file is used or named.
#[test]
fn every_familys_diagnosis_is_correct_to_the_tensor() {
    for (name, model, config) in models() {
        let Some(config) = config else { continue };
        let file = WeightFile::open(&weights(&model.file)).unwrap();
        let options = DoctorOptions {
            config: Some(ModelConfig::Vit(config.clone())),
            ..DoctorOptions::default()
        };
        let diagnosis = file.diagnose(&options).unwrap();
        assert_eq!(diagnosis.family.name(), model.family, "{name}");
        assert!(diagnosis.is_healthy(1.), "{name}: {:?}", diagnosis.faults);

        let mut loaded = BTreeSet::new();
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        for row in &diagnosis.rows {
            let from = match &row.outcome {
                Outcome::Matched | Outcome::Resized { .. } => vec![row.name.clone()],
                Outcome::Renamed { from } => vec![from.clone()],
                Outcome::Fused { from } | Outcome::Adapted { from, .. } => from.clone(),
                Outcome::Dropped { reason } => {
                    assert!(reason.len() > 5, "{name} {}", row.name);
                    *used.entry(row.name.clone()).or_default() += 1;
                    continue;
                }
                other => panic!("{name} {}: {other:?}", row.name),
            };
            assert!(loaded.insert(row.name.clone()), "{name}: {} twice", row.name);
            for from in from {
                *used.entry(from).or_default() += 1;
            }
        }
        let wanted: BTreeSet<String> =
            Vit::specs(&config).unwrap().into_iter().map(|spec| spec.name).collect();
        assert_eq!(loaded, wanted, "{name}");
        let in_file: Vec<&String> = file.shapes().keys().collect();
        assert_eq!(used.keys().collect::<Vec<_>>(), in_file, "{name}");
        assert!(used.values().all(|times| *times == 1), "{name}: {used:?}");
    }
}

#[test]
fn what_is_beside_the_encoder_is_named() {
    let dropped = |file: &str, word: &str| {
        let rows = diagnosed(file).rows;
        let fits = rows.iter().filter(
            |row| matches!(&row.outcome, Outcome::Dropped { reason } if reason.contains(word)),
        );
        fits.map(|row| row.name.clone()).collect::<Vec<_>>()
    };
    // Embedding 2, norm 2, prediction 2, table 1, block 12.
    assert_eq!(dropped("mae_pretrain.pth", "decoder").len(), 19);
    assert_eq!(dropped("mae_pretrain.pth", "hidden patches"), ["mask_token"]);
    assert_eq!(dropped("mrm.pth", "MRM").len(), 3);
    assert_eq!(dropped("hf_vit_mae", "decoder").len(), 23);
    assert_eq!(dropped("hf_dinov2", "hidden patches"), ["embeddings.mask_token"]);
    assert_eq!(dropped("dinov2_teacher.pth", "hidden patches"), ["backbone.mask_token"]);
    assert_eq!(
        dropped("dinov2_teacher.pth", "a head of the pre-training"),
        ["dino_head.mlp.0.weight"]
    );
    let smp = diagnosed("smp_densenet.pth");
    assert_eq!(smp.family, Family::SmpEncoder);
    assert_eq!(smp.prefix, "module.model.encoder.");
    assert_eq!(dropped("smp_densenet.pth", "U-Net").len(), 2);
}

#[test]
fn the_variant_says_whether_there_is_a_decoder_and_a_head() {
    for (file, word) in [
        ("mae_pretrain.pth", "decoder (reconstructs"),
        ("mae_encoder.pth", "cannot reconstruct"),
        ("mae_finetuned.pth", "fine-tuned"),
        ("mrm.pth", "MRM"),
        ("timm_class.safetensors", "with a head"),
        ("smp_densenet.pth", "U-Net"),
    ] {
        assert!(diagnosed(file).variant.contains(word), "{file}: {}", diagnosed(file).variant);
    }
}

/// torchvision's own names and shapes.
#[test]
fn convolutional_networks_are_named() {
    let text = std::fs::read_to_string(weights("torchvision_names.json")).unwrap();
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    for (name, family) in [("densenet121", Family::DenseNet), ("resnet50", Family::ResNet)] {
        let mut tensors = BTreeMap::new();
        let mut add = |name: String, shape: &[usize]| {
            let tensor = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
            tensors.insert(name, tensor);
        };
        for (norm, channels) in all[name]["norms"].as_object().unwrap() {
            for part in ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"] {
                add(format!("{norm}.{part}"), &[channels.as_u64().unwrap() as usize]);
            }
        }
        for (other, shape) in all[name]["other"].as_object().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            add(other.clone(), &shape);
        }
        let (_folder, path) = saved(&tensors);
        let file = WeightFile::open(&path).unwrap();
        let diagnosis = file.diagnose(&DoctorOptions::default()).unwrap();
        assert_eq!(diagnosis.family, family);
        assert_eq!(diagnosis.guess.as_ref().unwrap().name, name);
        assert!(!diagnosis.notes.iter().any(|note| note.contains("shapes are not")), "{name}");
        let counters = |row: &&vit_models::DoctorRow| row.name.ends_with("num_batches_tracked");
        let dropped =
            diagnosis.rows.iter().filter(|r| matches!(r.outcome, Outcome::Dropped { .. }));
        assert_eq!(dropped.clone().count(), dropped.filter(counters).count());
        assert!(diagnosis.is_healthy(1.), "{:?}", diagnosis.left_at_first_value);
    }
    // One of no published size cannot be compared with anything but itself.
    let tiny = diagnosed("torchvision_densenet.safetensors");
    assert_eq!((tiny.family, tiny.coverage.share()), (Family::DenseNet, 0.));
    assert!(!tiny.is_healthy(0.95) && tiny.left_at_first_value.is_empty());
    assert!(tiny.notes.iter().any(|note| note.contains("shapes are not")), "{:?}", tiny.notes);
    assert!(tiny.rows.iter().any(|row| row.outcome == Outcome::Matched));
}

/// A ViT without its last blocks has the shapes of a smaller one; its width tells.
#[test]
fn a_model_without_its_last_blocks_is_not_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let diagnosed = |depth: usize, options: &DoctorOptions| {
        let config = VitConfig { depth, ..VitConfig::vit_tiny(16, 32) };
        let store = crate::support::store(&config, 1);
        save_weights(&path, &store.tensors(), &serde_json::Map::new()).unwrap();
        WeightFile::open(&path).unwrap().diagnose(options).unwrap()
    };
    let guessed = DoctorOptions::default();
    let whole = diagnosed(12, &guessed);
    assert!(whole.is_healthy(1.) && whole.suspicions.is_empty(), "{:?}", whole.suspicions);
    let cut = diagnosed(10, &guessed);
    assert!(!cut.is_healthy(0.) && cut.coverage.share() == 1.);
    assert!(cut.suspicions[0].contains("width 192 is known with 12 blocks, the file has 10"));
    assert!(cut.notes.contains(&cut.suspicions[0]));
    // Whoever says that it has ten blocks knows.
    let config = VitConfig { depth: 10, ..VitConfig::vit_tiny(16, 32) };
    let told = DoctorOptions { config: Some(ModelConfig::Vit(config)), ..guessed };
    assert!(diagnosed(10, &told).is_healthy(1.));
}

/// Numbers in names and sizes of empty tensors may be anything.
#[test]
fn names_and_shapes_that_overflow_are_an_error() {
    let last = format!("blocks.{}.norm1.weight", usize::MAX);
    for (name, shape, words) in [
        (last.as_str(), vec![0], "a block 18446744073709551615"),
        ("patch_embed.proj.weight", vec![8, 0, 1 << 62, 1 << 62], "patches of"),
        ("reg_token", vec![0, usize::MAX, 8], "registers"),
    ] {
        let mut tensors = crate::support::store(&crate::support::encoder(), 1).tensors();
        tensors.remove(name);
        let (_folder, path) = saved(&tensors);
        let bytes = std::fs::read(&path).unwrap();
        let (size, rest) = bytes.split_at(8);
        let size = u64::from_le_bytes(size.try_into().unwrap()) as usize;
        let mut header: serde_json::Value = serde_json::from_slice(&rest[..size]).unwrap();
        let end = rest.len() - size;
        header[name] =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [end, end] });
        let header = serde_json::to_vec(&header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&length[..], &header, &rest[size..]].concat()).unwrap();
        let file = WeightFile::open(&path).unwrap();
        let error = file.guess().unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
        // Neither does a comparison with a model stop there.
        file.diagnose(&DoctorOptions::default()).unwrap();
        let store = crate::support::store(&crate::support::encoder(), 2);
        file.load_into(&store, &vit_models::LoadOptions::strict()).ok();
    }
}

#[test]
fn another_model_is_not_covered() {
    let options = |model: &str| DoctorOptions { model: Some(model.into()), ..Default::default() };
    let file = WeightFile::open(&weights("timm_class.safetensors")).unwrap();
    let diagnosis = file.diagnose(&options("vit_small_patch16_224")).unwrap();
    assert!(!diagnosis.is_healthy(0.95) && diagnosis.coverage.share() < 0.1);
    assert!(diagnosis.left_at_first_value.contains(&"blocks.0.attn.qkv.weight".to_string()));
    assert!(file.diagnose(&options("vit_enormous")).is_err());
    // A file of no known model is no error either.
    let diagnosis = diagnosed("types.pth");
    assert!(diagnosis.guess.is_none() && !diagnosis.is_healthy(0.5));
    assert!(diagnosis.notes.iter().any(|note| note.contains("cannot be guessed")));
}

#[test]
fn numbers_that_cannot_be_are_named() {
    let file = WeightFile::open(&weights("timm_class.safetensors")).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = file
        .shapes()
        .keys()
        .map(|name| (name.clone(), file.tensor(name, &Device::Cpu).unwrap()))
        .collect();
    let mut set = |name: &str, values: &[f32]| {
        let old = tensors[name].clone();
        let mut all: Vec<f32> = old.flatten_all().unwrap().to_vec1().unwrap();
        all[..values.len()].copy_from_slice(values);
        tensors.insert(name.into(), Tensor::from_vec(all, old.dims(), &Device::Cpu).unwrap());
    };
    set("blocks.0.norm1.bias", &[f32::NAN, f32::NAN, 1.]);
    set("head.bias", &[f32::INFINITY]);
    set("blocks.1.mlp.fc1.bias", &[0.; 32]);
    set("blocks.1.mlp.fc2.weight", &[0.; 16 * 32]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    save_weights(&path, &tensors, &serde_json::Map::new()).unwrap();
    let diagnosis = WeightFile::open(&path).unwrap().diagnose(&DoctorOptions::default()).unwrap();
    let names: Vec<_> = diagnosis.faults.keys().cloned().collect();
    assert_eq!(names, ["blocks.0.norm1.bias", "blocks.1.mlp.fc2.weight", "head.bias"]);
    assert!(diagnosis.faults["blocks.0.norm1.bias"].contains("2 values are NaN"));
    assert_eq!(diagnosis.zeros, ["blocks.1.mlp.fc1.bias"]);
    assert!(diagnosis.coverage.share() == 1. && !diagnosis.is_healthy(0.95));
    let json = serde_json::to_value(&diagnosis).unwrap();
    assert_eq!(json["family"], "timm");
    assert_eq!(json["rows"][0]["outcome"], "matched");
}

/// `config.json` is believed where shapes say nothing and refused where they say otherwise.
#[test]
fn a_configuration_that_contradicts_the_shapes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let from = weights("hf_vit");
    std::fs::copy(from.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let text = std::fs::read_to_string(from.join("config.json")).unwrap();
    let guess = |from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(folder.path().join("config.json"), text.replace(from, to)).unwrap();
        WeightFile::open(folder.path()).unwrap().guess()
    };
    assert!(guess("\"hidden_size\": 16", "\"hidden_size\": 16").is_ok());
    for (from, to, field) in [
        ("\"hidden_size\": 16", "\"hidden_size\": 32", "embed_dim"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 12", "depth"),
        ("\"image_size\": 16", "\"image_size\": 32", "rows"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_heads"),
    ] {
        let error = guess(from, to).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
    let labels = WeightFile::open(&weights("hf_vit")).unwrap().labels_beside().unwrap();
    assert_eq!(labels, ["normal", "pneumonia", "effusion"]);
}
