//! The program that audits: its flags, and what it finds where mistakes were planted.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use clap::{Args, Command};
use serde_json::Value;
use tempfile::TempDir;
use vit_transforms::{Image, Pixels, encode_png};
use vitalight_examples::{AuditArgs, DataArgs, audit};

/// Flags as one would type them.
fn parse<T: Args>(flags: &[&str]) -> T {
    let command = T::augment_args(Command::new("test").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

fn refused(flags: &[&str]) -> String {
    match audit(&parse::<AuditArgs>(flags)) {
        Ok(_) => panic!("{flags:?} was meant to be refused"),
        Err(error) => format!("{error:#}"),
    }
}

fn file(home: &Path, name: &str, text: &str) -> String {
    let path = home.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Whether the audit passes, and the kinds and words of its findings.
fn findings(home: &Path, flags: &[&str]) -> (bool, Vec<(String, String)>) {
    let out = home.join("out").display().to_string();
    let passed = audit(&parse::<AuditArgs>(&[flags, &["--out", &out]].concat())).unwrap();
    let report = fs::read(home.join("out/audit.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["kind"] != "no_groups");
    (passed, findings.map(|finding| (text(finding, "kind"), text(finding, "detail"))).collect())
}

#[test]
fn flags_without_effect_are_refused() {
    let home = TempDir::new().unwrap();
    let list = file(home.path(), "list.csv", "file,label,age\na.png,x,40\n");
    let list = format!("all={list}");
    let table = file(home.path(), "ages.csv", "file,years\na.png,40\n");
    let npz = ["--data", "some.npz"];
    let of_list = ["--list", list.as_str()];
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&of_list, &["--data", "phantom"], "--data"),
        (&of_list, &["--no-pictures"], "--no-pictures"),
        (&of_list, &["--near-bits", "3"], "--near-bits"),
        (&of_list, &["--near-upright"], "--near-upright"),
        (&of_list, &["--num-workers", "1"], "--num-workers"),
        (&of_list, &["--csv-label", "label"], "--csv-label"),
        (&of_list, &["--list-separator", "|"], "--list-separator"),
        (&of_list, &["--master-label", "x"], "--master-label"),
        (&of_list, &["--attributes-key", "file"], "--attributes-key"),
        (&of_list, &["--max-age", "100"], "--max-age"),
        (&of_list, &["--attributes", &table], "none of its columns"),
        (&of_list, &["--phantom-len", "9"], "--phantom-len"),
        (&npz, &["--group-separator", "_"], "--group-separator"),
        (&npz, &["--split-seed", "1"], "--split-seed"),
        (&npz, &["--list-label", "x"], "--list-label"),
        (&npz, &["--list-file", "x"], "--list-file"),
        (&npz, &["--download"], "--download"),
        (&npz, &["--no-pictures", "--near-correlation", "0.9"], "--near-correlation"),
        (&[], &["--crop-pct", "0.9"], "--crop-pct"),
        (&[], &["--cache", "x"], "--cache"),
        (&[], &["--audit-report", "x"], "--audit-report"),
        (&["--data", "medmnist:breastmnist"], &["--mirror", "x"], "--mirror"),
    ];
    for (data, flags, name) in cases {
        let message = refused(&[*data, *flags].concat());
        assert!(message.contains(name), "{flags:?}: {message}");
    }
    // What is out of range, and parts of one name.
    let message = refused(&["--phantom-len", "9", "--near-bits", "300"]);
    assert!(message.contains("near_bits: 300 is more than"), "{message}");
    let message = refused(&["--list", &list, "--list", &list]);
    assert!(message.contains("two parts have the name 'all'"), "{message}");
    // The same flags where they have an effect.
    let fine = ["--list-label", "label", "--list-separator", "|", "--master", &list[4..]];
    assert_eq!(findings(home.path(), &[&of_list[..], &fine].concat()), (true, vec![]));
    let text = fs::read_to_string(home.path().join("out/audit.txt")).unwrap();
    assert!(text.contains("options: pictures not read"), "{text}");
    let phantoms = ["--phantom-len", "9", "--near-bits", "3", "--num-workers", "0"];
    assert!(audit(&parse::<AuditArgs>(&phantoms)).unwrap());
}

#[test]
fn nested_lists_are_checked_beside_the_data() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let all = file(home, "all.csv", "name\na.png\nb.png\nc.png\n");
    let some = file(home, "some.csv", "name\na.png\nb.png\n");
    let nested = format!("{some},{all}");
    let message = refused(&["--nested", &nested]);
    assert!(message.contains("--nested alone") && message.contains("--list all="), "{message}");
    let message = refused(&["--nested", &nested, "--data", "phantom"]);
    assert!(message.contains("made-up pictures are in no list"), "{message}");
    assert!(refused(&["--nested", &all]).contains("at least two lists"));

    let list = format!("all={all}");
    let flags = ["--list", &list, "--list-file", "name", "--nested"];
    let of = |nested: &str| findings(home, &[&flags[..], &[nested]].concat());
    assert_eq!(of(&nested), (true, vec![]));
    // One of the smallest list is not in the next.
    let few = file(home, "few.csv", "name\nc.png\na.png\n");
    let detail = "1 of few.csv are not in some.csv; the first is c.png".to_owned();
    assert_eq!(of(&format!("{few},{nested}")), (false, vec![("not_nested".into(), detail)]));
}

#[test]
fn the_master_table_may_have_other_columns() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let list = file(home, "list.csv", "Path,Edema,Mass\np1/a.png,1,0\np2/a.png,0,1\n");
    let text = "Image Index;Finding Labels\np1/a.png;Edema|Hernia\np2/a.png;No Finding\n";
    let master = file(home, "master.csv", text);
    let list = format!("train={list}");
    let flags = [
        ["--list", &list, "--list-file", "Path", "--list-label", "Edema,Mass"],
        ["--master", &master, "--master-file", "Image Index", "--master-delimiter", ";"],
    ];
    let labels = ["--master-label", "Finding Labels", "--master-separator", "|"];
    let found = findings(home, &[&flags.concat()[..], &labels].concat());
    let detail = "train: p2/a.png is 'Mass', in the master table 'No Finding'".to_owned();
    assert_eq!(found, (false, vec![("label_disagreement".into(), detail)]));
}

/// Training refuses a folder with a patient in two splits; the audit says which.
#[test]
fn a_folder_with_a_shared_patient() {
    let home = TempDir::new().unwrap();
    let root = home.path().join("data");
    let put = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = Image::new(16, 16, 1, Pixels::U8((0..=255).collect())).unwrap();
        fs::write(path, encode_png(&image).unwrap()).unwrap();
    };
    for name in ["train/a/p1_1.png", "train/b/p2_1.png", "test/a/p3_1.png", "test/b/p4_1.png"] {
        put(name);
    }
    let path = root.display().to_string();
    let data = ["--data", path.as_str(), "--group-separator", "_"];
    let flags = [&data[..], &["--no-pictures"]].concat();
    parse::<DataArgs>(&data).open().map(|_| ()).unwrap();
    assert_eq!(findings(home.path(), &flags), (true, vec![]));

    put("test/a/p2_9.png");
    let message = match parse::<DataArgs>(&data).open() {
        Ok(_) => panic!("patient p2 is in two parts"),
        Err(error) => format!("{error:#}"),
    };
    assert!(message.contains("'p2'") && message.contains("--group-separator"), "{message}");
    let detail = "patient 'p2' has 2 pictures in train, test".to_owned();
    assert_eq!(findings(home.path(), &flags), (false, vec![("shared_group".into(), detail)]));
    // Without patients nobody can tell.
    assert!(parse::<DataArgs>(&data[..2]).open().is_ok());
}
