//! MedMNIST files, whole and damaged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::{Path, PathBuf};

use common::{Npy, npy, write_npz};
use vit_datasets::{
    Dataset, Error, MedMnist, MedMnistInfo, MedMnistTask, Split, Target, Task, describe,
};
use vit_transforms::Pixels;

/// Arrays of a small valid file: 2 training, 1 validation and 1 test pictures of 2 x 3.
fn arrays() -> Vec<Npy<'static>> {
    vec![
        npy("train_images", "|u1", "(2, 2, 3)", (0..12).collect()),
        npy("train_labels", "|u1", "(2, 1)", vec![0, 1]),
        npy("val_images", "|u1", "(1, 2, 3)", vec![0; 6]),
        npy("val_labels", "|u1", "(1, 1)", vec![2]),
        npy("test_images", "|u1", "(1, 2, 3)", vec![0; 6]),
        npy("test_labels", "|u1", "(1, 1)", vec![0]),
    ]
}

fn with(name: &str, change: impl FnOnce(&mut Npy<'static>)) -> Vec<Npy<'static>> {
    let mut arrays = arrays();
    change(arrays.iter_mut().find(|array| array.name == name).unwrap());
    arrays
}

fn file(folder: &Path, arrays: &[Npy<'_>]) -> PathBuf {
    let path = folder.join("toymnist.npz");
    write_npz(&path, arrays);
    path
}

/// The message of the error that these arrays give for the training split.
fn error(arrays: &[Npy<'_>]) -> String {
    let folder = tempfile::tempdir().unwrap();
    MedMnist::open(&file(folder.path(), arrays), Split::Train).unwrap_err().to_string()
}

#[test]
fn the_real_files() {
    let Some(root) = common::data("medmnist") else { return };
    let expected = [
        ("breastmnist.npz", [546, 78, 156], [[147, 399], [21, 57], [42, 114]]),
        ("pneumoniamnist.npz", [4708, 524, 624], [[1214, 3494], [135, 389], [234, 390]]),
    ];
    for (name, counts, classes) in expected {
        for (position, split) in Split::ALL.into_iter().enumerate() {
            let data = MedMnist::open(&root.join(name), split).unwrap();
            assert_eq!(data.len(), counts[position]);
            let description = describe(&data).unwrap();
            assert_eq!(description.groups, data.len());
            assert_eq!(description.differences(), [], "{description}");
            let present: Vec<usize> = description.classes.iter().map(|c| c.present).collect();
            assert_eq!(present, classes[position], "{name} {split}");
            let sample = data.get(data.len() - 1).unwrap();
            assert_eq!((sample.image.width(), sample.image.height()), (28, 28));
            assert_eq!(sample.record.id, format!("{split}/{:05}", data.len() - 1));
        }
    }
    let data = MedMnist::open(&root.join("breastmnist.npz"), Split::Val).unwrap();
    assert_eq!(data.task().names(), ["malignant", "normal, benign"]);
}

#[test]
fn a_small_file_reads_as_written_and_knows_the_classes_of_all_splits() {
    let folder = tempfile::tempdir().unwrap();
    let data = MedMnist::open(&file(folder.path(), &arrays()), Split::Train).unwrap();
    assert_eq!(data.task().names(), ["0", "1", "2"]);
    let sample = data.get(1).unwrap();
    assert_eq!(sample.image.pixels(), &Pixels::U8((6..12).collect()));
    assert_eq!((sample.image.width(), sample.image.height()), (3, 2));
    assert_eq!(sample.record.target, Target::Class(1));
    assert!(matches!(data.get(2), Err(Error::Index { index: 2, len: 2 })));
}

#[test]
fn labels_of_other_shapes_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let mut wide = vec![0; 16];
    wide[0] = 2;
    let arrays = with("train_labels", |array| {
        *array = npy("train_labels", "<i8", "(2,)", wide);
    });
    let data = MedMnist::open(&file(folder.path(), &arrays), Split::Train).unwrap();
    assert_eq!(data.record(0).unwrap().target, Target::Class(2));

    let multi = vec![
        npy("train_images", "|u1", "(1, 2, 2, 3)", vec![9; 12]),
        npy("train_labels", "|u1", "(1, 3)", vec![1, 0, 1]),
        npy("val_images", "|u1", "(0, 2, 2, 3)", vec![]),
        npy("val_labels", "|u1", "(0, 3)", vec![]),
        npy("test_images", "|u1", "(0, 2, 2, 3)", vec![]),
        npy("test_labels", "|u1", "(0, 3)", vec![]),
    ];
    let path = file(folder.path(), &multi);
    let data = MedMnist::open(&path, Split::Train).unwrap();
    assert_eq!(data.get(0).unwrap().image.channels(), 3);
    assert!(matches!(data.task(), Task::MultiLabel { findings } if findings.len() == 3));
    let labels = vec![Some(1.0), Some(0.0), Some(1.0)];
    assert_eq!(data.record(0).unwrap().target, Target::Labels(labels));
    assert!(matches!(MedMnist::open(&path, Split::Val), Err(Error::Empty { .. })));
}

#[test]
fn every_damaged_file_is_an_error_that_says_where() {
    let cases: Vec<(Vec<Npy<'_>>, &[&str])> = vec![
        (arrays().into_iter().skip(1).collect(), &["train_images", "missing"]),
        (arrays().into_iter().take(5).collect(), &["test_labels", "missing"]),
        (with("train_images", |a| a.bytes.truncate(11)), &["train_images", "fewer bytes"]),
        (with("train_images", |a| a.bytes.push(0)), &["train_images", "more bytes"]),
        (with("train_images", |a| a.shape = "(2, 2, 3, 1, 1)"), &["train_images", "N x H x W"]),
        (with("train_images", |a| a.shape = "(3000000000, 3000000000, 3)"), &["train_images"]),
        (
            with("train_images", |a| a.shape = "(2, 30000000000, 28)"),
            &["train_images", "too large"],
        ),
        (
            with("train_images", |a| a.shape = "(2, 30000, 28)"),
            &["train_images", "has 1680000 bytes, but only", "packed ones are there"],
        ),
        (
            with("train_images", |a| a.shape = "(30000000000, 28, 28)"),
            &["train_images", "30000000000 pictures but 2 labels"],
        ),
        (with("val_labels", |a| a.shape = "(99999999, 1)"), &["val_labels", "at most 10000000"]),
        (with("val_labels", |a| a.shape = "(1, 99999999)"), &["val_labels", "at most 1000 labels"]),
        (with("train_images", |a| a.descr = "<f4"), &["train_images", "<f4", "not integers"]),
        (with("train_images", |a| a.descr = "|i1"), &["train_images", "must be u8"]),
        (with("val_labels", |a| (a.descr, a.bytes) = ("|i1", vec![255])), &["row 0", "'-1'"]),
        (with("val_labels", |a| a.shape = "(1, 1, 1)"), &["val_labels", "(N, L)"]),
        (
            with("train_labels", |a| (a.shape, a.bytes) = ("(3,)", vec![0; 3])),
            &["train_images", "2 pictures but 3 labels"],
        ),
        (
            with("val_labels", |a| (a.shape, a.bytes) = ("(1, 2)", vec![0; 2])),
            &["val_labels", "2 labels per picture"],
        ),
    ];
    for (arrays, words) in &cases {
        let message = error(arrays);
        assert!(message.contains("toymnist.npz"), "{message}");
        for word in *words {
            assert!(message.contains(word), "'{word}' is not in: {message}");
        }
    }
}

#[test]
fn labels_beyond_the_known_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pneumoniamnist_224.npz");
    write_npz(&path, &arrays());
    let error = MedMnist::open(&path, Split::Train).unwrap_err();
    assert!(matches!(&error, Error::Label { value, .. } if value == "2"), "{error}");
    assert!(error.to_string().contains("val_labels, row 0"), "{error}");

    let huge = with("train_labels", |a| {
        *a = npy("train_labels", "<u4", "(2,)", vec![255; 8]);
    });
    let error = MedMnist::open(&file(folder.path(), &huge), Split::Train).unwrap_err();
    assert!(matches!(error, Error::Label { .. }), "{error}");
}

#[test]
fn truncated_archives_and_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &arrays());
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = MedMnist::open(&path, Split::Train).unwrap_err();
        assert!(error.to_string().contains("toymnist.npz"), "{error}");
    }
    // One flipped byte anywhere must never panic; the archive's checksums find those in the data.
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let _ = MedMnist::open(&path, Split::Train);
    }
    let absent = folder.path().join("absent.npz");
    assert!(matches!(MedMnist::open(&absent, Split::Train), Err(Error::Io { .. })));
    assert!(MedMnist::open(folder.path(), Split::Train).is_err());
}

