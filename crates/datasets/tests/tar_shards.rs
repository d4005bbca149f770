//! Archives of samples, whole and damaged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::{Path, PathBuf};

use common::grey;
use vit_datasets::{Dataset, Error, TarLabels, TarOptions, TarShards, Target};
use vit_transforms::encode_png;

fn picture(value: u8) -> Vec<u8> {
    encode_png(&grey(6, 4, value)).unwrap()
}

fn shard(path: &Path, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.finish().unwrap();
    path.into()
}

fn two(folder: &Path) -> Vec<PathBuf> {
    let json = |patient: &str, labels: &str| {
        format!(r#"{{"patient": "{patient}", "age": 61, "labels": {labels}}}"#).into_bytes()
    };
    let first = shard(
        &folder.join("train-000.tar"),
        &[
            ("d/a.png", picture(1)),
            ("d/a.cls", b"2\n".to_vec()),
            ("d/a.json", json("p1", "[1, 0, null]")),
            ("d/b.cls", b"0".to_vec()),
            ("d/b.seg.png", picture(2)),
            ("d/b.json", json("p2", "[0.5, 0, 1]")),
            ("notes.txt", b"no sample".to_vec()),
        ],
    );
    let second = shard(
        &folder.join("train-001.tar"),
        &[
            ("d/a.json", json("p1", "[0, 0, 0]")),
            ("d/a.png", picture(3)),
            ("d/a.cls", b"1".to_vec()),
        ],
    );
    vec![first, second]
}

#[test]
fn samples_labels_patients_and_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let shards = two(folder.path());
    let options = TarOptions {
        labels: TarLabels::Class { classes: None },
        group_field: Some("patient".into()),
        attribute_fields: vec!["age".into()],
        ..TarOptions::default()
    };
    let data = TarShards::open(&shards, &options).unwrap();
    assert_eq!((data.len(), data.task().names()), (3, &["0", "1", "2"].map(str::to_owned)[..]));
    let ids: Vec<String> = (0..3).map(|index| data.record(index).unwrap().id).collect();
    assert_eq!(ids, ["train-000/d/a.png", "train-000/d/b.seg.png", "train-001/d/a.png"]);
    for (index, value) in [1, 2, 3].into_iter().enumerate() {
        assert_eq!(data.get(index).unwrap().image, grey(6, 4, value));
    }
    assert_eq!(data.record(2).unwrap().group, "p1");
    let left_out = data.left_out().remove(0);
    assert_eq!((left_out.count, &*left_out.reason), (1, "samples without a picture"));
    assert!(left_out.first.ends_with("train-000.tar, sample 'notes'"), "{left_out}");
    assert_eq!(data.record(0).unwrap().target, Target::Class(2));
    assert_eq!(data.attribute(0, "age").unwrap().as_deref(), Some("61"));
    assert!(matches!(data.get(3), Err(Error::Index { index: 3, len: 3 })));

    let findings = ["a", "b", "c"].map(str::to_owned).to_vec();
    let labels = TarLabels::Findings { field: "labels".into(), findings };
    let data = TarShards::open(&shards, &TarOptions { labels, ..TarOptions::default() }).unwrap();
    let target = data.record(0).unwrap().target;
    assert_eq!(target, Target::Labels(vec![Some(1.0), Some(0.0), None]));
}

#[test]
fn labels_that_are_missing_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.tar");
    let class = |classes: Option<usize>| TarOptions {
        labels: TarLabels::Class { classes: classes.map(|n| vec!["x".into(); n]) },
        ..TarOptions::default()
    };
    let open = |files: &[(&str, Vec<u8>)], options: &TarOptions| {
        TarShards::open(&[shard(&path, files)], options).unwrap_err().to_string()
    };
    let png = || ("a.png", picture(1));
    for (files, words) in [
        (vec![png()], "sample 'a': label ''"),
        (vec![png(), ("a.cls", b"3".to_vec())], "label '3' is not one of 0 to 2"),
        (vec![png(), ("a.cls", b"-1".to_vec())], "label '-1'"),
        (vec![png(), ("a.cls", vec![0xff])], "'a.cls': stream did not contain valid UTF-8"),
        (vec![png(), ("a.jpg", picture(1))], "'a.png' and 'a.jpg' are one sample"),
        (
            vec![
                png(),
                ("a.cls", b"1".to_vec()),
                ("b.png", picture(1)),
                ("b.cls", b"1".to_vec()),
                ("a.txt", vec![]),
            ],
            "sample 'a' is in two places",
        ),
        (vec![("a.txt", vec![])], "no pictures in tar archives"),
    ] {
        let message = open(&files, &class(Some(3)));
        assert!(message.contains(words), "{message}");
    }
    let findings = vec!["f".to_owned(), "g".to_owned()];
    let labels = TarLabels::Findings { field: "y".into(), findings };
    let options = TarOptions { labels, ..TarOptions::default() };
    for json in ["[1, 0]", "{\"y\": [1]}", "{\"y\": [1, 2]}", "{\"y\": [1, \"0\"]}", "{", "{}"] {
        let message = open(&[png(), ("a.json", json.as_bytes().to_vec())], &options);
        assert!(message.contains("s.tar") && message.contains('a'), "{message}");
    }
    let options = TarOptions { group_field: Some("who".into()), ..TarOptions::default() };
    let message = open(&[png(), ("a.json", b"{}".to_vec())], &options);
    assert!(message.contains("'a.json' has no 'who'"), "{message}");
}

