//! Golden values, reasons for undefined values, refusals, serialised forms, the table.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use vit_metrics::{
    Batch, BinaryCounts, ConfusionMatrix, Metric, MetricsError, MultiLabel, Report, SingleLabel,
    Targets, Undefined, Value, ZeroDivision, auroc, average_precision, mcc,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Scores that make the prediction of each row.
fn one_hot(predictions: &[usize], classes: usize) -> Vec<f32> {
    let row = |&p: &usize| (0..classes).map(move |class| f32::from(u8::from(class == p)));
    predictions.iter().flat_map(row).collect()
}

/// The report of truth `y` and prediction `p`.
fn decided(y: &[usize], p: &[usize], classes: usize, zero: ZeroDivision) -> Report {
    let names = (0..classes).map(|class| class.to_string()).collect();
    let mut metric = SingleLabel::new(names).unwrap().with_zero_division(zero);
    metric.update(&one_hot(p, classes), y).unwrap();
    metric.compute().unwrap()
}

#[track_caller]
fn assert_close(value: Value, expected: f64) {
    let got = value.defined().unwrap();
    assert!((got - expected).abs() < 5e-9, "{got} against {expected}");
}

/// `spec/mae.md` 10.5.
#[test]
fn golden_single_label() {
    let y = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3];
    let p = [0, 0, 1, 1, 2, 2, 2, 2, 0, 2];
    // The fifth class occurs nowhere, so it must change nothing.
    for classes in [4, 5] {
        let report = decided(&y, &p, classes, ZeroDivision::Zero);
        assert_close(report.precision_macro.value, 0.441_666_67);
        assert_close(report.recall_macro.value, 0.479_166_67);
        assert_close(report.f1_macro.value, 0.458_333_33);
        assert_close(report.mcc.value, 0.409_844_30);
        assert_eq!(report.accuracy.value, Value::Defined(0.6));
    }
}

/// `spec/xray-lora.md` 12.
#[test]
fn golden_auroc() {
    let value = auroc(&[0.9, 0.9, 0.4, 0.3, 0.4], &[true, false, true, false, false]).unwrap();
    assert_eq!(value, Value::Defined(2.0 / 3.0));
}

#[test]
fn never_predicted_is_undefined_or_zero() {
    let y = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3];
    let p = [0, 0, 1, 1, 2, 2, 2, 2, 0, 2];
    let report = decided(&y, &p, 5, ZeroDivision::Undefined);
    assert_eq!(report.classes[3].precision, Value::Undefined(Undefined::NeverPredicted));
    assert_eq!(report.classes[4].precision, Value::Undefined(Undefined::ClassAbsent));
    assert_eq!(report.classes[4].f1, Value::Undefined(Undefined::ClassAbsent));
    let over = report.precision_macro.mean_over.unwrap();
    assert_eq!((over.defined, over.of), (3, 5));
    assert_eq!(over.left_out[0].class, "3");
    assert_eq!(over.left_out[0].reason, Undefined::NeverPredicted);

    let report = decided(&y, &p, 5, ZeroDivision::Zero);
    assert_eq!(report.classes[3].precision, Value::Defined(0.0));
    assert_eq!(report.classes[4].precision, Value::Undefined(Undefined::ClassAbsent));
}

#[test]
fn rankings_say_why_they_are_undefined() {
    let reason = |truth: &[bool]| {
        let scores = vec![0.5; truth.len()];
        let ap = average_precision(&scores, truth).unwrap();
        (auroc(&scores, truth).unwrap().reason(), ap.reason())
    };
    assert_eq!(reason(&[]), (Some(Undefined::NoSamples), Some(Undefined::NoSamples)));
    assert_eq!(reason(&[true, true]), (Some(Undefined::OnlyPositives), None));
    let only_negatives = Some(Undefined::OnlyNegatives);
    assert_eq!(reason(&[false]), (only_negatives, only_negatives));
    assert_eq!(average_precision(&[0.1, 0.2], &[true, true]).unwrap(), Value::Defined(1.0));
}

#[test]
fn signed_zeros_are_tied() {
    let value = auroc(&[0.0, -0.0], &[true, false]).unwrap();
    assert_eq!(value, Value::Defined(0.5));
}

