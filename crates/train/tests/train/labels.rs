//! Supervised tasks: weights, smoothing, unknown findings, labels that do not fit.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use vit_datasets::{Dataset, Phantom, PhantomConfig, PhantomTask, Subset, Target};
use vit_models::{Classifier, Context, ParamStore, Vit};
use vit_train::{
    Error, Evaluation, Labels, Supervised, Task, TensorBatch, bce_with_logits, cross_entropy,
};

use crate::support::{Toy, phantom, plain, single, store, supervised, two_classes, vit};

fn batch(data: Arc<dyn Dataset>, size: usize) -> TensorBatch {
    let batch = plain(data, size).epoch(0, 0).next().unwrap().unwrap();
    TensorBatch::new(batch, &Device::Cpu).unwrap()
}

fn loss(task: &dyn Task, batch: &TensorBatch) -> f64 {
    let loss = task.loss(batch, &Context::eval()).unwrap().to_dtype(DType::F64).unwrap();
    loss.to_scalar().unwrap()
}

fn evaluate(task: &dyn Task, data: Arc<dyn Dataset>) -> vit_train::Result<Evaluation> {
    let loader = plain(data, 4);
    let mut batches = loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, &Device::Cpu));
    task.evaluate(&mut batches)
}

fn two(smoothing: f64, class_weights: Option<Vec<f32>>) -> Labels {
    let classes = vec!["normal".to_string(), "disc".to_string()];
    Labels::Single { classes, smoothing, class_weights }
}

/// Row-wise `−log softmax`, in f64, by the definition.
fn minus_log_p(store: &ParamStore, batch: &TensorBatch) -> Vec<Vec<f64>> {
    let model = Vit::new(&vit(2), &store.frozen()).unwrap();
    let logits = model.logits(&batch.images, &Context::eval()).unwrap();
    let row = |row: Vec<f64>| -> Vec<f64> {
        let total: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| total.ln() - x).collect()
    };
    logits.to_dtype(DType::F64).unwrap().to_vec2().unwrap().into_iter().map(row).collect()
}

/// A head that tells something, so that samples differ in their loss.
fn trained() -> ParamStore {
    let store = store(&vit(2));
    let weight: Vec<f32> = (0..32).map(|i| (i as f32 * 1.7).sin() * 3.).collect();
    store.set("head.weight", &Tensor::from_vec(weight, (2, 16), &Device::Cpu).unwrap()).unwrap();
    store
}

#[test]
fn weights_and_smoothing_reach_the_loss() {
    let store = trained();
    let batch = batch(phantom(5), 5);
    let targets = batch.classes(2).unwrap();
    assert!(targets.contains(&0) && targets.contains(&1), "{targets:?}");
    assert_ne!(targets.iter().sum::<usize>() * 2, targets.len(), "weights must not cancel");
    let rows = minus_log_p(&store, &batch);
    for (smoothing, weights) in
        [(0., [1., 1.]), (0.2, [1., 1.]), (0., [0.5, 3.]), (0.2, [0.5, 3.]), (0., [0., 1.])]
    {
        let (mut sum, mut total) = (0., 0.);
        for (row, &target) in rows.iter().zip(&targets) {
            let mean = row.iter().sum::<f64>() / 2.;
            sum += weights[target] * ((1. - smoothing) * row[target] + smoothing * mean);
            total += weights[target];
        }
        let weights = weights.map(|w| w as f32).to_vec();
        let task = supervised(&vit(2), &store, two(smoothing, Some(weights)));
        let got = loss(&task, &batch);
        assert!((got - sum / total).abs() < 1e-5, "{got} instead of {}", sum / total);
    }
    let plain = loss(&two_classes(&vit(2), &store), &batch);
    let weighted = loss(&supervised(&vit(2), &store, two(0., Some(vec![0.5, 3.]))), &batch);
    assert!((plain - weighted).abs() > 1e-3, "the weights make a difference here");
    assert_eq!(plain, loss(&supervised(&vit(2), &store, two(0., Some(vec![2., 2.]))), &batch));
}

