//! Samplers and shards: what an epoch shows, to whom, and how often.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use common::Toy;
use vit_datasets::{
    Batch, Dataset, Error, Loader, LoaderConfig, Position, Remainder, Sampler, Shard, Target, Task,
};
use vit_random::Streams;
use vit_transforms::{Pipeline, RepeatedAugmentation};

fn loader(data: Arc<dyn Dataset>, batch_size: usize, workers: usize) -> Loader {
    let json = r#"{"steps": [{"name": "random_resized_crop", "size": 5, "scale": [0.2, 1.0],
        "ratio": [0.75, 1.3333], "filter": "bilinear"}]}"#;
    let pipeline = Arc::new(serde_json::from_str::<Pipeline>(json).unwrap());
    let config = LoaderConfig { batch_size, workers, seed: 11, ..Default::default() };
    Loader::new(data, pipeline, config).unwrap()
}

fn sampled(data: &Arc<Toy>, sampler: &Sampler) -> Loader {
    loader(Arc::clone(data) as Arc<dyn Dataset>, 4, 0).with_sampler(sampler).unwrap()
}

fn batches(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch, 0).map(Result::unwrap).collect()
}

fn places(loader: &Loader, epoch: u64) -> Vec<(usize, usize)> {
    let of = |b: Batch| b.indices.into_iter().zip(b.repeats).collect::<Vec<_>>();
    batches(loader, epoch).into_iter().flat_map(of).collect()
}

fn indices(loader: &Loader, epoch: u64) -> Vec<usize> {
    places(loader, epoch).into_iter().map(|(index, _)| index).collect()
}

/// `counts[class]` samples of each class; every sample is a patient but the first ten, who are one.
fn classes(counts: &[usize]) -> Arc<Toy> {
    let names = (0..counts.len()).map(|c| c.to_string()).collect();
    let of = |(class, &count): (usize, &usize)| vec![class; count];
    let rows =
        counts.iter().enumerate().flat_map(of).enumerate().map(|(row, class)| {
            (format!("patient {}", row.saturating_sub(9)), Target::Class(class))
        });
    Arc::new(Toy::new(Task::SingleLabel { classes: names }, rows))
}

fn all_samplers(len: usize) -> Vec<Sampler> {
    vec![
        Sampler::Sequential,
        Sampler::Shuffled,
        Sampler::Weighted { weights: (0..len).map(|i| i as f64).collect(), samples: Some(50) },
        Sampler::ClassBalanced { exponent: 1.0, samples: None },
        Sampler::GroupBalanced { samples: None },
        Sampler::Repeated { repeats: 3 },
    ]
}

#[test]
fn every_sampler_is_the_same_for_any_workers_and_resumes_to_the_bit() {
    let data = classes(&[20, 7, 3]);
    for sampler in all_samplers(30) {
        for shard in [Shard::default(), Shard { rank: 1, world_size: 4, remainder: Remainder::Pad }]
        {
            let with = |workers| {
                loader(Arc::clone(&data) as Arc<dyn Dataset>, 4, workers)
                    .with_sampler(&sampler)
                    .unwrap()
                    .with_shard(shard)
                    .unwrap()
            };
            let expected = batches(&with(0), 3);
            assert_eq!(expected.len(), with(0).batches_per_epoch());
            for workers in [1, 3] {
                let loader = with(workers);
                assert_eq!(batches(&loader, 3), expected, "{sampler:?}");
                let mut first = loader.epoch(3, 0);
                first.next().unwrap().unwrap();
                let position = first.position();
                assert_eq!(position, Position { epoch: 3, batch: 1 });
                let rest: Vec<Batch> = with(2).resume(position).map(Result::unwrap).collect();
                assert_eq!(rest, expected[1..], "{sampler:?} after a break");
            }
        }
    }
}

#[test]
fn copies_of_a_sample_are_augmented_differently() {
    let data = classes(&[20, 7, 3]);
    for sampler in &all_samplers(30)[2..] {
        let mut seen: HashSet<(usize, usize)> = HashSet::new();
        let mut pictures: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
        for batch in batches(&sampled(&data, sampler), 0) {
            for (&index, &repeat) in batch.indices.iter().zip(&batch.repeats) {
                assert!(seen.insert((index, repeat)), "{sampler:?}: twice the same copy");
                pictures.entry(index).or_default().insert(repeat);
            }
        }
        assert!(pictures.values().any(|copies| copies.len() > 1), "{sampler:?} repeats nothing");
    }
    // The streams differ: pictures of a gradient cropped at different places are different.
    struct Gradient(Task);
    impl Dataset for Gradient {
        fn len(&self) -> usize {
            1
        }
        fn task(&self) -> &Task {
            &self.0
        }
        fn record(&self, _: usize) -> vit_datasets::Result<vit_datasets::Record> {
            Ok(vit_datasets::Record { id: "g".into(), group: "g".into(), target: Target::None })
        }
        fn get(&self, index: usize) -> vit_datasets::Result<vit_datasets::Sample> {
            let pixels = vit_transforms::Pixels::U8((0..=255).collect());
            let image = vit_transforms::Image::new(16, 16, 1, pixels).unwrap();
            Ok(vit_datasets::Sample { record: self.record(index)?, image })
        }
    }
    let weighted = Sampler::Weighted { weights: vec![1.0], samples: Some(4) };
    let data = Arc::new(Gradient(Task::Unlabelled));
    let loader = loader(data, 4, 0).with_sampler(&weighted).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.repeats, [0, 1, 2, 3]);
    let pictures: Vec<&[f32]> = batch.images.chunks_exact(25).collect();
    for (a, first) in pictures.iter().enumerate() {
        assert!(pictures[..a].iter().all(|second| first != second), "copy {a}");
    }
}

