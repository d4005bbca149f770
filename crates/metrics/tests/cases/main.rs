//! Equality with scikit-learn, SciPy and scikit-image on the 10,000 cases of
//! `fixtures/gen/cases.py`, and with torchmetrics on those of `fixtures/gen/calibration.py`: ties,
//! one class only, absent classes, equal scores, weights, missing targets, tiny samples.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lcg;

use lcg::{Answers, Lcg};
use vit_metrics::*;

/// The named values of a case.
type Family = fn(usize) -> Vec<(String, Value)>;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

fn named(values: &[(&str, Value)]) -> Vec<(String, Value)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// Measures by name, under weights.
fn measured(predictions: &Predictions, weights: &[u32], names: &[String]) -> Vec<(String, Value)> {
    let classes = predictions.classes();
    let measures: Vec<Measure> =
        names.iter().map(|name| Measure::parse(name, classes).unwrap()).collect();
    for (measure, name) in measures.iter().zip(names) {
        assert_eq!(&measure.name(classes), name);
    }
    let values = Evaluator::new(predictions).unwrap().values_of(&measures, weights).unwrap();
    names.iter().cloned().zip(values).collect()
}

fn averages(names: &mut Vec<String>, scores: &[&str]) {
    for score in scores {
        for average in ["macro", "micro", "weighted"] {
            names.push(format!("{score}_{average}"));
        }
    }
}

fn ranking(case: usize) -> Vec<(String, Value)> {
    let mut g = Lcg::new(0, case);
    let n = g.pick(&[2, 3, 5, 8, 20, 40, 100]);
    let levels = g.pick(&[0, 1, 2, 4, 16, 4096]);
    let rate = g.pick(&[1, 5, 9, 10]);
    let (mut y, mut s, mut w) = (vec![], vec![], vec![]);
    for _ in 0..n {
        y.push(g.below(10) < rate);
        s.push(g.below(levels + 1) as f32 / 4096.0);
        w.push(g.below(5) as f64 / 2.0);
    }
    let placed = |values: Vec<f64>| {
        let count = values.len() as f64;
        Value::Defined(values.iter().zip(1..).map(|(v, i)| v * f64::from(i)).sum::<f64>() / count)
    };
    let roc = roc_curve(&s, &y, None).unwrap();
    let pr = precision_recall_curve(&s, &y, None).unwrap();
    let on_roc = |part: fn(&RocPoint) -> f64| match &roc {
        Ok(points) => placed(points.iter().map(part).collect()),
        Err(reason) => Value::Undefined(*reason),
    };
    let on_pr = |part: fn(&PrPoint) -> f64| match &pr {
        Ok(points) => placed(points.iter().map(part).collect()),
        Err(reason) => Value::Undefined(*reason),
    };
    named(&[
        ("auroc", auroc(&s, &y).unwrap()),
        ("ap", average_precision(&s, &y).unwrap()),
        ("weighted auroc", auroc_weighted(&s, &y, &w).unwrap()),
        ("weighted ap", average_precision_weighted(&s, &y, &w).unwrap()),
        ("partial auroc", partial_auroc(&s, &y, 0.3).unwrap()),
        ("sensitivity at 0.9", sensitivity_at_specificity(&s, &y, 0.9).unwrap()),
        ("specificity at 0.8", specificity_at_sensitivity(&s, &y, 0.8).unwrap()),
        ("fpr", on_roc(|p| p.false_positive_rate)),
        ("tpr", on_roc(|p| p.true_positive_rate)),
        ("precision", on_pr(|p| p.precision)),
        ("recall", on_pr(|p| p.recall)),
    ])
}

fn single(case: usize) -> Vec<(String, Value)> {
    let mut g = Lcg::new(1, case);
    let k = g.pick(&[2, 2, 3, 4, 6]);
    let n = g.pick(&[1, 2, 3, 8, 20, 30]);
    let levels = g.pick(&[0, 1, 3, 8, 4096]);
    let occurring = match () {
        () if case.is_multiple_of(10) => 1,
        () if case.is_multiple_of(3) && k > 2 => k - 1,
        () => k,
    };
    let (mut y, mut s, mut w) = (vec![], vec![], vec![]);
    for _ in 0..n {
        let target = g.below(occurring);
        let mut row: Vec<usize> = (0..k).map(|_| g.below(levels + 1)).collect();
        if case.is_multiple_of(2) {
            row[target] += levels / 2 + 1;
        }
        let total: usize = row.iter().sum();
        let share = |x: &usize| (x * 4096).checked_div(total).unwrap_or(4096 / k);
        let mut row: Vec<usize> = row.iter().map(share).collect();
        row[0] += 4096 - row.iter().sum::<usize>();
        y.push(target);
        s.extend(row.iter().map(|x| *x as f32 / 4096.0));
        w.push(if case % 3 == 1 { g.below(4) as u32 } else { 1 });
    }
    let mut wanted: Vec<String> = [
        "accuracy",
        "balanced_accuracy",
        "top_2_accuracy",
        "mcc",
        "kappa",
        "kappa_linear",
        "kappa_quadratic",
        "brier",
        "log_loss",
    ]
    .map(String::from)
    .to_vec();
    averages(
        &mut wanted,
        &["precision", "recall", "specificity", "f1", "f2", "f0.5", "iou", "auroc"],
    );
    wanted.extend(["auroc_ovo_macro", "auroc_ovo_weighted"].map(String::from));
    averages(&mut wanted, &["ap"]);
    for score in ["precision", "recall", "specificity", "f1", "mcc", "auroc", "ap"] {
        wanted.push(format!("{score}[class {}]", case % k));
    }
    let predictions = Predictions::single_label(names(k), Part::Test, &s, &y).unwrap();
    let values = measured(&predictions, &w, &wanted);
    if case % 3 != 1 {
        agree_with_slices(&values, &s, &y, k);
    }
    values
}

