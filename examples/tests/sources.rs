//! Data sets described in JSON, through the programs that train, evaluate, audit and describe.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use clap::{Args, Command};
use serde_json::{Value, json};
use tempfile::TempDir;
use vit_transforms::{Image, Pixels, encode_png};
use vitalight_examples::{
    AuditArgs, DataArgs, DescribeArgs, EvaluateArgs, FinetuneArgs, audit, describe, evaluate,
    finetune,
};

/// Flags as one would type them.
fn parse<T: Args>(flags: &[&str]) -> T {
    let command = T::augment_args(Command::new("test").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

const CLASSES: [&str; 2] = ["bright", "dark"];
/// One in each of the usual bands; the last is unknown.
const AGES: [&str; 6] = ["7", "18", "39.5", "64", "79", ""];

/// Pictures of two classes, three tables that share no patient, and their description.
fn write_data(home: &Path) -> Value {
    let mut patient = 0;
    let mut part = |name: &str, count: usize| {
        let mut table = "file,class,patient,sex,age\n".to_string();
        for _ in 0..count {
            patient += 1;
            let class = CLASSES[patient % 2];
            let level = if class == "bright" { 190 } else { 60 };
            let pixels = (0..256).map(|i| level + ((i * 7 + patient * 13) % 40) as u8).collect();
            let image = Image::new(16, 16, 1, Pixels::U8(pixels)).unwrap();
            fs::write(home.join(format!("{patient}.png")), encode_png(&image).unwrap()).unwrap();
            let sex = if patient / 2 % 2 == 0 { "female" } else { "male" };
            let age = AGES[patient / 4 % AGES.len()];
            table += &format!("{patient}.png,{class},p{patient},{sex},{age}\n");
        }
        let path = home.join(format!("{name}.csv"));
        fs::write(&path, table).unwrap();
        json!({ "reader": "table", "table": path, "root": home, "file_column": "file",
            "labels": { "single": { "column": "class", "classes": CLASSES, "skip_missing": false } },
            "group_column": "patient", "attribute_columns": ["*"] })
    };
    json!({ "train": part("train", 32), "val": part("val", 16), "test": part("test", 48) })
}

fn write_json(home: &Path, value: &Value) -> String {
    let path = home.join("sources.json");
    fs::write(&path, value.to_string()).unwrap();
    path.display().to_string()
}

fn open(home: &Path, value: &Value) -> anyhow::Result<vitalight_examples::OpenData> {
    parse::<DataArgs>(&["--data", &write_json(home, value)]).open()
}

#[track_caller]
fn refused(home: &Path, value: &Value) -> String {
    match open(home, value) {
        Ok(_) => panic!("{value} was meant to be refused"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn subgroups_come_from_the_data() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let path = write_json(home, &write_data(home));
    let folder = |name: &str| home.join(name).display().to_string();
    let data = ["--data", &path, "--input-size", "16"];

    let report = folder("audit");
    let flags = ["--subgroup", "sex", "--fail-on", "never", "--num-workers", "0", "--out", &report];
    assert!(audit(&parse::<AuditArgs>(&[&data[..2], &flags].concat())).unwrap());
    let audited = home.join("audit/audit.json").display().to_string();
    let found: Value = serde_json::from_slice(&fs::read(&audited).unwrap()).unwrap();
    let of = |label: &str, sex: &str| {
        let mut rows = found["prevalence"].as_array().unwrap().iter();
        let row = rows.find(|row| {
            row["part"] == "test" && row["label"] == label && row["subgroup"] == json!(["sex", sex])
        });
        row.unwrap()["present"].as_u64().unwrap()
    };
    assert_eq!([of("bright", "female"), of("dark", "male")], [12, 12]);

    let (model, cache) = (folder("model"), folder("cache.bin"));
    let small = ["--patch-size", "8", "--depth", "1", "--epochs", "2", "--batch-size", "8"];
    let select = ["--select", "worst:auroc_macro@sex", "--lr", "3e-3", "--output-dir", &model];
    let kept = ["--audit-report", &audited, "--cache", &cache, "--cache-side", "16"];
    let best = finetune(&parse::<FinetuneArgs>(&[&data[..], &small, &select, &kept].concat()));
    let best = best.unwrap().display().to_string();
    let log = fs::read_to_string(home.join("model/log.jsonl")).unwrap();
    assert!(log.contains("worst:auroc_macro@sex"), "{log}");

    let out = folder("report");
    let flags = ["--checkpoint", &best, "--subgroups", "sex,age", "--subgroup-measure", "accuracy"];
    let rest = ["--resamples", "20", "--audit", &audited, "--output-dir", &out];
    evaluate(&parse::<EvaluateArgs>(&[&data[..], &flags, &rest].concat())).unwrap();
    let report: Value =
        serde_json::from_slice(&fs::read(home.join("report/report.json")).unwrap()).unwrap();
    let names = |column: &str| -> Vec<String> {
        let mut all = report["subgroups"].as_array().unwrap().iter();
        let groups = all.find(|groups| groups["column"] == column).unwrap();
        let groups = groups["groups"].as_array().unwrap().iter();
        groups.map(|group| group["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("sex"), ["female", "male"]);
    let mut bands = names("age");
    bands.sort();
    assert_eq!(
        bands,
        ["(unknown)", "18 to below 40", "40 to below 65", "65 to below 80", "below 18"]
    );
    let page = fs::read_to_string(home.join("report/report.html")).unwrap();
    assert!(page.contains(found["hash"].as_str().unwrap()), "the audit's result is on the page");
    let began = "<dt>Audit that the training began with</dt><dd>this one</dd>";
    assert!(page.contains(began), "the run remembers its audit");

    // A table takes the place of what the data say; without one an unknown column is an error.
    let table = home.join("sites.csv");
    let ids = (49..=96).map(|patient| format!("{patient}.png,site{}\n", patient % 3));
    fs::write(&table, format!("id,site\n{}", ids.collect::<String>())).unwrap();
    let table = table.display().to_string();
    let flags = ["--checkpoint", &best, "--subgroups", "site", "--resamples", "2"];
    let out = ["--output-dir", &out];
    let of_data = parse::<EvaluateArgs>(&[&data[..], &flags, &out].concat());
    let message = evaluate(&of_data).unwrap_err().to_string();
    assert!(message.contains("the data tell class, sex, age"), "{message}");
    let of_table = ["--attributes", &table];
    evaluate(&parse::<EvaluateArgs>(&[&data[..], &flags, &out, &of_table].concat())).unwrap();
}

#[test]
fn parts_whole_sources_and_what_is_refused() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let parts = write_data(home);
    let sizes = |value: &Value| {
        let open = open(home, value).unwrap();
        let len = |part: &Option<std::sync::Arc<dyn vit_datasets::Dataset>>| {
            part.as_ref().map_or(0, |part| part.len())
        };
        [len(&open.whole), open.train.len(), len(&open.val), len(&open.test)]
    };
    assert_eq!(sizes(&parts), [0, 32, 16, 48]);
    // One source is split by patient; several are put together.
    let [whole, train, val, test] = sizes(&parts["test"]);
    assert_eq!((whole, train + val + test), (48, 48));
    let mut both = parts.clone();
    both["train"] = json!([parts["train"], parts["val"]]);
    both["val"] = json!(0.25);
    assert_eq!(sizes(&both), [48, 36, 12, 48]);
    both["train_fraction"] = json!(0.5);
    assert_eq!(sizes(&both), [48, 18, 12, 48]);

    let change = |key: &str, value: Value| {
        let mut changed = parts.clone();
        changed[key] = value;
        changed
    };
    // Patients of the training part in the test part: training refuses, the audit tells.
    let shared = change("test", parts["train"].clone());
    let message = refused(home, &shared);
    assert!(message.contains("allow_shared_groups") && message.contains("p1"), "{message}");
    let path = write_json(home, &shared);
    let flags = ["--data", &path, "--fail-on", "error", "--num-workers", "0"];
    assert!(!audit(&parse::<AuditArgs>(&flags)).unwrap());
    let mut allowed = shared.clone();
    allowed["allow_shared_groups"] = json!(true);
    assert_eq!(sizes(&allowed), [0, 32, 16, 32]);

    let mut other = parts["test"].clone();
    other["labels"]["single"]["classes"] = json!(["dark", "bright"]);
    let message = refused(home, &change("test", other));
    assert!(message.contains("`test` is labelled [\"dark\", \"bright\"]"), "{message}");
    let mut typo = parts["test"].clone();
    typo["atribute_columns"] = json!(["sex"]);
    let message = refused(home, &change("test", typo));
    assert!(message.contains("unknown key 'atribute_columns'"), "{message}");
    for (value, text) in [
        (json!({ "valid": {} }), "neither a data set (`reader`) nor its parts"),
        (json!({ "reader": "mine" }), "mine"),
        (change("val", json!(1.5)), "1.5 of the training part"),
        (
            change("vocabulary", json!("xray_union")),
            "`vocabulary_source`; it has nih, chexpert, mimic",
        ),
        (json!([]), "the data"),
    ] {
        let message = refused(home, &value);
        assert!(message.contains(text), "{value}: {message}");
    }
}

#[test]
fn describe_compares_with_the_card() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    // Less than the published split: the card notices.
    for class in ["Cecum", "Pylorus"] {
        fs::create_dir(home.join(class)).unwrap();
    }
    fs::write(home.join("list.csv"), "Filename,Class\na.jpg,Cecum\nb.jpg,Pylorus\n").unwrap();
    let (list, files) = (home.join("list.csv"), json!({ "missing": "unchecked" }));
    let source = json!({ "reader": "gastro_vision", "root": home, "list": list, "files": files });
    let path = write_json(home, &json!({ "train": source }));
    assert!(describe(&parse::<DescribeArgs>(&["--data", &path])).unwrap());
    let mut official = source;
    official["split"] = json!("train");
    let path = write_json(home, &json!({ "train": official }));
    assert!(describe(&parse::<DescribeArgs>(&["--data", &path])).unwrap());
    assert!(!describe(&parse::<DescribeArgs>(&["--data", &path, "--strict"])).unwrap());

    let missing = ["--data", "medmnist:breastmnist", "--data-dir", home.to_str().unwrap()];
    let message = describe(&parse::<DescribeArgs>(&missing)).unwrap_err().to_string();
    assert!(message.contains("breastmnist.npz") && message.contains("--download"), "{message}");
}
