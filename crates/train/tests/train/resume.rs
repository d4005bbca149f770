//! A run that was stopped or killed and started again ends with the bytes of one that was not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, json};
use vit_train::{
    AdamW, AdamWConfig, BEST_FILE, CHECKPOINT_FILE, LOG_FILE, MODEL_FILE, Observer, Schedule,
    Selection, StepInfo, Summary, Trainer, TrainerConfig, layer_decay_groups,
};

use crate::support::{
    Fault, Scripted, object, phantom, plain, read, shuffled, store, two_classes, vit,
};

const FILES: [&str; 4] = [MODEL_FILE, BEST_FILE, CHECKPOINT_FILE, LOG_FILE];
/// 22 pictures by 4, the last batch with 2 of them.
const BATCHES: usize = 6;
const EPOCHS: u64 = 3;

/// How a run is made.
#[derive(Clone, Copy)]
struct Plan {
    workers: usize,
    accum_iter: usize,
    drop_path: f64,
    checkpoint_every: u64,
    fault: fn(u64, usize) -> Fault,
}

const PLAN: Plan = Plan {
    workers: 0,
    accum_iter: 1,
    drop_path: 0.,
    checkpoint_every: 0,
    fault: |_, _| Fault::None,
};

/// Everything that is drawn at random or carried from update to update is on.
const HARD: Plan = Plan { workers: 0, accum_iter: 2, drop_path: 0.3, checkpoint_every: 1, ..PLAN };

/// A process of its own: fresh model, fresh optimiser, what is in the folder.
fn process(folder: &Path, plan: Plan, observer: &mut dyn Observer) -> Summary {
    let vit = vit_models::VitConfig { drop_path: plan.drop_path, ..vit(2) };
    let store = store(&vit);
    let inner = two_classes(&vit, &store);
    let task = Scripted::faulty(&inner, &store, plan.fault);
    let groups = layer_decay_groups(&store, vit.depth, 0.75, 0.05);
    let mut optimizer = AdamW::new(groups, AdamWConfig::finetune()).unwrap();
    let config = TrainerConfig {
        epochs: EPOCHS,
        schedule: Schedule { lr: 3e-3, min_lr: 1e-5, warmup_epochs: 0.5, epochs: EPOCHS as f64 },
        accum_iter: plan.accum_iter,
        clip_grad: Some(1.),
        seed: 5,
        max_skipped_in_row: 3,
        checkpoint_every: plan.checkpoint_every,
        grad_checkpointing: false,
        selection: Some(Selection { metric: "loss".to_string() }),
    };
    let train = shuffled(phantom(22), 4, plan.workers);
    assert_eq!(train.batches_per_epoch(), BATCHES);
    let validation = plain(phantom(10), 4);
    let settings = object(&json!({ "drop_path": plan.drop_path, "model": "vit" }));
    let metadata = object(&json!({ "classes": ["normal", "disc"] }));
    Trainer::new(&task, &store, &mut optimizer, config, folder, settings, metadata)
        .unwrap()
        .run(&train, Some(&validation), observer)
        .unwrap()
}

/// Stops after an update.
struct StopAt(u64);

