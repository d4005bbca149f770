//! One update: accumulation, the last window of an epoch, clipping, the learning rate.

use std::collections::BTreeMap;

use serde_json::Map;
use vit_train::{Schedule, Summary, Trainer, TrainerConfig};

use crate::support::{
    Bits, Recorder, Watch, bits, config, phantom, plain, store, two_classes, vit,
};

struct Outcome {
    optimizer: Recorder,
    watch: Watch,
    parameters: Bits,
    summary: Summary,
}

/// One run over the first `len` pictures.
fn run(len: usize, batch_size: usize, config: TrainerConfig) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let vit = vit(2);
    let store = store(&vit);
    let task = two_classes(&vit, &store);
    let mut optimizer = Recorder::new(&store);
    let mut watch = Watch::of(&store);
    let loader = plain(phantom(len), batch_size);
    let (settings, metadata) = (Map::new(), Map::new());
    let mut trainer =
        Trainer::new(&task, &store, &mut optimizer, config, folder.path(), settings, metadata)
            .unwrap();
    let summary = trainer.run(&loader, None, &mut watch).unwrap();
    Outcome { optimizer, watch, parameters: bits(&store.tensors()), summary }
}

fn norm(gradient: &BTreeMap<String, Vec<f32>>) -> f64 {
    gradient.values().flatten().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// Largest difference over the norm of `b`.
fn distance(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let pairs = a.values().flatten().zip(b.values().flatten());
    let largest = pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0., f64::max);
    largest / norm(b)
}

/// A whole run, to the bit.
#[test]
fn activation_checkpointing_changes_nothing() {
    let plain = run(12, 4, config(2));
    let checkpointed = run(12, 4, TrainerConfig { grad_checkpointing: true, ..config(2) });
    assert_eq!(plain.parameters, checkpointed.parameters);
}

#[test]
fn two_batches_of_four_are_one_of_eight() {
    let halves = run(8, 4, TrainerConfig { accum_iter: 2, ..config(1) });
    let whole = run(8, 8, config(1));
    assert_eq!((halves.optimizer.seen.len(), whole.optimizer.seen.len()), (1, 1));
    let (halves_gradient, whole_gradient) =
        (halves.optimizer.gradient(0), whole.optimizer.gradient(0));
    let far = distance(&halves_gradient, &whole_gradient);
    assert!(far < 1e-6, "{far}");
    // The tolerance must tell the mean from the sum, and both batches from one alone.
    let first_only = run(4, 4, config(1)).optimizer.gradient(0);
    assert!(distance(&first_only, &whole_gradient) > 1e-3);
    assert_eq!(halves.optimizer.seen[0].1, 0.5);

    let (a, b) = (&halves.watch.steps[0], &whole.watch.steps[0]);
    assert!((a.loss - b.loss).abs() < 1e-6 && (a.grad_norm / b.grad_norm - 1.).abs() < 1e-5);
    assert_eq!((a.batch, a.batches, a.update), (1, 2, 1));
    for (name, values) in &halves.parameters {
        for (a, b) in values.iter().zip(&whole.parameters[name]) {
            assert!((f32::from_bits(*a) - f32::from_bits(*b)).abs() < 1e-7, "{name}");
        }
    }
}

/// Three batches, two per update: the second update of an epoch has one batch and its mean.
#[test]
fn the_last_update_of_an_epoch_takes_what_is_there() {
    let outcome = run(12, 4, TrainerConfig { accum_iter: 2, ..config(2) });
    let scales: Vec<f64> = outcome.optimizer.seen.iter().map(|(_, scale)| *scale).collect();
    assert_eq!(scales, [0.5, 1., 0.5, 1.]);
    let steps: Vec<_> = outcome.watch.steps.iter().map(|s| (s.epoch, s.batch, s.update)).collect();
    assert_eq!(steps, [(0, 1, 1), (0, 2, 2), (1, 1, 3), (1, 2, 4)]);
    assert_eq!((outcome.summary.state.updates, outcome.summary.finished), (4, true));
    // The mean over batches, although an update may have one or two.
    let losses: Vec<f64> = outcome.watch.steps.iter().map(|step| step.loss).collect();
    for (epoch, losses) in outcome.watch.epochs.iter().zip(losses.chunks(2)) {
        let want = (2. * losses[0] + losses[1]) / 3.;
        assert!((epoch.train_loss.unwrap() - want).abs() < 1e-12);
    }
    assert_eq!(outcome.watch.epochs.len(), 2);
}

