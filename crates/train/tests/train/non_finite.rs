//! A loss or gradient that is not finite: skipped, counted, logged, and in the end an error.

use serde_json::{Map, json};
use vit_datasets::Dataset;
use vit_models::ParamStore;
use vit_train::{
    AdamW, AdamWConfig, Error, Optimizer, Summary, Trainer, TrainerConfig, pretrain_groups,
};

use crate::support::{
    Bits, Fault, Recorder, Scripted, Watch, bits, config, log, phantom, plain, store, two_classes,
    vit,
};

struct Outcome {
    result: Result<Summary, Error>,
    watch: Watch,
    log: Vec<serde_json::Value>,
    start: Bits,
}

/// 24 pictures by 4: six batches per epoch, in order.
fn run(
    fault: fn(u64, usize) -> Fault,
    config: TrainerConfig,
    store: &ParamStore,
    optimizer: &mut dyn Optimizer,
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let inner = two_classes(&vit(2), store);
    let task = Scripted::faulty(&inner, store, fault);
    let mut watch = Watch::of(store);
    let start = bits(&store.tensors());
    let (settings, metadata) = (Map::new(), Map::new());
    let result = Trainer::new(&task, store, optimizer, config, folder.path(), settings, metadata)
        .unwrap()
        .run(&plain(phantom(24), 4), None, &mut watch);
    Outcome { result, watch, log: log(folder.path()), start }
}

fn adamw(store: &ParamStore) -> AdamW {
    AdamW::new(pretrain_groups(store, 0.05), AdamWConfig::pretrain()).unwrap()
}

/// Names of the samples of one batch.
fn ids(batch: usize) -> Vec<String> {
    let data = phantom(24);
    (4 * batch..4 * batch + 4).map(|i| Dataset::record(&*data, i).unwrap().id).collect()
}

fn check_skipped(fault: fn(u64, usize) -> Fault, what: &str) {
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    let outcome = run(fault, config(2), &store, &mut optimizer);
    let state = outcome.result.unwrap().state;
    assert_eq!((state.skipped, state.skipped_in_row, state.updates), (3, 0, 9));

    let places: Vec<_> = outcome.watch.skips.iter().map(|s| (s.epoch, s.batch)).collect();
    assert_eq!(places, [(0, 0), (0, 3), (1, 4)]);
    for skip in &outcome.watch.skips {
        assert_eq!((skip.non_finite, &skip.ids), (what, &ids(skip.batch)));
    }
    let logged: Vec<_> =
        outcome.log.iter().filter(|line| line.get("non_finite").is_some()).cloned().collect();
    let line = |epoch: u64, batch: usize| json!({ "epoch": epoch, "batch": batch, "non_finite": what, "ids": ids(batch) });
    assert_eq!(logged, [line(0, 0), line(0, 3), line(1, 4)]);
    let skipped: Vec<u64> = outcome.watch.epochs.iter().map(|epoch| epoch.skipped).collect();
    assert_eq!(skipped, [2, 3]);
    assert!(outcome.watch.epochs.iter().all(|epoch| epoch.train_loss.unwrap().is_finite()));

    // Unchanged by a skipped batch, changed by every other.
    let mut before = &outcome.start;
    assert_eq!(outcome.watch.trace.len(), 12);
    for (skipped, after) in &outcome.watch.trace {
        assert_eq!(*skipped, before == after);
        before = after;
    }
    let finite = |name: &String, values: &Vec<u32>| {
        assert!(values.iter().all(|&v| f32::from_bits(v).is_finite()), "{name}");
    };
    bits(&optimizer.state()).iter().for_each(|(name, values)| finite(name, values));
    bits(&store.tensors()).iter().for_each(|(name, values)| finite(name, values));
    assert_eq!(optimizer.steps(), 9);
}

fn at_three_places(epoch: u64, batch: usize) -> bool {
    matches!((epoch, batch), (0, 0 | 3) | (1, 4))
}

#[test]
fn a_batch_without_a_finite_loss_is_skipped() {
    let fault = |epoch, batch| {
        if at_three_places(epoch, batch) { Fault::Loss } else { Fault::None }
    };
    check_skipped(fault, "loss");
}

