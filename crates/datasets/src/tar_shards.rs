use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeOptions, decode_bytes_with};

use crate::files::{AttributeStore, is_picture};
use crate::left_out::LeftOutLog;
use crate::{Dataset, Error, LeftOut, Record, Result, Sample, Target, Task};

/// Most bytes of the files beside a picture: a class or some JSON.
const MAX_SIDE_FILE: u64 = 1 << 20;
/// Bytes of a block of a tar archive.
const BLOCK: u64 = 512;
/// More classes than this are taken for a damaged shard.
const MAX_CLASSES: usize = 1_000_000;

/// Where the labels of [`TarShards`] are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TarLabels {
    /// No labels.
    #[default]
    None,
    /// A class number in the file `<key>.cls`.
    Class {
        /// Names of the classes; without them they are called by their numbers.
        #[serde(default)]
        classes: Option<Vec<String>>,
    },
    /// A list of numbers from 0 to 1, or null, in a field of `<key>.json`.
    Findings {
        /// The field.
        field: String,
        /// Names of the findings, in the order of the list.
        findings: Vec<String>,
    },
}

/// How to read [`TarShards`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TarOptions {
    /// Where the labels are.
    pub labels: TarLabels,
    /// Field of `<key>.json` with the patient; without it every picture is its own group.
    pub group_field: Option<String>,
    /// Fields of `<key>.json` that become attributes.
    pub attribute_fields: Vec<String>,
    /// Limits of the decoder, and its rule for DICOM.
    pub decode: DecodeOptions,
}

/// Pictures in tar archives, in the form of [`WebDataset`](https://github.com/webdataset/webdataset):
/// the files of one sample follow each other and share their path up to the first dot of the name.
///
/// Each archive is gone through once, without reading the pictures; later a picture is read from
/// its place. Nothing is unpacked, so that no name in an archive can lead anywhere. Archives must
/// not be packed with gzip or another program, which leaves no places to go to.
///
/// Ids begin with the archive's name without its ending, behind as many of its folders as it takes
/// to tell the archives apart. Without a field for the group, every picture is its own: the group
/// is the archive's whole path and the picture's name, so that one archive in two parts is noticed.
#[derive(Debug, Clone)]
pub struct TarShards {
    task: Task,
    decode: DecodeOptions,
    shards: Vec<Shard>,
    places: Vec<Place>,
    records: Vec<Record>,
    attributes: AttributeStore,
    left_out: LeftOutLog,
}

/// One archive.
#[derive(Debug, Clone)]
struct Shard {
    path: PathBuf,
    /// The path without links, to compare with others.
    real: PathBuf,
    /// What ids begin with; no other archive has it.
    name: String,
}

/// Where a picture is.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    offset: u64,
    length: u64,
}

/// The files of one sample.
#[derive(Default)]
struct Parts {
    key: String,
    picture: Option<(Place, String)>,
    class: Option<String>,
    json: Option<String>,
}

impl TarShards {
    /// Goes through the archives, in this order.
    ///
    /// # Errors
    /// [`Error::Io`] when an archive cannot be read, [`Error::Archive`] when it is damaged,
    /// truncated or packed or given twice, two samples of one archive have one key, or a sample has
    /// two pictures; [`Error::Label`] when a label is missing or not what it must be; [`Error::Json`];
    /// [`Error::Empty`] when there is no picture.
    pub fn open(shards: &[PathBuf], options: &TarOptions) -> Result<Self> {
        let names = options.attribute_fields.clone();
        let mut data = Self {
            task: Task::Unlabelled,
            decode: options.decode,
            shards: named(shards)?,
            places: Vec::new(),
            records: Vec::new(),
            attributes: AttributeStore::new(names),
            left_out: LeftOutLog::default(),
        };
        for (number, shard) in data.shards.clone().iter().enumerate() {
            data.index(number, shard, options)?;
        }
        if data.records.is_empty() {
            let path = shards.first().cloned().unwrap_or_default();
            return Err(Error::Empty { path, what: "pictures in tar archives" });
        }
        data.task = match &options.labels {
            TarLabels::None => Task::Unlabelled,
            TarLabels::Findings { findings, .. } => Task::MultiLabel { findings: findings.clone() },
            TarLabels::Class { classes: Some(classes) } => {
                Task::SingleLabel { classes: classes.clone() }
            }
            TarLabels::Class { classes: None } => data.numbered_classes(),
        };
        Ok(data)
    }

    fn numbered_classes(&self) -> Task {
        let class = |record: &Record| match record.target {
            Target::Class(class) => class + 1,
            _ => 0,
        };
        let count = self.records.iter().map(class).max().unwrap_or(0);
        Task::SingleLabel { classes: (0..count).map(|number| number.to_string()).collect() }
    }