/// The functions on plain slices say the same as the evaluator, to the bit.
fn agree_with_slices(values: &[(String, Value)], s: &[f32], y: &[usize], k: usize) {
    let of = |wanted: &str| values.iter().find(|(name, _)| name == wanted).unwrap().1;
    assert_eq!(of("top_2_accuracy"), top_k_accuracy(s, y, k, 2).unwrap());
    assert_eq!(of("auroc_macro"), auroc_one_vs_rest(s, y, k, Average::Macro).unwrap());
    assert_eq!(of("auroc_micro"), auroc_one_vs_rest(s, y, k, Average::Micro).unwrap());
    assert_eq!(of("auroc_weighted"), auroc_one_vs_rest(s, y, k, Average::Weighted).unwrap());
    assert_eq!(of("auroc_ovo_weighted"), auroc_one_vs_one(s, y, k, Average::Weighted).unwrap());
    assert_eq!(of("brier"), brier_score_classes(s, y, k, None).unwrap());
    assert_eq!(of("log_loss"), log_loss_classes(s, y, k, None).unwrap());
    let mut metric = SingleLabel::new(names(k)).unwrap();
    metric.update(s, y).unwrap();
    let report = metric.compute().unwrap();
    for name in Report::NAMES {
        assert_eq!(report.get(name).unwrap(), of(name), "{name}");
    }
    let matrix = report.confusion.unwrap();
    assert_eq!(of("kappa_quadratic"), cohen_kappa(&matrix, KappaWeights::Quadratic));
}

fn multi(case: usize) -> Vec<(String, Value)> {
    let mut g = Lcg::new(2, case);
    let k = g.pick(&[1, 2, 3]);
    let n = g.pick(&[1, 2, 4, 10, 30]);
    let levels = g.pick(&[1, 4, 64]);
    let missing = g.pick(&[0, 2, 6]);
    let rate = g.pick(&[0, 2, 5, 10]);
    let (mut s, mut t, mut w) = (vec![], vec![], vec![]);
    for _ in 0..n {
        for _ in 0..k {
            s.push(g.below(levels + 1) as f32 / levels as f32);
            let unknown = g.below(10) < missing;
            let positive = g.below(10) < rate;
            t.push((!unknown).then(|| f32::from(u8::from(positive))));
        }
        w.push(if case % 3 == 1 { g.below(4) as u32 } else { 1 });
    }
    let mut wanted: Vec<String> = [
        "accuracy",
        "balanced_accuracy",
        "mcc",
        "brier",
        "log_loss",
        "hamming_loss",
        "subset_accuracy",
    ]
    .map(String::from)
    .to_vec();
    averages(&mut wanted, &["precision", "recall", "specificity", "f1", "iou", "auroc"]);
    wanted.extend(["ap_macro", "ap_micro"].map(String::from));
    let predictions = Predictions::multi_label(names(k), Part::Test, &s, &t).unwrap();
    let values = measured(&predictions, &w, &wanted);
    if case % 3 != 1 {
        let of = |wanted: &str| values.iter().find(|(name, _)| name == wanted).unwrap().1;
        let decided: Vec<bool> = s.iter().map(|score| *score > 0.5).collect();
        let truth: Vec<Option<bool>> = t.iter().map(|t| t.map(|t| t == 1.0)).collect();
        assert_eq!(of("hamming_loss"), hamming_loss(&decided, &truth).unwrap());
        assert_eq!(of("subset_accuracy"), subset_accuracy(&decided, &truth, k).unwrap());
        let mut metric = MultiLabel::new(names(k)).unwrap();
        metric.update(&s, &t).unwrap();
        let report = metric.compute().unwrap();
        for name in Report::NAMES {
            assert_eq!(report.get(name).unwrap(), of(name), "{name}");
        }
    }
    values
}

