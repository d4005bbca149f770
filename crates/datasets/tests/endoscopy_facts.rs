//! Facts of the official lists of `GastroVision` and `HyperKvasir` that readers and recipes rely on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::write_png;
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use vit_datasets::{
    CsvLabels, CsvOptions, CsvTable, Dataset, FileOptions, GastroVision, GastroVisionClasses,
    HyperKvasir, HyperKvasirClasses, HyperKvasirPart, OnMissing, Split, check_group_disjoint,
    describe,
};

fn unchecked() -> FileOptions {
    FileOptions { missing: OnMissing::Unchecked, ..FileOptions::default() }
}

const LISTS: [(Split, &str); 3] = [
    (Split::Train, "gastrovision_train.csv"),
    (Split::Val, "gastrovision_validate.csv"),
    (Split::Test, "gastrovision_test.csv"),
];

fn gastrovision(root: &Path, split: Split, list: &str) -> impl Dataset {
    let reader = GastroVision {
        split: Some(split),
        list: Some(root.join(list)),
        classes: GastroVisionClasses::ByFrequency22,
        files: unchecked(),
        ..GastroVision::new(root)
    };
    reader.open().unwrap()
}

/// Class and file name of every sample.
fn names(data: &dyn Dataset) -> Vec<(String, String)> {
    let pair = |index| {
        let id = data.record(index).unwrap().id;
        let (class, name) = id.rsplit_once('/').unwrap();
        (class.to_owned(), name.to_owned())
    };
    (0..data.len()).map(pair).collect()
}

/// Keyed by name alone, 14 pictures of training would also be tested on.
#[test]
fn names_of_gastrovision_that_are_in_several_classes() {
    let Some(root) = common::data("endoscopy") else { return };
    let mut found: BTreeMap<String, (BTreeSet<String>, BTreeSet<&str>)> = BTreeMap::new();
    let mut parts = Vec::new();
    for (split, list) in LISTS {
        let data = gastrovision(&root, split, list);
        for (class, name) in names(&data) {
            let entry = found.entry(name).or_default();
            entry.0.insert(class);
            entry.1.insert(split.name());
        }
        parts.push(data);
    }
    let several = || found.values().filter(|(classes, _)| classes.len() > 1);
    assert_eq!(several().count(), 24);
    assert_eq!(several().filter(|(_, splits)| splits.len() > 1).count(), 14);
    // Known by class and name, no picture is in two parts.
    let parts: Vec<&dyn Dataset> = parts.iter().map(|part| part as &dyn Dataset).collect();
    check_group_disjoint(&parts).unwrap();
}

#[test]
fn sizes_of_the_pictures_of_gastrovision() {
    let Some(root) = common::data("endoscopy") else { return };
    let list = root.join("gastrovision_GastroVision_metadata.csv");
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.lines().count() == 8001 && text.contains("\r\n"));
    // The metadata have no patients, but a size of every picture: as a table of one's own. Names
    // alone stand twice, which a table refuses.
    let mut options = CsvOptions::new(&root, "Filename");
    options.missing = OnMissing::Unchecked;
    let message = CsvTable::open(&list, &options).unwrap_err().to_string();
    assert!(message.contains("is already in line"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let mut table = "file,size\n".to_owned();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let [name, class, width, height, _] = cells.as_slice() else { panic!("{line}") };
        table += &format!("{class}/{name},{width}x{height}\n");
    }
    let path = folder.path().join("sizes.csv");
    std::fs::write(&path, table).unwrap();
    write_png(&folder.path().join("any.png"), 1);
    let mut options = CsvOptions::new(folder.path(), "file");
    options.missing = OnMissing::Unchecked;
    options.labels =
        CsvLabels::Single { column: "size".into(), classes: None, skip_missing: false };
    let sizes = describe(&CsvTable::open(&path, &options).unwrap()).unwrap();
    let mut counts: Vec<(&str, usize)> =
        sizes.classes.iter().map(|class| (&*class.name, class.present)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let expected = [
        ("768x576", 3890),
        ("720x576", 2647),
        ("1280x1024", 976),
        ("1920x1072", 347),
        ("1350x1064", 67),
        ("1350x1080", 65),
        ("1232x1048", 8),
    ];
    assert_eq!(counts, expected);
}

/// n / (K · count of the class), as `SSL-Endoscopy-MAE` weighs the loss.
fn weights(data: &dyn Dataset) -> Vec<f64> {
    let description = describe(data).unwrap();
    let classes = description.classes.len() as f64;
    let weight = |present: usize| description.len as f64 / (classes * present as f64);
    description.classes.iter().map(|class| weight(class.present)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn class_weights_of_the_training_parts() {
    let Some(root) = common::data("endoscopy") else { return };
    let train = gastrovision(&root, Split::Train, LISTS[0].1);
    let expected = [
        0.245713, 0.284884, 0.372164, 0.425644, 0.439486, 0.916217, 1.092057, 1.470934, 1.757945,
        1.801894, 2.099294, 2.54385, 2.574134, 2.574134, 3.179813, 3.378551, 3.793461, 3.931405,
        5.405682, 5.544289, 12.719251, 12.719251,
    ];
    assert_close(&weights(&train), &expected);

    let fold = |classes| {
        let list = Some(root.join("hyperkvasir_2_fold_split.csv"));
        let (part, files) = (HyperKvasirPart::Fold(0), unchecked());
        HyperKvasir { list, part, files, classes, ..HyperKvasir::new(&root) }.open().unwrap()
    };
    let expected = [
        1.012964, 0.570013, 0.649182, 0.653069, 0.662323, 1.627799, 2.516827, 5.033654, 0.636552,
        0.655686, 1.677885, 0.856512, 3.271875, 1.480486, 4.957386, 0.702119,
    ];
    assert_close(&weights(&fold(HyperKvasirClasses::Large16)), &expected);
    let all = fold(HyperKvasirClasses::All23);
    let mut found = weights(&all);
    let largest = (0..23).max_by(|&a, &b| found[a].total_cmp(&found[b])).unwrap();
    assert_eq!(all.task().names()[largest], "hemorroids");
    found.sort_by(f64::total_cmp);
    assert_close(&[found[0], found[22]], &[0.403272, 77.159420]);
}

#[test]
fn the_split_files_are_the_published_ones() {
    let Some(root) = common::data("endoscopy") else { return };
    for (name, md5) in [
        ("hyperkvasir_2_fold_split.csv", "41ec09e1b49330d9171281f3bc367115"),
        ("hyperkvasir_5_fold_split.csv", "f46d52b351f529bfb8b24843c84cfe2e"),
    ] {
        let bytes = std::fs::read(root.join(name)).unwrap();
        assert_eq!(HEXLOWER.encode(&Md5::digest(bytes)), md5, "{name}");
    }
}