#[test]
fn without_samples_everything_is_undefined() {
    let single = SingleLabel::new(names(&["a", "b"])).unwrap();
    let multi = MultiLabel::new(names(&["a", "b"])).unwrap();
    let single = single.with_zero_division(ZeroDivision::Zero);
    for report in [single.compute().unwrap(), multi.compute().unwrap()] {
        for name in Report::NAMES {
            assert_eq!(report.get(name).unwrap().reason(), Some(Undefined::NoSamples), "{name}");
        }
    }
    let empty = ConfusionMatrix::new(0);
    assert_eq!(mcc(&empty), Value::Undefined(Undefined::NoSamples));
    assert_eq!(empty.accuracy(), Value::Undefined(Undefined::NoSamples));
}

#[test]
fn a_constant_has_no_correlation() {
    let matrix = ConfusionMatrix::from_rows(vec![vec![3, 0], vec![2, 0]]).unwrap();
    assert_eq!(mcc(&matrix), Value::Undefined(Undefined::ZeroDenominator));
    let counts = BinaryCounts { true_positives: 3, ..BinaryCounts::default() };
    assert_eq!(counts.mcc(), Value::Undefined(Undefined::ZeroDenominator));
    assert_eq!(counts.specificity(), Value::Undefined(Undefined::OnlyPositives));
}

#[test]
fn counts_do_not_overflow() {
    let half = 1 << 51;
    let matrix = ConfusionMatrix::from_rows(vec![vec![half, 0], vec![0, half]]).unwrap();
    assert_eq!(mcc(&matrix), Value::Defined(1.0));
    let rows = vec![vec![1 << 53, 1], vec![0, 0]];
    assert_eq!(ConfusionMatrix::from_rows(rows), Err(MetricsError::TooManySamples));
    let mut matrix = ConfusionMatrix::from_rows(vec![vec![1 << 53]]).unwrap();
    assert_eq!(matrix.merge(&matrix.clone()), Err(MetricsError::TooManySamples));
    assert_eq!(matrix.total(), 1 << 53);
    let extreme = BinaryCounts {
        true_positives: u64::MAX,
        true_negatives: u64::MAX,
        ..BinaryCounts::default()
    };
    assert_close(extreme.mcc(), 1.0);
}

#[test]
fn ties_go_to_the_first_class() {
    let mut metric = SingleLabel::new(names(&["a", "b", "c"])).unwrap();
    metric.update(&[0.2, 0.4, 0.4, -1.0, -1.0, -1.0], &[1, 0]).unwrap();
    assert_eq!(metric.compute().unwrap().accuracy.value, Value::Defined(1.0));
}

#[test]
fn the_threshold_itself_is_negative() {
    let mut metric = MultiLabel::new(names(&["a"])).unwrap();
    metric.update(&[0.5, 0.500_001], &[Some(0.0), Some(1.0)]).unwrap();
    assert_eq!(metric.compute().unwrap().accuracy.value, Value::Defined(1.0));
    let mut metric = MultiLabel::new(names(&["a"])).unwrap().with_threshold(0.0).unwrap();
    metric.update(&[-3.0, 7.5], &[Some(0.0), Some(1.0)]).unwrap();
    assert_eq!(metric.compute().unwrap().f1_macro.value, Value::Defined(1.0));
}

