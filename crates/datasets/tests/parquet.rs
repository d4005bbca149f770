//! Parquet files as pyarrow writes them (`fixtures/make_parquet.py`), whole and damaged.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::{Path, PathBuf};

use common::{grey, write_png};
use vit_datasets::{CsvLabels, CsvOptions, CsvTable, Dataset, Error, ParquetImages, Target, Task};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images.parquet")
}

fn options() -> CsvOptions {
    let mut options = CsvOptions::new("", "");
    options.labels =
        CsvLabels::Single { column: "label".into(), classes: None, skip_missing: false };
    options.group_column = Some("patient".into());
    options.attribute_columns = vec!["sex".into(), "ill".into()];
    options
}

#[test]
fn pictures_in_groups_and_plain_columns() {
    for (column, add) in [("image", 0), ("raw", 1)] {
        let data = ParquetImages::open(&fixture(), column, &options()).unwrap();
        assert_eq!((data.len(), data.task().names()), (3, &["0", "1", "2"].map(str::to_owned)[..]));
        for (index, value) in [10, 20, 30].into_iter().enumerate() {
            assert_eq!(data.get(index).unwrap().image, grey(6, 4, value + add));
        }
        assert_eq!(data.record(0).unwrap().target, Target::Class(1));
        assert_eq!(data.record(2).unwrap().group, "p2");
        assert_eq!(data.attribute(1, "sex").unwrap().as_deref(), Some("M"));
        assert_eq!(data.attribute(2, "sex").unwrap(), None);
        assert_eq!(data.attribute(0, "ill").unwrap().as_deref(), Some("1"));
    }
    let mut findings = options();
    findings.labels = CsvLabels::Multi { columns: vec!["edema".into()] };
    let data = ParquetImages::open(&fixture(), "image", &findings).unwrap();
    let target = |index: usize| data.record(index).unwrap().target;
    assert_eq!(target(0), Target::Labels(vec![Some(1.0)]));
    assert_eq!(target(1), Target::Labels(vec![None]));
    assert_eq!(target(2), Target::Labels(vec![Some(0.25)]));
    // A filter keeps pictures and rows together.
    let filter = vit_datasets::CsvFilter { column: "sex".into(), value: "M".into() };
    let filtered = CsvOptions { filter: Some(filter), ..options() };
    let data = ParquetImages::open(&fixture(), "image", &filtered).unwrap();
    assert_eq!((data.len(), data.get(0).unwrap().image), (1, grey(6, 4, 20)));

    let error = ParquetImages::open(&fixture(), "picture", &options()).unwrap_err();
    assert!(error.to_string().contains("no column 'picture'; it has image, raw"), "{error}");
    let error = ParquetImages::open(&fixture(), "label", &options()).unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
}

#[test]
fn a_source_in_json() {
    let text = serde_json::json!({"reader": "parquet", "path": fixture(), "column": "image",
        "labels": {"single": {"column": "label"}}, "group_column": "patient"});
    let source: vit_datasets::DataSource = serde_json::from_value(text).unwrap();
    assert_eq!(source.open().unwrap().record(2).unwrap().group, "p2");
}

#[test]
fn the_bytes_in_memory_have_a_limit() {
    let open = |max_bytes| {
        let options = CsvOptions { max_bytes, ..options() };
        ParquetImages::open(&fixture(), "image", &options)
    };
    // The least that is enough, and one less.
    let enough = (1..).find(|&bytes| open(Some(bytes)).is_ok()).unwrap();
    assert!(enough > 3 * 60, "three PNG: {enough}");
    let message = open(Some(enough - 1)).unwrap_err().to_string();
    assert!(message.contains("images.parquet"), "{message}");
    let words = format!("more than {} bytes together", enough - 1);
    assert!(
        message.contains(&words) && message.contains("allow more with `max_bytes`"),
        "{message}"
    );
    // It holds for all files together.
    let twice = [fixture(), fixture()];
    let options = |max_bytes| CsvOptions { max_bytes: Some(max_bytes), ..options() };
    assert!(ParquetImages::open_shards(&twice, "image", &options(2 * enough - 1)).is_err());
    assert_eq!(ParquetImages::open_shards(&twice, "image", &options(2 * enough)).unwrap().len(), 6);
    // A table of text has one too.
    let folder = tempfile::tempdir().unwrap();
    write_png(&folder.path().join("a.png"), 4);
    std::fs::write(folder.path().join("t.csv"), "file\na.png\n").unwrap();
    let open = |max_bytes| {
        let options = CsvOptions { max_bytes, ..CsvOptions::new(folder.path(), "file") };
        CsvTable::open(&folder.path().join("t.csv"), &options)
    };
    assert_eq!(open(Some(11)).unwrap().len(), 1);
    assert!(open(Some(10)).unwrap_err().to_string().contains("more than 10 bytes of text"));
    let text = serde_json::json!({"reader": "parquet", "path": fixture(), "column": "image",
        "max_bytes": 10});
    let source: vit_datasets::DataSource = serde_json::from_value(text).unwrap();
    assert!(source.open().err().unwrap().to_string().contains("more than 10 bytes together"));
}

#[test]
fn a_table_of_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "sub/c.png", "a2.png"] {
        write_png(&folder.path().join(name), 4);
    }
    let mut options = CsvOptions::new(folder.path(), "file");
    options.labels = CsvLabels::Multi { columns: vec!["edema".into(), "ill".into()] };
    let data = CsvTable::open(&fixture(), &options).unwrap();
    assert_eq!(data.record(1).unwrap().id, "sub/c.png");
    assert_eq!(data.record(1).unwrap().target, Target::Labels(vec![None, Some(0.0)]));
    assert!(matches!(data.task(), Task::MultiLabel { .. }));
    assert_eq!(data.get(2).unwrap().image, grey(6, 4, 4));
}

#[test]
fn truncated_and_flipped() {
    let whole = std::fs::read(fixture()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.parquet");
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = ParquetImages::open(&path, "image", &options()).unwrap_err();
        assert!(error.to_string().contains("cut.parquet"), "{error}");
    }
    for position in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(data) = ParquetImages::open(&path, "image", &options()) {
            for index in 0..data.len() {
                let _ = data.get(index);
            }
        }
    }
}
