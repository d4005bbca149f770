//! Variances, tests and intervals against independent code (`fixtures/gen/uncertainty.py`), and
//! what resampling promises.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cases/lcg.rs"]
#[allow(dead_code)]
mod lcg;

use lcg::Lcg;
use vit_metrics::*;

fn fixture(kind: &str) -> Vec<Vec<f64>> {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/uncertainty.json")).unwrap();
    let cases: Vec<Vec<f64>> = serde_json::from_value(json[kind].clone()).unwrap();
    assert!(cases.len() >= 20);
    cases
}

#[track_caller]
fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let scale = expected.abs().max(1.0);
    assert!((got - expected).abs() <= tolerance * scale, "{what}: {got} against {expected}");
}

#[test]
fn delong_is_that_of_the_definition() {
    for (case, expected) in fixture("delong").iter().enumerate() {
        let mut g = Lcg::new(6, case);
        let (n, levels) = (g.pick(&[6, 20, 60]), g.pick(&[4, 50, 4096]));
        let (mut y, mut a, mut b, mut groups) = (vec![], vec![], vec![], vec![]);
        for row in 0..n {
            let positive = match row {
                0 | 1 => true,
                2 | 3 => false,
                _ => g.below(2) == 1,
            };
            y.push(positive);
            a.push((g.below(levels + 1) + usize::from(positive) * (levels / 3)) as f32 / 4096.0);
            b.push((g.below(levels + 1) + usize::from(positive) * (levels / 8)) as f32 / 4096.0);
            groups.push(if row < 4 { row as u64 } else { g.below(n / 2) as u64 });
        }
        for (groups, expected) in
            [None, Some(groups.as_slice())].into_iter().zip(expected.chunks(7))
        {
            let test = delong_test(&a, &b, &y, groups).unwrap();
            let Ok(test) = test else {
                // Both models rank alike but score differently, or too few clusters.
                assert!(!expected[5].is_finite(), "case {case}: {test:?} against {expected:?}");
                continue;
            };
            let got = [
                test.first.auroc,
                test.second.auroc,
                test.first.variance,
                test.second.variance,
                test.covariance,
            ];
            for (got, expected) in got.into_iter().zip(expected) {
                close(got, *expected, 1e-12, &format!("case {case}"));
            }
            close(test.z, expected[5], 1e-9, &format!("case {case}, z"));
            close(test.p_value, expected[6], 1e-9, &format!("case {case}, p"));
            let alone = delong(&a, &y, groups).unwrap().unwrap();
            assert_eq!(alone, test.first);
            assert_eq!(Value::Defined(alone.auroc), auroc(&a, &y).unwrap());
        }
    }
}

#[test]
fn mcnemar_is_that_of_statsmodels() {
    for (case, expected) in fixture("mcnemar").iter().enumerate() {
        let mut g = Lcg::new(7, case);
        let n = g.pick(&[5, 30, 200]);
        let a: Vec<bool> = (0..n).map(|_| g.below(10) < 8).collect();
        let b: Vec<bool> = (0..n).map(|_| g.below(10) < 7).collect();
        let test = mcnemar(&a, &b).unwrap();
        let got = [test.exact_p, test.mid_p, test.chi_square, test.chi_square_p];
        for (got, expected) in got.into_iter().zip(expected) {
            close(got, *expected, 1e-10, &format!("case {case}: {test:?}"));
        }
    }
}

#[test]
fn proportions_are_those_of_statsmodels() {
    for (case, expected) in fixture("proportion").iter().enumerate() {
        let mut g = Lcg::new(8, case);
        let n = g.pick(&[1, 5, 30, 1000]);
        let k = g.below(n + 1) as u64;
        let level = 1.0 - g.pick(&[0.05, 0.1]);
        let (w, c) =
            (wilson(k, n as u64, level).unwrap(), clopper_pearson(k, n as u64, level).unwrap());
        for (got, expected) in [w.low, w.high, c.low, c.high].into_iter().zip(expected) {
            close(got, *expected, 1e-10, &format!("case {case}: {k} of {n}"));
        }
    }
}

#[test]
fn holm_is_that_of_statsmodels() {
    for (case, expected) in fixture("holm").iter().enumerate() {
        let mut g = Lcg::new(9, case);
        let count = g.pick(&[1, 3, 8]);
        let p: Vec<f64> = (0..count).map(|_| g.below(1000) as f64 / 10000.0).collect();
        for (got, expected) in holm(&p).unwrap().into_iter().zip(expected) {
            close(got, *expected, 1e-12, &format!("case {case}"));
        }
    }
}

