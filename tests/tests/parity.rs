//! The `parity` program on a golden case, file in and file out.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use vit_models::{Pooling, Vit, WeightFile, save_weights};
use vitalight_tests::example;
use vitalight_tests::tiny::{fill, golden, images, l2, noise, trunk};

/// Runs the program and gives the printed loss and the written tensors.
fn parity(
    folder: &Path,
    case: &Value,
    tensors: &BTreeMap<String, Tensor>,
) -> (f64, HashMap<String, Tensor>) {
    save_weights(&folder.join("in.safetensors"), tensors, &Map::new()).unwrap();
    std::fs::write(folder.join("case.json"), case.to_string()).unwrap();
    let output = Command::new(example("parity"))
        .args(["--tensors", "in.safetensors", "--config", "case.json", "--out", "out.safetensors"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let loss = text.trim().strip_prefix("loss ").unwrap().parse().unwrap();
    let file = WeightFile::open(&folder.join("out.safetensors")).unwrap();
    let read = |name: &String| (name.clone(), file.tensor(name, &Device::Cpu).unwrap());
    (loss, file.shapes().keys().map(read).collect())
}

fn check_gradients(outputs: &HashMap<String, Tensor>, want: &Value) {
    for (name, want) in want.as_object().unwrap() {
        let norm = l2(&outputs[&format!("grad.{name}")]);
        let want = want.as_f64().unwrap();
        assert!((norm - want).abs() <= 1e-5 * want, "{name}: {norm} instead of {want}");
    }
}

#[test]
fn mae_case() {
    let Some(golden) = golden() else { return };
    let config = mae_pretrain::MaeConfig {
        decoder_embed_dim: 8,
        decoder_depth: 1,
        decoder_num_heads: 2,
        ..mae_pretrain::MaeConfig::new(trunk())
    };
    let specs = mae_pretrain::Mae::specs(&config).unwrap();
    let store = fill(&specs);
    let mut tensors = store.tensors();
    tensors.insert("image".to_string(), images());
    let noise = Tensor::new(noise(), &Device::Cpu).unwrap();
    tensors.insert("noise".to_string(), noise);
    for (norm_pix_loss, key) in [(false, "mae_pixel"), (true, "mae_norm_pix")] {
        let case = json!({
            "kind": "mae", "img_size": 32, "patch_size": 8, "in_chans": 3, "embed_dim": 16,
            "depth": 2, "num_heads": 2, "mlp_ratio": 4.0, "decoder_embed_dim": 8,
            "decoder_depth": 1, "decoder_num_heads": 2, "norm_pix_loss": norm_pix_loss,
            "mask_ratio": 0.75,
        });
        let home = TempDir::new().unwrap();
        let (loss, outputs) = parity(home.path(), &case, &tensors);
        assert!((loss - golden[key]["loss"].as_f64().unwrap()).abs() < 1e-6, "{loss}");
        check_gradients(&outputs, &golden[key]["grad_l2"]);
        let ids = outputs["ids_restore"].to_vec2::<i64>().unwrap();
        assert_eq!(json!(ids), golden["mae_pixel"]["ids_restore"]);
        assert_eq!(outputs["pred"].dims(), [2, 16, 192]);
        assert_eq!(outputs["mask"].sum_all().unwrap().to_scalar::<f32>().unwrap(), 24.);
    }
}

#[test]
fn classifier_cases() {
    let Some(golden) = golden() else { return };
    for (global_pool, pooling, key) in [
        (true, Pooling::GlobalPool, "vit_global_pool"),
        (false, Pooling::ClassToken, "vit_cls_token"),
    ] {
        let specs = Vit::specs(&trunk().classifier(5, pooling)).unwrap();
        let store = fill(&specs);
        let mut tensors = store.tensors();
        tensors.insert("image".to_string(), images());
        let labels = Tensor::from_vec(vec![1i64, 3], 2, &Device::Cpu).unwrap();
        tensors.insert("labels".to_string(), labels);
        let case = json!({
            "kind": "classifier", "img_size": 32, "patch_size": 8, "in_chans": 3, "embed_dim": 16,
            "depth": 2, "num_heads": 2, "mlp_ratio": 4.0, "num_classes": 5,
            "global_pool": global_pool,
        });
        let home = TempDir::new().unwrap();
        let (loss, outputs) = parity(home.path(), &case, &tensors);
        let want = golden[key]["ce_loss_labels_1_3"].as_f64().unwrap();
        assert!((loss - want).abs() < 1e-6, "{loss} instead of {want}");
        check_gradients(&outputs, &golden[key]["grad_l2"]);
        assert_eq!(outputs["logits"].dims(), [2, 5]);
    }
}
