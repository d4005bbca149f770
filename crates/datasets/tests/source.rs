//! Data sets described in JSON.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use common::write_png;
use vit_datasets::{DataSource, Error, Task};

#[test]
fn sources_from_json_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["train/x/a.png", "train/y/b.png", "Cecum/c.jpg"] {
        write_png(&root.join(name), 1);
    }
    std::fs::write(root.join("t.csv"), "file;label\ntrain/x/a.png;1\n").unwrap();
    std::fs::write(root.join("list.txt"), "train/x/a.png 0\n").unwrap();
    std::fs::write(root.join("g.csv"), "Filename,Class\nc.jpg,Cecum\n").unwrap();
    let root = root.to_str().unwrap();
    for (text, len, labels) in [
        (r#"{"reader": "folder", "root": "ROOT", "split": "train"}"#, 2, 2),
        (
            r#"{"reader": "folder", "root": "ROOT", "unlabelled": true,
                "group": {"file_name_prefix": {"separator": "_"}}}"#,
            3,
            0,
        ),
        (
            r#"{"reader": "table", "table": "ROOT/t.csv", "root": "ROOT", "file_column": "file",
                "delimiter": 59, "labels": {"multi": {"columns": ["label"]}}}"#,
            1,
            1,
        ),
        (r#"{"reader": "path_list", "root": "ROOT", "list": "ROOT/list.txt"}"#, 1, 1),
        (r#"{"reader": "gastro_vision", "root": "ROOT", "list": "ROOT/g.csv"}"#, 1, 22),
    ] {
        let path = folder.path().join("source.json");
        std::fs::write(&path, text.replace("ROOT", root)).unwrap();
        let source = DataSource::read(&path).unwrap();
        let data = source.open().unwrap();
        assert_eq!((data.len(), data.task().names().len()), (len, labels), "{text}");
        assert_eq!(data.get(0).unwrap().image, common::grey(6, 4, 1));
        // Written and read again it is the same.
        let again: DataSource =
            serde_json::from_str(&serde_json::to_string(&source).unwrap()).unwrap();
        assert_eq!(again.open().unwrap().len(), len);
    }
    for text in ["{}", "{\"reader\": \"mine\"}", "{\"reader\": \"folder\"}", "[", ""] {
        let path = folder.path().join("source.json");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(DataSource::read(&path), Err(Error::Json { .. })), "{text}");
    }
}

#[test]
fn the_real_files_by_description() {
    let Some(root) = common::data("medmnist") else { return };
    let path = root.join("breastmnist.npz");
    let text = serde_json::json!({"reader": "med_mnist", "path": path, "split": "test"});
    let source: DataSource = serde_json::from_value(text).unwrap();
    let data = source.open().unwrap();
    assert_eq!(data.len(), 156);
    assert!(matches!(data.task(), Task::SingleLabel { classes } if classes.len() == 2));
}

#[test]
fn keys_that_no_reader_has_are_refused_at_any_depth() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.json");
    let policy = r#"{"name": "own", "findings": [{"finding": "Edema", "uncertain": "ones",
                      "blnak": "missing"}]}"#;
    for (key, text) in [
        ("splt", r#"{"reader": "folder", "root": "r", "splt": "train"}"#.to_owned()),
        (
            "skip_mising",
            r#"{"reader": "table", "table": "t.csv", "file_column": "f",
                "labels": {"single": {"column": "c", "skip_mising": true}}}"#
                .to_owned(),
        ),
        (
            "mising",
            r#"{"reader": "rsna_pneumonia", "root": "r", "files": {"mising": "skip"}}"#.to_owned(),
        ),
        (
            "blnak",
            format!(
                r#"{{"reader": "che_xpert", "root": "r", "split": "val", "policy": {policy}}}"#
            ),
        ),
    ] {
        std::fs::write(&path, &text).unwrap();
        let read = DataSource::read(&path).unwrap_err().to_string();
        let parsed = DataSource::parse(&text).unwrap_err().to_string();
        for message in [&read, &parsed] {
            let by_us = message.contains(&format!("unknown key '{key}'; known are"));
            let by_serde = message.contains(&format!("unknown field `{key}`, expected"));
            assert!(by_us || by_serde, "{message}");
        }
        assert!(read.contains("source.json"), "{read}");
        assert!(DataSource::parse(&text.replace(key, "#")).is_err());
    }
}

/// The pictures of one set are the same in every size.
#[test]
fn sizes_of_medmnist_are_one_population() {
    let population = |path: &str| {
        let text = serde_json::json!({"reader": "med_mnist", "path": path, "split": "test"});
        serde_json::from_value::<DataSource>(text).unwrap().population()
    };
    assert_eq!(population("a/pathmnist_64.npz"), population("b/pathmnist.npz"));
    assert_ne!(population("pathmnist.npz"), population("bloodmnist.npz"));
    assert_eq!(population("mine_64.npz"), "mine_64");
}

#[cfg(feature = "dicom")]
#[test]
fn the_rule_for_dicom_is_read_from_json() {
    let text = r#"{"reader": "rsna_pneumonia", "root": "r",
                   "files": {"decode": {"dicom": "max_to_255", "limits": {"max_bytes": 9}}}}"#;
    let source: DataSource = serde_json::from_str(text).unwrap();
    let DataSource::RsnaPneumonia(reader) = source else { panic!("another reader") };
    assert_eq!(reader.files.decode.dicom, vit_transforms::DicomRule::MaxTo255);
    assert_eq!(reader.files.decode.limits.max_bytes, 9);
    assert!(serde_json::from_str::<DataSource>(&text.replace("max_bytes", "max_byte")).is_err());
    let text = r#"{"reader": "folder", "root": "r", "decode": {"orientation": true}}"#;
    let source: DataSource = serde_json::from_str(text).unwrap();
    assert!(matches!(source, DataSource::Folder { options, .. } if options.decode.orientation));
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    for text in [
        r#"{"reader": "med_mnist", "path": "a.npz", "split": "train", "split": "test"}"#,
        r#"{"reader": "folder", "root": "r", "group": {"file_name_prefix": {"separator": "_", "separator": "-"}}}"#,
    ] {
        let message = DataSource::parse(text).unwrap_err().to_string();
        assert!(message.contains("stands twice"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.json");
        std::fs::write(&path, text).unwrap();
        let error = DataSource::read(&path).unwrap_err();
        assert!(matches!(&error, Error::Json { .. }), "{error}");
    }
    let text = r#"[null, true, -1, 18446744073709551615, 0.25, "x", {"a": {"b": []}, "b": 1}]"#;
    assert_eq!(
        vit_datasets::parse_json(text).unwrap().to_string(),
        text.replace(", ", ",").replace(": ", ":")
    );
}

/// As every table may be.
#[test]
fn a_description_may_be_packed() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.json.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packed.write_all(br#"{"reader": "folder", "root": "nowhere"}"#).unwrap();
    packed.finish().unwrap();
    let source = DataSource::read(&path).unwrap();
    assert!(matches!(source, DataSource::Folder { root, .. } if root.ends_with("nowhere")));
}
