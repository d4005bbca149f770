//! A corpus of damaged files through the loader: no panic, a clear error, and under `skip` the
//! run goes on and lists them. The table in `docs/data-loading.md` is what this test prints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "prints the table of the documentation")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::grey;
use vit_datasets::{
    Dataset, ErrorPolicy, ImageFolder, ImageFolderOptions, Loader, LoaderConfig, Phantom,
    PhantomConfig, PhantomKind,
};
use vit_random::Streams;
use vit_random::rand::Rng;
use vit_transforms::{Filter, Pipeline, Resize, ResizeSize, Step, ToRgb, encode_png};

/// What must become of a damaged file.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    /// It is listed as skipped.
    BeListed,
    /// It is read: the damage is none.
    BeRead,
    /// Either: nothing in the format may tell.
    NotPanic,
}

/// Writes the corpus and says what must become of each file, by id and kind of damage.
struct Corpus {
    root: PathBuf,
    files: BTreeMap<String, (&'static str, Must)>,
}

impl Corpus {
    fn put(&mut self, name: &str, damage: &'static str, must: Must, bytes: &[u8]) {
        std::fs::write(self.root.join(name), bytes).unwrap();
        self.files.insert(name.to_owned(), (damage, must));
    }

    /// Every kind of damage that one whole file can take.
    fn damage(&mut self, stem: &str, extension: &str, whole: &[u8]) {
        let name = |what: &str| format!("{stem}-{what}.{extension}");
        self.put(&name("whole"), "none", Must::BeRead, whole);
        for tenth in 1..10 {
            let cut = &whole[..whole.len() * tenth / 10];
            self.put(&name(&format!("cut{tenth}")), "cut at a tenth", Must::BeListed, cut);
        }
        let mut flips = Streams::new(3).stream("flip", 0, whole.len() as u64);
        for flip in 0..60 {
            let mut bytes = whole.to_vec();
            bytes[flips.random_range(0..whole.len())] ^= 1 << flips.random_range(0..8);
            self.put(&name(&format!("flip{flip:02}")), "one bit flipped", Must::NotPanic, &bytes);
        }
        self.put(&name("empty"), "no bytes", Must::BeListed, b"");
        self.put(&name("zeros"), "all bytes zero", Must::BeListed, &vec![0; whole.len()]);
        let other = if extension == "png" { "jpg" } else { "png" };
        let misnamed = format!("{stem}-named.{other}");
        self.put(&misnamed, "extension of another format", Must::BeRead, whole);
    }
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend(kind);
    out.extend(data);
    out.extend(crc32fast::hash(&out[4..]).to_be_bytes());
    out
}

/// A PNG of a hundred bytes that claims to be 60000 pixels wide and high.
fn bomb() -> Vec<u8> {
    let mut header = 60_000u32.to_be_bytes().to_vec();
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    out.extend(chunk(b"IHDR", &header));
    out.extend(chunk(b"IDAT", &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]));
    out.extend(chunk(b"IEND", b""));
    out
}

/// A JPEG whose frame header claims 65500 x 65500 pixels.
fn jpeg_bomb(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    bytes
}

fn corpus(root: &Path) -> Corpus {
    let mut corpus = Corpus { root: root.to_path_buf(), files: BTreeMap::new() };
    let phantom = |kind| {
        let config = PhantomConfig { kind, len: 1, size: 48, ..Default::default() };
        encode_png(&Phantom::new(config).unwrap().get(0).unwrap().image).unwrap()
    };
    corpus.damage("grey", "png", &phantom(PhantomKind::Xray));
    corpus.damage("rgb", "png", &phantom(PhantomKind::Endoscopy));
    let jpeg = include_bytes!("../src/cache/probe.jpg");
    corpus.damage("noise", "jpg", jpeg);
    corpus.put("bomb.png", "claims billions of pixels", Must::BeListed, &bomb());
    corpus.put("bomb.jpg", "claims billions of pixels", Must::BeListed, &jpeg_bomb(jpeg));
    corpus.put("text.png", "text", Must::BeListed, b"<html>404 Not Found</html>");
    corpus.put("one.png", "one pixel", Must::BeRead, &encode_png(&grey(1, 1, 9)).unwrap());
    if let Some(real) = common::data("hannover-cxr/262a70ca.png") {
        corpus.damage("radiograph", "png", &std::fs::read(real).unwrap());
    }
    if let Some(real) = common::data("bccd-cells/test/Platelets/00034.jpg") {
        corpus.damage("cell", "jpg", &std::fs::read(real).unwrap());
    }
    corpus
}

fn loader(root: &Path, workers: usize) -> Loader {
    let size = ResizeSize::Exact { height: 16, width: 16 };
    let steps: Vec<Step> = vec![Resize { size, filter: Filter::Bilinear }.into(), ToRgb.into()];
    let data = ImageFolder::open(root, &ImageFolderOptions::default()).unwrap();
    let config = LoaderConfig { batch_size: 5, workers, shuffle: true, ..Default::default() };
    Loader::new(Arc::new(data), Arc::new(Pipeline::new(steps)), config).unwrap()
}

#[test]
fn a_run_over_the_corpus_goes_on_and_lists_it() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(folder.path());
    let mut outcomes = Vec::new();
    for workers in [0, 3] {
        let loader = loader(folder.path(), workers).on_error(ErrorPolicy::Skip { at_most: None });
        let read: BTreeSet<String> =
            loader.epoch(0, 0).flat_map(|batch| batch.unwrap().ids).collect();
        let listed: BTreeMap<String, String> =
            loader.skipped().into_iter().map(|s| (s.id, s.reason)).collect();
        assert_eq!(read.len() + listed.len(), corpus.files.len());
        for (name, (damage, must)) in &corpus.files {
            let is_listed = listed.contains_key(name);
            match must {
                Must::BeListed => assert!(is_listed, "{name} ({damage}) was read"),
                Must::BeRead => assert!(!is_listed, "{name} ({damage}): {}", listed[name]),
                Must::NotPanic => {}
            }
        }
        for (name, reason) in &listed {
            // The error names the file and says what is wrong; no panic came through.
            assert!(reason.contains(name.as_str()) && !reason.contains("panicked"), "{reason}");
        }
        outcomes.push((read, listed));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    print_table(&corpus, &outcomes[0].1);
}

fn print_table(corpus: &Corpus, listed: &BTreeMap<String, String>) {
    let mut rows: BTreeMap<&str, (usize, usize, &str)> = BTreeMap::new();
    for (name, (damage, _)) in &corpus.files {
        let row = rows.entry(damage).or_default();
        row.0 += 1;
        if let Some(reason) = listed.get(name) {
            row.1 += 1;
            row.2 = reason.rsplit(&format!("{name}: ")).next().unwrap();
        }
    }
    println!("| damage | files | refused | one of the reasons |\n|---|---|---|---|");
    for (damage, (files, refused, reason)) in rows {
        println!("| {damage} | {files} | {refused} | {reason} |");
    }
}

#[test]
fn stopping_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(folder.path());
    let mut failed = 0;
    for batch in loader(folder.path(), 2).epoch(0, 0) {
        let Err(error) = batch else { continue };
        failed += 1;
        let error = error.to_string();
        assert!(corpus.files.keys().any(|name| error.contains(name.as_str())), "{error}");
    }
    assert!(failed > 10);
}
