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

/// Readers of tar stop at the first end, as if there were nothing behind it.
#[test]
fn joined_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = shard(&folder.path().join("a.tar"), &[("a.png", picture(1))]);
    let second = shard(&folder.path().join("b.tar"), &[("b.png", picture(2))]);
    let first = std::fs::read(first).unwrap();
    let second = std::fs::read(second).unwrap();
    let path = folder.path().join("ab.tar");
    let open = |parts: &[&[u8]]| {
        std::fs::write(&path, parts.concat()).unwrap();
        TarShards::open(std::slice::from_ref(&path), &TarOptions::default())
    };
    // Zeros fill up the last record.
    let zeros = vec![0; 10_240 - first.len()];
    assert_eq!(open(&[&first, &zeros]).unwrap().len(), 1);
    for (parts, start) in
        [(vec![&first[..], &second], first.len()), (vec![&first, &zeros, &second], 10_240)]
    {
        let message = open(&parts).unwrap_err().to_string();
        let words = format!("a second archive follows at byte {start}; unpack or name them");
        assert!(message.contains("ab.tar") && message.contains(&words), "{message}");
    }
    // Far behind, and not at the start of a block.
    let far = vec![0; 100_000];
    let message = open(&[&first, &far, b"x"]).unwrap_err().to_string();
    let start = (first.len() + far.len()) / 512 * 512;
    assert!(message.contains(&format!("at byte {start};")), "{message}");
}

/// Writes an archive of files, links and sparse files.
struct Writer(tar::Builder<std::fs::File>);

impl Writer {
    fn new(path: &Path) -> Self {
        Self(tar::Builder::new(std::fs::File::create(path).unwrap()))
    }

    fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, name, bytes).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, name, target)
    }

    /// The older kind, with its list of parts in a block of its own if that is `extended`.
    fn sparse(mut self, name: &str, bytes: &[u8], extended: bool) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(bytes.len() as u64);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(bytes.len() as u64);
        let mut more = tar::GnuExtSparseHeader::new();
        let part = if extended { &mut more.sparse[0] } else { &mut gnu.sparse[0] };
        part.set_offset(0);
        part.set_length(bytes.len() as u64);
        gnu.set_is_extended(extended);
        header.set_cksum();
        let before = if extended { more.as_bytes().as_slice() } else { &[] };
        self.0.append(&header, [before, bytes].concat().as_slice()).unwrap();
        self
    }

    /// The newer kind: a list of the parts, then the parts.
    fn pax_sparse(mut self, name: &str, bytes: &[u8]) -> Self {
        let size = bytes.len().to_string();
        let fields = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", &size),
        ];
        self.0.append_pax_extensions(fields.map(|(key, value)| (key, value.as_bytes()))).unwrap();
        let mut list = format!("1\n0\n{size}\n").into_bytes();
        list.resize(512, 0);
        let (folder, file) = name.rsplit_once('/').unwrap_or((".", name));
        self.file(&format!("{folder}/GNUSparseFile.7/{file}"), &[&list, bytes].concat())
    }

    fn end(mut self) {
        self.0.finish().unwrap();
    }
}

#[test]
fn hard_links_are_read_as_the_files_they_lead_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.tar");
    Writer::new(&path)
        .file("0.png", &picture(1))
        .file("0.cls", b"1")
        .file("1.png", &picture(2))
        .hard("1.cls", "0.cls")
        .hard("2.png", "1.png")
        .file("2.cls", b"0")
        .hard("3.png", "2.png")
        .hard("3.cls", "1.cls")
        .end();
    let labels = TarLabels::Class { classes: None };
    let options = TarOptions { labels, ..TarOptions::default() };
    let data = TarShards::open(std::slice::from_ref(&path), &options).unwrap();
    let records: Vec<_> = (0..data.len()).map(|index| data.record(index).unwrap()).collect();
    let ids: Vec<&str> = records.iter().map(|record| &*record.id).collect();
    assert_eq!(ids, ["u/0.png", "u/1.png", "u/2.png", "u/3.png"]);
    let classes = [1, 1, 0, 1].map(Target::Class);
    assert!(records.iter().map(|record| &record.target).eq(&classes), "{records:?}");
    for (index, value) in [1, 2, 2, 2].into_iter().enumerate() {
        assert_eq!(data.get(index).unwrap().image, grey(6, 4, value));
    }
    // One picture under three names must not come into two parts.
    assert_ne!(records[0].group, records[1].group);
    assert!(records[1..].iter().all(|record| record.group == records[1].group), "{records:?}");
    assert!(data.left_out().is_empty());
}

