//! What is chosen on validation data (thresholds, calibration), conventions, subgroups, files.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cases/lcg.rs"]
#[allow(dead_code)]
mod lcg;

use lcg::Lcg;
use vit_metrics::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn findings(part: Part, scores: &[f32], truth: &[bool]) -> Predictions {
    let targets: Vec<Option<f32>> = truth.iter().map(|y| Some(f32::from(u8::from(*y)))).collect();
    Predictions::multi_label(names(&["finding"]), part, scores, &targets).unwrap()
}

/// `fixtures/gen/maps.py`.
#[test]
fn maps_of_findings_are_those_of_scipy_and_scikit_learn() {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/maps.json")).unwrap();
    let cases: Vec<[Vec<f64>; 3]> = serde_json::from_value(json["binary"].clone()).unwrap();
    let at = [1.0_f32, 300.0, 1000.0, 2048.0, 3000.0, 4000.0].map(|x| x / 4096.0);
    for (case, expected) in cases.iter().enumerate() {
        let mut g = Lcg::new(14, case);
        let n = g.pick(&[20, 100, 400]);
        let scores: Vec<f32> = (0..n).map(|_| (1 + g.below(4094)) as f32 / 4096.0).collect();
        let truth: Vec<bool> = scores
            .iter()
            .map(|p| g.below(4096) as f64 / 4096.0 < 0.25 + 0.5 * f64::from(*p))
            .collect();
        let validation = findings(Part::Validation, &scores, &truth);
        let methods =
            [CalibrationMethod::Temperature, CalibrationMethod::Platt, CalibrationMethod::Isotonic];
        for (method, expected) in methods.into_iter().zip(expected) {
            let calibration = Calibration::fit(&validation, method).unwrap();
            let mut mapped = at;
            calibration.apply(&mut mapped).unwrap();
            for (got, expected) in mapped.iter().zip(expected) {
                let difference = (f64::from(*got) - expected).abs();
                assert!(difference < 2e-7, "case {case}, {method:?}: {got} against {expected}");
            }
            // Stored with the model, read back, the same.
            let text = serde_json::to_string(&calibration).unwrap();
            assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        }
        let one = Calibration::fit(&validation, CalibrationMethod::Temperature).unwrap();
        let per = Calibration::fit(&validation, CalibrationMethod::TemperaturePerClass).unwrap();
        let (mut a, mut b) = (at, at);
        one.apply(&mut a).unwrap();
        per.apply(&mut b).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn temperature_of_classes_is_that_of_scipy() {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/maps.json")).unwrap();
    let cases: Vec<Vec<f64>> = serde_json::from_value(json["classes"].clone()).unwrap();
    for (case, expected) in cases.iter().enumerate() {
        let mut g = Lcg::new(15, case);
        let (n, k) = (150, g.pick(&[2, 3, 5]));
        let (mut scores, mut targets) = (vec![], vec![]);
        for _ in 0..n {
            let row: Vec<usize> = (0..k).map(|_| 1 + g.below(1000)).collect();
            let total: usize = row.iter().sum();
            let mut row: Vec<usize> = row.iter().map(|x| x * 4096 / total).collect();
            row[0] += 4096 - row.iter().sum::<usize>();
            let most = row.iter().max().unwrap();
            let best = row.iter().position(|x| x == most).unwrap();
            scores.extend(row.iter().map(|x| *x.max(&1) as f32 / 4096.0));
            targets.push(if g.below(3) > 0 { best } else { g.below(k) });
        }
        let classes = (0..k).map(|class| class.to_string()).collect();
        let validation =
            Predictions::single_label(classes, Part::Validation, &scores, &targets).unwrap();
        let calibration = Calibration::fit(&validation, CalibrationMethod::Temperature).unwrap();
        let temperature = calibration.temperature().unwrap();
        assert!((temperature / expected[0] - 1.0).abs() < 1e-6, "{temperature} {}", expected[0]);
        let calibrated = calibration.calibrated(&validation).unwrap();
        for (got, expected) in calibrated.row(0).iter().zip(&expected[1..]) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "case {case}");
        }
        let of =
            |p: &Predictions, m| Evaluator::new(p).unwrap().value(m).unwrap().defined().unwrap();
        // One temperature never changes which class wins, and fits the data better.
        assert_eq!(of(&calibrated, Measure::Accuracy), of(&validation, Measure::Accuracy));
        assert!(of(&calibrated, Measure::LogLoss) <= of(&validation, Measure::LogLoss) + 1e-9);
        for method in [CalibrationMethod::Platt, CalibrationMethod::Isotonic] {
            let calibrated = Calibration::fit(&validation, method).unwrap().calibrated(&validation);
            let calibrated = calibrated.unwrap();
            assert!((0..n).all(|row| (calibrated.row(row).iter().sum::<f32>() - 1.0).abs() < 1e-5));
            assert_ne!(calibrated, validation);
        }
    }
}

