//! Shared by the tests of this crate.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod audit;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use vit_datasets::{Dataset, Error, Record, Result, Sample, Target, Task};
use vit_transforms::{Image, Pixels, encode_png};

/// A part of the real data; `None` where it is absent, unless it is required.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VITALIGHT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("VITALIGHT_REQUIRE_DATA").is_ok_and(|value| value == "1");
    assert!(!required, "{} is required but absent", path.display());
    println!("skipped: {} is absent; set VITALIGHT_DATA to its folder", path.display());
    None
}

/// One array of an npz file.
pub(crate) struct Npy<'a> {
    pub(crate) name: &'a str,
    pub(crate) descr: &'a str,
    pub(crate) shape: &'a str,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn npy<'a>(name: &'a str, descr: &'a str, shape: &'a str, bytes: Vec<u8>) -> Npy<'a> {
    Npy { name, descr, shape, bytes }
}

pub(crate) fn write_npz(path: &Path, arrays: &[Npy<'_>]) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    for array in arrays {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{}.npy", array.name), options).unwrap();
        let header = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n",
            array.descr, array.shape
        );
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(header.as_bytes()).unwrap();
        zip.write_all(&array.bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// A grey picture of one value.
pub(crate) fn grey(width: usize, height: usize, value: u8) -> Image {
    Image::new(width, height, 1, Pixels::U8(vec![value; width * height])).unwrap()
}

/// Writes a PNG and the folders above it.
pub(crate) fn write_png(path: &Path, value: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, encode_png(&grey(6, 4, value)).unwrap()).unwrap();
}

/// What a sample of [`Toy`] does when it is read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Fine,
    Fail,
    Panic,
    OtherSize,
}

/// A data set in memory with records of the test's choice; picture `i` has the value `i`.
pub(crate) struct Toy {
    pub(crate) task: Task,
    pub(crate) records: Vec<Record>,
    pub(crate) acts: Vec<Act>,
    pub(crate) reads: std::sync::atomic::AtomicUsize,
}

impl Toy {
    pub(crate) fn new(task: Task, rows: impl IntoIterator<Item = (String, Target)>) -> Self {
        let records: Vec<Record> = rows
            .into_iter()
            .enumerate()
            .map(|(i, (group, target))| Record { id: format!("toy/{i}"), group, target })
            .collect();
        let acts = vec![Act::Fine; records.len()];
        Self { task, records, acts, reads: 0.into() }
    }

    pub(crate) fn unlabelled(len: usize) -> Self {
        Self::new(Task::Unlabelled, (0..len).map(|i| (format!("g{i}"), Target::None)))
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Dataset for Toy {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.records.get(index).cloned().ok_or(Error::Index { index, len: self.len() })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        self.reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let image = match self.acts[index] {
            Act::Fine => grey(8, 8, index as u8),
            Act::OtherSize => grey(9, 8, index as u8),
            Act::Panic => panic!("toy {index} broke"),
            Act::Fail => {
                let source = vit_transforms::Error::Decode {
                    name: record.id.clone(),
                    reason: "it is broken".into(),
                };
                return Err(Error::Transform { id: record.id, source });
            }
        };
        Ok(Sample { record, image })
    }
}
