//! Views of test-time augmentation, and repeated augmentation.

// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use vit_random::Streams;
use vit_transforms::{Error, Image, Pixels, RepeatedAugmentation, Views, mean_over_views};

/// A picture of 3×2 whose values tell where they come from.
fn picture() -> Image {
    Image::new(3, 2, 1, Pixels::U8(vec![0, 1, 2, 10, 11, 12])).unwrap()
}

fn values(image: &Image) -> Vec<u8> {
    let Pixels::U8(values) = image.pixels() else { panic!("{}", image.describe()) };
    values.clone()
}

#[test]
fn every_mirror_image_and_turn_is_there_once() {
    let views = Views::Dihedral.of(&picture()).unwrap();
    let shown: Vec<Vec<u8>> = views.iter().map(values).collect();
    assert_eq!(
        shown,
        [
            // Counter-clockwise by quarters.
            vec![0, 1, 2, 10, 11, 12],
            vec![2, 12, 1, 11, 0, 10],
            vec![12, 11, 10, 2, 1, 0],
            vec![10, 0, 11, 1, 12, 2],
            // The same of the mirror image.
            vec![2, 1, 0, 12, 11, 10],
            vec![0, 10, 1, 11, 2, 12],
            vec![10, 11, 12, 0, 1, 2],
            vec![12, 2, 11, 1, 10, 0],
        ]
    );
    assert_eq!((views[1].width(), views[1].height()), (2, 3));
}

#[test]
fn the_count_is_that_of_the_views() {
    let size = 2;
    for views in [
        Views::Single,
        Views::HorizontalFlip,
        Views::Flips,
        Views::Dihedral,
        Views::FiveCrop { size },
        Views::TenCrop { size, vertical: false },
    ] {
        assert_eq!(views.of(&picture()).unwrap().len(), views.count(), "{views:?}");
    }
    let error = Views::FiveCrop { size: 3 }.of(&picture()).unwrap_err();
    assert!(matches!(error, Error::Kind { .. }), "{error}");
}

#[test]
fn predictions_of_the_views_are_averaged() {
    let predictions = [0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 0.0, 1.0];
    assert_eq!(mean_over_views(&predictions, 2, 2).unwrap(), [0.25, 0.75, 0.5, 0.5]);
    assert!(mean_over_views(&predictions, 3, 2).is_err());
    assert!(mean_over_views(&predictions, 0, 2).is_err());
}

/// timm's and DeiT's numbers: with three repeats an epoch of 1000 samples on 4 processes yields
/// ⌊1000 / 256⌋ · 256 / 4 = 192 places each; neighbours in the whole order are the same sample.
#[test]
fn repeated_samples_go_to_neighbouring_processes() {
    let orders: Vec<_> = (0..4)
        .map(|rank| {
            let sampler = RepeatedAugmentation { repeats: 3, world: 4, rank };
            sampler.order(1000, Streams::new(5), 2).unwrap()
        })
        .collect();
    assert!(orders.iter().all(|order| order.len() == 192));
    // Dealt out in turn: put together again, each sample comes three times in a row.
    let whole: Vec<(usize, usize)> =
        (0..192).flat_map(|at| orders.iter().map(move |order| order[at])).collect();
    for (at, group) in whole.chunks(3).enumerate() {
        let sample = group[0].0;
        assert!(
            group.iter().enumerate().all(|(i, &entry)| entry == (sample, i)),
            "{at}: {group:?}"
        );
    }
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    whole.iter().for_each(|&(sample, _)| *seen.entry(sample).or_default() += 1);
    assert_eq!(seen.len(), 256);
    assert!(seen.values().all(|&count| count == 3));

    let few = RepeatedAugmentation { repeats: 3, world: 2, rank: 1 };
    assert_eq!(few.order(7, Streams::new(5), 0).unwrap().len(), 4);
    assert!(few.order(0, Streams::new(5), 0).unwrap().is_empty());
    let bad = RepeatedAugmentation { repeats: 3, world: 2, rank: 2 };
    assert!(bad.order(7, Streams::new(5), 0).is_err());
}