#[test]
fn nothing_is_fitted_on_the_test_part() {
    let test = findings(Part::Test, &[0.1, 0.9, 0.4], &[false, true, true]);
    let error = Calibration::fit(&test, CalibrationMethod::Platt).unwrap_err();
    assert_eq!(error, MetricsError::FittedOnTest { what: "a calibration" });
    let error = OperatingPoint::per_class(&test, ThresholdRule::Youden, 0.5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "thresholds must not be fitted on the test part; pass predictions on the validation part"
    );
}

#[test]
fn calibration_keeps_what_it_cannot_fit_and_refuses_the_rest() {
    let one_sided = findings(Part::Validation, &[0.1, 0.9], &[false, false]);
    for method in [CalibrationMethod::Platt, CalibrationMethod::Isotonic] {
        let calibration = Calibration::fit(&one_sided, method).unwrap();
        let mut scores = [0.3, 0.8];
        calibration.apply(&mut scores).unwrap();
        assert!((scores[0] - 0.3).abs() < 1e-6 && (scores[1] - 0.8).abs() < 1e-6, "{scores:?}");
        assert!(calibration.apply(&mut [1.5]).is_err());
        assert!(calibration.apply(&mut [f32::NAN]).is_err());
    }
    // Certain scores stay finite.
    let sure = findings(Part::Validation, &[0.0, 1.0, 1.0, 0.0], &[false, true, false, true]);
    for method in [CalibrationMethod::Temperature, CalibrationMethod::Platt] {
        let mut scores = [0.0, 1.0, 0.5];
        Calibration::fit(&sure, method).unwrap().apply(&mut scores).unwrap();
        assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)), "{scores:?}");
    }
    let empty = Predictions::new(Task::MultiLabel, names(&["a"]), Part::Validation).unwrap();
    assert!(Calibration::fit(&empty, CalibrationMethod::Platt).is_err());
    let edited = r#"{"task":"multi_label","classes":["a"],"map":{"method":"temperature","temperature":-1.0}}"#;
    let edited: Calibration = serde_json::from_str(edited).unwrap();
    assert!(edited.apply(&mut [0.5]).is_err());
}

/// Against all thresholds tried one by one.
#[test]
fn operating_points_are_the_best_there_are() {
    for case in 0..200 {
        let mut g = Lcg::new(16, case);
        let n = 4 + g.below(30);
        let scores: Vec<f32> = (0..n).map(|_| g.below(12) as f32 / 11.0).collect();
        let truth: Vec<bool> = (0..n).map(|row| row == 0 || (row > 1 && g.below(2) == 0)).collect();
        let tried: Vec<BinaryCounts> = (-1..=12)
            .map(|t| counts_at(&scores, &truth, (t as f32 + 0.5) / 11.0).unwrap())
            .collect();
        let value = |v: Value| v.defined().unwrap();
        type Merit = fn(&BinaryCounts) -> f64;
        let rules: [(ThresholdRule, Merit); 4] = [
            (ThresholdRule::Youden, |c| {
                c.recall().defined().unwrap() + c.specificity().defined().unwrap() - 1.0
            }),
            (ThresholdRule::FBeta(2.0), |c| c.f_beta(2.0).defined().unwrap()),
            (ThresholdRule::AtSpecificity(0.8), |c| {
                if c.specificity().defined().unwrap() >= 0.8 {
                    c.recall().defined().unwrap()
                } else {
                    -1.0
                }
            }),
            (ThresholdRule::AtSensitivity(0.8), |c| {
                if c.recall().defined().unwrap() >= 0.8 {
                    c.specificity().defined().unwrap()
                } else {
                    -1.0
                }
            }),
        ];
        for (rule, merit) in rules {
            let point = OperatingPoint::choose(&scores, &truth, rule).unwrap().unwrap();
            let best = tried.iter().map(merit).fold(f64::NEG_INFINITY, f64::max);
            assert!(
                (merit(&point.chosen_on) - best).abs() < 1e-12,
                "case {case} {rule:?} {point:?}"
            );
            assert_eq!(point.apply(&scores, &truth).unwrap(), point.chosen_on);
        }
        let point = OperatingPoint::choose(&scores, &truth, ThresholdRule::AtSpecificity(0.9));
        let sensitivity = sensitivity_at_specificity(&scores, &truth, 0.9).unwrap();
        assert_eq!(value(point.unwrap().unwrap().chosen_on.recall()), value(sensitivity));
    }
    let none = OperatingPoint::choose(&[0.1], &[true], ThresholdRule::Youden).unwrap();
    assert_eq!(none, Err(Undefined::OnlyPositives));
    assert!(OperatingPoint::choose(&[0.1], &[true], ThresholdRule::FBeta(0.0)).is_err());
    assert!(OperatingPoint::choose(&[0.1], &[true], ThresholdRule::AtSpecificity(80.0)).is_err());
}

