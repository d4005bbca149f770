//! The report: complete, self-contained, and safe with hostile names.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cases/lcg.rs"]
#[allow(dead_code)]
mod lcg;

use std::io::Cursor;

use lcg::Lcg;
use vit_metrics::*;

fn png() -> Vec<u8> {
    let mut bytes = Vec::new();
    image::RgbImage::new(3, 2)
        .write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
        .unwrap();
    bytes
}

fn classes(names: &[String], rows: usize) -> Predictions {
    let mut g = Lcg::new(20, names.len());
    let mut predictions = Predictions::new(Task::SingleLabel, names.to_vec(), Part::Test).unwrap();
    let mut view = Vec::new();
    for row in 0..rows {
        let truth = row % names.len();
        let mut scores: Vec<usize> = names.iter().map(|_| 1 + g.below(100)).collect();
        scores[truth] += 70;
        let sum: usize = scores.iter().sum();
        let scores: Vec<f32> = scores.iter().map(|x| *x as f32 / sum as f32).collect();
        let (id, patient) = (format!("<{row}>&.png"), (row / 2).to_string());
        predictions.push(&id, Some(&patient), &scores, RowTarget::Class(Some(truth))).unwrap();
        view.push(["PA", "AP & \"lateral\""][row / 2 % 2].to_owned());
    }
    predictions.with_column("view", view).unwrap()
}

fn quick() -> Bootstrap {
    Bootstrap { resamples: 60, ..Bootstrap::default() }
}

fn full(predictions: &Predictions) -> EvaluationReport {
    let series = Series::new("a<b", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)]);
    let plot = LearningPlot {
        title: "loss".to_owned(),
        x_name: "epoch".to_owned(),
        y_name: "loss".to_owned(),
        series: vec![series],
    };
    ReportBuilder::new(predictions)
        .title("A <title> & more")
        .bootstrap(quick())
        .measures(&[Measure::TopK(2), Measure::Accuracy])
        .subgroups("view", Measure::AUROC_MACRO)
        .mistakes(5, |_| Some(png()))
        .learning(plot)
        .picture("original | masked", png())
        .section(
            "Data card",
            vec![("split".to_owned(), "sha256 </dd><script>alert(1)</script>".to_owned())],
        )
        .build()
        .unwrap()
}

/// Elements are closed in order, and nothing else looks like an element.
fn assert_well_formed(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("an element without end");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || ["meta", "img", "br"].contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {}", &rest[..rest.len().min(80)]);
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_shows_everything_and_loads_nothing() {
    let mut names: Vec<String> = (0..23).map(|class| format!("class_{class}")).collect();
    names[3] = "<script>alert('x')</script>".to_owned();
    names[4] =
        "a very long name of a class that nobody would ever want to read in a plot".to_owned();
    let predictions = classes(&names, 230);
    let report = full(&predictions);
    let html = report.html();
    assert_well_formed(&html);
    for part in [
        "A &lt;title&gt; &amp; more",
        "Results",
        "Classes",
        "Confusion matrix",
        "ROC and precision",
        "Curves of all 23 classes",
        "Reliability",
        "Subgroups",
        "Largest mistakes",
        "Training",
        "Pictures",
        "Data card",
        "Conventions",
        "Top 2 accuracy",
        "Brier score (lower is better)",
        "230 samples of 115 patients",
        "BCa",
        "AP &amp; &quot;lateral&quot;",
    ] {
        assert!(html.contains(part), "{part} is missing");
    }
    assert!(!html.contains("<script"), "a name became an element");
    // The only addresses are pictures inside the page and the name of the SVG language.
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:") && !outside.contains("url("));
    assert!(!outside.contains("<link") && !outside.contains("@import"));
    assert_eq!(html.matches("data:image/png;base64,").count(), 5 + 1);
    // A measure asked for twice is shown once.
    assert_eq!(report.headline.iter().filter(|e| e.name == "accuracy").count(), 1);
    assert!(report.inconsistencies.is_empty());
    assert_eq!(report.mistakes.len(), 5);
    let margins: Vec<f32> = report.mistakes.iter().map(|mistake| mistake.margin).collect();
    assert!(margins.windows(2).all(|pair| pair[0] >= pair[1]));
}

#[test]
fn numbers_of_the_report_are_those_of_the_evaluator() {
    let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
    let predictions = classes(&names, 90);
    let report = full(&predictions);
    let evaluator = Evaluator::new(&predictions).unwrap();
    for estimate in report.headline.iter().chain(report.per_class.iter().flat_map(|c| &c.estimates))
    {
        let measure = Measure::parse(&estimate.name, &names).unwrap();
        assert_eq!(evaluator.value(measure).unwrap(), estimate.value, "{}", estimate.name);
    }
    assert_eq!(report.confusion.as_ref().unwrap().total(), 90);
    let json = serde_json::to_string(&report).unwrap();
    let back: EvaluationReport = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    // Curves pass where the measures say: the area under the drawn curve is the AUROC.
    let (band, auroc) = report.curves[0].roc.as_ref().unwrap();
    let area: f64 = band.value.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]) / 100.0).sum();
    assert!((area - auroc.value.defined().unwrap()).abs() < 0.02, "{area} {auroc:?}");
    assert!(band.low.iter().zip(&band.high).all(|(low, high)| low <= high));
}