#[test]
fn weights_and_smoothing_that_make_no_sense_are_refused() {
    let store = trained();
    let build = || Vit::new(&vit(2), &store.frozen()).unwrap();
    for (labels, want) in [
        (two(0., Some(vec![1., 1., 1.])), "3 class weights for 2 classes"),
        (two(0., Some(vec![1., -1.])), "class weight of 'disc' is -1"),
        (two(0., Some(vec![f32::NAN, 1.])), "class weight of 'normal' is NaN"),
        (two(1., None), "smoothing is 1"),
        (two(-0.1, None), "smoothing is -0.1"),
        (two(f64::NAN, None), "smoothing is NaN"),
    ] {
        let error = Supervised::new(build(), build(), labels).err().unwrap();
        assert!(matches!(&error, Error::Config(text) if text.contains(want)), "{error}");
    }
}

#[test]
fn a_head_that_does_not_fit_the_labels_is_an_error() {
    let build = |classes: usize| Vit::new(&vit(classes), &store(&vit(classes)).frozen()).unwrap();
    let three = || single(&["a", "b", "c"]);
    for (train, eval) in [(2, 2), (3, 2), (2, 3), (0, 0)] {
        let made = Supervised::new(build(train), build(eval), three());
        assert!(matches!(made.err(), Some(Error::Config(text)) if text.contains("for 3 labels")));
    }
    assert!(Supervised::new(build(3), build(3), three()).is_ok());
}

#[track_caller]
fn names_sample(error: &Error, id: &str) {
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(error.to_string().contains(&format!("sample '{id}'")), "{error}");
}

#[test]
fn a_target_that_does_not_fit_names_its_sample() {
    let store = store(&vit(2));
    let task = two_classes(&vit(2), &store);
    for bad in [Target::Class(2), Target::Class(usize::MAX), Target::None, Target::Labels(vec![])] {
        let data = Toy::shared(vec![Target::Class(0), Target::Class(1), bad, Target::Class(0)]);
        let batch = batch(data.clone(), 4);
        names_sample(&task.loss(&batch, &Context::eval()).unwrap_err(), "toy/2");
        names_sample(&evaluate(&task, data).unwrap_err(), "toy/2");
    }
    let labels = Labels::Multi { findings: vec!["a".to_string(), "b".to_string()] };
    let task = supervised(&vit(2), &store, labels);
    let good = || Target::Labels(vec![Some(1.), None]);
    for bad in [Target::Class(0), Target::None, Target::Labels(vec![Some(1.)])] {
        let batch = batch(Toy::shared(vec![good(), bad]), 2);
        names_sample(&task.loss(&batch, &Context::eval()).unwrap_err(), "toy/1");
    }
    assert!(loss(&task, &batch(Toy::shared(vec![good(), good()]), 2)).is_finite());
}

#[test]
fn an_empty_validation_set_is_an_error() {
    let store = store(&vit(2));
    let task = two_classes(&vit(2), &store);
    let nothing = Arc::new(Subset::new(phantom(4), Vec::new()).unwrap());
    let error = evaluate(&task, nothing).unwrap_err();
    assert!(matches!(&error, Error::Config(text) if text.contains("nothing to evaluate on")));
}

