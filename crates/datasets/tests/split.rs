//! Splits, subsets, cache and description.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use common::Toy;
use vit_datasets::{
    Dataset, Error, InMemory, Phantom, PhantomConfig, PhantomTask, Subset, Target, Task,
    check_group_disjoint, check_parts_disjoint, describe, split_by_group,
};

/// Patients of very different size and one rare class.
fn uneven() -> Toy {
    let classes = ["common", "usual", "rare"].map(String::from).to_vec();
    let rows = (0..60usize).flat_map(|patient| {
        let class = if patient % 10 == 0 { 2 } else { patient % 2 };
        (0..1 + patient * 7 % 12).map(move |_| (format!("p{patient}"), Target::Class(class)))
    });
    Toy::new(Task::SingleLabel { classes }, rows)
}

#[test]
fn parts_are_disjoint_complete_deterministic_and_stratified() {
    let data = uneven();
    let fractions = [0.7, 0.1, 0.2];
    for seed in 0..20 {
        let parts = split_by_group(&data, &fractions, seed).unwrap();
        check_parts_disjoint(&data, &parts).unwrap();
        assert_eq!(parts, split_by_group(&data, &fractions, seed).unwrap());
        let mut all: Vec<usize> = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..data.len()).collect::<Vec<_>>());
        for (part, fraction) in parts.iter().zip(fractions) {
            let share = part.len() as f64 / data.len() as f64;
            assert!((share - fraction).abs() < 0.03, "seed {seed}: {share} for {fraction}");
            for class in 0..3 {
                let of_class = |i: &&usize| data.records[**i].target == Target::Class(class);
                let total = (0..data.len()).collect::<Vec<_>>();
                let share = part.iter().filter(of_class).count() as f64
                    / total.iter().filter(of_class).count() as f64;
                assert!(share > 0.0 && (share - fraction).abs() < 0.12, "{class}: {share}");
            }
        }
    }
    let of = |seed| split_by_group(&data, &fractions, seed).unwrap();
    assert!((1..5).any(|seed| of(seed) != of(0)), "the seed matters");
}

#[test]
fn multi_label_splits_are_stratified() {
    let config = PhantomConfig { task: PhantomTask::MultiLabel, len: 400, ..Default::default() };
    let data: Arc<dyn Dataset> = Arc::new(Phantom::new(config).unwrap());
    let whole = describe(&*data).unwrap();
    for part in split_by_group(&*data, &[0.5, 0.5], 3).unwrap() {
        let half = describe(&Subset::new(Arc::clone(&data), part).unwrap()).unwrap();
        for (half, whole) in half.classes.iter().zip(&whole.classes) {
            let share = half.present as f64 / whole.present as f64;
            assert!((share - 0.5).abs() < 0.06, "{}: {share}", half.name);
        }
    }
}

#[test]
fn every_part_gets_a_group() {
    let data = Toy::unlabelled(4);
    let parts = split_by_group(&data, &[0.997, 0.001, 0.001, 0.001], 0).unwrap();
    assert!(parts.iter().all(|part| part.len() == 1), "{parts:?}");
}

#[test]
fn impossible_splits() {
    let data = Toy::unlabelled(2);
    for fractions in [
        &[][..],
        &[0.5],
        &[0.5, 0.6],
        &[1.5, -0.5],
        &[f64::NAN, 1.0],
        &[f64::INFINITY, 1.0],
        &[0.0, 1.0],
        &[0.4, 0.3, 0.3],
    ] {
        let error = split_by_group(&data, fractions, 0).unwrap_err();
        assert!(matches!(error, Error::Split { groups: 2, .. }), "{error}");
    }
    assert!(split_by_group(&Toy::unlabelled(0), &[1.0], 0).is_err());
}

#[test]
fn a_shared_patient_is_named() {
    let rows = ["a", "b", "a"].map(|group| (group.to_owned(), Target::None));
    let data: Arc<dyn Dataset> = Arc::new(Toy::new(Task::Unlabelled, rows));
    let error = check_parts_disjoint(&*data, &[vec![0], vec![1, 2]]).unwrap_err();
    assert!(
        matches!(&error, Error::SharedGroup { group, first: 0, second: 1 } if group == "a"),
        "{error}"
    );
    let subset = |indices| Subset::new(Arc::clone(&data), indices).unwrap();
    assert!(check_group_disjoint(&[&subset(vec![0]), &subset(vec![1, 2])]).is_err());
    check_group_disjoint(&[&subset(vec![0, 2]), &subset(vec![1])]).unwrap();
    assert!(check_parts_disjoint(&*data, &[vec![9]]).is_err());
}

#[test]
fn a_subset_has_its_own_order() {
    let data: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(5));
    let subset = Subset::new(Arc::clone(&data), vec![4, 1, 4]).unwrap();
    assert_eq!(subset.len(), 3);
    assert_eq!(subset.record(0).unwrap().id, "toy/4");
    assert_eq!(subset.get(1).unwrap(), data.get(1).unwrap());
    assert!(matches!(subset.get(3), Err(Error::Index { index: 3, len: 3 })));
    assert!(matches!(Subset::new(data, vec![5]), Err(Error::Index { index: 5, len: 5 })));
}

#[test]
fn the_cache_reads_once_within_its_budget() {
    let toy = Arc::new(Toy::unlabelled(10));
    // Room for three pictures of 8 x 8 bytes.
    let cache = InMemory::new(Arc::clone(&toy) as Arc<dyn Dataset>, 3 * 64 + 10);
    for _ in 0..4 {
        for index in 0..10 {
            assert_eq!(cache.get(index).unwrap().image, common::grey(8, 8, index as u8));
        }
    }
    assert_eq!((cache.bytes(), cache.cached()), (192, 3));
    assert_eq!(toy.reads(), 3 + 4 * 7);
    assert!(matches!(cache.get(10), Err(Error::Index { .. })));
}

#[test]
fn the_cache_counts_right_with_many_threads() {
    let cache = InMemory::new(Arc::new(Toy::unlabelled(50)), 1 << 20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|index| drop(cache.get(index).unwrap())));
        }
    });
    assert_eq!((cache.bytes(), cache.cached()), (50 * 64, 50));
}

#[test]
fn descriptions_count_and_print() {
    let findings = vec!["p".to_owned(), "q".to_owned()];
    let rows = [
        ("a", vec![Some(1.0), None]),
        ("a", vec![Some(0.0), Some(0.7)]),
        ("b", vec![Some(1.0), Some(0.2)]),
    ];
    let rows = rows.map(|(group, labels)| (group.to_owned(), Target::Labels(labels)));
    let description = describe(&Toy::new(Task::MultiLabel { findings }, rows)).unwrap();
    assert_eq!(description.to_string(), "3 samples, 2 groups; p 2, q 1 (1 unknown)");
    let ids: HashSet<String> = uneven().records.into_iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), uneven().len());
}