/// A file of this data set with one picture per split.
fn tiny(path: &Path, info: &MedMnistInfo, size: usize) {
    let colour = if info.channels == 3 { ", 3" } else { "" };
    let shape = format!("(1, {size}, {size}{colour})");
    let findings = if info.task == MedMnistTask::MultiLabel { info.card.labels.len() } else { 1 };
    let labels = format!("(1, {findings})");
    let mut arrays = Vec::new();
    for name in ["train_images", "val_images", "test_images"] {
        arrays.push(npy(name, "|u1", &shape, vec![7; size * size * info.channels]));
    }
    for name in ["train_labels", "val_labels", "test_labels"] {
        arrays.push(npy(name, "|u1", &labels, vec![1; findings]));
    }
    write_npz(path, &arrays);
}

#[test]
fn every_2d_data_set_in_every_size() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(MedMnistInfo::all().len(), 12);
    for info in MedMnistInfo::all() {
        for size in [28, 64, 128, 224] {
            let (file, md5) = info.file(size).unwrap();
            assert!(md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let path = folder.path().join(&file);
            assert_eq!(MedMnistInfo::of_file(&path), Some((info, size)));
            tiny(&path, info, size as usize);
            let data = MedMnist::open(&path, Split::Val).unwrap();
            assert_eq!(data.info(), Some(info));
            assert_eq!(data.task().names(), info.card.labels);
            let multi = matches!(data.task(), Task::MultiLabel { .. });
            assert_eq!(multi, info.task == MedMnistTask::MultiLabel, "{file}");
            let image = data.get(0).unwrap().image;
            assert_eq!((image.width(), image.channels()), (size as usize, info.channels));
            let description = describe(&data).unwrap();
            let expected = info.card.counts[1].samples;
            assert_eq!(description.differences()[0].expected, expected, "{description}");
            std::fs::remove_file(path).unwrap();
        }
    }
    for name in ["pathmnist_32.npz", "pathmnist_x.npz", "organmnist3d.npz", "toymnist.npz"] {
        assert!(MedMnistInfo::of_file(Path::new(name)).is_none(), "{name}");
    }
}

