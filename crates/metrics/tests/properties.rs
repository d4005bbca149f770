//! Properties that hold for every input.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use vit_metrics::{Metric, MultiLabel, SingleLabel, Undefined, Value, ZeroDivision, auroc};

/// Scores with many ties, each with its truth.
fn ranked() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    prop::collection::vec((-3_i8..=3, any::<bool>()), 0..60)
        .prop_map(|pairs| pairs.into_iter().map(|(s, y)| (f32::from(s) / 3.0, y)).unzip())
}

/// Rows of `(scores, target)` over three classes.
fn rows() -> impl Strategy<Value = Vec<([f32; 3], usize)>> {
    let score = (0_u8..=8).prop_map(|s| f32::from(s) / 8.0);
    prop::collection::vec(([score.clone(), score.clone(), score], 0_usize..3), 0..40)
}

fn classes() -> Vec<String> {
    ["a", "b", "c"].map(String::from).to_vec()
}

/// AUROC by its definition: every pair compared.
fn auroc_by_pairs(scores: &[f32], truth: &[bool]) -> Value {
    let of = |wanted: bool| -> Vec<f32> {
        scores.iter().zip(truth).filter(|(_, y)| **y == wanted).map(|(s, _)| *s).collect()
    };
    let (positives, negatives) = (of(true), of(false));
    match (positives.is_empty(), negatives.is_empty()) {
        (true, true) => return Value::Undefined(Undefined::NoSamples),
        (true, false) => return Value::Undefined(Undefined::OnlyNegatives),
        (false, true) => return Value::Undefined(Undefined::OnlyPositives),
        (false, false) => {}
    }
    let mut wins = 0.0;
    for p in &positives {
        for n in &negatives {
            wins += if p > n { 1.0 } else { f64::from(u8::from(p == n)) / 2.0 };
        }
    }
    Value::Defined(wins / (positives.len() * negatives.len()) as f64)
}

/// A metric that has seen the rows.
fn single(rows: &[([f32; 3], usize)], zero: ZeroDivision) -> SingleLabel {
    let mut metric = SingleLabel::new(classes()).unwrap().with_zero_division(zero);
    let scores: Vec<f32> = rows.iter().flat_map(|(scores, _)| *scores).collect();
    let targets: Vec<usize> = rows.iter().map(|(_, target)| *target).collect();
    metric.update(&scores, &targets).unwrap();
    metric
}

/// A multi-label metric over the same rows; class 2 has unknown targets.
fn multi(rows: &[([f32; 3], usize)]) -> MultiLabel {
    let mut metric = MultiLabel::new(classes()).unwrap();
    for (scores, target) in rows {
        let first = f32::from(u8::from(*target == 0));
        let targets = [Some(first), Some(1.0 - first), (*target != 2).then_some(first)];
        metric.update(scores, &targets).unwrap();
    }
    metric
}

proptest! {
    #[test]
    fn auroc_is_the_share_of_ordered_pairs((scores, truth) in ranked()) {
        prop_assert_eq!(auroc(&scores, &truth).unwrap(), auroc_by_pairs(&scores, &truth));
    }

    #[test]
    fn auroc_of_reversed_scores_is_the_complement((scores, truth) in ranked()) {
        let reversed: Vec<f32> = scores.iter().map(|s| -s).collect();
        let sum = auroc(&scores, &truth).unwrap().into_result()
            .and_then(|a| Ok(a + auroc(&reversed, &truth).unwrap().into_result()?));
        if let Ok(sum) = sum {
            prop_assert!((sum - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn merging_parts_equals_one_pass(rows in rows(), cuts in [0_usize..40, 0_usize..40]) {
        let (a, b) = (cuts[0].min(cuts[1]).min(rows.len()), cuts[0].max(cuts[1]).min(rows.len()));
        let parts = [&rows[..a], &rows[a..b], &rows[b..]];

        let whole = single(&rows, ZeroDivision::Undefined);
        let mut merged = single(&[], ZeroDivision::Undefined);
        for part in parts {
            merged.merge(&single(part, ZeroDivision::Undefined)).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        // Through text, so that not even the sign of a zero may differ.
        let text = |metric: &dyn Metric| serde_json::to_string(&metric.compute().unwrap()).unwrap();
        prop_assert_eq!(text(&merged), text(&whole));

        let whole = multi(&rows);
        let mut merged = multi(&[]);
        for part in parts {
            merged.merge(&multi(part)).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(text(&merged), text(&whole));
    }

    /// The check that the published 87.37 of `spec/mae.md` 10.5 fails.
    #[test]
    fn f1_is_bounded_by_precision_and_recall(rows in rows()) {
        let report = single(&rows, ZeroDivision::Zero).compute().unwrap();
        let value = |name: &str| report.get(name).and_then(Value::defined);
        if let (Some(p), Some(r), Some(f1)) =
            (value("precision_macro"), value("recall_macro"), value("f1_macro"))
        {
            prop_assert!(f1 <= f64::midpoint(p, r) + 1e-15);
        }
    }

    #[test]
    fn every_value_is_in_its_range(rows in rows()) {
        for report in [
            single(&rows, ZeroDivision::Undefined).compute().unwrap(),
            single(&rows, ZeroDivision::Zero).compute().unwrap(),
            multi(&rows).compute().unwrap(),
        ] {
            for name in vit_metrics::Report::NAMES {
                if let Some(value) = report.get(name).and_then(Value::defined) {
                    let least = if name == "mcc" { -1.0 } else { 0.0 };
                    prop_assert!((least..=1.0).contains(&value), "{} {}", name, value);
                }
            }
            prop_assert!(!report.to_string().is_empty());
        }
    }
}