#[test]
fn truncated_and_flipped_archives() {
    let folder = tempfile::tempdir().unwrap();
    let shards = two(folder.path());
    let options = TarOptions {
        labels: TarLabels::Class { classes: None },
        group_field: Some("patient".into()),
        ..TarOptions::default()
    };
    let whole = std::fs::read(&shards[0]).unwrap();
    let path = folder.path().join("cut.tar");
    let mut refused = 0;
    for length in (0..whole.len()).step_by(61) {
        std::fs::write(&path, &whole[..length]).unwrap();
        match TarShards::open(std::slice::from_ref(&path), &options) {
            Ok(data) => {
                // What was accepted is whole.
                for index in 0..data.len() {
                    data.get(index).unwrap();
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("cut.tar"), "{error}");
            }
        }
    }
    assert!(refused > 20, "{refused}");
    for position in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x41;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(data) = TarShards::open(std::slice::from_ref(&path), &options) {
            for index in 0..data.len() {
                let _ = data.get(index);
            }
        }
    }
    assert!(matches!(TarShards::open(&[], &options), Err(Error::Empty { .. })));
    let absent = [folder.path().join("absent.tar")];
    assert!(matches!(TarShards::open(&absent, &options), Err(Error::Io { .. })));
}

#[test]
fn one_archive_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shards = two(folder.path());
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let again = folder.path().join("sub/../train-000.tar");
    let options = TarOptions::default();
    for shards in [vec![shards[0].clone(); 2], vec![shards[0].clone(), again]] {
        let message = TarShards::open(&shards, &options).unwrap_err().to_string();
        assert!(message.contains("train-000.tar"), "{message}");
        assert!(message.contains("it is given twice"), "{message}");
    }
}

#[test]
fn archives_of_one_name_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let shards: Vec<PathBuf> = [("x/000.tar", 1), ("y/000.tar", 2), ("y/001.tar", 3)]
        .map(|(name, value)| shard(&path(name), &[("a.png", picture(value))]))
        .to_vec();
    let options = TarOptions::default();
    let data = TarShards::open(&shards, &options).unwrap();
    let records: Vec<_> = (0..3).map(|index| data.record(index).unwrap()).collect();
    let ids: Vec<&str> = records.iter().map(|record| &*record.id).collect();
    assert_eq!(ids, ["x/000/a.png", "y/000/a.png", "y/001/a.png"]);
    let groups: std::collections::HashSet<&str> =
        records.iter().map(|record| &*record.group).collect();
    assert_eq!(groups.len(), 3, "every picture is its own group");
    // Alone, an archive has the same groups: in another part it is the same, and others are not.
    let alone = TarShards::open(&shards[1..2], &options).unwrap();
    assert_eq!(alone.record(0).unwrap().id, "000/a.png");
    assert_eq!(alone.record(0).unwrap().group, records[1].group);
    let first = TarShards::open(&shards[..1], &options).unwrap();
    vit_datasets::check_group_disjoint(&[&first, &alone]).unwrap();
    assert!(vit_datasets::check_group_disjoint(&[&data, &alone]).is_err());
    // Endings alone tell two apart.
    let odd = shard(&path("x/000.wds"), &[("a.png", picture(4))]);
    let data = TarShards::open(&[shards[0].clone(), odd], &options).unwrap();
    assert_ne!(data.record(0).unwrap().id, data.record(1).unwrap().id);
}

#[test]
fn packed_archives_are_refused_with_a_word() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let plain = std::fs::read(&two(folder.path())[0]).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let path = folder.path().join("s.tar.gz");
    for (bytes, word) in [
        (gzip.finish().unwrap(), "packed with gzip; unpack it"),
        (b"\x28\xb5\x2f\xfd0123".to_vec(), "packed with zstd"),
        (b"BZh91AY".to_vec(), "packed with bzip2"),
        (b"\xfd7zXZ\x00".to_vec(), "packed with xz"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = TarShards::open(std::slice::from_ref(&path), &TarOptions::default());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("s.tar.gz") && message.contains(word), "{message}");
    }
}

/// Cut between two samples, nothing of what is left looks wrong.
#[test]
fn an_archive_without_its_end_is_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let path = shard(&folder.path().join("s.tar"), &[("a.png", picture(1)), ("b.png", picture(2))]);
    let whole = std::fs::read(&path).unwrap();
    let second = whole.windows(5).position(|name| name == b"b.png").unwrap();
    let end = whole.len() - 1024;
    let open = |length: usize| {
        std::fs::write(&path, &whole[..length]).unwrap();
        TarShards::open(std::slice::from_ref(&path), &TarOptions::default())
    };
    for length in [0, second, end] {
        let message = open(length).unwrap_err().to_string();
        assert!(message.contains("it was cut short"), "{message}");
    }
    // One block of zeros of the two is enough.
    assert_eq!(open(end + 512).unwrap().len(), 2);
}
