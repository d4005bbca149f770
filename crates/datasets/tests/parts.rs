//! Parts of data sets and data sets of parts: concatenation, nested fractions, folds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use common::Toy;
use vit_datasets::{
    Concat, Dataset, Error, InMemory, InPopulation, Subset, Target, Task, all_but_fold, attribute,
    check_parts_disjoint, folds_by_group, fraction,
};

fn task(classes: &[&str]) -> Task {
    Task::SingleLabel { classes: classes.iter().map(ToString::to_string).collect() }
}

/// Patients with one to five pictures; class 2 is rare.
fn patients(count: usize) -> Toy {
    let rows = (0..count).flat_map(|patient| {
        let class = if patient % 40 == 0 { 2 } else { patient % 2 };
        (0..1 + patient % 5).map(move |_| (format!("p{patient}"), Target::Class(class)))
    });
    Toy::new(task(&["a", "b", "rare"]), rows)
}

#[test]
fn fractions_are_nested_stratified_and_by_patient() {
    let data = patients(2000);
    for seed in 0..3 {
        let mut before: HashSet<usize> = HashSet::new();
        for share in [0.01, 0.1, 0.5, 1.0] {
            let taken = fraction(&data, share, seed).unwrap();
            assert!(taken.is_sorted());
            let wanted = share * data.len() as f64;
            // At most one patient too many.
            assert!(
                (0.0..5.0).contains(&(taken.len() as f64 - wanted).max(0.0)),
                "{}",
                taken.len()
            );
            assert!(taken.len() as f64 >= wanted.floor());
            let set: HashSet<usize> = taken.iter().copied().collect();
            assert!(before.is_subset(&set), "{share} does not hold what was smaller");
            before = set;
            let rest: Vec<usize> = (0..data.len()).filter(|i| !before.contains(i)).collect();
            check_parts_disjoint(&data, &[taken.clone(), rest]).unwrap();
            for class in 0..3 {
                let has = |i: &&usize| data.records[**i].target == Target::Class(class);
                let all = data.records.iter().filter(|r| r.target == Target::Class(class)).count();
                let found = taken.iter().filter(has).count() as f64;
                let expected = share * all as f64;
                assert!(
                    (found - expected).abs() <= 3.0 + 0.1 * expected,
                    "{class}: {found} {expected}"
                );
            }
        }
        assert_eq!(before.len(), data.len());
    }
    assert_eq!(fraction(&data, 0.1, 5).unwrap(), fraction(&data, 0.1, 5).unwrap());
    assert_ne!(fraction(&data, 0.1, 5).unwrap(), fraction(&data, 0.1, 6).unwrap());
    for bad in [0.0, -0.1, 1.1, f64::NAN] {
        assert!(matches!(fraction(&data, bad, 0), Err(Error::Config { .. })), "{bad}");
    }
    let unlabelled = Toy::unlabelled(50);
    assert_eq!(fraction(&unlabelled, 0.2, 0).unwrap().len(), 10);
    assert!(fraction(&Toy::unlabelled(0), 0.5, 0).unwrap().is_empty());
}

#[test]
fn folds_share_no_patient() {
    let data = patients(200);
    let folds = folds_by_group(&data, 5, 1).unwrap();
    check_parts_disjoint(&data, &folds).unwrap();
    assert_eq!(folds.iter().map(Vec::len).sum::<usize>(), data.len());
    for (number, fold) in folds.iter().enumerate() {
        let train = all_but_fold(&folds, number).unwrap();
        assert_eq!(train.len() + fold.len(), data.len());
        assert!(fold.iter().all(|index| train.binary_search(index).is_err()));
        let fifth = data.len() as f64 / 5.0;
        assert!((fold.len() as f64 - fifth).abs() < 6.0, "{}", fold.len());
        let rare = fold.iter().filter(|&&i| data.records[i].target == Target::Class(2)).count();
        assert!(rare > 0, "the rare class is in every fold");
    }
    assert!(matches!(folds_by_group(&data, 1, 0), Err(Error::Config { .. })));
    assert!(matches!(folds_by_group(&patients(3), 5, 0), Err(Error::Split { .. })));
    assert!(matches!(all_but_fold(&folds, 5), Err(Error::Config { .. })));
}

#[test]
fn concatenation_keeps_origins_apart() {
    let first: Arc<dyn Dataset> = Arc::new(patients(3));
    let second: Arc<dyn Dataset> = Arc::new(patients(2));
    let parts = vec![("x".to_owned(), Arc::clone(&first)), ("y".to_owned(), Arc::clone(&second))];
    let message = Concat::new(parts).err().unwrap().to_string();
    assert!(message.contains("both hold the picture 'toy/0'"), "{message}");
    let apart = |data: &Arc<dyn Dataset>, population: &str| -> Arc<dyn Dataset> {
        Arc::new(InPopulation::new(Arc::clone(data), population))
    };
    let (first, second) = (apart(&first, "here"), apart(&second, "there"));
    let parts = vec![("x".to_owned(), Arc::clone(&first)), ("y".to_owned(), Arc::clone(&second))];
    let data = Concat::new(parts).unwrap();
    assert_eq!(data.len(), first.len() + second.len());
    assert_eq!(data.record(0).unwrap().group, "here/p0");
    let record = data.record(first.len()).unwrap();
    assert_eq!((&*record.id, &*record.group), ("y/toy/0", "there/p0"));
    assert_eq!(data.get(first.len()).unwrap().image, common::grey(8, 8, 0));
    let source = data.attribute(data.len() - 1, attribute::SOURCE).unwrap();
    assert_eq!(source.as_deref(), Some("y"));
    assert!(matches!(data.get(data.len()), Err(Error::Index { .. })));
    // The attribute goes through the wrappers.
    let data: Arc<dyn Dataset> = Arc::new(data);
    let subset = Subset::new(Arc::clone(&data), vec![first.len(), 0]).unwrap();
    assert_eq!(subset.attribute(0, attribute::SOURCE).unwrap().as_deref(), Some("y"));
    let memory = InMemory::new(Arc::new(subset), 1000);
    assert_eq!(memory.attributes(1).unwrap()[attribute::SOURCE], "x");
    assert!(memory.attribute(2, attribute::SOURCE).is_err());

    let other: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(2));
    let refuse = |parts| Concat::new(parts).err().unwrap().to_string();
    let message = refuse(vec![("x".into(), Arc::clone(&first)), ("z".into(), other)]);
    assert!(message.contains("'z' behind 'x': they have other labels"), "{message}");
    let message = refuse(vec![("x".into(), Arc::clone(&first)), ("x".into(), second)]);
    assert!(message.contains("the name is taken"), "{message}");
    assert!(Concat::new(Vec::new()).is_err());
    // An empty one in the middle.
    let empty: Arc<dyn Dataset> = Arc::new(Toy::new(task(&["a", "b", "rare"]), []));
    let parts =
        vec![("e".to_owned(), empty.clone()), ("x".to_owned(), first), ("f".to_owned(), empty)];
    let data = Concat::new(parts).unwrap();
    assert_eq!(data.record(0).unwrap().group, "here/p0");
    assert!(data.record(data.len()).is_err());
}