fn continuous(case: usize) -> Vec<(String, Value)> {
    let mut g = Lcg::new(3, case);
    let n = g.pick(&[1, 2, 3, 8, 20, 50]);
    let steps = g.pick(&[1, 4, 4096]);
    let (mut p, mut y) = (vec![], vec![]);
    let mut number = || (g.below(4 * steps + 1) as f64 - 2.0 * steps as f64) / steps as f64;
    for _ in 0..n {
        p.push(number());
        y.push(number());
    }
    let errors = regression(&p, &y).unwrap();
    named(&[
        ("mae", errors.mean_absolute_error),
        ("median", errors.median_absolute_error),
        ("rmse", errors.root_mean_squared_error),
        ("max", errors.max_error),
        ("bias", errors.bias),
        ("r2", errors.r2),
        ("explained variance", errors.explained_variance),
        ("pearson", errors.pearson),
        ("spearman", errors.spearman),
        ("kendall", kendall(&p, &y).unwrap()),
    ])
}

fn picture(case: usize) -> Vec<(String, Value)> {
    let mut g = Lcg::new(4, case);
    let (width, height) = (g.pick(&[11, 16, 23]), g.pick(&[11, 17]));
    let a: Vec<f32> = (0..width * height).map(|_| g.below(256) as f32).collect();
    let noise = g.pick(&[1, 20, 200]);
    let b: Vec<f32> =
        a.iter().map(|x| x + (g.below(2 * noise + 1) as f32 - noise as f32)).collect();
    let (a, b) = (Plane { pixels: &a, width }, Plane { pixels: &b, width });
    named(&[
        ("psnr", psnr(a, b, 255.0).unwrap()),
        ("ssim", ssim(a, b, 255.0).unwrap()),
        ("psnr of 1", psnr(b, a, 1.0).unwrap()),
    ])
}

#[test]
fn ten_thousand_cases() {
    let mut answers = Answers::new(include_bytes!("../../fixtures/cases.bin"));
    let families: [(&str, usize, Family); 5] = [
        ("ranking", 4000, ranking),
        ("single", 3000, single),
        ("multi", 2000, multi),
        ("regression", 960, continuous),
        ("picture", 40, picture),
    ];
    assert_eq!(families.iter().map(|family| family.1).sum::<usize>(), 10_000);
    for (name, count, values) in families {
        for case in 0..count {
            answers.check(name, case, &values(case));
        }
    }
    answers.finish();
    assert!(answers.compared > 60_000, "{}", answers.compared);
    // Neither all defined nor all undefined: both sides are really compared.
    assert!((3_000..30_000).contains(&answers.undefined), "{}", answers.undefined);
}

#[test]
fn calibration_errors_of_torchmetrics() {
    let mut answers = Answers::new(include_bytes!("../../fixtures/calibration.bin"));
    for case in 0..300 {
        let mut g = Lcg::new(5, case);
        let n = g.pick(&[1, 5, 40, 300]);
        let bins = g.pick(&[1, 10, 15]);
        let (mut p, mut y) = (vec![], vec![]);
        for _ in 0..n {
            let confidence = g.below(4096);
            p.push(confidence as f32 / 4096.0);
            y.push(g.below(4096) < confidence);
        }
        let error = |norm| {
            let error = CalibrationError { bins, binning: Binning::EqualWidth, norm };
            error.of(&p, &y, None).unwrap()
        };
        let adaptive = CalibrationError { bins, binning: Binning::EqualMass, norm: GapNorm::Mean };
        let k = g.pick(&[2, 3, 5]);
        let (mut scores, mut targets) = (vec![], vec![]);
        for _ in 0..n {
            let row: Vec<usize> = (0..k).map(|_| 1 + g.below(1000)).collect();
            let total: usize = row.iter().sum();
            let mut row: Vec<usize> = row.iter().map(|x| x * 4096 / total).collect();
            row[0] += 4096 - row.iter().sum::<usize>();
            scores.extend(row.iter().map(|x| *x as f32 / 4096.0));
            targets.push(g.below(k));
        }
        let predictions = Predictions::single_label(names(k), Part::Test, &scores, &targets);
        let evaluator = Evaluator::new(&predictions.unwrap()).unwrap();
        let of = |error| evaluator.value(Measure::Calibration(error)).unwrap();
        let values = named(&[
            ("ece", error(GapNorm::Mean)),
            ("rms", error(GapNorm::RootMeanSquare)),
            ("mce", error(GapNorm::Max)),
            ("ace", adaptive.of(&p, &y, None).unwrap()),
            ("top-label ece", of(CalibrationError::ECE)),
            ("top-label mce", of(CalibrationError::MCE)),
        ]);
        for turn in 0..4 {
            answers.check("calibration", turn, &values);
        }
    }
    answers.finish();
}
