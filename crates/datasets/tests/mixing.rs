//! Mixed batches: those of the mixing itself, whatever the threads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::sync::Arc;

use common::Toy;
use vit_datasets::{
    Batch, Dataset, Error, Loader, LoaderConfig, Phantom, PhantomConfig, PhantomKind, Target, Task,
};
use vit_random::Streams;
use vit_transforms::{BatchShape, MixTarget, Mixup, Pipeline};

const SEED: u64 = 5;

fn loader(data: &Arc<dyn Dataset>, workers: usize) -> Loader {
    let config = LoaderConfig {
        batch_size: 7,
        workers,
        prefetch: 3,
        seed: SEED,
        shuffle: true,
        drop_last: false,
    };
    Loader::new(Arc::clone(data), Arc::new(Pipeline::default()), config).unwrap()
}

fn mixup() -> Mixup {
    Mixup { mixup_alpha: 0.8, cutmix_alpha: 1.0, ..Mixup::default() }
}

fn collect(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch, 0).map(Result::unwrap).collect()
}

#[test]
fn a_mixed_batch_is_the_batch_mixed() {
    let kind = PhantomKind::Endoscopy;
    let config = PhantomConfig { kind, len: 33, ..Default::default() };
    let data: Arc<dyn Dataset> = Arc::new(Phantom::new(config).unwrap());
    let classes = data.task().names().len();
    for epoch in 0..2 {
        let mut expected = collect(&loader(&data, 0), epoch);
        for batch in &mut expected {
            let [pictures, channels, height, width] = batch.shape;
            let shape = BatchShape { pictures, channels, height, width };
            let class = |target: &Target| match target {
                Target::Class(class) => *class,
                _ => usize::MAX,
            };
            let labels: Vec<usize> = batch.targets.iter().map(class).collect();
            let purpose = format!("mixup/{}", batch.number);
            let first = batch.indices[0] as u64;
            let rng = &mut Streams::new(SEED).stream(&purpose, epoch, first);
            let before = batch.images.to_vec();
            let labels = MixTarget::Classes(&labels);
            batch.mixed =
                Some(mixup().apply(&mut batch.images, shape, labels, classes, rng).unwrap());
            assert_ne!(batch.images.to_vec(), before);
        }
        for workers in [0, 1, 3] {
            let mixing = loader(&data, workers).with_mixup(mixup()).unwrap();
            assert_eq!(collect(&mixing, epoch), expected, "{workers} workers");
        }
    }
}

#[test]
fn a_missing_finding_is_missing_in_the_mixture() {
    let task = Task::MultiLabel { findings: vec!["a".into(), "b".into()] };
    let labels = [[Some(1.0), None], [Some(0.0), Some(1.0)]];
    let rows = labels.iter().enumerate().map(|(at, row)| (at.to_string(), row.to_vec()));
    let toy = Toy::new(task, rows.map(|(id, row)| (id, Target::Labels(row))));
    let data: Arc<dyn Dataset> = Arc::new(toy);
    let loader = loader(&data, 0).with_mixup(Mixup { smoothing: 0.0, ..mixup() }).unwrap();
    let batch = collect(&loader, 0).remove(0);
    let mixed = batch.mixed.unwrap();
    assert!(mixed[1].is_nan() && mixed[3].is_nan(), "{mixed:?}");
    assert!((mixed[0] + mixed[2] - 1.0).abs() < 1e-6 && mixed[0] > 0.0, "{mixed:?}");
    assert!(batch.targets.contains(&Target::Labels(vec![Some(1.0), None])), "as they were");
}

#[test]
fn what_cannot_be_mixed_is_refused() {
    let says = |result: Result<Loader, Error>, text: &str| {
        let error = result.err().unwrap();
        assert!(error.to_string().contains(text), "{error}");
    };
    let unlabelled: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(4));
    says(loader(&unlabelled, 0).with_mixup(mixup()), "no labels");
    let task = Task::SingleLabel { classes: vec!["a".into(), "b".into()] };
    let rows = [Target::Class(0), Target::None].into_iter().enumerate();
    let toy = Toy::new(task, rows.map(|(at, target)| (format!("toy/{at}"), target)));
    let data: Arc<dyn Dataset> = Arc::new(toy);
    says(loader(&data, 0).with_mixup(Mixup { probability: 2.0, ..mixup() }), "robability");
    let mut batches = loader(&data, 2).with_mixup(mixup()).unwrap().epoch(0, 0);
    let error = batches.next().unwrap().unwrap_err();
    assert!(error.to_string().contains("toy/1"), "{error}");
}
