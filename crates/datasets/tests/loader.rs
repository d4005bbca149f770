//! The loader: same batches whatever the threads, bounded, and not to be hung or broken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Act, Toy};
use vit_datasets::{
    Batch, Dataset, Error, Loader, LoaderConfig, Phantom, PhantomConfig, PhantomKind, Target,
};
use vit_random::Streams;
use vit_transforms::Pipeline;

fn pipeline() -> Arc<Pipeline> {
    let json = r#"{"steps": [{"name": "horizontal_flip", "probability": 0.5}]}"#;
    Arc::new(serde_json::from_str(json).unwrap())
}

fn loader(data: Arc<dyn Dataset>, workers: usize, shuffle: bool) -> Loader {
    let config =
        LoaderConfig { batch_size: 7, workers, prefetch: 3, seed: 5, shuffle, drop_last: false };
    Loader::new(data, pipeline(), config).unwrap()
}

fn phantom(len: usize) -> Arc<dyn Dataset> {
    let kind = PhantomKind::Endoscopy;
    Arc::new(Phantom::new(PhantomConfig { kind, len, ..Default::default() }).unwrap())
}

fn collect(loader: &Loader, epoch: u64, start: usize) -> Vec<Batch> {
    loader.epoch(epoch, start).map(Result::unwrap).collect()
}

#[test]
fn batches_do_not_depend_on_workers_or_where_the_epoch_is_entered() {
    let data = phantom(50);
    for epoch in 0..2 {
        let expected = collect(&loader(Arc::clone(&data), 0, true), epoch, 0);
        assert_eq!(expected.len(), 8);
        for workers in [1, 2, 5] {
            let loader = loader(Arc::clone(&data), workers, true);
            assert_eq!(collect(&loader, epoch, 0), expected, "{workers} workers");
            for start in 0..=9 {
                let got = collect(&loader, epoch, start);
                assert_eq!(got, expected[start.min(8)..], "from {start}");
            }
        }
    }
}

#[test]
fn a_batch_is_what_it_says() {
    let data = phantom(20);
    let loader = loader(Arc::clone(&data), 2, true);
    let order = Streams::new(5).permutation("shuffle", 3, 20);
    let batches = collect(&loader, 3, 0);
    let indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, order);
    for (number, batch) in batches.iter().enumerate() {
        assert_eq!((batch.epoch, batch.number), (3, number));
        assert_eq!(batch.shape, [batch.len(), 3, 32, 32]);
        let size = 3 * 32 * 32;
        assert_eq!(batch.images.len(), batch.len() * size);
        for (position, &index) in batch.indices.iter().enumerate() {
            let sample = data.get(index).unwrap();
            assert_eq!(batch.ids[position], sample.record.id);
            assert_eq!(batch.groups[position], sample.record.group);
            assert_eq!(batch.targets[position], sample.record.target);
            let mut rng = Streams::new(5).stream("augment", 3, index as u64);
            let image = pipeline().apply(sample.image, &mut rng).unwrap();
            let mut expected = vec![0.0; size];
            image.write_chw(&mut expected).unwrap();
            assert_eq!(batch.images[position * size..][..size], expected);
        }
    }
}

#[test]
fn lengths_with_and_without_the_last_batch() {
    for (len, drop_last, batches) in
        [(20, false, 3), (20, true, 2), (21, true, 3), (0, false, 0), (6, true, 0)]
    {
        let config = LoaderConfig { batch_size: 7, drop_last, ..Default::default() };
        let loader = Loader::new(Arc::new(Toy::unlabelled(len)), pipeline(), config).unwrap();
        assert_eq!(loader.batches_per_epoch(), batches);
        let mut epoch = loader.epoch(0, 0);
        assert_eq!(epoch.len(), batches);
        assert_eq!(epoch.by_ref().count(), batches);
        assert!(epoch.next().is_none());
    }
}

#[test]
fn without_shuffling_the_order_is_that_of_the_data() {
    let batches = collect(&loader(Arc::new(Toy::unlabelled(10)), 2, false), 9, 0);
    let indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, (0..10).collect::<Vec<_>>());
    assert!(batches.iter().all(|b| b.targets.iter().all(|t| *t == Target::None)));
}

