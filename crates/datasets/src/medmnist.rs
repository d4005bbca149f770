use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::{Image, Pixels};

use crate::npz::{Array, Npz};
use crate::{
    Card, Dataset, Error, MedMnistInfo, MedMnistTask, Record, Result, Sample, Target, Task,
};

/// More labels per picture than this are taken for a damaged file (`MedMNIST` has 14 at most).
const MAX_FINDINGS: usize = 1000;
/// More pictures than this are taken for a damaged file (`MedMNIST` has 165,466 at most).
const MAX_PICTURES: usize = 10_000_000;
/// Most bytes of the labels of one split.
const MAX_LABELS: u64 = 1 << 30;
/// Most bytes of the pictures of one split in a file of another name; those of `MedMNIST` are as
/// many as its card and size say, 13.5 GB at most.
const MAX_UNKNOWN: u64 = 4 << 30;
/// Classes beyond this number are taken for a damaged file (`MedMNIST` has 14 at most).
const MAX_CLASSES: i64 = 10_000;

/// Part of a data set that comes divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For fitting.
    Train,
    /// For choosing between models; in files also `valid`, `validate` or `validation`.
    #[serde(alias = "valid", alias = "validate", alias = "validation")]
    Val,
    /// For the final number.
    Test,
}

impl Split {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// `"train"`, `"val"` or `"test"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One split of a 2-D [MedMNIST](https://medmnist.com) data set, of version 2 or 2+ (`name.npz`, or
/// `name_64.npz`, `name_128.npz` and `name_224.npz`). Files of those names have the labels of
/// [`MedMnistInfo`]; in others the labels are numbers.
///
/// The file has no patients, so every picture is its own group: splits and intervals by group
/// treat the pictures as independent, which for some of these sets they are not.
///
/// All pictures of the split are held in memory (47 MB for 60 000 pictures of 28 × 28).
#[derive(Debug, Clone)]
pub struct MedMnist {
    path: PathBuf,
    info: Option<&'static MedMnistInfo>,
    split: Split,
    part: &'static str,
    task: Task,
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
    targets: Vec<Target>,
}

impl MedMnist {
    /// Reads one split. The classes are those of all three splits, so that their numbers agree.
    ///
    /// Labels of shape (N,) or (N, 1) are class numbers, those of shape (N, L) are findings.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Archive`] when the file cannot be opened or is not an npz,
    /// [`Error::Array`] when an array is missing, truncated, of the wrong shape or element type, or
    /// pictures and labels differ in number, [`Error::Label`] when a label is out of range and
    /// [`Error::Empty`] when the split has no pictures.
    pub fn open(path: &Path, split: Split) -> Result<Self> {
        let mut npz = Npz::open(path)?;
        let labels = Split::ALL
            .into_iter()
            .map(|split| Labels::read(&mut npz, path, split))
            .collect::<Result<Vec<_>>>()?;
        let known = MedMnistInfo::of_file(path);
        let info = known.map(|(info, _)| info);
        let task = task_of(path, &labels, info)?;
        let part = part_of(info, &labels, split);
        let Some(own) = labels.into_iter().find(|labels| labels.split == split) else {
            return Err(Error::Empty { path: path.into(), what: "labels" });
        };

        let name = format!("{split}_images");
        let fail = |reason| Error::Array { path: path.into(), array: name.clone(), reason };
        // Looked at before the pictures are unpacked.
        let shape = npz.shape_of_bytes(&name)?;
        let (count, height, width, channels) = picture_shape(&shape).map_err(fail)?;
        if count == 0 {
            return Err(Error::Empty { path: path.into(), what: "pictures in this split" });
        }
        if count != own.count {
            return Err(fail(format!("{count} pictures but {} labels", own.count)));
        }
        if let Some((info, size)) = known
            && (height, width, channels) != (size as usize, size as usize, info.channels)
        {
            let channels = info.channels;
            let reason =
                format!("shape {shape:?}, but {} has {size} x {size} x {channels}", info.key);
            return Err(fail(reason));
        }
        let limit = match known {
            Some((info, _)) => largest(info, count).map(|()| u64::MAX).map_err(fail)?,
            None => MAX_UNKNOWN,
        };
        let pixels = npz.array(&name, limit)?.into_bytes();
        let (path, targets) = (path.into(), own.targets());
        Ok(Self { path, info, split, part, task, width, height, channels, pixels, targets })
    }

    /// The split that was opened.
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }

    /// What is known of the data set; `None` for a file of another name.
    #[must_use]
    pub fn info(&self) -> Option<&'static MedMnistInfo> {
        self.info
    }
}

impl Dataset for MedMnist {
    fn len(&self) -> usize {
        self.targets.len()
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        let target = self.targets.get(index).ok_or(Error::Index { index, len: self.len() })?;
        let id = format!("{}/{index:05}", self.split);
        Ok(Record { group: id.clone(), id, target: target.clone() })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        let size = self.width * self.height * self.channels;
        let pixels = self
            .pixels
            .get(index * size..(index + 1) * size)
            .ok_or(Error::Index { index, len: self.len() })?;
        let image = Image::new(self.width, self.height, self.channels, Pixels::U8(pixels.to_vec()))
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn card(&self) -> Option<&'static Card> {
        self.info.map(|info| &info.card)
    }