#[test]
fn calibration_and_operating_points_are_those_of_other_data() {
    let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
    let before = classes(&names, 90);
    let validation = {
        let targets: Vec<usize> = (0..60).map(|row| row % 3).collect();
        let scores: Vec<f32> = (0..60)
            .flat_map(|row| {
                let mut scores = [0.2_f32; 3];
                scores[if row % 5 == 0 { (row + 1) % 3 } else { row % 3 }] = 0.6;
                scores
            })
            .collect();
        Predictions::single_label(names.clone(), Part::Validation, &scores, &targets).unwrap()
    };
    let map = Calibration::fit(&validation, CalibrationMethod::Temperature).unwrap();
    let points = OperatingPoint::per_class(
        &map.calibrated(&validation).unwrap(),
        ThresholdRule::Youden,
        0.5,
    )
    .unwrap();
    let after = map.calibrated(&before).unwrap();
    let report = ReportBuilder::new(&after)
        .bootstrap(quick())
        .uncalibrated("temperature of <other> data", &before)
        .operating_points("Youden", points.clone())
        .build()
        .unwrap();
    let change = report.calibration.as_ref().unwrap();
    let measures = Measure::of_probabilities();
    let values = |predictions| Evaluator::new(predictions).unwrap().values(&measures).unwrap();
    let (first, second) = (values(&before), values(&after));
    assert_ne!(first, second);
    for (row, (first, second)) in change.changes.iter().zip(first.iter().zip(&second)) {
        assert_eq!((row.first, row.second), (*first, *second), "{}", row.name);
        assert!(row.low.defined().unwrap() <= row.difference.defined().unwrap());
    }
    assert_eq!(report.operating_points.len(), 3);
    for (class, row) in report.operating_points.iter().enumerate() {
        let (scores, positive) = after.one_vs_rest(class);
        let counts = points[class].apply(&scores, &positive).unwrap();
        let values: Vec<Value> = row.estimates.iter().map(|estimate| estimate.value).collect();
        assert_eq!(values, [counts.recall(), counts.specificity(), counts.precision()]);
        assert_eq!((&row.class, &row.point), (&names[class], &points[class]));
    }
    let html = report.html();
    assert_well_formed(&html);
    for text in ["temperature of &lt;other&gt; data", "before calibration", "after calibration"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(html.contains("<h2>Operating points</h2>") && html.contains(": Youden"));
    let names: Vec<String> = report.plots().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"reliability-before".to_string()), "{names:?}");
    let json = serde_json::to_string(&report).unwrap();
    let back: EvaluationReport = serde_json::from_str(&json).unwrap();
    assert_eq!(back.calibration, report.calibration);
    // One threshold per class; the other predictions must be of the same samples.
    let builder = ReportBuilder::new(&after).bootstrap(quick());
    assert!(builder.operating_points("", points[1..].to_vec()).build().is_err());
    let other = before.select(&[0, 1, 2]);
    let builder = ReportBuilder::new(&after).bootstrap(quick());
    assert!(builder.uncalibrated("", &other).build().is_err());
}

#[test]
fn tables_for_papers() {
    let names = ["50% & more_or_less".to_owned(), "b|c".to_owned()];
    let report = full(&classes(&names, 60));
    let latex = report.latex();
    assert!(latex.contains("50\\% \\& more\\_or\\_less & 30 &"), "{latex}");
    assert_eq!(latex.matches("\\begin{tabular}").count(), latex.matches("\\end{tabular}").count());
    let markdown = report.markdown();
    assert!(markdown.contains("| b\\|c | 30 |"), "{markdown}");
    let accuracy = report.headline[0].value.defined().unwrap();
    assert!(markdown.contains(&format!("| Accuracy | {accuracy:.3} (")), "{markdown}");
}

