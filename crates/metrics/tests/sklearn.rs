//! Equality with scikit-learn on the cases of `fixtures/sklearn.json`
//! (made by `fixtures/gen/sklearn_fixtures.py`).

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde::Deserialize;
use serde::de::DeserializeOwned;
use vit_metrics::{
    ClassReport, Metric, MultiLabel, SingleLabel, Value, ZeroDivision, auroc, average_precision,
};

const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct RankingCase {
    positive: Vec<u8>,
    scores: Vec<f32>,
    scale: f32,
    auroc: Option<f64>,
    ap: Option<f64>,
}

#[derive(Deserialize)]
struct SingleCase {
    classes: usize,
    scale: f32,
    scores: Vec<f32>,
    targets: Vec<usize>,
    confusion: Vec<Vec<u64>>,
    accuracy: f64,
    balanced_accuracy: f64,
    precision_macro: f64,
    recall_macro: f64,
    f1_macro: f64,
    mcc: f64,
    per_class: Vec<Vec<Option<f64>>>,
}

#[derive(Deserialize)]
struct MultiCase {
    classes: usize,
    scale: f32,
    scores: Vec<f32>,
    targets: Vec<Option<f32>>,
    per_class: Vec<Option<Vec<Option<f64>>>>,
}

fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/sklearn.json")).unwrap();
    serde_json::from_value(fixture[name].clone()).unwrap()
}

fn scaled(scores: &[f32], scale: f32) -> Vec<f32> {
    scores.iter().map(|score| score / scale).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

#[track_caller]
fn assert_equal(got: Value, expected: Option<f64>, what: &str) {
    match (got.defined(), expected) {
        (None, None) => {}
        (Some(a), Some(b)) => assert!((a - b).abs() <= TOLERANCE, "{what}: {a} against {b}"),
        _ => panic!("{what}: {got} against {expected:?}"),
    }
}

/// In the order of the fixture's `columns`.
fn values(class: &ClassReport) -> [(&'static str, Value); 9] {
    [
        ("precision", class.precision),
        ("recall", class.recall),
        ("f1", class.f1),
        ("specificity", class.specificity),
        ("accuracy", class.accuracy),
        ("balanced_accuracy", class.balanced_accuracy),
        ("mcc", class.mcc),
        ("auroc", class.auroc),
        ("ap", class.average_precision),
    ]
}

#[test]
fn columns_are_those_compared() {
    let columns: Vec<String> = cases("columns");
    let mut metric = SingleLabel::new(names(2)).unwrap();
    metric.update(&[1.0, 0.0], &[0]).unwrap();
    let report = metric.compute().unwrap();
    let ours: Vec<&str> = values(&report.classes[0]).iter().map(|(name, _)| *name).collect();
    assert_eq!(columns, ours);
}

#[test]
fn rankings() {
    let cases: Vec<RankingCase> = cases("ranking");
    assert!(cases.len() >= 150);
    for (index, case) in cases.iter().enumerate() {
        let scores = scaled(&case.scores, case.scale);
        let positive: Vec<bool> = case.positive.iter().map(|&y| y == 1).collect();
        assert_equal(auroc(&scores, &positive).unwrap(), case.auroc, &format!("auroc {index}"));
        let ap = average_precision(&scores, &positive).unwrap();
        assert_equal(ap, case.ap, &format!("ap {index}"));
    }
}

#[test]
fn single_label() {
    let cases: Vec<SingleCase> = cases("single");
    assert!(cases.len() >= 150);
    for (index, case) in cases.iter().enumerate() {
        let mut metric = SingleLabel::new(names(case.classes)).unwrap();
        metric.update(&scaled(&case.scores, case.scale), &case.targets).unwrap();
        let report = metric.compute().unwrap();
        assert_eq!(report.confusion.as_ref().unwrap().rows(), case.confusion, "case {index}");
        for (class, expected) in report.classes.iter().zip(&case.per_class) {
            for ((name, value), expected) in values(class).into_iter().zip(expected) {
                assert_equal(value, *expected, &format!("case {index}, {}, {name}", class.name));
            }
        }
    }
}

#[test]
fn single_label_means_with_zero_for_zero_division() {
    let cases: Vec<SingleCase> = cases("single");
    for (index, case) in cases.iter().enumerate() {
        let metric = SingleLabel::new(names(case.classes)).unwrap();
        let mut metric = metric.with_zero_division(ZeroDivision::Zero);
        metric.update(&scaled(&case.scores, case.scale), &case.targets).unwrap();
        let report = metric.compute().unwrap();
        for (name, expected) in [
            ("accuracy", case.accuracy),
            ("balanced_accuracy", case.balanced_accuracy),
            ("precision_macro", case.precision_macro),
            ("recall_macro", case.recall_macro),
            ("f1_macro", case.f1_macro),
            ("mcc", case.mcc),
        ] {
            let value = report.get(name).unwrap();
            assert_equal(value, Some(expected), &format!("case {index}, {name}"));
        }
    }
}

#[test]
fn multi_label_with_missing_targets() {
    let cases: Vec<MultiCase> = cases("multi");
    assert!(cases.len() >= 100);
    for (index, case) in cases.iter().enumerate() {
        let mut metric = MultiLabel::new(names(case.classes)).unwrap();
        metric.update(&scaled(&case.scores, case.scale), &case.targets).unwrap();
        let report = metric.compute().unwrap();
        for (class, expected) in report.classes.iter().zip(&case.per_class) {
            // A finding without any known target has no line in the fixture.
            let expected = expected.clone().unwrap_or_else(|| vec![None; 9]);
            for ((name, value), expected) in values(class).into_iter().zip(expected) {
                assert_equal(value, expected, &format!("case {index}, {}, {name}", class.name));
            }
        }
        let aurocs: Vec<f64> =
            case.per_class.iter().flatten().filter_map(|column| column[7]).collect();
        let mean = (!aurocs.is_empty()).then(|| aurocs.iter().sum::<f64>() / aurocs.len() as f64);
        assert_equal(report.auroc_macro.value, mean, &format!("case {index}, auroc_macro"));
    }
}