    /// `train`, or `train, version 2` for a set that version 2+ has made anew.
    fn part(&self) -> &str {
        self.part
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        (index < self.len()).then(|| self.path.clone())
    }
}

/// Refuses more pictures than the largest split has, which would be a file under another's name.
fn largest(info: &MedMnistInfo, count: usize) -> std::result::Result<(), String> {
    match info.card.counts.iter().map(|expected| expected.samples).max() {
        Some(most) if count > most => {
            Err(format!("{count} pictures, but no split of {} has more than {most}", info.key))
        }
        _ => Ok(()),
    }
}

/// The part of the card: that of version 2 where all three splits have its sizes.
fn part_of(info: Option<&MedMnistInfo>, labels: &[Labels], split: Split) -> &'static str {
    let old = |split: Split| match split {
        Split::Train => "train, version 2",
        Split::Val => "val, version 2",
        Split::Test => "test, version 2",
    };
    let fits = |labels: &Labels| {
        let expected = info.and_then(|info| info.card.expected(old(labels.split)));
        expected.is_some_and(|expected| expected.samples == labels.count)
    };
    if labels.iter().all(fits) { old(split) } else { split.name() }
}

/// Count, height, width, channels.
fn picture_shape(shape: &[usize]) -> std::result::Result<(usize, usize, usize, usize), String> {
    match *shape {
        [n, height, width] if height > 0 && width > 0 => Ok((n, height, width, 1)),
        [n, height, width, 3] if height > 0 && width > 0 => Ok((n, height, width, 3)),
        _ => Err(format!("shape {shape:?} is neither N x H x W nor N x H x W x 3")),
    }
}

/// The labels of one split: `count` rows of `columns` integers.
struct Labels {
    split: Split,
    array: Array,
    count: usize,
    columns: usize,
}

impl Labels {
    fn read(npz: &mut Npz, path: &Path, split: Split) -> Result<Self> {
        let name = format!("{split}_labels");
        // Looked at before the labels are unpacked.
        let shape = npz.shape(&name)?;
        let (count, columns) = match *shape.as_slice() {
            [count] => (count, 1),
            [count, columns] if (1..=MAX_FINDINGS).contains(&columns) => (count, columns),
            _ => {
                let reason = format!(
                    "shape {shape:?} is neither (N,) nor (N, L) with at most {MAX_FINDINGS} labels"
                );
                return Err(Error::Array { path: path.into(), array: name, reason });
            }
        };
        if count > MAX_PICTURES {
            let reason = format!("{count} pictures; at most {MAX_PICTURES} are read");
            return Err(Error::Array { path: path.into(), array: name, reason });
        }
        let array = npz.array(&name, MAX_LABELS)?;
        Ok(Self { split, array, count, columns })
    }

    /// The largest label, after checking that all are from 0 to below `limit`.
    fn check(&self, path: &Path, limit: i64) -> Result<i64> {
        let mut largest = 0;
        for (position, value) in self.array.integers().enumerate() {
            if !(0..limit).contains(&value) {
                let row = position / self.columns;
                return Err(Error::Label {
                    place: format!("{}, {}_labels, row {row}", path.display(), self.split),
                    value: value.to_string(),
                    expected: format!("0 to {}", limit - 1),
                });
            }
            largest = largest.max(value);
        }
        Ok(largest)
    }

    /// Call only after [`Labels::check`].
    fn targets(&self) -> Vec<Target> {
        let values: Vec<i64> = self.array.integers().collect();
        if self.columns == 1 {
            return values.into_iter().map(|v| Target::Class(v as usize)).collect();
        }
        let row = |row: &[i64]| Target::Labels(row.iter().map(|&v| Some(v as f32)).collect());
        values.chunks_exact(self.columns).map(row).collect()
    }
}

/// Checks the labels of all splits and names what they mean.
fn task_of(path: &Path, labels: &[Labels], info: Option<&MedMnistInfo>) -> Result<Task> {
    let columns = labels.first().map_or(1, |first| first.columns);
    if let Some(odd) = labels.iter().find(|labels| labels.columns != columns) {
        return Err(Error::Array {
            path: path.into(),
            array: format!("{}_labels", odd.split),
            reason: format!("{} labels per picture, but {columns} in train", odd.columns),
        });
    }
    let known = info.map(|info| info.card.labels);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let wanted = match info {
        Some(MedMnistInfo { task: MedMnistTask::MultiLabel, card, .. }) => Some(card.labels.len()),
        Some(_) => Some(1),
        None => None,
    };
    if let Some(wanted) = wanted.filter(|&wanted| wanted != columns) {
        return Err(Error::Array {
            path: path.into(),
            array: "train_labels".into(),
            reason: format!("{columns} label(s) per picture, but {wanted} are known"),
        });
    }
    if columns > 1 {
        for labels in labels {
            labels.check(path, 2)?;
        }
        let findings = known.map_or_else(|| numbers(columns), names);
        return Ok(Task::MultiLabel { findings });
    }
    let limit = known.map_or(MAX_CLASSES, |names| names.len() as i64);
    let mut largest = 0;
    for labels in labels {
        largest = largest.max(labels.check(path, limit)?);
    }
    let classes = known.map_or_else(|| numbers(largest as usize + 1), names);
    Ok(Task::SingleLabel { classes })
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