/// One definition of each plot: the PNG shows what the SVG says, at three times its size.
#[cfg(feature = "png")]
#[test]
fn plots_are_pictures_too() {
    let names: Vec<String> = ["a/b", "Größe ≥ 3 μm"].map(String::from).to_vec();
    let report = full(&classes(&names, 60));
    let svgs = report.plots();
    let pngs = report.plots_png().unwrap();
    assert_eq!(svgs.len(), pngs.len());
    for ((name, svg), (same, png)) in svgs.iter().zip(&pngs) {
        assert_eq!(name, same);
        let picture = image::load_from_memory(png).unwrap().to_rgb8();
        let attribute = |key: &str| -> u32 {
            let rest = svg.split_once(&format!(" {key}=\"")).unwrap().1;
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let (width, height) = (attribute("width"), attribute("height"));
        assert!(picture.width().abs_diff(3 * width) <= 2, "{name}");
        assert!(picture.height().abs_diff(3 * height) <= 2, "{name}");
        // White paper, something on it, and no plot like another.
        assert_eq!(picture.get_pixel(0, 0), &image::Rgb([255; 3]), "{name}");
        let ink = picture.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
        assert!(ink > picture.len() / 3 / 100, "{name}: {ink}");
        assert_eq!(pngs.iter().filter(|(_, other)| other == png).count(), 1, "{name}");
    }
    // The same bytes every time.
    assert_eq!(pngs, report.plots_png().unwrap());
    // A class name is drawn: without it there is less ink in the confusion matrix.
    let confusion = |names: [&str; 2]| {
        let report = full(&classes(&names.map(String::from), 60));
        let (_, png) = report.plots_png().unwrap().swap_remove(2);
        let picture = image::load_from_memory(&png).unwrap().to_luma8();
        picture.pixels().filter(|pixel| pixel.0[0] < 60).count()
    };
    let (long, short) = (confusion(["MMMMMM", "WWWWWW"]), confusion(["......", "......!"]));
    assert!(long > short + 500, "{long} {short}");
}

#[test]
fn files_are_written_and_plots_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = ["a/b", "c"].map(String::from).to_vec();
    let predictions = classes(&names, 60);
    let report = full(&predictions);
    let target = folder.path().join("new/folder");
    report.write(&target, &predictions).unwrap();
    for name in [
        "report.json",
        "report.html",
        "tables.md",
        "tables.tex",
        "predictions.csv",
        "predictions.safetensors",
    ] {
        assert!(std::fs::metadata(target.join(name)).unwrap().len() > 100, "{name}");
    }
    let read = Predictions::read_csv(&target.join("predictions.csv"), Part::Test).unwrap();
    assert_eq!(read, predictions);
    let mut plots: Vec<String> = report.plots().into_iter().map(|(name, _)| name).collect();
    for name in &plots {
        let svg =
            std::fs::read_to_string(target.join("plots").join(format!("{name}.svg"))).unwrap();
        assert_well_formed(&svg);
        assert!(svg.starts_with("<svg xmlns=") && !svg.contains("var("), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
    plots.sort();
    assert_eq!(
        plots,
        [
            "confusion",
            "learning-00-loss",
            "pr-00-c",
            "reliability",
            "roc-00-c",
            "subgroups-view-auroc-macro"
        ]
    );
}

#[test]
fn reports_of_little_or_odd_data() {
    // One finding, nobody has it; logits instead of probabilities; no samples at all.
    let one = ["x".to_owned()];
    let nobody =
        Predictions::multi_label(one.to_vec(), Part::Test, &[0.1, 0.7], &[Some(0.0), None]);
    let logits =
        Predictions::single_label(classes_of(2), Part::Validation, &[-1.0, 3.0, 2.0, 0.5], &[0, 1]);
    let none = Predictions::new(Task::MultiLabel, one.to_vec(), Part::Train);
    for predictions in [nobody, logits, none] {
        let predictions = predictions.unwrap();
        let report = ReportBuilder::new(&predictions).bootstrap(quick()).build().unwrap();
        let html = report.html();
        assert_well_formed(&html);
        assert!(!html.contains("NaN"), "{html}");
        for (name, svg) in report.plots() {
            assert!(!svg.contains("NaN"), "{name}");
        }
        report.write(tempfile::tempdir().unwrap().path(), &predictions).unwrap();
    }
}

fn classes_of(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

#[test]
fn what_is_no_picture_is_refused() {
    let predictions = classes(&classes_of(2), 20);
    let build =
        |builder: ReportBuilder<'_>| builder.bootstrap(quick()).build().unwrap_err().to_string();
    let error = build(ReportBuilder::new(&predictions).picture("sample 3", b"GIF89a".to_vec()));
    assert_eq!(error, "sample 3: the picture is neither PNG nor JPEG");
    assert!(
        build(ReportBuilder::new(&predictions).subgroups("age", Measure::Accuracy)).contains("age")
    );
    assert!(
        build(ReportBuilder::new(&predictions).measures(&[Measure::HammingLoss]))
            .contains("hamming_loss")
    );
}
