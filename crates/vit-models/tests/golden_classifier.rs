//! The classifier cases of the reference implementation, spec/mae.md 13: logits, loss, every
//! parameter's gradient.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Classifier, Context, ParamStore, Pooling, Vit, VitConfig};

/// `$VITALIGHT_GOLDEN`, else `shared/golden` beside the workspace.
fn golden_file() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    std::env::var_os("VITALIGHT_GOLDEN").map_or_else(beside, PathBuf::from).join("mae_tiny.json")
}

/// The reference numbers, or nothing with a message where they are not installed. With
/// `VITALIGHT_REQUIRE_DATA=1` their absence is a failure.
fn golden() -> Option<Value> {
    let path = golden_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            let required = std::env::var_os("VITALIGHT_REQUIRE_DATA").is_some_and(|v| v == "1");
            assert!(!required, "{}: {error}", path.display());
            eprintln!("skipped: {}: {error} (set VITALIGHT_GOLDEN)", path.display());
            None
        }
    }
}

fn tiny(pooling: Pooling) -> VitConfig {
    VitConfig { embed_dim: 16, depth: 2, num_heads: 2, ..VitConfig::vit_tiny(8, 32) }
        .classifier(5, pooling)
}

/// Parameters sorted by name; element i of the j-th is `0.2·cos(0.7(i+1) + 1.3j)`, norm weights
/// `1 + 0.1·cos(…)`.
fn filled(config: &VitConfig, dtype: DType) -> ParamStore {
    let store = ParamStore::init(&Vit::specs(config).unwrap(), 0, dtype, &Device::Cpu).unwrap();
    for (j, (name, param)) in store.iter().enumerate() {
        let norm = name.contains("norm") && name.ends_with("weight");
        let value = |i: usize| {
            let cos = (0.7 * (i + 1) as f64 + 1.3 * j as f64).cos();
            // The reference holds its parameters in f32.
            (if norm { 1. + 0.1 * cos } else { 0.2 * cos }) as f32
        };
        let shape = param.var().dims().to_vec();
        let values: Vec<f32> = (0..param.var().elem_count()).map(value).collect();
        store.set(name, &Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap();
    }
    store
}

fn images(dtype: DType) -> Tensor {
    let wave = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin();
    let values: Vec<f64> = (0..2 * 3 * 32 * 32).map(wave).collect();
    let sum: f64 = values.iter().sum();
    assert!((sum - 90.247312).abs() < 1e-4, "the picture is another: {sum}");
    let single = Tensor::from_vec(values, (2, 3, 32, 32), &Device::Cpu).unwrap();
    single.to_dtype(DType::F32).unwrap().to_dtype(dtype).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn check(case: &str, pooling: Pooling, dtype: DType) {
    let Some(golden) = golden() else { return };
    let golden = &golden[case];
    let config = tiny(pooling);
    let store = filled(&config, dtype);
    let names: Vec<_> = golden["sorted_param_names"].as_array().unwrap().iter().collect();
    assert_eq!(names, store.iter().map(|(name, _)| name).collect::<Vec<_>>());

    let model = Vit::new(&config, &store.var_builder()).unwrap();
    let logits = model.logits(&images(dtype), &Context::eval()).unwrap();
    let rows = logits.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
    for (row, want) in rows.iter().zip(golden["logits"].as_array().unwrap()) {
        for (got, want) in row.iter().zip(want.as_array().unwrap()) {
            let want = number(want);
            assert!((got - want).abs() < 2e-6, "{case}: logit {got} instead of {want}");
        }
    }

    let labels = Tensor::new(&[[1u32], [3]], &Device::Cpu).unwrap();
    let log = vit_kernels::log_softmax(&logits).unwrap();
    let loss = log.gather(&labels, 1).unwrap().mean_all().unwrap().neg().unwrap();
    let got = loss.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
    let want = number(&golden["ce_loss_labels_1_3"]);
    assert!((got - want).abs() < 1e-6, "{case}: loss {got} instead of {want}");

    let grads = loss.backward().unwrap();
    let norms = golden["grad_l2"].as_object().unwrap();
    assert_eq!(norms.len(), store.len());
    for (name, want) in norms {
        let grad = grads.get(store.get(name).unwrap().var()).unwrap();
        let square = grad.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap();
        let got = square.to_scalar::<f64>().unwrap().sqrt();
        let want = number(want);
        assert!(
            (got - want).abs() < 1e-5 * want,
            "{case}: gradient of {name} {got} instead of {want}"
        );
    }
}

#[test]
fn global_pool() {
    check("vit_global_pool", Pooling::GlobalPool, DType::F32);
    check("vit_global_pool", Pooling::GlobalPool, DType::F64);
}

#[test]
fn class_token() {
    check("vit_cls_token", Pooling::ClassToken, DType::F32);
    check("vit_cls_token", Pooling::ClassToken, DType::F64);
}