/// Batches of which one has many samples of a heavy class, and one has few: the loss is the weighted
/// mean over all samples, whatever the batches.
#[test]
fn the_weighted_validation_loss_does_not_depend_on_the_batches() {
    let store = trained();
    // Sorted by class, so that batches differ as much as they can.
    let data = phantom(15);
    let is_disc = |i: &usize| data.record(*i).unwrap().target == Target::Class(1);
    let (disc, normal): (Vec<usize>, Vec<usize>) = (0..15).partition(is_disc);
    assert!(disc.len() > 2 && normal.len() > 2);
    let order = [normal, disc].concat();
    let sorted: Arc<dyn Dataset> = Arc::new(Subset::new(data, order).unwrap());
    let whole = batch(Arc::clone(&sorted), 15);
    let targets = whole.classes(2).unwrap();
    let rows = minus_log_p(&store, &whole);
    for weights in [[0.5f32, 3.], [0., 1.]] {
        let (mut sum, mut total) = (0., 0.);
        for (row, &target) in rows.iter().zip(&targets) {
            sum += f64::from(weights[target]) * row[target];
            total += f64::from(weights[target]);
        }
        let task = supervised(&vit(2), &store, two(0., Some(weights.to_vec())));
        for size in [15, 4, 1] {
            let loader = plain(Arc::clone(&sorted), size);
            let mut batches =
                loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, &Device::Cpu));
            let loss = task.evaluate(&mut batches).unwrap().loss;
            assert!((loss - sum / total).abs() < 1e-5, "{size}: {loss}, not {}", sum / total);
        }
    }
    let task = supervised(&vit(2), &store, two(0., Some(vec![0., 0.])));
    let error = evaluate(&task, sorted).unwrap_err();
    assert!(matches!(&error, Error::Config(text) if text.contains("of weight 0")), "{error}");
}

/// A batch with one known finding counts for that one.
#[test]
fn the_validation_loss_of_findings_is_the_mean_over_known_ones() {
    let store = trained();
    let labels = Labels::Multi { findings: vec!["a".to_string(), "b".to_string()] };
    let task = supervised(&vit(2), &store, labels);
    let row = |a, b| Target::Labels(vec![a, b]);
    let data = Toy::shared(vec![
        row(Some(1.), Some(0.)),
        row(Some(0.), Some(1.)),
        row(None, Some(1.)),
        row(None, None),
    ]);
    let losses = |size: usize| {
        let loader = plain(Arc::clone(&data), size);
        let mut batches = loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, &Device::Cpu));
        task.evaluate(&mut batches).unwrap().loss
    };
    let whole = loss(&task, &batch(Arc::clone(&data), 4));
    for size in [4, 2, 1] {
        assert!((losses(size) - whole).abs() < 1e-5, "{size}: {} {whole}", losses(size));
    }
    let error = evaluate(&task, Toy::shared(vec![row(None, None)])).unwrap_err();
    assert!(matches!(&error, Error::Config(text) if text.contains("unknown")), "{error}");
}

#[test]
fn findings_are_learnt_from_known_labels_only() {
    let config =
        PhantomConfig { task: PhantomTask::MultiLabel, len: 6, ..PhantomConfig::default() };
    let data = Phantom::new(config).unwrap();
    let findings = data.task().names().to_vec();
    let vit = vit(findings.len());
    let store = store(&vit);
    let task = supervised(&vit, &store, Labels::Multi { findings });
    let mut batch = batch(Arc::new(data), 6);
    let all = loss(&task, &batch);
    // All but one label unknown: the loss is that one's.
    for (i, target) in batch.targets.iter_mut().enumerate() {
        let Target::Labels(labels) = target else { panic!("{target:?}") };
        for (k, label) in labels.iter_mut().enumerate() {
            *label = if (i, k) == (4, 1) { Some(1.) } else { None };
        }
    }
    let score = f64::from(task.scores(&batch.images).unwrap()[4 * 3 + 1]);
    assert!((loss(&task, &batch) + score.ln()).abs() < 1e-5);
    assert!(all > 0.);
}

