//! Data sets of the hub, from a server on loopback (`fixtures/make_hub.py`).
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../hub/tests/support/server.rs"]
mod server;

use std::path::Path;

use common::grey;
use server::{COMMIT, Faults, Server};
use vit_datasets::{
    CsvLabels, DataSource, Dataset, Error, HubDataset, HubFault, HubImages, HubOptions,
    ParquetImages, Result, Target,
};

const FILES: [&str; 5] = [
    "default/train/0000.parquet",
    "default/train/0001.parquet",
    "default/validation/0000.parquet",
    "default/test/0000.parquet",
    "binary/train/0000.parquet",
];

fn fixture(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(root.join(name)).unwrap()
}

fn repository() -> Vec<(&'static str, Vec<u8>)> {
    FILES.iter().map(|name| (*name, fixture(&format!("hub/{name}")))).collect()
}

fn single(classes: Option<&[&str]>) -> CsvLabels {
    let classes = classes.map(|names| names.iter().map(ToString::to_string).collect());
    CsvLabels::Single { column: "label".into(), classes, skip_missing: false }
}

fn reader(split: &str) -> HubDataset {
    let mut reader = HubDataset::new("owner/name", split);
    reader.config = Some("default".into());
    reader.options.labels = single(None);
    reader.options.group_column = Some("patient".into());
    reader
}

fn open(server: &Server, cache: &Path, reader: &HubDataset) -> Result<HubImages> {
    let mut options = HubOptions::new(cache);
    options.endpoint.clone_from(&server.endpoint);
    options.retries = 0;
    reader.open_with(options, &mut |_| ())
}

fn message(result: Result<HubImages>) -> String {
    result.unwrap_err().to_string()
}

fn check_train(data: &dyn Dataset) {
    assert_eq!(data.task().names(), ["polyp", "normal", "ulcer"]);
    let rows = [(10, 1, "p0"), (20, 1, "p1"), (30, 0, "p1"), (40, 0, "p2"), (50, 2, "p2")];
    assert_eq!(data.len(), rows.len());
    for (index, (value, class, group)) in rows.into_iter().enumerate() {
        let sample = data.get(index).unwrap();
        assert_eq!(sample.image, grey(6, 4, value));
        assert_eq!(sample.record.target, Target::Class(class));
        assert_eq!(sample.record.group, group);
        assert_eq!(sample.record.id, format!("train/{index:09}"));
    }
}

#[test]
fn a_split_in_two_files_and_then_offline() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let data = open(&server, cache.path(), &reader("train")).unwrap();
    check_train(&data);
    assert_eq!((data.commit(), data.licence()), (COMMIT, Some("cc-by-4.0")));
    server.take_seen();

    let text = serde_json::json!({"reader": "hub", "repo": "owner/name", "config": "default",
        "split": "train", "cache": cache.path(), "offline": true, "group_column": "patient",
        "labels": {"single": {"column": "label"}}});
    let source: DataSource = serde_json::from_value(text).unwrap();
    check_train(source.open().unwrap().as_ref());
    // A split that was never fetched is missed, not overlooked.
    let other = HubDataset { offline: true, ..reader("test") };
    let error = open(&server, cache.path(), &other).unwrap_err();
    let missed = matches!(&error, Error::Hub { fault: HubFault::NotCached { file: Some(f) }, .. }
        if f == "default/test/0000.parquet");
    assert!(missed, "{error}");
    assert!(server.take_seen().is_empty());
}

#[test]
fn wrong_names_are_told_the_right_ones() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let get = |reader: &HubDataset| message(open(&server, cache.path(), reader));
    let text = get(&reader("dev"));
    assert!(text.contains("'dev' is none of test, train, validation"), "{text}");
    let text = get(&HubDataset { config: None, ..reader("train") });
    assert!(text.contains("name one of binary, default"), "{text}");
    let text = get(&HubDataset { config: Some("x".into()), ..reader("train") });
    assert!(text.contains("'x' is none of binary, default"), "{text}");
    let text = get(&HubDataset { repo: "owner/../name".into(), ..reader("train") });
    assert!(text.contains("does not read owner/name"), "{text}");
}

#[test]
fn broken_and_wrong_transfers() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { cut: Some((1000, 1)), ..Faults::default() });
    let error = open(&server, cache.path(), &reader("train")).unwrap_err();
    assert!(matches!(error, Error::Hub { fault: HubFault::Truncated { got: 1000, .. }, .. }));
    server.take_seen();
    check_train(&open(&server, cache.path(), &reader("train")).unwrap());
    let ranges: Vec<_> =
        server.take_seen().into_iter().filter(|s| s.storage).filter_map(|s| s.range).collect();
    assert_eq!(ranges, ["bytes=1000-"]);
    server.set(Faults { wrong_bytes: true, ..Faults::default() });
    let error = open(&server, cache.path(), &reader("test")).unwrap_err();
    assert!(matches!(error, Error::Hub { fault: HubFault::Checksum { .. }, .. }), "{error}");
}

#[test]
fn foreign_lists() {
    let cache = tempfile::tempdir().unwrap();
    let parquet = fixture("hub/default/test/0000.parquet");
    let server = Server::start(&[("../train/0000.parquet", parquet.clone())]);
    let text = message(open(&server, cache.path(), &reader("train")));
    assert!(text.contains("is not a file of the repository"), "{text}");
    // Of three files the second is not there.
    let names = ["data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet"];
    let server = Server::start(&names.map(|name| (name, parquet.clone())));
    let text = message(open(&server, cache.path(), &reader("train")));
    assert!(text.contains("files [1] of 'train' are not listed"), "{text}");
    let server = Server::start(&[("data/test-00000-of-00001-0a.parquet", parquet)]);
    assert_eq!(open(&server, cache.path(), &reader("test")).unwrap().len(), 2);
}

#[test]
fn the_column_of_pictures() {
    let cache = tempfile::tempdir().unwrap();
    // Two columns of bytes, and no note which of them is the picture.
    let server = Server::start(&[("default/train/0000.parquet", fixture("images.parquet"))]);
    let text = message(open(&server, cache.path(), &reader("train")));
    assert!(text.contains("name one of image, raw"), "{text}");
    let named = HubDataset { column: Some("raw".into()), ..reader("train") };
    let data = open(&server, cache.path(), &named).unwrap();
    assert_eq!(data.get(0).unwrap().image, grey(6, 4, 11));
    assert_eq!(data.task().names(), ["0", "1", "2"]);
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("default/train/0000.parquet", fixture("no_image.parquet"))]);
    let text = message(open(&server, cache.path(), &reader("train")));
    assert!(text.contains("no column of pictures among label, name"), "{text}");
}

#[test]
fn class_names_of_a_file_on_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub");
    let path = root.join(FILES[0]);
    let classes = |asked: Option<&[&str]>| {
        let labels = single(asked);
        let data = ParquetImages::open(
            &path,
            "image",
            &vit_datasets::CsvOptions { labels, ..vit_datasets::CsvOptions::new("", "") },
        )
        .unwrap();
        (data.task().names().to_vec(), data.record(0).unwrap().target)
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(classes(None), (names(&["polyp", "normal", "ulcer"]), Target::Class(1)));
    let asked = ["normal", "polyp"];
    assert_eq!(classes(Some(&asked)), (names(&asked), Target::Class(0)));
    let numbers = ["1", "0", "2"];
    assert_eq!(classes(Some(&numbers)), (names(&numbers), Target::Class(0)));
}
