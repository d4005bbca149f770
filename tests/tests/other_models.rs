//! Networks and weight files that are not our own go the same way through the programs.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};
use tempfile::TempDir;
use vit_models::candle_core::{DType, Device};
use vit_models::{ModelConfig, ParamStore, Preset, WeightFile, save_weights};
use vitalight_tests::example;

/// What a program prints, and whether it went well.
fn run(program: &str, flags: &str, home: &Path) -> (bool, String) {
    let output = Command::new(example(program))
        .args(flags.split_whitespace())
        .current_dir(home)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[track_caller]
fn success(program: &str, flags: &str, home: &Path) -> String {
    let (good, text) = run(program, flags, home);
    assert!(good, "{program} {flags}: {text}");
    text
}

#[track_caller]
fn failure(program: &str, flags: &str, home: &Path) -> String {
    let (good, text) = run(program, flags, home);
    assert!(!good, "{program} {flags} was meant to fail: {text}");
    text
}

/// A weight file of random values under the network's own names, without a card.
fn weights(config: &ModelConfig, path: &Path) {
    let store = ParamStore::init(&config.specs().unwrap(), 1, DType::F32, &Device::Cpu).unwrap();
    save_weights(path, &store.tensors(), &Map::new()).unwrap();
}

const DATA: &str = "--data phantom --phantom-len 90 --phantom-contrast 3";

/// From torchvision's names to a fine-tuned, evaluated and embedded network.
#[test]
fn a_convolutional_network_is_trained_evaluated_and_embedded() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    weights(&ModelConfig::by_name("resnet18").unwrap(), &home.join("resnet.safetensors"));
    let doctor = success("doctor", "resnet.safetensors", home);
    assert!(doctor.contains("resnet18"), "{doctor}");

    // The file's three channels become one, its size is the data's.
    let tune = "--finetune resnet.safetensors --in-chans 1 --input-size 32 --epochs 1 \
        --warmup-epochs 0 --batch-size 16 --select loss --output-dir cnn";
    let text = success("finetune", &format!("{DATA} {tune}"), home);
    assert!(text.contains("is of resnet18") && text.contains("conv1.weight"), "{text}");
    let file = WeightFile::open(&home.join("cnn/best.safetensors")).unwrap();
    let card = &file.metadata()["card"];
    assert_eq!(card["model"]["config"]["architecture"], "resnet");
    // Running statistics are of the data, and travel with the weights.
    let mean = file.tensor("bn1.running_mean", &Device::Cpu).unwrap();
    let largest = mean.abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert!(largest > 0., "{largest}");

    let judge = "--checkpoint cnn/best.safetensors --resamples 2 --output-dir report";
    success("evaluate", &format!("{DATA} {judge}"), home);
    let report = std::fs::read_to_string(home.join("report/report.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&report).is_ok());
    let lora = failure("finetune", &format!("{DATA} {tune} --lora-rank 2"), home);
    assert!(lora.contains("vision transformers"), "{lora}");
}

/// A bare file says nothing of its pictures: that must be told, and may not be contradicted.
#[test]
fn a_bare_file_is_embedded_once_its_pictures_are_known() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let mut config = Preset::by_name("vit_tiny_patch16_224").unwrap().config;
    (config.depth, config.img_size) = (2, 32.into());
    weights(&ModelConfig::Vit(config), &home.join("bare.safetensors"));
    let pictures = home.join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for i in 0..3u8 {
        let values = (0..40 * 40).map(|p| (p % 251) as u8 ^ (i * 70)).collect();
        let image =
            vit_transforms::Image::new(40, 40, 1, vit_transforms::Pixels::U8(values)).unwrap();
        let png = vit_transforms::encode_png(&image).unwrap();
        std::fs::write(pictures.join(format!("{i}.png")), png).unwrap();
    }
    let embed = "--model bare.safetensors --data pictures --features class+mean";
    let message = failure("embed", &format!("{embed} --out a.npy"), home);
    assert!(message.contains("--normalise imagenet"), "{message}");
    let text = success("embed", &format!("{embed} --normalise half --out a.npy"), home);
    assert!(text.contains("3 rows of 384 numbers"), "{text}");
    // The same in numbers is the same run; another size is another.
    let same = "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --out a.npy";
    assert!(success("embed", &format!("{embed} {same}"), home).contains("already there"));
    success("embed", &format!("{embed} --normalise half --input-size 48 --out b.npy"), home);
    assert_ne!(
        std::fs::read(home.join("a.npy")).unwrap(),
        std::fs::read(home.join("b.npy")).unwrap()
    );

    // Beside a configuration that says it, nothing need be told, and nothing else may be.
    let config = r#"{"architecture": "vit_tiny_patch16_224", "num_classes": 0, "pretrained_cfg":
        {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
         "crop_pct": 0.9, "interpolation": "bicubic"}}"#;
    std::fs::write(home.join("config.json"), config).unwrap();
    success("embed", &format!("{embed} --out c.npy"), home);
    let message = failure("embed", &format!("{embed} --normalise imagenet --out d.npy"), home);
    assert!(message.contains("contradict"), "{message}");
    assert!(!home.join("d.npy").exists());
}