#[test]
fn thresholds_are_used_in_evaluation() {
    let scores = [0.1, 0.2, 0.3, 0.4];
    let truth = [false, false, true, true];
    let validation = findings(Part::Validation, &scores, &truth);
    let points = OperatingPoint::per_class(&validation, ThresholdRule::Youden, 0.5).unwrap();
    let thresholds = points.iter().map(|point| point.threshold).collect();
    let conventions = Conventions { thresholds, ..Conventions::default() };
    let test = findings(Part::Test, &scores, &truth);
    let plain = Evaluator::new(&test).unwrap().value(Measure::Accuracy).unwrap();
    let tuned = Evaluator::with_conventions(&test, conventions).unwrap();
    assert_eq!(plain, Value::Defined(0.5));
    assert_eq!(tuned.value(Measure::Accuracy).unwrap(), Value::Defined(1.0));
    let wrong = Conventions { thresholds: vec![0.1, 0.2], ..Conventions::default() };
    assert!(Evaluator::with_conventions(&test, wrong).is_err());
}

#[test]
fn parity_switches_do_what_the_references_do() {
    // Class b has a true AUROC of 0, class c has none.
    let targets = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0].map(Some);
    let scores = [0.9, 0.1, 0.5, 0.1, 0.9, 0.5];
    let predictions =
        Predictions::multi_label(names(&["a", "b", "c"]), Part::Test, &scores, &targets).unwrap();
    let with = |auc_missing| {
        let conventions = Conventions { auc_missing, ..Conventions::default() };
        let evaluator = Evaluator::with_conventions(&predictions, conventions).unwrap();
        evaluator.value(Measure::AUROC_MACRO)
    };
    assert_eq!(with(AucMissing::Skip).unwrap(), Value::Defined(0.5));
    assert_eq!(with(AucMissing::ZeroThenSkip).unwrap(), Value::Defined(1.0));
    let error = with(AucMissing::Error).unwrap_err().to_string();
    assert!(error.contains("all samples are negative"), "{error}");

    // 0.70001 and 0.7 are one number in half precision.
    let close = findings(Part::Test, &[0.70001, 0.7], &[true, false]);
    let half = Conventions { metric_dtype: ScoreType::F16, ..Conventions::default() };
    let auroc = |evaluator: Evaluator| evaluator.value(Measure::AUROC_MACRO).unwrap();
    assert_eq!(auroc(Evaluator::new(&close).unwrap()), Value::Defined(1.0));
    assert_eq!(auroc(Evaluator::with_conventions(&close, half).unwrap()), Value::Defined(0.5));
    let json = serde_json::to_string(&Conventions::default()).unwrap();
    assert!(json.contains(r#""auc_missing":"skip","metric_dtype":"f32""#), "{json}");
}

fn with_columns() -> Predictions {
    let mut predictions =
        Predictions::new(Task::SingleLabel, names(&["no", "yes"]), Part::Test).unwrap();
    let mut g = Lcg::new(17, 0);
    let mut sex = Vec::new();
    for row in 0..120 {
        let (class, kind) = (g.below(2), ["f", "m", "m", ""][g.below(4)]);
        // Men are predicted worse.
        let right = g.below(10) < if kind == "m" { 6 } else { 9 };
        let yes = if (class == 1) == right { 0.75 } else { 0.25 };
        let group = (row / 2).to_string();
        let target = RowTarget::Class((row % 29 != 0).then_some(class));
        predictions.push(&row.to_string(), Some(&group), &[1.0 - yes, yes], target).unwrap();
        sex.push(kind.to_owned());
    }
    predictions.with_column("sex", sex).unwrap()
}

#[test]
fn subgroups_have_the_values_of_their_rows() {
    let predictions = with_columns();
    let evaluator = Evaluator::new(&predictions).unwrap();
    let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
    for measure in [Measure::Accuracy, Measure::Brier] {
        let groups = Subgroups::of(&predictions, &evaluator, "sex", measure, &bootstrap).unwrap();
        let found: Vec<&str> = groups.groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(found, ["f", "m", UNKNOWN]);
        assert_eq!(groups.groups.iter().map(|g| g.samples).sum::<usize>(), evaluator.rows().len());
        assert!(groups.groups.iter().all(|group| group.patients < group.samples));
        let column = predictions.column("sex").unwrap();
        for group in groups.groups.iter().take(2) {
            let rows: Vec<usize> = (0..120).filter(|row| column[*row] == group.name).collect();
            let alone = Evaluator::new(&predictions.select(&rows)).unwrap();
            assert_eq!(group.estimate.value, alone.value(measure).unwrap());
            let ends = [group.estimate.low, group.estimate.high].map(|v| v.defined().unwrap());
            assert!(ends[0] < ends[1]);
        }
        let worst = groups.worst().unwrap();
        assert_eq!(worst.name, "m");
        assert_eq!(groups.best().unwrap().name, "f");
        let quick = worst_subgroup(&predictions, &evaluator, "sex", measure).unwrap();
        assert_eq!(quick, worst.estimate.value);
        assert!(groups.gap().defined().unwrap() > 0.0);
    }
    let error = worst_subgroup(&predictions, &evaluator, "age", Measure::Accuracy).unwrap_err();
    assert_eq!(error.to_string(), r#"there is no column "age"; there are ["sex"]"#);
}

#[test]
fn files_give_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let targets = [Some(1.0), None, Some(0.0), Some(1.0)];
    let scores = [0.1, 1e-30, 0.333_333_34, 1.0];
    let multi = Predictions::multi_label(names(&["a,b", "\"c\""]), Part::Test, &scores, &targets);
    for (name, predictions) in [("single", with_columns()), ("multi", multi.unwrap())] {
        let csv = folder.path().join(format!("{name}.csv"));
        predictions.write_csv(&csv).unwrap();
        assert_eq!(Predictions::read_csv(&csv, Part::Test).unwrap(), predictions);
        let tensors = folder.path().join(format!("{name}.safetensors"));
        predictions.write_safetensors(&tensors).unwrap();
        assert_eq!(Predictions::read_safetensors(&tensors).unwrap(), predictions);
        let bytes = std::fs::read(&tensors).unwrap();
        for cut in [0, 7, 100, bytes.len() - 1] {
            std::fs::write(&tensors, &bytes[..cut]).unwrap();
            let error = Predictions::read_safetensors(&tensors).unwrap_err().to_string();
            assert!(error.contains(".safetensors"), "{error}");
        }
    }
    assert!(with_columns().write_csv(&folder.path().join("no/such/folder.csv")).is_err());
}

#[test]
fn malformed_tables_name_file_and_row() {
    let read = |text: &str| {
        Predictions::from_csv(text.as_bytes(), "p.csv", Part::Test).unwrap_err().to_string()
    };
    let head = "id,group,target,score:a,score:b\n";
    assert_eq!(
        read(&format!("{head}1,,a,0.5,0.5\n2,,z,0.5,0.5\n")),
        r#"p.csv, row 2: the label "z" is none of the 2 classes"#
    );
    assert_eq!(read(&format!("{head}1,,a,0.5,x\n")), r#"p.csv: row 1: "x" is no number"#);
    assert_eq!(
        read(&format!("{head}1,,a,0.5,NaN\n")),
        r#"row 0: the score NaN of class "b" is not finite"#
    );
    assert!(read(&format!("{head}1,,a,0.5\n")).starts_with("p.csv: "));
    assert_eq!(read("id,target\n"), "p.csv: no column is named score:CLASS");
    assert!(read("target,score:a\n").contains("\"id\""));
    assert!(read("id,target:b,score:a\n").contains("target:NAME"));
    assert!(read("id,target,score:a,score:a\n").contains("occurs twice"));
    assert!(read("id,target:a,score:a\n1,0.5,0.5\n").contains("neither 0 nor 1"));
}

#[test]
fn bad_rows_are_refused_and_change_nothing() {
    let mut predictions =
        Predictions::new(Task::SingleLabel, names(&["a", "b"]), Part::Test).unwrap();
    predictions.push("1", None, &[0.5, 0.5], RowTarget::Class(None)).unwrap();
    let before = predictions.clone();
    let bad: [(&[f32], RowTarget<'_>); 4] = [
        (&[0.5, f32::NAN], RowTarget::Class(Some(0))),
        (&[0.5], RowTarget::Class(Some(0))),
        (&[0.5, 0.5], RowTarget::Class(Some(2))),
        (&[0.5, 0.5], RowTarget::Findings(&[Some(1.0), None])),
    ];
    for (scores, target) in bad {
        assert!(predictions.push("2", None, scores, target).is_err());
        assert_eq!(predictions, before);
    }
    // Logits rank, but have no Brier score.
    predictions.push("2", None, &[-3.0, 2.0], RowTarget::Class(Some(1))).unwrap();
    let evaluator = Evaluator::new(&predictions).unwrap();
    assert_eq!(evaluator.value(Measure::Accuracy).unwrap(), Value::Defined(1.0));
    assert!(matches!(evaluator.value(Measure::Brier), Err(MetricsError::NotAProbability { .. })));
    let sums =
        Predictions::single_label(names(&["a", "b"]), Part::Test, &[0.9, 0.9], &[0]).unwrap();
    let error = Evaluator::new(&sums).unwrap().value(Measure::LogLoss).unwrap_err().to_string();
    assert!(error.starts_with("row 0: the scores add up to 1.79"), "{error}");
    assert!(Measure::parse("auroc_makro", &names(&["a"])).is_err());
    assert!(Measure::parse("recall[z]", &names(&["a"])).is_err());
    assert!(brier_score(&[1.5], &[true], None).is_err());
    assert!(auroc_weighted(&[0.5], &[true], &[-1.0]).is_err());
    assert!(regression(&[1.0], &[f64::NAN]).is_err());
    let (a, b) = (Plane { pixels: &[0.0; 4], width: 2 }, Plane { pixels: &[0.0; 4], width: 4 });
    assert!(psnr(a, b, 1.0).is_err() && psnr(a, a, 0.0).is_err());
    assert_eq!(psnr(a, a, 1.0).unwrap(), Value::Undefined(Undefined::ZeroDenominator));
    assert_eq!(ssim(a, a, 1.0).unwrap(), Value::Undefined(Undefined::TooFewSamples));
}

#[test]
fn empty_masks_follow_the_stated_rule() {
    let (full, empty) = ([1_u8, 0, 255, 0], [0_u8; 4]);
    assert_eq!(
        mask_iou(&[1, 1, 0, 0], &full, EmptyTruth::Undefined).unwrap(),
        Value::Defined(1.0 / 3.0)
    );
    assert_eq!(
        mask_dice(&[1, 1, 0, 0], &full, EmptyTruth::Undefined).unwrap(),
        Value::Defined(0.5)
    );
    let undefined = Value::Undefined(Undefined::OnlyNegatives);
    assert_eq!(mask_iou(&full, &empty, EmptyTruth::Undefined).unwrap(), undefined);
    assert_eq!(mask_dice(&empty, &empty, EmptyTruth::OneIfEmpty).unwrap(), Value::Defined(1.0));
    assert_eq!(mask_dice(&full, &empty, EmptyTruth::OneIfEmpty).unwrap(), Value::Defined(0.0));
    assert!(mask_iou(&full, &[0; 3], EmptyTruth::Undefined).is_err());
}

#[test]
fn ordered_classes() {
    let matrix =
        ConfusionMatrix::from_rows(vec![vec![2, 1, 0], vec![0, 3, 0], vec![2, 0, 2]]).unwrap();
    assert_eq!(matrix.mean_distance(), Value::Defined(0.5));
    assert_eq!(matrix.accuracy_within(1), Value::Defined(0.8));
    let macro_distance = matrix.macro_mean_distance().defined().unwrap();
    assert!((macro_distance - (1.0 / 3.0 + 0.0 + 1.0) / 3.0).abs() < 1e-15);
}

#[test]
fn reliability_bins_hold_every_sample_once() {
    let mut g = Lcg::new(18, 0);
    let p: Vec<f32> = (0..500).map(|_| g.below(4097) as f32 / 4096.0).collect();
    let y: Vec<bool> = p.iter().map(|p| g.below(4096) as f32 / 4096.0 < *p).collect();
    for binning in [Binning::EqualWidth, Binning::EqualMass] {
        let bins = reliability(&p, &y, 10, binning).unwrap();
        assert_eq!(bins.iter().map(|bin| bin.samples).sum::<u64>(), 500);
        let correct = y.iter().filter(|y| **y).count() as u64;
        assert_eq!(bins.iter().map(|bin| bin.correct).sum::<u64>(), correct);
        if binning == Binning::EqualMass {
            assert!(bins.iter().all(|bin| (45..=55).contains(&bin.samples)), "{bins:?}");
        }
    }
    assert!(reliability(&p, &y, 0, Binning::EqualWidth).is_err());
    // A confidence of exactly 1 belongs to the last bin.
    let sure = CalibrationError::ECE.of(&[1.0, 0.97], &[true, false], None).unwrap();
    assert!((sure.defined().unwrap() - (1.97_f64 / 2.0 - 0.5)).abs() < 1e-7);
}