#[test]
fn weighted_draws_follow_the_weights() {
    let data = classes(&[4]);
    let weights = vec![0.0, 1.0, 2.0, 5.0];
    let draws = 80_000;
    let sampler = Sampler::Weighted { weights, samples: Some(draws) };
    let mut counts = [0f64; 4];
    for index in indices(&sampled(&data, &sampler), 0) {
        counts[index] += 1.0;
    }
    assert_eq!(counts[0], 0.0);
    // Chi-square of three cells has two degrees of freedom: 13.8 is exceeded once in a thousand,
    // and the draws of this seed are fixed.
    let expected = [1.0, 2.0, 5.0].map(|weight| weight / 8.0 * draws as f64);
    let parts = counts[1..].iter().zip(expected).map(|(c, e)| (c - e).powi(2) / e);
    assert!(parts.sum::<f64>() < 13.8, "{counts:?}");
    assert_ne!(indices(&sampled(&data, &sampler), 0), indices(&sampled(&data, &sampler), 1));
}

#[test]
fn class_balance_by_exponent() {
    let data = classes(&[900, 90, 10]);
    let shares = |exponent| {
        let sampler = Sampler::ClassBalanced { exponent, samples: Some(60_000) };
        let mut counts = [0f64; 3];
        for batch in batches(&sampled(&data, &sampler), 0) {
            for target in batch.targets {
                let Target::Class(class) = target else { panic!("{target:?}") };
                counts[class] += 1.0 / 60_000.0;
            }
        }
        counts
    };
    let root = [30.0, 90f64.sqrt(), 10f64.sqrt()];
    let sum: f64 = root.iter().sum();
    for (exponent, expected) in
        [(1.0, [1.0 / 3.0; 3]), (0.0, [0.9, 0.09, 0.01]), (0.5, root.map(|value| value / sum))]
    {
        for (got, want) in shares(exponent).into_iter().zip(expected) {
            assert!((got - want).abs() < 0.01, "exponent {exponent}: {got} instead of {want}");
        }
    }
}

#[test]
fn several_findings_count_as_the_rarest_present_one() {
    // 8 samples without a finding, 4 with the first one, 1 with both, 1 with an unknown second.
    let mut rows = vec![vec![Some(0.0), Some(0.0)]; 8];
    rows.extend(vec![vec![Some(1.0), Some(0.0)]; 4]);
    rows.push(vec![Some(1.0), Some(1.0)]);
    rows.push(vec![Some(0.0), None]);
    let task = Task::MultiLabel { findings: vec!["a".into(), "b".into()] };
    let rows = rows.into_iter().enumerate().map(|(i, l)| (i.to_string(), Target::Labels(l)));
    let data = Arc::new(Toy::new(task, rows));
    let sampler = Sampler::ClassBalanced { exponent: 1.0, samples: Some(60_000) };
    let mut counts = [0f64; 14];
    for index in indices(&sampled(&data, &sampler), 0) {
        counts[index] += 1.0 / 60_000.0;
    }
    // Weights: nine without any finding share 1, five with the first finding have 1/5 each unless
    // the second one, of which there is one, is rarer: 1 + 4/5 + 1 in all.
    for (index, got) in counts.into_iter().enumerate() {
        let weight = match index {
            8..=11 => 1.0 / 5.0,
            12 => 1.0,
            _ => 1.0 / 9.0,
        };
        assert!((got - weight / 2.8).abs() < 0.01, "sample {index}: {got}");
    }
}

#[test]
fn patients_count_once_however_many_pictures_they_have() {
    let data = classes(&[30]);
    let sampler = Sampler::GroupBalanced { samples: Some(42_000) };
    let mut first = 0;
    for index in indices(&sampled(&data, &sampler), 0) {
        first += usize::from(index < 10);
    }
    // Ten pictures of one patient and twenty patients with one each.
    assert!((first as f64 / 42_000.0 - 1.0 / 21.0).abs() < 0.005, "{first}");
}