#[test]
fn errors_arrive_in_place_and_name_the_sample() {
    for workers in [0, 1, 4] {
        for (act, words) in [
            (Act::Fail, &["toy/9", "broken"][..]),
            (Act::Panic, &["toy/9", "panicked", "toy 9 broke"]),
            (Act::OtherSize, &["toy/9", "[1, 8, 9]", "[1, 8, 8]"]),
        ] {
            let mut toy = Toy::unlabelled(28);
            toy.acts[9] = act;
            let results: Vec<_> = loader(Arc::new(toy), workers, false).epoch(0, 0).collect();
            assert_eq!(results.len(), 4);
            for (number, result) in results.iter().enumerate() {
                match result {
                    Ok(batch) => assert!(number != 1 && batch.number == number),
                    Err(error) => {
                        assert_eq!(number, 1);
                        let message = error.to_string();
                        for word in words {
                            assert!(message.contains(word), "'{word}' is not in: {message}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_transform_that_does_not_fit_names_the_sample() {
    let json = r#"{"steps": [{"name": "normalize", "mean": [0, 0, 0], "std": [1, 1, 1]}]}"#;
    let pipeline: Pipeline = serde_json::from_str(json).unwrap();
    let data = Arc::new(Toy::unlabelled(3));
    let loader = Loader::new(data, Arc::new(pipeline), LoaderConfig::default()).unwrap();
    let error = loader.epoch(0, 0).next().unwrap().unwrap_err();
    assert!(matches!(&error, Error::Transform { id, .. } if id == "toy/0"), "{error}");
}

#[test]
fn workers_never_run_ahead_of_the_caller() {
    let toy = Arc::new(Toy::unlabelled(7 * 40));
    let loader = loader(Arc::clone(&toy) as Arc<dyn Dataset>, 2, true);
    let mut epoch = loader.epoch(0, 0);
    for taken in 0..10 {
        std::thread::sleep(Duration::from_millis(20));
        assert!(toy.reads() <= (taken + 3) * 7, "{} reads after {taken}", toy.reads());
        epoch.next().unwrap().unwrap();
    }
    // But they do fill the queue; how soon is the machine's affair.
    while toy.reads() < 13 * 7 {
        std::thread::yield_now();
    }
    assert_eq!(toy.reads(), 13 * 7);
}

#[test]
fn dropping_an_epoch_early_stops_the_threads() {
    for taken in [0, 1, 5] {
        let toy = Arc::new(Toy::unlabelled(7 * 100));
        let loader = loader(Arc::clone(&toy) as Arc<dyn Dataset>, 4, true);
        let mut epoch = loader.epoch(0, 0);
        for _ in 0..taken {
            epoch.next().unwrap().unwrap();
        }
        drop(epoch);
        let reads = toy.reads();
        drop(loader);
        // Only this test holds the data now: every thread has given its part back.
        assert_eq!(Arc::strong_count(&toy), 1);
        assert_eq!(toy.reads(), reads);
    }
}

#[test]
fn settings_that_make_no_sense() {
    let make = |config| Loader::new(Arc::new(Toy::unlabelled(3)), pipeline(), config).err();
    let zero = make(LoaderConfig { batch_size: 0, ..Default::default() });
    assert!(matches!(zero, Some(Error::Config { option: "LoaderConfig::batch_size", .. })));
    let zero = make(LoaderConfig { prefetch: 0, workers: 1, ..Default::default() });
    assert!(matches!(zero, Some(Error::Config { option: "LoaderConfig::prefetch", .. })));
    assert!(make(LoaderConfig { prefetch: 0, workers: 0, ..Default::default() }).is_none());
    let huge = LoaderConfig { prefetch: usize::MAX, workers: 64, ..Default::default() };
    let loader = Loader::new(Arc::new(Toy::unlabelled(3)), pipeline(), huge).unwrap();
    assert_eq!(loader.epoch(0, usize::MAX).count(), 0);
    assert_eq!(loader.epoch(u64::MAX, 0).count(), 1);
}

#[test]
fn the_configuration_survives_a_file() {
    let config = LoaderConfig { seed: u64::MAX, shuffle: true, ..Default::default() };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<LoaderConfig>(&text).unwrap(), config);
    assert!(serde_json::from_str::<LoaderConfig>(r#"{"batchsize": 3}"#).is_err());
}