#[test]
fn intervals_are_those_of_scipy() {
    for (case, expected) in fixture("interval").iter().enumerate() {
        let mut g = Lcg::new(10, case);
        let n = g.pick(&[5, 20, 60]);
        let data: Vec<f64> = (0..n).map(|_| (g.below(1000) as f64).powi(2) / 1e6).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let draws: Vec<f64> =
            (0..200).map(|_| mean(&(0..n).map(|_| data[g.below(n)]).collect::<Vec<_>>())).collect();
        let jackknife: Vec<f64> = (0..n)
            .map(|out| {
                let kept = data.iter().enumerate().filter(|(row, _)| *row != out);
                mean(&kept.map(|(_, value)| *value).collect::<Vec<_>>())
            })
            .collect();
        let percentile = percentile_interval(&draws, 0.95).unwrap().unwrap();
        let bca = bca_interval(mean(&data), &draws, &jackknife, 0.95).unwrap().unwrap();
        let got = [percentile.low, percentile.high, bca.low, bca.high];
        for (got, expected) in got.into_iter().zip(expected) {
            close(got, *expected, 1e-9, &format!("case {case}"));
        }
    }
}

#[test]
fn seeds_are_those_of_scipy() {
    for (case, expected) in fixture("seeds").iter().enumerate() {
        let mut g = Lcg::new(11, case);
        let count = g.pick(&[2, 3, 5]);
        let values: Vec<f64> = (0..count).map(|_| g.below(1000) as f64 / 1000.0).collect();
        let summary = summarise_seeds(&values, 0.95).unwrap();
        let interval = summary.interval.unwrap();
        let defined = |value: Value| value.defined().unwrap();
        let got = [
            defined(summary.mean),
            defined(summary.standard_deviation),
            interval.low,
            interval.high,
        ];
        for (got, expected) in got.into_iter().zip(expected) {
            close(got, *expected, 1e-9, &format!("case {case}"));
        }
    }
    let one = summarise_seeds(&[0.5], 0.95).unwrap();
    assert_eq!(one.standard_deviation, Value::Undefined(Undefined::TooFewSamples));
    assert_eq!(one.interval, None);
}

/// Predictions on `patients` with several pictures each; 3 classes.
fn clustered(patients: usize, seed: usize) -> Predictions {
    let mut g = Lcg::new(12, seed);
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let mut predictions = Predictions::new(Task::SingleLabel, classes, Part::Test).unwrap();
    for patient in 0..patients {
        for picture in 0..1 + g.below(4) {
            let class = g.below(3);
            let mut row = [0, 1, 2].map(|_| 1 + g.below(50));
            row[class] += 15;
            let sum: usize = row.iter().sum();
            let row = row.map(|x| x as f32 / sum as f32);
            let (id, group) = (format!("{patient}-{picture}"), patient.to_string());
            predictions.push(&id, Some(&group), &row, RowTarget::Class(Some(class))).unwrap();
        }
    }
    predictions
}

const MEASURES: [Measure; 5] =
    [Measure::Accuracy, Measure::F1_MACRO, Measure::AUROC_MACRO, Measure::AP_MACRO, Measure::Brier];

#[test]
fn the_number_of_threads_changes_nothing() {
    let evaluator = Evaluator::new(&clustered(40, 1)).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
            let estimates = bootstrap.estimate(&evaluator, &MEASURES).unwrap();
            let band = bootstrap.band(&evaluator, Curve::Roc, None, 50).unwrap();
            serde_json::to_string(&(estimates, band)).unwrap()
        })
    };
    assert_eq!(on(1), on(2));
    assert_eq!(on(1), on(5));
}

#[test]
fn another_seed_gives_other_draws_and_the_same_value() {
    let evaluator = Evaluator::new(&clustered(40, 1)).unwrap();
    let with = |seed| {
        let bootstrap = Bootstrap { seed, resamples: 100, ..Bootstrap::default() };
        bootstrap.estimate(&evaluator, &MEASURES).unwrap()
    };
    let (a, b) = (with(1), with(2));
    assert_eq!(with(1), a);
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.value, b.value);
        assert_ne!(a.low, b.low);
        let [low, value, high] = [a.low, a.value, a.high].map(|v| v.defined().unwrap());
        assert!(low < value && value < high, "{a:?}");
    }
}

