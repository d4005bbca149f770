//! Samples that cannot be read: left out, listed, and without any influence on the others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Act, Toy};
use vit_datasets::{Batch, Error, ErrorPolicy, Loader, LoaderConfig};
use vit_transforms::Pipeline;

const SKIP: ErrorPolicy = ErrorPolicy::Skip { at_most: None };

fn loader(bad: &[(usize, Act)], workers: usize, batch_size: usize) -> Loader {
    let mut toy = Toy::unlabelled(30);
    for &(index, act) in bad {
        toy.acts[index] = act;
    }
    let json = r#"{"steps": [{"name": "color_jitter", "brightness": [0.5, 1.5], "contrast": [1.0, 1.0],
        "saturation": [1.0, 1.0], "hue": [0.0, 0.0]}]}"#;
    let pipeline = Arc::new(serde_json::from_str::<Pipeline>(json).unwrap());
    let config =
        LoaderConfig { batch_size, workers, seed: 2, shuffle: true, ..LoaderConfig::default() };
    Loader::new(Arc::new(toy), pipeline, config).unwrap().on_error(SKIP)
}

fn collect(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch, 0).map(Result::unwrap).collect()
}

/// What each sample of an epoch became.
fn pictures(batches: &[Batch]) -> BTreeMap<usize, Vec<f32>> {
    let of = |batch: &Batch| {
        let size = batch.images.len() / batch.len();
        let images = batch.images.chunks_exact(size).map(<[f32]>::to_vec);
        batch.indices.clone().into_iter().zip(images).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

#[test]
fn a_skipped_sample_changes_nothing_else() {
    let bad = [(3, Act::Fail), (17, Act::Panic), (29, Act::Fail)];
    for workers in [0, 1, 4] {
        let whole = loader(&[], workers, 7);
        let damaged = loader(&bad, workers, 7);
        for epoch in 0..2 {
            let (expected, got) = (collect(&whole, epoch), collect(&damaged, epoch));
            let mut left = pictures(&expected);
            for (index, _) in bad {
                left.remove(&index).unwrap();
            }
            assert_eq!(pictures(&got), left);
            // The others stay in their batches, in their order.
            for (expected, got) in expected.iter().zip(&got) {
                let kept = |index: &usize| bad.iter().all(|(bad, _)| bad != index);
                let indices: Vec<_> = expected.indices.iter().copied().filter(kept).collect();
                assert_eq!((got.number, &got.indices), (expected.number, &indices));
                assert_eq!(got.shape[0], got.len());
                assert_eq!(got.images.len(), got.shape.iter().product::<usize>());
                assert_eq!(got.len() + got.skipped.len(), expected.len());
            }
        }
        let list = damaged.skipped();
        let of: Vec<_> = list.iter().map(|s| (s.index, s.id.as_str(), s.times)).collect();
        assert_eq!(of, [(3, "toy/3", 2), (17, "toy/17", 2), (29, "toy/29", 2)]);
        assert!(list[0].reason.contains("it is broken"), "{}", list[0].reason);
        assert!(list[1].reason.contains("toy 17 broke"), "{}", list[1].reason);
    }
}

#[test]
fn the_first_picture_of_a_batch_may_be_the_bad_one() {
    let order: Vec<usize> = collect(&loader(&[], 0, 7), 0).remove(0).indices;
    let damaged = loader(&[(order[0], Act::Fail), (order[1], Act::Panic)], 2, 7);
    assert_eq!(collect(&damaged, 0)[0].indices, order[2..]);
}

#[test]
fn a_batch_of_nothing_is_left_out_and_an_epoch_of_nothing_is_an_error() {
    let one = loader(&[(4, Act::Fail)], 2, 1);
    assert_eq!(one.batches_per_epoch(), 30);
    let batches = collect(&one, 0);
    assert_eq!(batches.len(), 29);
    assert!(batches.iter().all(|batch| batch.indices != [4]));

    let all: Vec<_> = (0..30).map(|index| (index, Act::Fail)).collect();
    let nothing = loader(&all, 2, 7);
    let mut epoch = nothing.epoch(0, 0);
    let error = epoch.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::TooManySkipped { count: 30, .. }), "{error}");
    assert!(epoch.next().is_none());
}

#[test]
fn a_limit_counts_samples_and_not_epochs() {
    let bad = [(3, Act::Fail), (17, Act::Panic)];
    let limited = |most| loader(&bad, 2, 7).on_error(ErrorPolicy::Skip { at_most: Some(most) });
    let enough = limited(2);
    for epoch in 0..3 {
        assert_eq!(collect(&enough, epoch).iter().map(Batch::len).sum::<usize>(), 28);
    }
    let error = limited(1).epoch(0, 0).find_map(Result::err).unwrap();
    assert!(matches!(&error, Error::TooManySkipped { count: 2, .. }), "{error}");
    assert!(error.to_string().contains("2 sample(s) skipped, allowed are 1"), "{error}");
}

#[test]
fn pictures_of_another_size_are_not_skipped() {
    let odd = loader(&[(4, Act::OtherSize)], 0, 7);
    let error = odd.epoch(0, 0).find_map(Result::err).unwrap();
    assert!(matches!(error, Error::BatchShape { .. }), "{error}");
}

#[test]
fn the_policy_survives_a_file() {
    for policy in [ErrorPolicy::Stop, SKIP, ErrorPolicy::Skip { at_most: Some(3) }] {
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<ErrorPolicy>(&text).unwrap(), policy, "{text}");
    }
}

#[test]
fn buffers_are_used_again() {
    let loader = loader(&[], 0, 5);
    let mut places = std::collections::HashSet::new();
    let mut epoch = loader.epoch(0, 0);
    for _ in 0..6 {
        places.insert(epoch.next().unwrap().unwrap().images.as_ptr());
    }
    assert_eq!(places.len(), 1, "a dropped batch's memory serves the next one");
    let (first, second) = (loader.epoch(1, 0).next(), loader.epoch(1, 1).next());
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert_ne!(first.images.as_ptr(), second.images.as_ptr());
    let kept: Vec<f32> = first.images.into_vec();
    assert_eq!(kept.len(), 5 * 64);
    drop(second);
}