#[test]
fn construction_refuses_bad_names_and_thresholds() {
    assert_eq!(SingleLabel::new(vec![]).unwrap_err(), MetricsError::NoClasses);
    let error = MultiLabel::new(names(&["x", "y", "x"])).unwrap_err();
    assert_eq!(error.to_string(), r#"the class name "x" occurs twice (positions 0 and 2)"#);
    let metric = MultiLabel::new(names(&["x"])).unwrap();
    assert!(matches!(metric.with_threshold(f32::NAN), Err(MetricsError::Threshold { .. })));
}

#[test]
fn single_label_refusals_name_the_row_and_change_nothing() {
    let mut metric = SingleLabel::new(names(&["a", "b"])).unwrap();
    metric.update(&[0.9, 0.1], &[0]).unwrap();
    let before = metric.clone();
    let mut refusal = |scores: &[f32], targets: &[usize]| {
        let text = metric.update(scores, targets).unwrap_err().to_string();
        assert_eq!(metric, before);
        text
    };
    assert_eq!(
        refusal(&[0.0, 0.0, 0.0, f32::NAN], &[0, 1]),
        r#"row 1: the score NaN of class "b" is not finite"#
    );
    assert_eq!(
        refusal(&[0.0, 0.0, 0.0, 0.0], &[0, 2]),
        "row 1: the target 2 is not one of the 2 classes 0..2"
    );
    assert!(refusal(&[0.0, 0.0, 0.0], &[0, 1]).starts_with("3 scores for 2 rows of 2 classes"));
}

#[test]
fn multi_label_refusals_name_the_row_and_change_nothing() {
    let mut metric = MultiLabel::new(names(&["a", "b"])).unwrap();
    metric.update(&[0.9, 0.1], &[Some(1.0), None]).unwrap();
    let before = metric.clone();
    let mut refusal = |scores: &[f32], targets: &[Option<f32>]| {
        let error = metric.update(scores, targets).unwrap_err();
        assert_eq!(metric, before);
        error
    };
    let known = Some(0.0);
    let soft = refusal(&[0.0; 4], &[known, known, known, Some(0.7)]);
    assert_eq!(soft, MetricsError::SoftTarget { row: 1, class: "b".into(), value: 0.7 });
    let nan = refusal(&[0.0; 2], &[known, Some(f32::NAN)]);
    assert!(matches!(nan, MetricsError::SoftTarget { row: 0, .. }));
    let logit = refusal(&[0.0, 0.0, 1.5, 0.0], &[known; 4]);
    assert!(matches!(logit, MetricsError::NotAProbability { row: 1, .. }));
    let odd = refusal(&[0.0; 3], &[known; 3]);
    assert_eq!(odd, MetricsError::TargetCount { classes: 2, got: 3 });
    // An unknown target does not excuse a broken score.
    let infinite = refusal(&[0.0, f32::INFINITY], &[known, None]);
    assert!(matches!(infinite, MetricsError::NonFiniteScore { row: 0, .. }));
}

#[test]
fn free_functions_refuse_bad_slices() {
    let error = auroc(&[0.1], &[]).unwrap_err();
    assert_eq!(error, MetricsError::LengthMismatch { scores: 1, targets: 0 });
    let error = average_precision(&[0.1, f32::INFINITY], &[true, false]).unwrap_err();
    assert!(matches!(error, MetricsError::NonFiniteScore { row: 1, .. }));
    let mut matrix = ConfusionMatrix::new(2);
    let error = matrix.record(0, 5).unwrap_err();
    assert_eq!(error, MetricsError::TargetOutOfRange { row: 0, target: 5, classes: 2 });
    let error = ConfusionMatrix::from_rows(vec![vec![1, 2], vec![3]]).unwrap_err();
    assert_eq!(error, MetricsError::MatrixShape { classes: 2, got: 3 });
}

#[test]
fn metrics_behind_the_trait_refuse_the_other_kind_of_targets() {
    let mut metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(SingleLabel::new(names(&["a", "b"])).unwrap()),
        Box::new(MultiLabel::new(names(&["a", "b"])).unwrap()),
    ];
    let scores = &[0.25, 0.75];
    let classes = Batch { scores, targets: Targets::Classes(&[1]) };
    let findings = Batch { scores, targets: Targets::Findings(&[Some(0.0), Some(1.0)]) };
    let wrong = |result| matches!(result, Err(MetricsError::WrongTargets { .. }));
    assert!(metrics[0].update(&classes).is_ok() && wrong(metrics[0].update(&findings)));
    assert!(metrics[1].update(&findings).is_ok() && wrong(metrics[1].update(&classes)));
    for metric in metrics {
        assert_eq!(metric.compute().unwrap().accuracy.value, Value::Defined(1.0));
    }
}

#[test]
fn differently_configured_metrics_do_not_merge() {
    let mut single = SingleLabel::new(names(&["a", "b"])).unwrap();
    let other = SingleLabel::new(names(&["b", "a"])).unwrap();
    assert_eq!(single.merge(&other), Err(MetricsError::Mismatch { what: "classes" }));
    let other = single.clone().with_zero_division(ZeroDivision::Zero);
    assert!(single.merge(&other).is_err());
    let mut multi = MultiLabel::new(names(&["a"])).unwrap();
    let other = multi.clone().with_threshold(0.3).unwrap();
    assert_eq!(multi.merge(&other), Err(MetricsError::Mismatch { what: "decision threshold" }));
}