/// The weights of a resample mean the same as really repeating the rows.
#[test]
fn weights_are_repetitions() {
    let predictions = clustered(20, 2);
    let mut g = Lcg::new(13, 0);
    let evaluator = Evaluator::new(&predictions).unwrap();
    let names = [
        "accuracy",
        "f1_macro",
        "auroc_macro",
        "auroc_micro",
        "auroc_ovo_macro",
        "ap_weighted",
        "brier",
        "log_loss",
        "ece",
        "ace",
        "kappa_quadratic",
        "top_2_accuracy",
        "sensitivity_at_0.9_macro",
    ];
    let measures: Vec<Measure> =
        names.iter().map(|name| Measure::parse(name, predictions.classes()).unwrap()).collect();
    for _ in 0..20 {
        let weights: Vec<u32> = (0..predictions.len()).map(|_| g.below(4) as u32).collect();
        let rows: Vec<usize> = weights
            .iter()
            .enumerate()
            .flat_map(|(row, times)| std::iter::repeat_n(row, *times as usize))
            .collect();
        let repeated = Evaluator::new(&predictions.select(&rows)).unwrap();
        let (by_weights, by_rows) = (
            evaluator.values_of(&measures, &weights).unwrap(),
            repeated.values(&measures).unwrap(),
        );
        for ((name, a), b) in names.iter().zip(by_weights).zip(by_rows) {
            close(a.defined().unwrap(), b.defined().unwrap(), 1e-12, name);
        }
    }
}

#[test]
fn merged_predictions_give_the_bits_of_one_pass() {
    let whole = clustered(60, 3);
    let rows: Vec<usize> = (0..whole.len()).collect();
    let mut merged = whole.select(&rows[..17]);
    for part in [&rows[17..18], &rows[18..18], &rows[18..]] {
        merged.merge(&whole.select(part)).unwrap();
    }
    assert_eq!(merged, whole);
    let of = |predictions: &Predictions| {
        let evaluator = Evaluator::new(predictions).unwrap();
        let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
        serde_json::to_string(&bootstrap.estimate(&evaluator, &MEASURES).unwrap()).unwrap()
    };
    assert_eq!(of(&merged), of(&whole));
}

#[test]
fn stratified_resamples_keep_every_class() {
    let scores = [0.9_f32, 0.1, 0.2, 0.8, 0.3, 0.7, 0.6, 0.4, 0.1, 0.9, 0.55, 0.45];
    let classes = ["a", "b"].map(String::from).to_vec();
    let predictions =
        Predictions::single_label(classes, Part::Test, &scores, &[0, 0, 1, 1, 1, 1]).unwrap();
    let evaluator = Evaluator::new(&predictions).unwrap();
    let with = |resampling| {
        let bootstrap = Bootstrap { resampling, resamples: 400, ..Bootstrap::default() };
        bootstrap.estimate(&evaluator, &[Measure::AUROC_MACRO]).unwrap().remove(0)
    };
    assert!(with(Resampling::Rows).undefined_resamples > 10);
    assert_eq!(with(Resampling::Stratified).undefined_resamples, 0);
}

#[test]
fn a_rare_class_is_counted_as_partial_and_no_samples_have_no_interval() {
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let scores: Vec<f32> = (0..30)
        .flat_map(|row| {
            let x = (row as f32 * 0.37).fract() * 0.5;
            [0.5, x, 0.5 - x]
        })
        .collect();
    let targets: Vec<usize> = (0..30).map(|row| if row == 0 { 2 } else { row % 2 }).collect();
    let predictions = Predictions::single_label(classes.clone(), Part::Test, &scores, &targets);
    let evaluator = Evaluator::new(&predictions.unwrap()).unwrap();
    let bootstrap = Bootstrap { resamples: 300, ..Bootstrap::default() };
    let recall = Measure::parse("recall_macro", &classes).unwrap();
    let rare = Measure::parse("recall[c]", &classes).unwrap();
    let estimates = bootstrap.estimate(&evaluator, &[recall, rare]).unwrap();
    // 1/e of the resamples miss the one sample of c.
    assert!((60..160).contains(&estimates[0].partial_resamples), "{estimates:?}");
    assert_eq!(estimates[1].undefined_resamples, estimates[0].partial_resamples);
    assert_eq!(estimates[1].low, Value::Undefined(Undefined::TooFewResamples));

    let empty = Predictions::new(Task::SingleLabel, classes, Part::Test).unwrap();
    let estimates = bootstrap.estimate(&Evaluator::new(&empty).unwrap(), &MEASURES).unwrap();
    assert!(estimates.iter().all(|e| e.low == Value::Undefined(Undefined::NoSamples)));
}