#[test]
fn a_batch_without_a_finite_gradient_is_skipped() {
    let fault = |epoch, batch| {
        if at_three_places(epoch, batch) { Fault::Gradient } else { Fault::None }
    };
    check_skipped(fault, "gradient");
}

fn check_stops(fault: fn(u64, usize) -> Fault, want: &'static str) {
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    let outcome = run(fault, config(2), &store, &mut optimizer);
    let error = outcome.result.unwrap_err();
    let text = error.to_string();
    let Error::NonFinite { what, count, epoch, batch, ids: named } = error else {
        panic!("{text}");
    };
    assert_eq!((what, count, epoch, batch), (want, 3, 0, 4));
    assert_eq!(named, ids(4));
    for id in ids(4) {
        assert!(text.contains(&id), "{text}");
    }
    assert!(text.contains(&format!("3 steps in a row without a finite {want}")), "{text}");
    // The last of them is in the log, although the run ended there.
    assert_eq!(outcome.log.last().unwrap()["ids"], json!(ids(4)));
    assert_eq!(outcome.watch.skips.len(), 3);
    // The two sound updates stand.
    assert_eq!(bits(&store.tensors()), outcome.watch.trace[1].1);
}

#[test]
fn too_many_in_a_row_are_an_error_naming_the_samples() {
    check_stops(|_, batch| if batch >= 2 { Fault::Loss } else { Fault::None }, "loss");
    check_stops(|_, batch| if batch >= 2 { Fault::Gradient } else { Fault::None }, "gradient");
}

#[test]
fn a_sound_batch_starts_the_count_anew() {
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    let fault = |_, batch: usize| if batch % 3 == 2 { Fault::None } else { Fault::Loss };
    let outcome = run(fault, config(2), &store, &mut optimizer);
    assert_eq!(outcome.result.unwrap().state.skipped, 8);
}

/// A row that spans the end of an epoch is one row.
#[test]
fn a_row_goes_on_over_the_end_of_an_epoch() {
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    let fault = |epoch, batch| match (epoch, batch) {
        (0, 4 | 5) | (1, 0) => Fault::Loss,
        _ => Fault::None,
    };
    let error = run(fault, config(2), &store, &mut optimizer).result.unwrap_err();
    assert!(matches!(error, Error::NonFinite { count: 3, epoch: 1, batch: 0, .. }), "{error}");
}

/// The mean is over the batches that are left, and a window without any makes no update.
#[test]
fn accumulation_goes_on_without_the_skipped_batch() {
    let fault = |_, batch| if matches!(batch, 1..=3) { Fault::Loss } else { Fault::None };
    let settings = TrainerConfig { accum_iter: 2, max_skipped_in_row: 4, ..config(1) };
    let skipping = store(&vit(2));
    let mut recorder = Recorder::new(&skipping);
    let outcome = run(fault, settings, &skipping, &mut recorder);
    let state = outcome.result.unwrap().state;
    assert_eq!((state.skipped, state.updates), (3, 2));
    assert_eq!(recorder.seen.iter().map(|(_, scale)| *scale).collect::<Vec<_>>(), [1., 0.5]);

    let alone = store(&vit(2));
    let mut recorder_alone = Recorder::new(&alone);
    run(|_, _| Fault::None, config(1), &alone, &mut recorder_alone).result.unwrap();
    assert_eq!(recorder.gradient(0), recorder_alone.gradient(0));
}

/// An accumulated gradient does not tell which batch spoiled it, so all of them are named.
#[test]
fn every_sample_behind_a_spoiled_gradient_is_named() {
    let fault = |_, batch| if batch == 2 { Fault::Gradient } else { Fault::None };
    let store = store(&vit(2));
    let mut optimizer = adamw(&store);
    let settings = TrainerConfig { accum_iter: 2, ..config(1) };
    let outcome = run(fault, settings, &store, &mut optimizer);
    let state = outcome.result.unwrap().state;
    assert_eq!((state.skipped, state.updates), (2, 2), "both batches of the window are lost");
    assert_eq!(outcome.watch.skips.len(), 1);
    assert_eq!(outcome.watch.skips[0].ids, [ids(2), ids(3)].concat());
}