    fn index(&mut self, number: usize, shard: &Shard, options: &TarOptions) -> Result<()> {
        let path = &shard.path;
        let io = |source| Error::Io { path: path.clone(), source };
        let fail = |reason: String| Error::Archive { path: path.clone(), reason };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let size = file.get_ref().metadata().map_err(io)?.len();
        if let Some(packer) = packer(file.fill_buf().map_err(io)?) {
            return Err(fail(format!(
                "it is packed with {packer}; unpack it to a plain .tar, whose pictures can be read \
                 from their places"
            )));
        }
        let mut archive = tar::Archive::new(file);
        let mut parts = Parts::default();
        let mut seen = HashSet::new();
        // Where the next header, or the block that ends the archive, must be.
        let mut next = 0;
        for entry in archive.entries_with_seek().map_err(|error| fail(error.to_string()))? {
            let mut entry = entry.map_err(|error| fail(error.to_string()))?;
            let stored = if entry.header().entry_type().is_gnu_sparse() {
                entry.header().entry_size().map_err(io)?
            } else {
                entry.size()
            };
            next = after(entry.raw_file_position(), stored);
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|_| fail("a name is not UTF-8".into()))?;
            let place =
                Place { shard: number, offset: entry.raw_file_position(), length: entry.size() };
            // A header may claim more than there is.
            if place.offset.checked_add(place.length).is_none_or(|end| end > size) {
                return Err(fail(format!("'{name}' is cut off")));
            }
            let Some((key, extension)) = split_key(&name) else { continue };
            if key != parts.key {
                self.take(&std::mem::take(&mut parts), shard, options)?;
                if !seen.insert(key.to_owned()) {
                    return Err(fail(format!("sample '{key}' is in two places")));
                }
                parts.key = key.to_owned();
            }
            if extension == "cls" || extension == "json" {
                let text =
                    side_file(&mut entry).map_err(|reason| fail(format!("'{name}': {reason}")))?;
                let part = if extension == "cls" { &mut parts.class } else { &mut parts.json };
                *part = Some(text);
            } else if is_picture(&name) {
                if let Some((_, other)) = &parts.picture {
                    return Err(fail(format!("'{other}' and '{name}' are one sample")));
                }
                parts.picture = Some((place, name));
            }
        }
        // Whoever writes a whole archive ends it with blocks of zeros; without them, nobody knows
        // what is missing.
        if next.saturating_add(BLOCK) > size {
            return Err(fail("it has no end: it was cut short".into()));
        }
        self.take(&parts, shard, options)
    }

    /// A sample without a picture is left out.
    fn take(&mut self, parts: &Parts, shard: &Shard, options: &TarOptions) -> Result<()> {
        let Some((place, name)) = &parts.picture else {
            if !parts.key.is_empty() {
                let place = || format!("{}, sample '{}'", shard.path.display(), parts.key);
                self.left_out.note("samples without a picture", place);
            }
            return Ok(());
        };
        let id = format!("{}/{name}", shard.name);
        let wants_json = options.group_field.is_some()
            || !options.attribute_fields.is_empty()
            || matches!(options.labels, TarLabels::Findings { .. });
        let json = match &parts.json {
            Some(text) if wants_json => {
                serde_json::from_str(text).map_err(|error| Error::Json {
                    path: shard.path.clone(),
                    reason: format!("'{}.json': {error}", parts.key),
                })?
            }
            _ => serde_json::Value::Null,
        };
        let target = target(parts, &json, &options.labels, &shard.path)?;
        let group = match &options.group_field {
            None => format!("{}/{name}", shard.real.display()),
            Some(field) => {
                scalar(&json, field).filter(|group| !group.is_empty()).ok_or_else(|| {
                    let reason = format!("'{}.json' has no '{field}' for the group", parts.key);
                    Error::Json { path: shard.path.clone(), reason }
                })?
            }
        };
        let values: Vec<String> = options
            .attribute_fields
            .iter()
            .map(|field| scalar(&json, field).unwrap_or_default())
            .collect();
        self.attributes.push(values.iter().map(String::as_str));
        self.places.push(*place);
        self.records.push(Record { id, group, target });
        Ok(())
    }
}

