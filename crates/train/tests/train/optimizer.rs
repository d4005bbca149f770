//! The optimisers' memory.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use vit_models::ParamStore;
use vit_train::{AdamW, AdamWConfig, Error, Gradients, Optimizer, Sgd, SgdConfig, pretrain_groups};

use crate::support::{bits, store, vit};

/// Gradients that differ from value to value and from step to step.
fn gradients(store: &ParamStore, step: usize) -> Gradients {
    let grad = |(name, var): (&str, &candle_core::Var)| {
        let value = |i: usize| ((i * 7 + name.len() * 3 + step) as f32).sin();
        let values: Vec<f32> = (0..var.elem_count()).map(value).collect();
        (name.to_string(), Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap())
    };
    store.trainable().map(grad).collect()
}

fn adamw(store: &ParamStore) -> AdamW {
    AdamW::new(pretrain_groups(store, 0.05), AdamWConfig::pretrain()).unwrap()
}

/// Copies: the state shares its memory with the optimiser.
fn copy(state: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    state.iter().map(|(name, t)| (name.clone(), t.copy().unwrap())).collect()
}

#[test]
fn the_memory_comes_back_exactly() {
    let (first, second) = (store(&vit(2)), store(&vit(2)));
    let mut original = adamw(&first);
    for step in 0..3 {
        original.step(gradients(&first, step), 1e-2, 0.5).unwrap();
    }
    let saved = copy(&original.state());
    assert_eq!(saved.len(), 2 * first.trainable().count());
    for (name, tensor) in first.tensors() {
        second.set(&name, &tensor).unwrap();
    }
    let mut other = adamw(&second);
    assert_ne!(bits(&other.state()), bits(&saved));
    other.load_state(&saved, original.steps()).unwrap();
    assert_eq!((bits(&other.state()), other.steps()), (bits(&saved), 3));

    // And goes on alike; with the moments alone, without their number, it would not.
    let mut forgetful = adamw(&second);
    forgetful.load_state(&saved, 0).unwrap();
    original.step(gradients(&first, 3), 1e-2, 1.).unwrap();
    let before = copy(&second.tensors());
    forgetful.step(gradients(&second, 3), 1e-2, 1.).unwrap();
    assert_ne!(bits(&second.tensors()), bits(&first.tensors()));
    for (name, tensor) in &before {
        second.set(name, tensor).unwrap();
    }
    other.step(gradients(&second, 3), 1e-2, 1.).unwrap();
    assert_eq!(bits(&second.tensors()), bits(&first.tensors()));
    assert_eq!(bits(&other.state()), bits(&original.state()));
}

/// Taking memory back must not tie it to the tensors it came from.
#[test]
fn the_memory_is_taken_as_a_copy() {
    let store = store(&vit(2));
    let mut original = adamw(&store);
    original.step(gradients(&store, 0), 1e-2, 1.).unwrap();
    let saved = copy(&original.state());
    let mut other = adamw(&store);
    other.load_state(&original.state(), 1).unwrap();
    original.step(gradients(&store, 1), 1e-2, 1.).unwrap();
    assert_eq!(bits(&other.state()), bits(&saved));
}

#[test]
fn missing_or_misshapen_memory_is_an_error_and_changes_nothing() {
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    optimizer.step(gradients(&store, 0), 1e-2, 1.).unwrap();
    let before = bits(&optimizer.state());
    let mut zeros = copy(&optimizer.state());
    for tensor in zeros.values_mut() {
        *tensor = tensor.zeros_like().unwrap();
    }
    // The last one in order, so that a fault found late is found before anything moved.
    let key = "second.pos_embed".to_string();
    let mut missing = zeros.clone();
    missing.remove(&key).unwrap();
    let mut misshapen = zeros.clone();
    misshapen.insert(key.clone(), Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap());
    for state in [missing, misshapen] {
        let error = optimizer.load_state(&state, 9).unwrap_err();
        assert!(matches!(&error, Error::Config(text) if text.contains(&key)), "{error}");
        assert_eq!((bits(&optimizer.state()), optimizer.steps()), (before.clone(), 1));
    }
    optimizer.load_state(&zeros, 9).unwrap();
    assert_eq!((bits(&optimizer.state()), optimizer.steps()), (bits(&zeros), 9));
}

#[test]
fn a_missing_gradient_is_an_error_naming_the_parameter() {
    let store = store(&vit(2));
    let before = bits(&store.tensors());
    let mut optimizer = adamw(&store);
    let mut gradients = gradients(&store, 0);
    gradients.remove("head.weight").unwrap();
    let error = optimizer.step(gradients.clone(), 1e-2, 1.).unwrap_err();
    assert!(error.to_string().contains("'head.weight' has no gradient"), "{error}");
    assert_eq!((bits(&store.tensors()), optimizer.steps()), (before, 0));
}

#[test]
fn nothing_to_train_is_an_error() {
    let mut store = store(&vit(2));
    store.set_trainable(|_, _| false);
    let error = AdamW::new(pretrain_groups(&store, 0.), AdamWConfig::pretrain()).err().unwrap();
    assert!(error.to_string().contains("no parameter is trainable"), "{error}");
}

/// The scale is a factor on the gradient: a power of two moves no digit.
#[test]
fn a_scaled_step_is_a_step_with_scaled_gradients() {
    let (first, second) = (store(&vit(2)), store(&vit(2)));
    let (mut a, mut b) = (adamw(&first), adamw(&second));
    for step in 0..2 {
        let gradients = gradients(&first, step);
        let halves = gradients.iter().map(|(n, g)| (n.clone(), (g * 0.5).unwrap())).collect();
        a.step(gradients.clone(), 1e-2, 0.5).unwrap();
        b.step(halves, 1e-2, 1.).unwrap();
    }
    assert_eq!(bits(&first.tensors()), bits(&second.tensors()));
    assert_eq!(bits(&a.state()), bits(&b.state()));
}

/// Plain momentum and LARS: state in and out, every parameter moved, missing gradients named.
#[test]
fn momentum_comes_back_exactly() {
    for config in [SgdConfig::sgd(), SgdConfig::lars()] {
        let (first, second) = (store(&vit(2)), store(&vit(2)));
        let start = bits(&copy(&first.tensors()));
        let sgd = |store: &ParamStore| Sgd::new(pretrain_groups(store, 0.05), config).unwrap();
        let mut original = sgd(&first);
        for step in 0..2 {
            original.step(gradients(&first, step), 1e-2, 0.5).unwrap();
        }
        for (name, moved) in bits(&first.tensors()) {
            let trained = first.get(&name).unwrap().trainable();
            assert_eq!(moved != start[&name], trained, "{name}");
        }
        for (name, tensor) in first.tensors() {
            second.set(&name, &tensor).unwrap();
        }
        let mut other = sgd(&second);
        other.load_state(&copy(&original.state()), original.steps()).unwrap();
        original.step(gradients(&first, 2), 1e-2, 1.).unwrap();
        other.step(gradients(&second, 2), 1e-2, 1.).unwrap();
        assert_eq!(bits(&second.tensors()), bits(&first.tensors()));
        assert_eq!(other.steps(), 3);

        let mut missing = gradients(&first, 3);
        let name = missing.keys().next().unwrap().clone();
        missing.remove(&name);
        let error = original.step(missing, 1e-2, 1.).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
        let error = other.load_state(&BTreeMap::new(), 1).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}
