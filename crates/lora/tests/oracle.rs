//! Values and gradients of NumPy (`fixtures/gen/merged_linear.py`), the golden update of the
//! specification, finite differences.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use serde_json::Value;
use vit_lora::vit_models::candle_core::{DType, Device, Tensor, Var};
use vit_lora::vit_models::{Context, Linear, ParamInit, ParamSpec, ParamStore};
use vit_lora::{LoraConfig, Target, attach, delta_weights, max_difference, specs};

const LAYER: &str = "blocks.0.attn.qkv";

fn tensor(value: &Value) -> Tensor {
    let vector = |row: &Value| -> Vec<f64> {
        row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let rows = value.as_array().unwrap();
    if rows[0].is_number() {
        return Tensor::new(vector(value), &Device::Cpu).unwrap();
    }
    Tensor::new(rows.iter().map(vector).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

/// A store with one fused layer and its adapters, from loralib's stacked `A` and `B`.
fn fused(case: &Value, config: &LoraConfig, names: &[&str]) -> ParamStore {
    let (weight, a, b) = (&case["weight"], tensor(&case["lora_A"]), tensor(&case["lora_B"]));
    let weight = tensor(weight);
    let base = [
        ParamSpec::new(format!("{LAYER}.weight"), weight.dims(), ParamInit::Constant(0.)),
        ParamSpec::new(format!("{LAYER}.bias"), &weight.dims()[..1], ParamInit::Constant(0.)),
    ];
    let mut store = ParamStore::init(&base, 0, DType::F64, &Device::Cpu).unwrap();
    store.add(&specs(&base, config).unwrap(), 0).unwrap();
    store.set(&format!("{LAYER}.weight"), &weight).unwrap();
    if !case["bias"].is_null() {
        store.set(&format!("{LAYER}.bias"), &tensor(&case["bias"])).unwrap();
    }
    let rows = weight.dims()[0] / 3;
    for (j, name) in names.iter().enumerate() {
        let a = a.narrow(0, j * config.rank, config.rank).unwrap();
        store.set(&format!("{LAYER}.lora_A.{name}"), &a).unwrap();
        let b = b.narrow(0, j * rows, rows).unwrap();
        store.set(&format!("{LAYER}.lora_B.{name}"), &b).unwrap();
    }
    store.set_trainable(|name, _| name.contains("lora_"));
    store
}

fn enabled(case: &Value) -> (Vec<Target>, Vec<&'static str>) {
    let all = [(Target::Query, "query"), (Target::Key, "key"), (Target::Value, "value")];
    let on = case["enable"].as_array().unwrap();
    all.into_iter().zip(on).filter(|(_, on)| on.as_u64() == Some(1)).map(|(t, _)| t).unzip()
}

fn layer(store: &ParamStore, config: &LoraConfig) -> Linear {
    let vb = store.var_builder();
    let dims = store.get(&format!("{LAYER}.weight")).unwrap().var().dims().to_vec();
    let mut linear = Linear::new(dims[1], dims[0], true, &vb.pp(LAYER)).unwrap();
    assert_eq!(attach(vec![(LAYER.to_string(), &mut linear)], config, &vb).unwrap(), 1);
    linear
}

#[test]
fn merged_linear_equals_numpy() {
    let fixture: Value =
        serde_json::from_str(include_str!("../fixtures/merged_linear.json")).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let (targets, names) = enabled(case);
        let rank = usize::try_from(case["rank"].as_u64().unwrap()).unwrap();
        let alpha = case["alpha"].as_f64().unwrap();
        let config = LoraConfig { rank, alpha, dropout: 0., targets };
        let store = fused(case, &config, &names);
        let close = |a: &Tensor, b: &Value| {
            let difference = max_difference(a, &tensor(b)).unwrap();
            assert!(difference < 1e-12, "{difference}");
        };
        close(&delta_weights(&store, &config).unwrap()[LAYER], &case["delta"]);
        let x = Var::from_tensor(&tensor(&case["x"])).unwrap();
        let y = layer(&store, &config).forward(&x, &Context::eval()).unwrap();
        close(&y, &case["y"]);
        let loss = (y * tensor(&case["loss_weight"])).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        close(grads.get(&x).unwrap(), &case["grad_x"]);
        for (letter, key) in [("A", "grad_A"), ("B", "grad_B")] {
            let parts = names.iter().map(|name| {
                let param = store.get(&format!("{LAYER}.lora_{letter}.{name}")).unwrap();
                grads.get(param.var()).unwrap().clone()
            });
            close(&Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap(), &case[key]);
        }
        let weight = store.get(&format!("{LAYER}.weight")).unwrap();
        assert!(grads.get(weight.var()).is_none());
    }
}

#[test]
fn golden_update_of_the_specification() {
    let case = serde_json::json!({
        "weight": [[0., 0.], [0., 0.], [0., 0.], [0., 0.], [0., 0.], [0., 0.]],
        "lora_A": [[1., 2.], [3., -1.]],
        "lora_B": [[1.], [0.5], [2.], [-1.]],
    });
    let targets = vec![Target::Value, Target::Query];
    let config = LoraConfig { rank: 1, alpha: 2., dropout: 0., targets };
    let store = fused(&case, &config, &["query", "value"]);
    let delta = delta_weights(&store, &config).unwrap()[LAYER].to_vec2::<f64>().unwrap();
    let rows = [[2., 4.], [1., 2.], [0., 0.], [0., 0.], [12., -4.], [-6., 2.]];
    assert_eq!(delta, rows.map(|row| row.to_vec()));
}

/// The whole model in f64, every adapter value, with dropout: the mask depends on the stream only,
/// so the loss is a smooth function of the parameters.
#[test]
fn gradients_equal_finite_differences() {
    let (vit, mut lora) = (common::vit(), common::lora());
    lora.targets.extend([Target::Proj, Target::Fc1, Target::Fc2]);
    let mut store = common::store(&vit, &lora, DType::F64);
    common::train_b(&store);
    vit_lora::mark_only_lora_trainable(&mut store, &[]).unwrap();
    let model = common::adapted(&vit, &lora, &store);
    let images = common::images(2, DType::F64);
    let weight = common::pattern(&[2, 3], 2., DType::F64);
    let loss = || {
        use vit_lora::vit_models::Classifier;
        let streams = vit_random::Streams::new(3);
        let logits = model.logits(&images, &Context::train(streams, 0, &[4, 9])).unwrap();
        (logits * &weight).unwrap().sum_all().unwrap()
    };
    let grads = loss().backward().unwrap();
    let mut compared = 0;
    for (name, param) in store.iter().filter(|(name, _)| name.contains("lora_")) {
        let analytic = flat(grads.get(param.var()).unwrap());
        let values = flat(&param.var().as_detached_tensor().copy().unwrap());
        // A few values of each tensor: every one would take minutes.
        for i in (0..values.len()).step_by(values.len() / 3) {
            let side = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                let moved = Tensor::from_vec(moved, param.var().dims(), &Device::Cpu).unwrap();
                store.set(name, &moved).unwrap();
                loss().to_scalar::<f64>().unwrap()
            };
            let numeric = (side(1e-5) - side(-1e-5)) / 2e-5;
            side(0.);
            let error = (numeric - analytic[i]).abs();
            // candle's derivative of GELU has 0.398942 for 1/√2π, 7e-7 off.
            assert!(error < 1e-6 * (1. + numeric.abs()), "{name}[{i}]: {numeric} {}", analytic[i]);
            compared += 1;
        }
    }
    assert!(compared >= 3 * 2 * 2 * 5);
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
