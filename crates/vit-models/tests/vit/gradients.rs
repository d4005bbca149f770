//! After one backward pass every trainable parameter has a gradient, and nothing else has.

use vit_models::candle_core::{D, Tensor};
use vit_models::{Backbone, Classifier, Context, Pooling, PositionTable, Vit, VitConfig};
use vit_random::Streams;

use crate::support::{flat, pictures, small, store};

fn loss(logits: &Tensor) -> Tensor {
    let log = vit_kernels::log_softmax(logits).unwrap();
    log.narrow(D::Minus1, 1, 1).unwrap().neg().unwrap().sum_all().unwrap()
}

#[test]
fn every_trainable_parameter_is_reached() {
    for pooling in [Pooling::ClassToken, Pooling::GlobalPool] {
        for table in [PositionTable::Learned, PositionTable::SinCos] {
            let config = VitConfig { position_table: table, drop_path: 0.1, ..small() };
            let config = config.classifier(3, pooling);
            let store = store(&config, 2);
            let model = Vit::new(&config, &store.var_builder()).unwrap();
            let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
            let logits = model.logits(&pictures([2, 3, 8, 8]), &ctx).unwrap();
            let grads = loss(&logits).backward().unwrap();
            for (name, param) in store.iter() {
                let grad = grads.get(param.var());
                if !param.trainable() {
                    assert!(grad.is_none(), "{name} is frozen");
                    continue;
                }
                let grad = flat(grad.unwrap_or_else(|| panic!("{name}: no gradient")));
                assert!(grad.iter().all(|g| g.is_finite()), "{name}");
                assert!(grad.iter().any(|g| *g != 0.), "{name}: zero gradient");
            }
        }
    }
}

#[test]
fn a_frozen_model_records_nothing_and_shares_the_memory() {
    let config = small().classifier(3, Pooling::GlobalPool);
    let mut store = store(&config, 2);
    let images = pictures([2, 3, 8, 8]);
    let ctx = Context::eval();
    let model = Vit::new(&config, &store.frozen()).unwrap();
    let before = model.logits(&images, &ctx).unwrap();
    assert!(!before.track_op());
    let head = store.get("head.bias").unwrap().var();
    head.set(&head.affine(1., 3.).unwrap()).unwrap();
    let after = flat(&model.logits(&images, &ctx).unwrap());
    for (a, b) in after.iter().zip(flat(&before)) {
        assert!((a - b - 3.).abs() < 1e-5, "a step of the store is not seen: {a} {b}");
    }

    store.set_trainable(|name, _| name.starts_with("head."));
    assert_eq!(
        store.trainable().map(|(name, _)| name).collect::<Vec<_>>(),
        ["head.bias", "head.weight"]
    );
    assert_eq!(store.elements().1, 27);
    let model = Vit::new(&config, &store.var_builder()).unwrap();
    let embedding = model.embed(&images, &ctx).unwrap();
    assert!(!embedding.track_op(), "the frozen trunk records nothing");
    let grads = loss(&model.logits(&images, &ctx).unwrap()).backward().unwrap();
    assert!(grads.get(store.get("head.weight").unwrap().var()).is_some());
    assert!(grads.get(store.get("fc_norm.weight").unwrap().var()).is_none());
}

/// With drop path, both poolings, every parameter.
#[test]
fn activation_checkpointing_gives_the_same_bits() {
    for pooling in [Pooling::ClassToken, Pooling::GlobalPool] {
        let config = VitConfig { drop_path: 0.3, ..small() }.classifier(3, pooling);
        let store = store(&config, 2);
        let model = Vit::new(&config, &store.var_builder()).unwrap();
        let grads = |on: bool| -> Vec<Vec<f64>> {
            let ctx = Context::train(Streams::new(0), 0, &[0, 1]).with_grad_checkpointing(on);
            let logits = model.logits(&pictures([2, 3, 8, 8]), &ctx).unwrap();
            let grads = loss(&logits).backward().unwrap();
            store.trainable().map(|(_, var)| flat(grads.get(var).unwrap())).collect()
        };
        assert_eq!(grads(true), grads(false));
    }
}