#[test]
fn scores_are_probabilities() {
    let store = trained();
    let batch = batch(phantom(3), 3);
    let scores = two_classes(&vit(2), &store).scores(&batch.images).unwrap();
    for (score, minus_log) in scores.iter().zip(minus_log_p(&store, &batch).concat()) {
        assert!((f64::from(*score) - (-minus_log).exp()).abs() < 1e-6);
    }
    let labels = Labels::Multi { findings: vec!["a".to_string(), "b".to_string()] };
    let scores = supervised(&vit(2), &store, labels).scores(&batch.images).unwrap();
    let model = Vit::new(&vit(2), &store.frozen()).unwrap();
    let logits = model.logits(&batch.images, &Context::eval()).unwrap();
    for (score, x) in scores.iter().zip(logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()) {
        assert!((score - 1. / (1. + (-x).exp())).abs() < 1e-6);
    }
}

/// By finite differences and, at 0 and far out, by the formula `(sigmoid(x) − t) / known`.
#[test]
fn losses_have_the_gradients_of_their_formulas() {
    let x = [0f32, 0., 3., -2., 60., -60.];
    let targets = [Some(0.), Some(1.), Some(0.3), None, Some(0.), Some(1.)];
    let var = candle_core::Var::from_vec(x.to_vec(), (2, 3), &Device::Cpu).unwrap();
    let value = bce_with_logits(&var, &targets).unwrap();
    let grads = value.backward().unwrap();
    let got = grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for ((x, target), got) in x.iter().zip(targets).zip(got) {
        let want = target.map_or(0., |t| (1. / (1. + (-x).exp()) - t) / 5.);
        assert!((got - want).abs() < 1e-6, "{x} {target:?}: {got} instead of {want}");
    }

    let rows = [[0.5f64, -1., 2.], [1e3, 0., -1e3]];
    let logits = rows.map(|row| row.map(|x| x as f32));
    let var = candle_core::Var::new(&logits, &Device::Cpu).unwrap();
    let (smoothing, weights, targets) = (0.1, [2f32, 0.5, 1.], [2usize, 0]);
    let value = cross_entropy(&var, &targets, smoothing, Some(&weights)).unwrap();
    let grads = value.backward().unwrap();
    let got = grads.get(&var).unwrap().to_vec2::<f32>().unwrap();
    for ((row, target), got) in rows.iter().zip(targets).zip(got) {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
        for (k, (x, got)) in row.iter().zip(got).enumerate() {
            let on = if k == target { 1. - smoothing } else { 0. };
            let p = (x - largest).exp() / total;
            let want = f64::from(weights[target]) * (p - on - smoothing / 3.) / 3.;
            assert!((f64::from(got) - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }
}

#[test]
fn mixed_labels_have_a_loss_of_their_own() {
    let store = trained();
    let mut batch = batch(phantom(4), 4);
    let rows = minus_log_p(&store, &batch);
    let mixed = [0.7, 0.3, 0.05, 0.95, 1., 0., 0.5, 0.5];
    let sum: f64 = rows.iter().flatten().zip(mixed).map(|(p, t)| p * t).sum();
    batch.mixed = Some(mixed.map(|value| value as f32).to_vec());
    let task = supervised(&vit(2), &store, two(0.2, None));
    let got = loss(&task, &batch);
    assert!((got - sum / 4.).abs() < 1e-5, "{got} instead of {}: smoothed once", sum / 4.);
    let weighted = supervised(&vit(2), &store, two(0., Some(vec![1., 2.])));
    let error = weighted.loss(&batch, &Context::eval()).unwrap_err();
    assert!(error.to_string().contains("class weight"), "{error}");

    let findings = vec!["a".to_string(), "b".to_string()];
    let task = supervised(&vit(2), &store, Labels::Multi { findings });
    let known = [Some(0.7), None, Some(0.05), Some(0.95), None, None, Some(1.), Some(0.)];
    batch.mixed = Some(known.iter().map(|label| label.unwrap_or(f32::NAN)).collect());
    let model = Vit::new(&vit(2), &store.frozen()).unwrap();
    let logits = model.logits(&batch.images, &Context::eval()).unwrap();
    let want = bce_with_logits(&logits, &known).unwrap().to_scalar::<f32>().unwrap();
    assert_eq!(loss(&task, &batch), f64::from(want));
}
