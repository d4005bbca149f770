//! Tiny networks against what torchvision computed in double precision (`fixtures/gen/make_cnn.py`).

use std::collections::HashMap;

use vit_models::Context;
use vit_models::ParamStore;
use vit_models::candle_core::{Device, Tensor, Var, safetensors};
use vit_random::Streams;

use crate::support::{Config, distance, fixture, networks};

const TOLERANCE: f64 = 1e-5;

type Tensors = HashMap<String, Tensor>;

fn read(name: &str) -> Tensors {
    let path = fixture(&format!("{name}.safetensors"));
    safetensors::load(path, &Device::Cpu).unwrap()
}

/// A store with torchvision's values: each name of ours is one of torchvision's and the other way
/// round.
fn store(config: &Config, tensors: &Tensors) -> ParamStore {
    let store = config.store(0);
    for (name, _) in store.iter() {
        store.set(name, &tensors[&format!("model.{name}")]).unwrap();
    }
    let count = tensors.keys().filter(|name| name.starts_with("model.")).count();
    assert_eq!(store.len(), count);
    store
}

#[track_caller]
fn close(what: &str, got: &Tensor, want: &Tensor) {
    let error = distance(got, want);
    assert!(error <= TOLERANCE, "{what}: off by {error:.1e}");
}

#[test]
fn evaluation_is_torchvisions() {
    for (name, config) in networks() {
        let tensors = read(name);
        let model = config.build(&store(&config, &tensors).frozen());
        let (images, ctx) = (&tensors["images"], Context::eval());
        close(name, &model.logits(images, &ctx).unwrap(), &tensors["eval_logits"]);
        let tokens = model.tokens(images, &ctx).unwrap();
        close(name, &tokens, &tensors["eval_features"]);
        close(name, &model.embed(images, &ctx).unwrap(), &tokens.mean(1).unwrap());
        let (rows, columns) = model.patch_grid();
        assert_eq!(tokens.dims(), [images.dims()[0], rows * columns, model.embed_dim()], "{name}");
    }
}

#[test]
fn training_is_torchvisions() {
    for (name, config) in networks() {
        let tensors = read(name);
        let store = store(&config, &tensors);
        let model = config.build(&store.var_builder());
        let images = Var::from_tensor(&tensors["images"]).unwrap();
        let samples: Vec<u64> = (0u64..).take(images.dims()[0]).collect();
        let ctx = Context::train(Streams::new(0), 0, &samples);
        let logits = model.logits(images.as_tensor(), &ctx).unwrap();
        close(name, &logits, &tensors["train_logits"]);
        let loss = (logits * &tensors["coefficients"]).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        close("pictures", grads.get(&images).unwrap(), &tensors["grad.images"]);
        for (parameter, var) in store.trainable() {
            let grad = grads.get(var).unwrap_or_else(|| panic!("{name}: {parameter}"));
            close(&format!("{name}: {parameter}"), grad, &tensors[&format!("grad.{parameter}")]);
        }
        for (parameter, value) in store.tensors() {
            let after = tensors.get(&format!("after.{parameter}"));
            let want = after.unwrap_or(&tensors[&format!("model.{parameter}")]);
            close(&format!("{name}: {parameter} after"), &value, want);
            assert_eq!(after.is_none(), store.get(&parameter).unwrap().trainable(), "{parameter}");
        }
    }
}