#[test]
fn a_gradient_above_the_norm_is_scaled_to_it() {
    let free = run(8, 8, config(1));
    let free_gradient = free.optimizer.gradient(0);
    let free_norm = norm(&free_gradient);
    let limit = 0.3 * free_norm;
    let clipped = run(8, 8, TrainerConfig { clip_grad: Some(limit), ..config(1) });
    let scaled: BTreeMap<String, Vec<f32>> = free_gradient
        .iter()
        .map(|(name, values)| (name.clone(), values.iter().map(|v| v * 0.3).collect()))
        .collect();
    let gradient = clipped.optimizer.gradient(0);
    assert!((norm(&gradient) / limit - 1.).abs() < 1e-5, "{} {limit}", norm(&gradient));
    assert!(distance(&gradient, &scaled) < 1e-5);
    // Reported as it was before clipping.
    assert!((clipped.watch.steps[0].grad_norm / free_norm - 1.).abs() < 1e-5);
    assert_eq!(clipped.watch.steps[0].grad_norm, free.watch.steps[0].grad_norm);
    assert_ne!(clipped.parameters, free.parameters);
}

/// The norm that counts is that of the mean, not of the accumulated sum.
#[test]
fn clipping_sees_the_mean_of_the_accumulated_batches() {
    let accumulate = TrainerConfig { accum_iter: 2, ..config(1) };
    let free = run(8, 4, accumulate.clone());
    let limit = 0.5 * free.watch.steps[0].grad_norm;
    let clipped = run(8, 4, TrainerConfig { clip_grad: Some(limit), ..accumulate });
    assert!((norm(&clipped.optimizer.gradient(0)) / limit - 1.).abs() < 1e-5);
    assert!((clipped.optimizer.seen[0].1 - 0.25).abs() < 1e-12);
}

#[test]
fn a_gradient_below_the_norm_is_left_alone() {
    let free = run(12, 4, config(2));
    let largest = free.watch.steps.iter().map(|step| step.grad_norm).fold(0., f64::max);
    let clipped = run(12, 4, TrainerConfig { clip_grad: Some(largest * 1.01), ..config(2) });
    assert!(clipped.optimizer.seen.iter().all(|(_, scale)| *scale == 1.));
    assert_eq!(clipped.parameters, free.parameters);
}

/// Updates have the rate of the place where their first batch begins.
#[test]
fn the_rate_follows_the_schedule_by_fractions_of_an_epoch() {
    let schedule = Schedule { lr: 1e-2, min_lr: 1e-4, warmup_epochs: 1., epochs: 2. };
    let outcome = run(16, 4, TrainerConfig { accum_iter: 2, schedule, ..config(2) });
    let rates: Vec<f64> = outcome.watch.steps.iter().map(|step| step.lr).collect();
    let want = [0., 0.5, 1., 1.5].map(|epoch| schedule.at(epoch));
    assert_eq!(rates, want);
    assert_eq!(rates[0], 0.);
    assert!((rates[3] - (1e-4 + 0.5 * (1e-2 - 1e-4))).abs() < 1e-12);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let vit = vit(2);
    let store = store(&vit);
    let task = two_classes(&vit, &store);
    let cases = [
        (TrainerConfig { epochs: 0, ..config(1) }, "must be 1 or more"),
        (TrainerConfig { accum_iter: 0, ..config(1) }, "must be 1 or more"),
        (TrainerConfig { max_skipped_in_row: 0, ..config(1) }, "must be 1 or more"),
        (TrainerConfig { clip_grad: Some(0.), ..config(1) }, "clip_grad is 0"),
        (TrainerConfig { clip_grad: Some(f64::NAN), ..config(1) }, "clip_grad is NaN"),
    ];
    for (config, want) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut optimizer = Recorder::new(&store);
        let (settings, metadata) = (Map::new(), Map::new());
        let made =
            Trainer::new(&task, &store, &mut optimizer, config, folder.path(), settings, metadata);
        let error = made.err().unwrap();
        assert!(matches!(&error, vit_train::Error::Config(text) if text.contains(want)), "{error}");
    }
}

#[test]
fn an_epoch_without_a_batch_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let vit = vit(2);
    let store = store(&vit);
    let task = two_classes(&vit, &store);
    let mut optimizer = Recorder::new(&store);
    let loader = plain(phantom(0), 4);
    let (settings, metadata) = (Map::new(), Map::new());
    let mut trainer =
        Trainer::new(&task, &store, &mut optimizer, config(1), folder.path(), settings, metadata)
            .unwrap();
    let error = trainer.run(&loader, None, &mut vit_train::Silent).unwrap_err();
    assert!(error.to_string().contains("an epoch has no batch"), "{error}");
}