#[test]
fn other_links_and_sparse_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.tar");
    Writer::new(&path)
        .file("a.png", &picture(1))
        .file("a.cls", b"0")
        // Its target comes later, or never.
        .hard("b.png", "c.png")
        .file("b.cls", b"0")
        .link(tar::EntryType::Symlink, "d.png", "a.png")
        .sparse("e.png", &picture(2), false)
        .sparse("f.png", &picture(3), true)
        .file("f.cls", b"1")
        .pax_sparse("g.png", &picture(4))
        .file("g.cls", b"1")
        // A hard link to what cannot be read either.
        .hard("h.png", "e.png")
        .link(tar::EntryType::Symlink, "latest", "a.png")
        .file("i.png", &picture(5))
        .link(tar::EntryType::Symlink, "i.cls", "a.cls")
        .file("j.cls", b"0")
        .file("k.png", &picture(6))
        .sparse("k.cls", b"1", true)
        .end();
    let open = |labels: TarLabels| {
        let options = TarOptions { labels, ..TarOptions::default() };
        TarShards::open(std::slice::from_ref(&path), &options).unwrap()
    };
    let left_out = |data: &TarShards| -> Vec<(String, usize, String)> {
        let list = data.left_out().into_iter();
        list.map(|entry| {
            let first = entry.first.rsplit('/').next().unwrap_or_default().to_owned();
            (entry.reason, entry.count, first)
        })
        .collect()
    };
    let ids = |data: &TarShards| -> Vec<String> {
        (0..data.len()).map(|index| data.record(index).unwrap().id).collect()
    };
    let no_picture = ("samples without a picture".to_owned(), 1, "s.tar, sample 'j'".to_owned());
    let links = |count| ("links and sparse files".to_owned(), count, "s.tar, 'b.png'".to_owned());
    let data = open(TarLabels::Class { classes: None });
    assert_eq!(ids(&data), ["s/a.png"]);
    assert_eq!(left_out(&data), [links(9), no_picture.clone()]);
    // A label that nobody asks for may be a link.
    let data = open(TarLabels::None);
    assert_eq!(ids(&data), ["s/a.png", "s/i.png", "s/k.png"]);
    assert_eq!(data.get(2).unwrap().image, grey(6, 4, 6));
    assert_eq!(left_out(&data), [links(7), no_picture]);
}

/// Stores of blobs call files by checksums, and give them their names by links.
#[cfg(unix)]
#[test]
fn an_archive_behind_a_link_keeps_the_links_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["blobs", "snap", "other"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    let blob = shard(&root.join("blobs/0f3a9c"), &[("0.png", picture(1))]);
    shard(&root.join("blobs/1b77d0"), &[("0.png", picture(2))]);
    let link = |target: &str, name: &str| {
        let path = root.join(name);
        std::os::unix::fs::symlink(target, &path).unwrap();
        path
    };
    let first = link("../blobs/0f3a9c", "snap/train-000.tar");
    let second = link("../blobs/1b77d0", "snap/train-001.tar");
    let open = |paths: &[&PathBuf]| {
        let paths: Vec<PathBuf> = paths.iter().copied().cloned().collect();
        TarShards::open(&paths, &TarOptions::default())
    };
    let ids = |data: &TarShards| -> Vec<String> {
        (0..data.len()).map(|index| data.record(index).unwrap().id).collect()
    };
    let data = open(&[&first, &second]).unwrap();
    assert_eq!(ids(&data), ["train-000/0.png", "train-001/0.png"]);
    assert_eq!(data.get(1).unwrap().image, grey(6, 4, 2));
    // Two links of one name keep their own folders.
    let third = link("../blobs/1b77d0", "other/train-000.tar");
    let data = open(&[&first, &third]).unwrap();
    assert_eq!(ids(&data), ["snap/train-000/0.png", "other/train-000/0.png"]);
    // It is still one archive, under whatever name.
    let message = open(&[&first, &blob]).unwrap_err().to_string();
    assert!(message.contains("it is given twice"), "{message}");
    let group = |path| open(&[path]).unwrap().record(0).unwrap().group;
    assert_eq!(group(&first), group(&blob));
}