/// Gives each archive a name of its own, and refuses one that is given twice.
fn named(paths: &[PathBuf]) -> Result<Vec<Shard>> {
    let mut shards: Vec<Shard> = Vec::with_capacity(paths.len());
    let mut seen = HashSet::new();
    for path in paths {
        let io = |source| Error::Io { path: path.clone(), source };
        let real = path.canonicalize().map_err(io)?;
        if !seen.insert(real.clone()) {
            return Err(Error::Archive { path: path.clone(), reason: "it is given twice".into() });
        }
        shards.push(Shard { path: path.clone(), real, name: String::new() });
    }
    let deepest = shards.iter().map(|shard| shard.real.iter().count()).max().unwrap_or(0);
    // The whole path with its ending, if nothing less tells them apart.
    for depth in (1..=deepest).map(Some).chain([None]) {
        let names: Vec<String> = shards.iter().map(|shard| tail(&shard.real, depth)).collect();
        if depth.is_none() || names.iter().collect::<HashSet<_>>().len() == names.len() {
            shards.iter_mut().zip(names).for_each(|(shard, name)| shard.name = name);
            break;
        }
    }
    Ok(shards)
}

/// The last parts of a path, the file's without its ending; `None` for all as it is.
fn tail(path: &Path, depth: Option<usize>) -> String {
    let Some(depth) = depth else { return path.display().to_string() };
    let path = path.with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.get(parts.len().saturating_sub(depth)..).unwrap_or_default().join("/")
}

/// The program that a file was packed with, by its first bytes.
fn packer(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], _); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    ];
    known.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| name)
}

/// Where the block behind a file begins.
fn after(position: u64, size: u64) -> u64 {
    position.saturating_add(size).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// The path up to the first dot of the file name, and the last extension.
fn split_key(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name.get(start..)?.find('.')?;
    let (_, extension) = name.rsplit_once('.')?;
    Some((name.get(..dot)?, extension))
}

fn side_file(entry: &mut impl Read) -> std::result::Result<String, String> {
    let mut text = String::new();
    let read = entry.take(MAX_SIDE_FILE + 1).read_to_string(&mut text);
    match read {
        Ok(count) if count as u64 > MAX_SIDE_FILE => {
            Err(format!("more than {MAX_SIDE_FILE} bytes"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

fn scalar(json: &serde_json::Value, field: &str) -> Option<String> {
    match json.get(field)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn target(
    parts: &Parts,
    json: &serde_json::Value,
    labels: &TarLabels,
    shard: &Path,
) -> Result<Target> {
    let fail = |value: &str, expected: String| {
        let place = format!("{}, sample '{}'", shard.display(), parts.key);
        Err(Error::Label { place, value: value.into(), expected })
    };
    match labels {
        TarLabels::None => Ok(Target::None),
        TarLabels::Class { classes } => {
            let limit = classes.as_ref().map_or(MAX_CLASSES, Vec::len);
            let text = parts.class.as_deref().unwrap_or_default().trim();
            match text.parse().ok().filter(|&class: &usize| class < limit) {
                Some(class) => Ok(Target::Class(class)),
                None => fail(text, format!("0 to {}", limit.saturating_sub(1))),
            }
        }
        TarLabels::Findings { field, findings } => {
            let list = json.get(field).and_then(serde_json::Value::as_array);
            let value = |value: &serde_json::Value| match value.as_f64() {
                Some(number) if (0.0..=1.0).contains(&number) => Some(Some(number as f32)),
                None if value.is_null() => Some(None),
                _ => None,
            };
            let values: Option<Vec<Option<f32>>> =
                list.and_then(|list| list.iter().map(value).collect());
            match values {
                Some(values) if values.len() == findings.len() => Ok(Target::Labels(values)),
                _ => {
                    let found = json.get(field).map_or(String::new(), ToString::to_string);
                    fail(&found, format!("{} numbers from 0 to 1, or null", findings.len()))
                }
            }
        }
    }
}

impl Dataset for TarShards {
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
        let missing = || Error::Index { index, len: self.records.len() };
        let place = self.places.get(index).ok_or_else(missing)?;
        let path = &self.shards.get(place.shard).ok_or_else(missing)?.path;
        let limit = self.decode.limits.max_bytes;
        let io = |source| Error::Io { path: path.clone(), source };
        let mut file = File::open(path).map_err(io)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the decoder refuses what is too long.
        file.take(place.length.min(limit.saturating_add(1))).read_to_end(&mut bytes).map_err(io)?;
        let image = decode_bytes_with(&record.id, &bytes, &self.decode)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn attribute_names(&self) -> &[String] {
        self.attributes.names()
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        if index >= self.len() {
            return Err(Error::Index { index, len: self.len() });
        }
        Ok(self.attributes.get(index, name).map(str::to_owned))
    }

    fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.list()
    }

    fn decoding(&self) -> String {
        crate::files::decoding(&self.decode)
    }

    fn container(&self, index: usize) -> Option<PathBuf> {
        self.shards.get(self.places.get(index)?.shard).map(|shard| shard.path.clone())
    }
}