#[test]
fn a_file_under_the_name_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pathmnist_64.npz");
    let chest = MedMnistInfo::find("chestmnist").unwrap();
    tiny(&path, chest, 64);
    let error = MedMnist::open(&path, Split::Train).unwrap_err();
    assert!(error.to_string().contains("14 label(s) per picture, but 1 are known"), "{error}");
    tiny(&path, MedMnistInfo::find("octmnist").unwrap(), 64);
    let error = MedMnist::open(&path, Split::Train).unwrap_err();
    assert!(error.to_string().contains("pathmnist has 64 x 64 x 3"), "{error}");
    // Refused by its shape: the pictures are not even there.
    let path = folder.path().join("breastmnist.npz");
    let mut arrays = arrays();
    arrays[0] = npy("train_images", "|u1", "(547, 28, 28)", vec![]);
    arrays[1] = npy("train_labels", "|u1", "(547, 1)", vec![0; 547]);
    arrays[3].bytes = vec![1];
    write_npz(&path, &arrays);
    let message = MedMnist::open(&path, Split::Train).unwrap_err().to_string();
    assert!(
        message.contains("547 pictures, but no split of breastmnist has more than 546"),
        "{message}"
    );
}

/// Version 2+ made three sets anew; a file of either version is as expected.
#[test]
fn files_of_both_versions_of_the_organs_are_known() {
    let sets = [
        ("organamnist", [34581, 6491, 17778], [34561, 6491, 17778]),
        ("organcmnist", [13000, 2392, 8268], [12975, 2392, 8216]),
        ("organsmnist", [13940, 2452, 8829], [13932, 2452, 8827]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, second, plus) in sets {
        let path = folder.path().join(format!("{name}.npz"));
        let write = |counts: [usize; 3]| {
            let shapes = counts.map(|n| (format!("({n}, 28, 28)"), format!("({n}, 1)")));
            let mut arrays = Vec::new();
            for ((split, (images, labels)), count) in Split::ALL.iter().zip(&shapes).zip(counts) {
                let [image, label] = ["images", "labels"].map(|kind| format!("{split}_{kind}"));
                // Only the pictures of the smallest split are really there.
                let bytes = if *split == Split::Val { count * 784 } else { 0 };
                arrays.push((image, images.as_str(), vec![0; bytes]));
                arrays.push((label, labels.as_str(), vec![3; count]));
            }
            let arrays: Vec<Npy<'_>> = arrays
                .iter()
                .map(|(name, shape, bytes)| npy(name, "|u1", shape, bytes.clone()))
                .collect();
            write_npz(&path, &arrays);
            MedMnist::open(&path, Split::Val).unwrap()
        };
        for (counts, part) in [(second, "val, version 2"), (plus, "val")] {
            let data = write(counts);
            assert_eq!(data.part(), part);
            let card = data.card().unwrap();
            for (split, count) in Split::ALL.iter().zip(counts) {
                let part = part.replace("val", split.name());
                assert_eq!(card.expected(&part).unwrap().samples, count);
            }
            let description = describe(&data).unwrap();
            assert!(description.expected.is_some());
            assert_eq!(description.differences(), [], "{description}");
        }
        // Neither: the sizes of the version that is still published are expected.
        let data = write([second[0], plus[1], plus[2] - 1]);
        assert_eq!(data.part(), "val");
    }
}
