//! From training to the signed number: best model by the worst subgroup, calibration stored with
//! the model, report, comparison of two models, check of a published table.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use vit_models::candle_core::Device;
use vit_models::{WeightFile, save_weights};
use vitalight_tests::{example, root};

/// Phantoms of 3 sites; the site is the column that subgroups are formed by.
const DATA: [&str; 8] = [
    "--data",
    "phantom",
    "--phantom-len",
    "240",
    "--phantom-contrast",
    "3",
    "--attributes",
    "sites.csv",
];
/// Pictures of 32 pixels in patches of 8, one block.
const MODEL: [&str; 12] = [
    "--patch-size",
    "8",
    "--depth",
    "1",
    "--epochs",
    "3",
    "--batch-size",
    "16",
    "--lr",
    "3e-3",
    "--crop-min",
    "1",
];

fn run(program: &str, flags: &[&[&str]], home: &Path) -> Output {
    let flags = flags.concat();
    Command::new(example(program)).args(flags).current_dir(home).output().unwrap()
}

#[track_caller]
fn success(program: &str, flags: &[&[&str]], home: &Path) -> String {
    let output = run(program, flags, home);
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{program}: {error}");
    out
}

#[track_caller]
fn failure(program: &str, flags: &[&[&str]], home: &Path) -> String {
    let output = run(program, flags, home);
    assert!(!output.status.success(), "{program} was meant to fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The table of sites: the phantoms' ids begin with theirs.
fn write_sites(home: &Path) {
    let ids = fs::read_to_string(home.join("ids.txt")).unwrap();
    let row = |(place, id): (usize, &str)| {
        let site = id.split('/').next().unwrap();
        format!("{id},{site},{}\n", 20 + place % 60)
    };
    let rows: String = ids.lines().enumerate().map(row).collect();
    fs::write(home.join("sites.csv"), format!("id,site,age\n{rows}")).unwrap();
}

/// The ids of every part, from predictions of a throw-away model.
fn write_ids(home: &Path) {
    let quick = ["--epochs", "1", "--depth", "1", "--patch-size", "16", "--batch-size", "64"];
    let data = &DATA[..6];
    success("finetune", &[data, &quick, &["--output-dir", "quick"]], home);
    let mut ids = String::new();
    for part in ["train", "val", "test"] {
        let flags = ["--checkpoint", "quick/best.safetensors", "--split", part];
        let quick = ["--resamples", "2", "--output-dir", "quick/report"];
        success("evaluate", &[data, &flags, &quick], home);
        let table = fs::read_to_string(home.join("quick/report/predictions.csv")).unwrap();
        for line in table.lines().skip(1) {
            ids += line.split(',').next().unwrap();
            ids += "\n";
        }
    }
    assert_eq!(ids.lines().count(), 240);
    fs::write(home.join("ids.txt"), ids).unwrap();
}

#[test]
fn from_training_to_the_report() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    write_ids(home);
    write_sites(home);

    // Chosen by the worst site, calibrated on validation data.
    let select = ["--select", "worst:auroc_macro@site", "--calibrate", "temperature"];
    let rule = ["--operating-point", "specificity:0.8"];
    success("finetune", &[&DATA, &MODEL, &select, &rule, &["--output-dir", "model"]], home);
    let log = fs::read_to_string(home.join("model/log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let worst: Vec<f64> = lines
        .filter_map(|line| {
            let validation = line.get("validation")?.clone();
            let worst = validation["extra"]["worst:auroc_macro@site"].as_f64().unwrap();
            assert_ne!(Some(worst), validation["report"]["auroc_macro"]["value"].as_f64());
            Some(worst)
        })
        .collect();
    assert_eq!(worst.len(), 3);

    let model = home.join("model/best.safetensors");
    let card = WeightFile::open(&model).unwrap().metadata()["card"].clone();
    let temperature = card["decisions"]["calibration"]["map"]["temperature"].as_f64().unwrap();
    assert!(temperature > 0. && (temperature - 1.).abs() > 1e-3, "{temperature}");
    assert_eq!(card["decisions"]["rule"], json!({ "at_specificity": 0.8 }));

    // The report, of calibrated scores and of raw ones.
    let checkpoint = ["--checkpoint", "model/best.safetensors", "--resamples", "200"];
    let groups = ["--subgroups", "site,age:40:60", "--measures", "kappa_quadratic"];
    fs::write(home.join("audit.json"), r#"{"duplicates": {"exact": 3}, "passed": false}"#).unwrap();
    let audit = ["--audit", "audit.json", "--output-dir", "report"];
    success("evaluate", &[&DATA, &checkpoint, &groups, &audit], home);
    let raw = ["--uncalibrated", "--output-dir", "raw"];
    success("evaluate", &[&DATA, &checkpoint, &raw], home);
    check_report(home);
    check_predictions(home, temperature);
    check_old_files_and_other_splits(home, &model);

    let message = failure(
        "evaluate",
        &[&DATA, &checkpoint, &["--subgroups", "sex", "--output-dir", "no"]],
        home,
    );
    assert!(message.contains("no column 'sex'; it has id, site, age"), "{message}");
    assert!(!home.join("no").exists());
    let other = ["--crop-pct", "0.5", "--output-dir", "no"];
    let message = failure("evaluate", &[&DATA, &checkpoint, &other], home);
    assert!(message.contains("--crop-pct 0.5: the model is evaluated with 1"), "{message}");
    let message = failure(
        "finetune",
        &[&DATA, &MODEL, &["--select", "worst:auroc_macro@sex", "--output-dir", "no"]],
        home,
    );
    assert!(message.contains("no column 'sex'"), "{message}");
    let message = failure("calibrate", &[&DATA[..6], &checkpoint[..2], &["--split", "test"]], home);
    assert!(message.contains("never on the test part"), "{message}");
    check_comparison(home);
}

fn check_report(home: &Path) {
    let report = json(&home.join("report/report.json"));
    assert_eq!(report["part"], "test");
    let measures: Vec<&str> = report["headline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|estimate| estimate["name"].as_str().unwrap())
        .collect();
    assert!(measures.contains(&"auroc_macro") && measures.contains(&"kappa_quadratic"));
    // Intervals by patient.
    assert!(report["patients"].as_u64().unwrap() * 3 < report["samples"].as_u64().unwrap());
    assert_eq!(report["bootstrap"]["resamples"], 200);
    // A class of the report is a finding of the page, and so is every section.
    let names = |key: &str| -> Vec<String> {
        let mut groups = report["subgroups"].as_array().unwrap().iter();
        let groups = groups.find(|groups| groups["column"] == key).unwrap();
        let groups = groups["groups"].as_array().unwrap().iter();
        groups.map(|group| group["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("site"), ["site0", "site1", "site2"]);
    assert_eq!(names("age:40:60"), ["40 to below 60", "60 and above", "below 40"]);
    let points = report["operating_points"].as_array().unwrap();
    assert_eq!(points.len(), report["classes"].as_array().unwrap().len());
    let changes = report["calibration"]["changes"].as_array().unwrap();
    let change = |name: &str| changes.iter().find(|change| change["name"] == name).unwrap();
    let raw = json(&home.join("raw/report.json"));
    let value = |report: &Value, name: &str| {
        let headline = report["headline"].as_array().unwrap();
        headline.iter().find(|estimate| estimate["name"] == name).unwrap()["value"].clone()
    };
    for name in ["brier", "log_loss", "ece"] {
        assert_eq!(change(name)["first"], value(&raw, name), "{name} before");
        assert_eq!(change(name)["second"], value(&report, name), "{name} after");
    }
    assert!(raw.get("calibration").is_none() && raw.get("operating_points").is_none());
    // One temperature never changes which class wins.
    assert_eq!(value(&raw, "accuracy"), value(&report, "accuracy"));

    let html = fs::read_to_string(home.join("report/report.html")).unwrap();
    for text in [
        "Calibration: temperature",
        "Operating points",
        "Largest mistakes",
        "data:image/png;base64",
        "Subgroups",
        "Learning rate",
        "duplicates.exact",
        "<h2>Audit</h2>",
        "<h2>Preprocessing</h2>",
        "<dt>Split that the model was trained with</dt><dd>yes</dd>",
        "<h2>Versions</h2>",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script") && !html.contains("src=\"http"));
    for file in ["tables.tex", "tables.md", "predictions.csv", "predictions.safetensors"] {
        assert!(fs::metadata(home.join("report").join(file)).unwrap().len() > 300, "{file}");
    }
    let plots: Vec<String> = fs::read_dir(home.join("report/plots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for plot in ["confusion", "reliability", "reliability-before", "subgroups-site-auroc-macro"] {
        for kind in ["svg", "png"] {
            assert!(plots.contains(&format!("{plot}.{kind}")), "{plot}.{kind} of {plots:?}");
        }
    }
}

/// The scores in the files are those of the model's probabilities at the stored temperature.
fn check_predictions(home: &Path, temperature: f64) {
    let rows = |folder: &str| -> Vec<Vec<String>> {
        let text = fs::read_to_string(home.join(folder).join("predictions.csv")).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_string).collect()).collect()
    };
    let (after, before) = (rows("report"), rows("raw"));
    let scores: Vec<usize> =
        (0..after[0].len()).filter(|&i| after[0][i].starts_with("score:")).collect();
    assert_eq!((after[0][0].as_str(), after[0][1].as_str()), ("id", "group"));
    assert!(after[0].contains(&"column:site".to_string()));
    for (after, before) in after.iter().zip(&before).skip(1) {
        assert_eq!(after[..3], before[..3]);
        assert_eq!(after[1], after[0].split('/').nth(1).unwrap(), "the patient");
        let number = |row: &[String], column: usize| row[column].parse::<f64>().unwrap();
        let powers: Vec<f64> =
            scores.iter().map(|&column| number(before, column).powf(1. / temperature)).collect();
        let sum: f64 = powers.iter().sum();
        for (&column, power) in scores.iter().zip(&powers) {
            assert!((number(after, column) - power / sum).abs() < 1e-5);
        }
    }
}

/// A file without calibration and split, as older versions wrote them, is evaluated as it is.
fn check_old_files_and_other_splits(home: &Path, model: &Path) {
    let file = WeightFile::open(model).unwrap();
    let mut metadata = file.metadata().clone();
    let card = metadata.get_mut("card").unwrap().as_object_mut().unwrap();
    assert!(card.remove("decisions").is_some() && card.remove("split").is_some());
    let tensors = file
        .shapes()
        .keys()
        .map(|name| (name.clone(), file.tensor(name, &Device::Cpu).unwrap()))
        .collect();
    save_weights(&home.join("old.safetensors"), &tensors, &metadata).unwrap();
    let old = ["--checkpoint", "old.safetensors", "--resamples", "2", "--output-dir", "old"];
    success("evaluate", &[&DATA, &old], home);
    let (old, raw) = (home.join("old/predictions.csv"), home.join("raw/predictions.csv"));
    assert_eq!(fs::read(old).unwrap(), fs::read(raw).unwrap());
    let html = fs::read_to_string(home.join("old/report.html")).unwrap();
    assert!(html.contains("unknown: the model&#39;s file does not say"));
    assert!(!html.contains("Learning rate"), "there is no log beside this file");

    // Another split would show patients of the training part: the report says that it is another.
    let other = ["--checkpoint", "model/best.safetensors", "--split-seed", "1"];
    let quick = ["--resamples", "2", "--output-dir", "other"];
    success("evaluate", &[&DATA, &other, &quick], home);
    let html = fs::read_to_string(home.join("other/report.html")).unwrap();
    assert!(html.contains("<dd>no: that has SHA-256 "));

    // Calibrated once more, elsewhere: the same weights, another map.
    let again =
        ["--checkpoint", "old.safetensors", "--method", "isotonic", "--out", "new.safetensors"];
    success("calibrate", &[&DATA[..6], &again], home);
    let new = WeightFile::open(&home.join("new.safetensors")).unwrap();
    assert_eq!(new.metadata()["card"]["decisions"]["calibration"]["map"]["method"], "isotonic");
    for name in file.shapes().keys() {
        let values = |file: &WeightFile| -> Vec<f32> {
            let tensor = file.tensor(name, &Device::Cpu).unwrap();
            tensor.flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(values(&file), values(&new), "{name}");
    }
}

fn check_comparison(home: &Path) {
    let report = "report/predictions.csv";
    let compared = |first: &[&str], second: &[&str]| {
        let mut flags = vec!["--resamples", "200", "--out", "compare.json", "--first"];
        flags.extend(first);
        if !second.is_empty() {
            flags.push("--second");
            flags.extend(second);
        }
        let text = success("compare", &[&flags], home);
        (text, json(&home.join("compare.json")))
    };
    // The same decisions, other probabilities; safetensors and CSV are the same predictions.
    let (text, found) = compared(&[report], &["raw/predictions.safetensors"]);
    let pair = &found["pairs"][0];
    let classes = json(&home.join("report/report.json"))["classes"].as_array().unwrap().len();
    assert_eq!(pair["delong"].as_array().unwrap().len(), classes);
    assert_eq!(pair["mcnemar"][0][1]["exact_p"], 1.0);
    let tests = pair["holm"].as_array().unwrap();
    assert_eq!(tests.len(), 5 + classes + 1);
    for test in tests {
        assert!(test[2].as_f64().unwrap() >= test[1].as_f64().unwrap(), "{test}");
    }
    assert!(text.contains("McNemar takes every sample for independent"), "{text}");
    // A model that is always right is told apart from one after three epochs.
    let table = fs::read_to_string(home.join(report)).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let mut right = rows[0].join(",") + "\n";
    for row in &rows[1..] {
        let cell = |(i, name): (usize, &&str)| match name.strip_prefix("score:") {
            Some(class) => if class == row[2] { "1" } else { "0" }.to_string(),
            None => row[i].to_string(),
        };
        right += &(rows[0].iter().enumerate().map(cell).collect::<Vec<_>>().join(",") + "\n");
    }
    fs::write(home.join("right.csv"), right).unwrap();
    let (_, found) = compared(&[report], &["right.csv"]);
    let auroc = &found["pairs"][0]["measures"][0];
    assert_eq!((auroc["name"].as_str(), auroc["second"].as_f64()), (Some("auroc_macro"), Some(1.)));
    assert!(auroc["high"].as_f64().unwrap() < 0., "{auroc}");
    for (place, name) in [(0, "permutation, auroc_macro"), (5 + classes, "McNemar, all samples")] {
        let test = &found["pairs"][0]["holm"][place];
        assert_eq!(test[0], name);
        assert!(test[2].as_f64().unwrap() < 0.06, "{test}");
    }
    // Seeds.
    let (text, found) = compared(&[report, "right.csv", report], &[]);
    let spread = &found["seeds"][0];
    assert_eq!((spread[0].as_str(), spread[2]["runs"].as_u64()), (Some("first"), Some(3)));
    assert!(text.contains("mean ± sd") && found["pairs"] == json!([]));
    let message = failure("compare", &[&["--first", report, report, "--second", report]], home);
    assert!(message.contains("give as many of each"), "{message}");
    let cut: Vec<&str> = table.lines().take(9).collect();
    fs::write(home.join("cut.csv"), cut.join("\n")).unwrap();
    let message = failure("compare", &[&["--first", report, "--second", "cut.csv"]], home);
    assert!(message.contains("cut.csv") && message.contains("samples or classes"), "{message}");
}

/// Bad predictions are refused by name of file, row and value.
#[test]
fn malformed_predictions_are_named() {
    let home = TempDir::new().unwrap();
    let header = "id,group,target,score:a,score:b\n";
    for (row, want) in [
        ("1,,a,NaN,0.5\n", "not finite"),
        ("1,,c,0.5,0.5\n", "\"c\""),
        ("1,,a,0.5\n", "bad.csv"),
        ("1,,a,half,0.5\n", "\"half\" is no number"),
    ] {
        fs::write(home.path().join("bad.csv"), format!("{header}{row}")).unwrap();
        let message = failure("compare", &[&["--first", "bad.csv"]], home.path());
        assert!(message.contains("bad.csv") && message.contains(want), "{row}: {message}");
    }
    // Scores that are no probabilities have no Brier score.
    fs::write(home.path().join("bad.csv"), format!("{header}1,,a,2.5,0.5\n2,,b,0,1\n")).unwrap();
    let files = ["--first", "bad.csv", "bad.csv", "--measures", "brier"];
    let message = failure("compare", &[&files], home.path());
    assert!(message.contains("2.5"), "{message}");
}

/// `spec/mae.md` 10.5: a published macro-F1 above the mean of its precision and recall.
#[test]
fn the_impossible_row_of_a_published_table_is_found() {
    let table = root().join("examples/tables/gastrovision_mae.md");
    let output = Command::new(example("check_table")).arg(&table).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].starts_with("GastroVision, 22 classes, test, ours: macro-F1 0.8737 is above"));
}