#[test]
fn repeated_augmentation_is_that_of_the_transforms() {
    let data = classes(&[600]);
    for (world_size, rank) in [(1, 0), (3, 2)] {
        let shard = Shard { rank, world_size, remainder: Remainder::Pad };
        let sampler = Sampler::Repeated { repeats: 3 };
        let loader = sampled(&data, &sampler).with_shard(shard).unwrap();
        let rule = RepeatedAugmentation { repeats: 3, world: world_size, rank };
        assert_eq!(places(&loader, 5), rule.order(600, Streams::new(11), 5).unwrap());
    }
}

#[test]
fn shards_for_training_are_even_and_for_evaluation_exact() {
    for len in [0, 1, 2, 7, 12, 13] {
        for world_size in [1, 2, 5] {
            let data = Arc::new(Toy::unlabelled(len));
            for sampler in [Sampler::Sequential, Sampler::Shuffled] {
                let whole = indices(&sampled(&data, &sampler), 2);
                for remainder in [Remainder::Pad, Remainder::Exact] {
                    let part = |rank| {
                        let shard = Shard { rank, world_size, remainder };
                        let loader = sampled(&data, &sampler).with_shard(shard).unwrap();
                        let got = places(&loader, 2);
                        assert_eq!(got.len().div_ceil(4), loader.batches_per_epoch());
                        got
                    };
                    let parts: Vec<_> = (0..world_size).map(part).collect();
                    // Dealt out in turn, as PyTorch's DistributedSampler does.
                    let turn = |place: usize| parts[place % world_size].get(place / world_size);
                    for (place, index) in whole.iter().enumerate() {
                        assert_eq!(turn(place), Some(&(*index, 0)));
                    }
                    let total: usize = parts.iter().map(Vec::len).sum();
                    match remainder {
                        Remainder::Exact => assert_eq!(total, len),
                        Remainder::Pad => {
                            assert_eq!(total, len.div_ceil(world_size) * world_size);
                            // What fills up is the beginning again, as copies of its own.
                            let all: HashSet<_> = parts.iter().flatten().collect();
                            assert_eq!(all.len(), total);
                            for place in len..total {
                                assert_eq!(turn(place).unwrap().0, whole[place % len]);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn samplers_that_make_no_sense() {
    let data = classes(&[3]);
    let fail = |sampler: Sampler| {
        loader(Arc::clone(&data) as Arc<dyn Dataset>, 4, 0).with_sampler(&sampler).err().unwrap()
    };
    let weighted = |weights: &[f64]| Sampler::Weighted { weights: weights.to_vec(), samples: None };
    for (sampler, words) in [
        (weighted(&[1.0, 2.0]), "2 weights for 3 samples"),
        (weighted(&[1.0, -1.0, 1.0]), "weight -1 of sample 1"),
        (weighted(&[1.0, 1.0, f64::NAN]), "weight NaN of sample 2"),
        (weighted(&[0.0; 3]), "sum to 0"),
        (weighted(&[f64::MAX; 3]), "sum to inf"),
        (Sampler::ClassBalanced { exponent: 1.5, samples: None }, "1.5"),
        (Sampler::Repeated { repeats: 0 }, "at least 1"),
    ] {
        let error = fail(sampler);
        assert!(matches!(error, Error::Config { .. }));
        assert!(error.to_string().contains(words), "{error}");
    }
    let shard = |rank, world_size| Shard { rank, world_size, remainder: Remainder::Exact };
    for (rank, world_size) in [(1, 1), (0, 0), (5, 2)] {
        assert!(sampled(&data, &Sampler::Shuffled).with_shard(shard(rank, world_size)).is_err());
    }
    let repeated = Sampler::Repeated { repeats: 2 };
    assert!(sampled(&data, &repeated).with_shard(shard(0, 2)).is_err());
    assert!(sampled(&data, &weighted(&[1.0; 3])).with_shard(shard(0, 2)).is_err());
    let sharded = sampled(&data, &Sampler::Shuffled).with_shard(shard(0, 2)).unwrap();
    assert!(sharded.with_sampler(&repeated).is_err());
}

#[test]
fn samplers_survive_a_file() {
    for sampler in all_samplers(3) {
        let text = serde_json::to_string(&sampler).unwrap();
        assert_eq!(serde_json::from_str::<Sampler>(&text).unwrap(), sampler, "{text}");
    }
    let text = r#"{"name": "class_balanced", "exponent": 0.5}"#;
    let expected = Sampler::ClassBalanced { exponent: 0.5, samples: None };
    assert_eq!(serde_json::from_str::<Sampler>(text).unwrap(), expected);
}