impl Observer for StopAt {
    fn step(&mut self, info: &StepInfo) -> ControlFlow<()> {
        if info.update == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Keeps the folder as a kill right after each update would have left it.
struct CopyEach {
    folder: PathBuf,
    copies: Vec<tempfile::TempDir>,
}

impl Observer for CopyEach {
    fn step(&mut self, _: &StepInfo) -> ControlFlow<()> {
        let copy = tempfile::tempdir().unwrap();
        for name in FILES {
            let file = self.folder.join(name);
            if file.exists() {
                std::fs::copy(&file, copy.path().join(name)).unwrap();
            }
        }
        self.copies.push(copy);
        ControlFlow::Continue(())
    }
}

fn files(folder: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    FILES.into_iter().map(|name| (name, read(folder, name))).collect()
}

#[track_caller]
fn same_files(folder: &Path, want: &BTreeMap<&'static str, Vec<u8>>, what: &str) {
    for (name, got) in files(folder) {
        assert!(got == want[name], "{what}: {name} differs from that of the uninterrupted run");
    }
}

fn uninterrupted(plan: Plan) -> BTreeMap<&'static str, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let summary = process(folder.path(), plan, &mut vit_train::Silent);
    assert!(summary.finished);
    assert_eq!(summary.state.epoch, EPOCHS);
    assert_eq!(summary.best_model, Some(folder.path().join(BEST_FILE)));
    assert_eq!(summary.last_model, Some(folder.path().join(MODEL_FILE)));
    files(folder.path())
}

/// Stops at each of the updates in turn, within one run, and goes on in a new process each time.
fn stopped_at(updates: &[u64], plan: Plan, resumed: Plan) {
    let want = uninterrupted(plan);
    let folder = tempfile::tempdir().unwrap();
    for (i, &update) in updates.iter().enumerate() {
        let plan = if i % 2 == 0 { plan } else { resumed };
        let summary = process(folder.path(), plan, &mut StopAt(update));
        assert_eq!((summary.finished, summary.state.updates), (false, update));
        assert_eq!(summary.last_model, None);
    }
    assert!(process(folder.path(), resumed, &mut vit_train::Silent).finished);
    same_files(folder.path(), &want, &format!("stopped at {updates:?}"));
}

#[test]
fn stopped_once() {
    // The first update, the middle, the last of an epoch, the first of another, the very last.
    for update in [1, 3, 6, 7, 18] {
        stopped_at(&[update], PLAN, PLAN);
    }
}

#[test]
fn stopped_often_with_accumulation_and_drop_path() {
    // Three updates per epoch.
    stopped_at(&[1, 2, 3, 4, 7, 9], HARD, HARD);
}

#[test]
fn stopped_and_resumed_with_other_numbers_of_workers() {
    let two = Plan { workers: 2, ..HARD };
    assert_eq!(uninterrupted(HARD), uninterrupted(two));
    stopped_at(&[1, 4, 5], HARD, two);
}

/// The power fails after any update: what the disk has by then is enough.
#[test]
fn killed_after_each_update() {
    for (plan, updates) in [(HARD, 9), (Plan { checkpoint_every: 2, ..PLAN }, 18)] {
        let want = uninterrupted(plan);
        let folder = tempfile::tempdir().unwrap();
        let mut copier = CopyEach { folder: folder.path().to_path_buf(), copies: Vec::new() };
        process(folder.path(), plan, &mut copier);
        same_files(folder.path(), &want, "watched");
        assert_eq!(copier.copies.len(), updates);
        let (mut bare, mut behind) = (0, 0);
        for (i, copy) in copier.copies.iter().enumerate() {
            // The log is ahead of the checkpoint: the update is logged before it is saved.
            let lines = read(copy.path(), LOG_FILE).iter().filter(|&&b| b == b'\n').count();
            assert!(lines > i);
            bare += usize::from(!copy.path().join(CHECKPOINT_FILE).exists());
            behind += usize::from(copy.path().join(CHECKPOINT_FILE).exists());
            assert!(process(copy.path(), plan, &mut vit_train::Silent).finished);
            same_files(copy.path(), &want, &format!("killed after update {}", i + 1));
        }
        assert!(bare > 0 && behind > 0, "both kinds of kill were meant to be tried");
    }
}

/// Skipped batches are part of the place, too.
#[test]
fn stopped_among_skipped_batches() {
    let fault = |epoch, batch| match (epoch, batch) {
        (0, 1 | 2) | (1, 0 | 5) => Fault::Loss,
        (2, 3) => Fault::Gradient,
        _ => Fault::None,
    };
    let plan = Plan { fault, checkpoint_every: 1, ..PLAN };
    stopped_at(&[1, 2, 4, 5, 10], plan, plan);
    let folder = tempfile::tempdir().unwrap();
    let summary = process(folder.path(), plan, &mut vit_train::Silent);
    assert_eq!((summary.state.skipped, summary.state.updates), (5, 13));
}

/// Starting a finished run again changes nothing and trains nothing.
#[test]
fn a_finished_run_is_left_as_it_is() {
    let want = uninterrupted(PLAN);
    let folder = tempfile::tempdir().unwrap();
    process(folder.path(), PLAN, &mut vit_train::Silent);
    let mut watch = crate::support::Watch::default();
    let summary = process(folder.path(), PLAN, &mut watch);
    assert!(summary.finished && watch.steps.is_empty() && watch.epochs.is_empty());
    same_files(folder.path(), &want, "started again");
}

/// What the comparisons above rely on: a run that differs in anything has other bytes.
#[test]
fn another_run_has_other_bytes() {
    let (one, other) = (uninterrupted(PLAN), uninterrupted(Plan { drop_path: 0.3, ..PLAN }));
    for name in FILES {
        assert_ne!(one[name], other[name], "{name}");
    }
    let log = String::from_utf8(one[LOG_FILE].clone()).unwrap();
    assert_eq!(log.lines().count(), BATCHES * EPOCHS as usize + EPOCHS as usize);
    let first: Map<String, serde_json::Value> =
        serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["update"], json!(1));
}
