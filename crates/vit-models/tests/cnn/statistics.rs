//! Running statistics: who changes them, who sees them, what a file keeps.

use vit_models::candle_core::{Device, Tensor};
use vit_models::{Context, DenseNet, DenseNetConfig, LoadOptions, WeightFile, save_weights};
use vit_random::Streams;

use crate::support::{Config, flat, networks};

fn pictures(config: &Config, batch: usize) -> Tensor {
    let (channels, [height, width]) = match config {
        Config::Res(config) => (config.in_chans, config.img_size),
        Config::Dense(config) => (config.in_chans, config.img_size),
    };
    let count = batch * channels * height * width;
    let wave = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin() as f32;
    let values: Vec<f32> = (0..count).map(wave).collect();
    Tensor::from_vec(values, (batch, channels, height, width), &Device::Cpu).unwrap()
}

#[test]
fn training_changes_them_for_every_model_of_the_store_and_evaluation_does_not() {
    for (name, config) in networks() {
        let store = config.store(1);
        let (train, eval) = (config.build(&store.var_builder()), config.build(&store.frozen()));
        let images = pictures(&config, 2);
        let all = || store.tensors().iter().map(|(n, t)| (n.clone(), flat(t))).collect::<Vec<_>>();
        let (before, first) = (all(), eval.logits(&images, &Context::eval()).unwrap());
        assert_eq!(before, all(), "{name}: evaluation changed the store");
        let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
        train.logits(&images, &ctx).unwrap();
        for ((parameter, before), (_, after)) in before.iter().zip(&all()) {
            let running = parameter.contains(".running_");
            assert_eq!(before != after, running, "{name}: {parameter}");
        }
        let second = eval.logits(&images, &Context::eval()).unwrap();
        assert_ne!(flat(&first), flat(&second), "{name}: evaluation does not see the store");
    }
}

/// The loss of such a batch is no number and a trainer leaves it out; nothing of it may stay.
#[test]
fn a_picture_of_nan_leaves_them_as_they_were() {
    for (name, config) in networks() {
        let store = config.store(1);
        let model = config.build(&store.var_builder());
        let good = pictures(&config, 2);
        let bad = (good.narrow(0, 0, 1).unwrap() * f64::NAN).unwrap();
        let images = Tensor::cat(&[&good.narrow(0, 1, 1).unwrap(), &bad], 0).unwrap();
        let all = || store.tensors().iter().map(|(n, t)| (n.clone(), flat(t))).collect::<Vec<_>>();
        let before = all();
        let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
        let logits = model.logits(&images, &ctx).unwrap();
        assert!(flat(&logits).iter().any(|value| value.is_nan()), "{name}");
        assert_eq!(before, all(), "{name}");
    }
}

#[test]
fn a_file_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    for (name, config) in networks() {
        let store = config.store(1);
        let model = config.build(&store.var_builder());
        let images = pictures(&config, 3);
        let ctx = Context::train(Streams::new(0), 0, &[0, 1, 2]);
        model.logits(&images, &ctx).unwrap();
        let path = folder.path().join(name);
        save_weights(&path, &store.tensors(), &serde_json::Map::new()).unwrap();
        let other = config.store(2);
        WeightFile::open(&path).unwrap().load_into(&other, &LoadOptions::strict()).unwrap();
        for ((parameter, a), (_, b)) in store.tensors().iter().zip(&other.tensors()) {
            assert_eq!(flat(a), flat(b), "{name}: {parameter}");
        }
        let ours = config.build(&store.frozen()).logits(&images, &Context::eval()).unwrap();
        let theirs = config.build(&other.frozen()).logits(&images, &Context::eval()).unwrap();
        assert_eq!(flat(&ours), flat(&theirs), "{name}");
    }
}

#[test]
fn the_same_step_twice_gives_the_same_bits() {
    for (name, config) in networks() {
        let run = || {
            let store = config.store(1);
            let model = config.build(&store.var_builder());
            let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
            let logits = model.logits(&pictures(&config, 2), &ctx).unwrap();
            let grads = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let mut values = flat(&logits);
            for (_, var) in store.trainable() {
                values.extend(flat(grads.get(var).unwrap()));
            }
            values.extend(store.tensors().values().flat_map(flat));
            values
        };
        assert_eq!(run(), run(), "{name}");
    }
}

/// Dropout leaves the fused block; without any the two paths must agree.
#[test]
fn dropout_in_dense_blocks() {
    let Some((_, Config::Dense(config))) = networks().pop() else { panic!("no dense network") };
    let dropped = DenseNetConfig { drop_rate: 0.3, ..config.clone() };
    let barely = DenseNetConfig { drop_rate: 1e-12, ..config.clone() };
    let plain = Config::Dense(config);
    let store = plain.store(1);
    let images = pictures(&plain, 2);
    let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
    let logits = |config: &DenseNetConfig| {
        let model = DenseNet::new(config, &store.var_builder()).unwrap();
        flat(&vit_models::Classifier::logits(&model, &images, &ctx).unwrap())
    };
    let want = flat(&plain.build(&store.var_builder()).logits(&images, &ctx).unwrap());
    let got = logits(&barely);
    assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5), "{want:?} {got:?}");
    assert_eq!(logits(&dropped), logits(&dropped));
    assert_ne!(logits(&dropped), want);
}