#[test]
fn comparison_finds_a_difference_and_none() {
    let good = clustered(80, 4);
    // The same predictions in another order.
    let order: Vec<usize> = (0..good.len()).rev().collect();
    let bootstrap = Bootstrap { resamples: 300, ..Bootstrap::default() };
    let conventions = Conventions::default();
    let same = bootstrap.compare(&good, &good.select(&order), &conventions, &MEASURES).unwrap();
    for comparison in &same {
        assert_eq!(comparison.difference, Value::Defined(0.0));
        assert_eq!(comparison.p_value, Value::Defined(1.0), "{comparison:?}");
    }
    let flat = good.clone().with_scores(vec![1.0 / 3.0; good.scores().len()]).unwrap();
    for comparison in bootstrap.compare(&good, &flat, &conventions, &MEASURES[..3]).unwrap() {
        let p = comparison.p_value.defined().unwrap();
        assert!(p < 0.02, "{comparison:?}");
        assert!(comparison.low.defined().unwrap() > 0.0);
    }
    // What only one of the two knows of its samples does not matter.
    let sites = vec!["x".to_string(); good.len()];
    let told = good.clone().with_column("site", sites).unwrap();
    let found = bootstrap.compare(&told, &flat, &conventions, &MEASURES[..3]).unwrap();
    assert_eq!(found, bootstrap.compare(&good, &flat, &conventions, &MEASURES[..3]).unwrap());
    let other = good.select(&order[1..]);
    assert!(bootstrap.compare(&good, &other, &conventions, &MEASURES).is_err());
}

/// 61 right of 61: a bootstrap interval of width 0 would claim certainty.
#[test]
fn a_constant_has_no_bootstrap_interval() {
    let scores: Vec<f32> =
        (0..40).flat_map(|row| if row % 2 == 0 { [0.9, 0.1] } else { [0.2, 0.8] }).collect();
    let targets: Vec<usize> = (0..40).map(|row| row % 2).collect();
    let classes = ["a", "b"].map(String::from).to_vec();
    let predictions = Predictions::single_label(classes, Part::Test, &scores, &targets).unwrap();
    let evaluator = Evaluator::new(&predictions).unwrap();
    for method in [IntervalMethod::Bca, IntervalMethod::Percentile] {
        let bootstrap = Bootstrap { method, resamples: 50, ..Bootstrap::default() };
        let estimate = bootstrap.estimate(&evaluator, &[Measure::Accuracy]).unwrap().remove(0);
        assert_eq!(estimate.value, Value::Defined(1.0));
        assert_eq!(estimate.low, Value::Undefined(Undefined::NoSpread));
    }
    assert!(clopper_pearson(40, 40, 0.95).unwrap().low < 0.92);
}

#[test]
fn bad_settings_are_refused() {
    let evaluator = Evaluator::new(&clustered(5, 5)).unwrap();
    let refused =
        |bootstrap: Bootstrap| bootstrap.estimate(&evaluator, &MEASURES).unwrap_err().to_string();
    let text = refused(Bootstrap { level: 95.0, ..Bootstrap::default() });
    assert_eq!(text, "the level of an interval is 95; it must be between 0 and 1");
    assert!(refused(Bootstrap { resamples: 1, ..Bootstrap::default() }).contains("resamples"));
    let bootstrap = Bootstrap::default();
    let error = bootstrap.estimate(&evaluator, &[Measure::HammingLoss]).unwrap_err();
    assert_eq!(error.to_string(), "hamming_loss does not exist for single-label predictions");
    assert!(wilson(3, 2, 0.95).is_err() && wilson(0, 0, 0.95).is_err());
    assert!(holm(&[0.2, 1.2]).is_err() && holm(&[f64::NAN]).is_err());
    assert!(delong(&[0.1], &[true, false], None).is_err());
    assert!(delong(&[f32::NAN, 0.1], &[true, false], None).is_err());
    assert_eq!(delong(&[0.2, 0.1], &[true, false], None).unwrap(), Err(Undefined::TooFewSamples));
}