#[test]
fn values_serialise_as_number_or_reason() {
    let json =
        serde_json::to_string(&[Value::Defined(0.5), Value::Undefined(Undefined::OnlyNegatives)]);
    assert_eq!(json.unwrap(), r#"[0.5,{"undefined":"only_negatives"}]"#);
    let report = decided(&[0, 1, 1], &[0, 1, 0], 3, ZeroDivision::Undefined);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["accuracy"]["value"], 2.0 / 3.0);
    assert_eq!(json["auroc_macro"]["mean_over"]["left_out"][0]["reason"], "only_negatives");
    assert_eq!(json["confusion"][1], serde_json::json!([1, 1, 0]));
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn state_survives_serialisation_and_is_checked() {
    let mut single = SingleLabel::new(names(&["a", "b"])).unwrap();
    single.update(&[0.25, 0.75, 0.5, 0.5], &[1, 1]).unwrap();
    let mut json = serde_json::to_value(&single).unwrap();
    assert_eq!(serde_json::from_value::<SingleLabel>(json.clone()).unwrap(), single);
    json["targets"][1] = 9.into();
    assert!(serde_json::from_value::<SingleLabel>(json).is_err());

    let mut multi = MultiLabel::new(names(&["a", "b"])).unwrap();
    multi.update(&[0.25, 0.75], &[Some(1.0), None]).unwrap();
    let json = serde_json::to_value(&multi).unwrap();
    assert_eq!(serde_json::from_value::<MultiLabel>(json.clone()).unwrap(), multi);
    for (field, broken) in [
        ("rows", serde_json::json!(0)),
        ("columns", serde_json::json!([])),
        (
            "columns",
            serde_json::json!([{"scores": [0.1], "positive": []}, {"scores": [], "positive": []}]),
        ),
        (
            "columns",
            serde_json::json!([{"scores": [2.0], "positive": [true]}, {"scores": [], "positive": []}]),
        ),
    ] {
        let mut json = json.clone();
        json[field] = broken;
        assert!(serde_json::from_value::<MultiLabel>(json).is_err(), "{field}");
    }
}

#[test]
fn names_and_headline() {
    let report = decided(&[0, 1], &[0, 1], 2, ZeroDivision::Undefined);
    assert!(Report::NAMES.iter().all(|name| report.get(name).is_some()));
    assert_eq!(report.get("loss"), None);
    let names: Vec<&str> = report.headline().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, Report::HEADLINE);
}

#[test]
fn table() {
    let y = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3];
    let p = [0, 0, 1, 1, 2, 2, 2, 2, 0, 2];
    let text = decided(&y, &p, 5, ZeroDivision::Undefined).to_string();
    let expected = "\
samples: 10
accuracy           0.6000
balanced_accuracy  0.4792 (mean over 4 of 5 classes)
precision_macro    0.5889 (mean over 3 of 5 classes)
recall_macro       0.4792 (mean over 4 of 5 classes)
f1_macro           0.4583 (mean over 4 of 5 classes)
mcc                0.4098
auroc_macro        0.6644 (mean over 4 of 5 classes)
ap_macro           0.3861 (mean over 4 of 5 classes)

class  support  precision  recall      f1  specificity   auroc      ap
0            3     0.6667  0.6667  0.6667       0.8571  0.7619  0.5444
1            2     0.5000  0.5000  0.5000       0.8750  0.6875  0.3500
2            4     0.6000  0.7500  0.6667       0.6667  0.7083  0.5500
3            1          -  0.0000  0.0000       1.0000  0.5000  0.1000
4            0          -       -       -       1.0000       -       -
- 3: undefined: precision (class never predicted)
- 4: undefined: precision, recall, f1 (class in neither targets nor predictions); auroc, ap (all samples are negative)

confusion (rows: truth, columns: prediction)
      0  1  2  3  4
0  0  2  1  0  0  0
1  1  0  1  1  0  0
2  2  1  0  3  0  0
3  3  0  0  1  0  0
4  4  0  0  0  0  0
";
    assert_eq!(text, expected);
    let mut multi = MultiLabel::new(names(&["Ödem", "none"])).unwrap();
    multi.update(&[0.75, 0.5], &[Some(1.0), None]).unwrap();
    let text = multi.compute().unwrap().to_string();
    assert!(text.contains("Ödem         1      1     1.0000"), "{text}");
    assert!(
        text.contains(
            "auroc_macro        undefined (undefined for every class) (mean over 0 of 2 classes)"
        ),
        "{text}"
    );
}
