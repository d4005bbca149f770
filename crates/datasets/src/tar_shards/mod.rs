mod archive;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_transforms::{DecodeOptions, decode_bytes_with};

use self::archive::{Extent, Member, side_file, walk};
use crate::files::{AttributeStore, is_picture};
use crate::left_out::LeftOutLog;
use crate::{Dataset, Error, LeftOut, Record, Result, Sample, Target, Task};

/// More classes than this are taken for a damaged shard.
const MAX_CLASSES: usize = 1_000_000;
/// Why what has no bytes of its own at one place is left out.
const NO_PLACE: &str = "links and sparse files";

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
/// A hard link is read as the file that it leads to, and is in its group. Other links and sparse
/// files, of which an archive does not hold all bytes at one place, are left out.
///
/// Ids begin with the archive's name without its ending, behind as many of its folders as it takes
/// to tell the archives apart; where the archive is a link, the link's name and folders count.
/// Without a field for the group, every picture is its own: the group is the archive's whole path,
/// without links, and the picture's name, so that one archive in two parts is noticed.
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
    /// The path without links, to compare with others: in another folder, or under another name,
    /// the archive holds the same pictures.
    real: PathBuf,
    /// What ids begin with; no other archive has it.
    name: String,
}

/// Where a picture is.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    extent: Extent,
}

/// The files of one sample.
#[derive(Default)]
struct Parts {
    key: String,
    picture: Option<Member>,
    class: Text,
    json: Text,
}

/// A file beside a picture.
#[derive(Default, PartialEq, Eq)]
enum Text {
    #[default]
    Absent,
    /// It has no place in the archive.
    Lost,
    Found(String),
}

impl TarShards {
    /// Goes through the archives, in this order.
    ///
    /// # Errors
    /// [`Error::Io`] when an archive cannot be read, [`Error::Archive`] when it is damaged,
    /// truncated or packed or given twice, another one follows behind its end, two samples of one
    /// archive have one key, or a sample has two pictures; [`Error::Label`] when a label is missing
    /// or not what it must be; [`Error::Json`]; [`Error::Empty`] when there is no picture.
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
        let fail = |reason: String| Error::Archive { path: path.clone(), reason };
        let texts = File::open(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let mut parts = Parts::default();
        let mut seen = HashSet::new();
        walk(path, &mut |member| {
            let Some((key, extension)) = split_key(&member.name) else {
                if member.extent.is_none() {
                    let place = || format!("{}, '{}'", path.display(), member.name);
                    self.left_out.note(NO_PLACE, place);
                }
                return Ok(());
            };
            if key != parts.key {
                self.take(&std::mem::take(&mut parts), number, shard, options)?;
                if !seen.insert(key.to_owned()) {
                    return Err(fail(format!("sample '{key}' is in two places")));
                }
                parts.key = key.to_owned();
            }
            if extension == "cls" || extension == "json" {
                let part = match member.extent {
                    None => Text::Lost,
                    Some(extent) => Text::Found(
                        side_file(&texts, extent)
                            .map_err(|reason| fail(format!("'{}': {reason}", member.name)))?,
                    ),
                };
                *(if extension == "cls" { &mut parts.class } else { &mut parts.json }) = part;
            } else if is_picture(&member.name) {
                if let Some(other) = &parts.picture {
                    let (one, two) = (&other.name, &member.name);
                    return Err(fail(format!("'{one}' and '{two}' are one sample")));
                }
                parts.picture = Some(member);
            }
            Ok(())
        })?;
        self.take(&parts, number, shard, options)
    }

    /// A sample without a picture is left out, and one whose files cannot be read from a place.
    fn take(
        &mut self,
        parts: &Parts,
        number: usize,
        shard: &Shard,
        options: &TarOptions,
    ) -> Result<()> {
        let Some(picture) = &parts.picture else {
            if !parts.key.is_empty() {
                let place = || format!("{}, sample '{}'", shard.path.display(), parts.key);
                self.left_out.note("samples without a picture", place);
            }
            return Ok(());
        };
        let name = &picture.name;
        let wants_class = matches!(options.labels, TarLabels::Class { .. });
        let wants_json = options.group_field.is_some()
            || !options.attribute_fields.is_empty()
            || matches!(options.labels, TarLabels::Findings { .. });
        let lost =
            (wants_class && parts.class == Text::Lost) || (wants_json && parts.json == Text::Lost);
        let Some(extent) = picture.extent.filter(|_| !lost) else {
            let place = || format!("{}, '{name}'", shard.path.display());
            self.left_out.note(NO_PLACE, place);
            return Ok(());
        };
        let id = format!("{}/{name}", shard.name);
        let json = match &parts.json {
            Text::Found(text) if wants_json => {
                serde_json::from_str(text).map_err(|error| Error::Json {
                    path: shard.path.clone(),
                    reason: format!("'{}.json': {error}", parts.key),
                })?
            }
            _ => serde_json::Value::Null,
        };
        let target = target(parts, &json, &options.labels, &shard.path)?;
        let group = match &options.group_field {
            None => {
                let file = picture.origin.as_ref().unwrap_or(name);
                format!("{}/{file}", shard.real.display())
            }
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
        self.places.push(Place { shard: number, extent });
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
    // A link keeps its own name: what it leads to is often called by a checksum. All paths begin
    // at the root, so that their last parts are equally many.
    let given = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| Error::Io { path: path.clone(), source })
    };
    let given = paths.iter().map(given).collect::<Result<Vec<_>>>()?;
    let deepest = given.iter().map(|path| path.iter().count()).max().unwrap_or(0);
    // The whole path with its ending, if nothing less tells them apart.
    for depth in (1..=deepest).map(Some).chain([None]) {
        let names: Vec<String> = given.iter().map(|path| tail(path, depth)).collect();
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

/// The path up to the first dot of the file name, and the last extension.
fn split_key(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name.get(start..)?.find('.')?;
    let (_, extension) = name.rsplit_once('.')?;
    Some((name.get(..dot)?, extension))
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
            let text = match &parts.class {
                Text::Found(text) => text.trim(),
                Text::Absent | Text::Lost => "",
            };
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
        file.seek(SeekFrom::Start(place.extent.offset)).map_err(io)?;
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the decoder refuses what is too long.
        file.take(place.extent.length.min(limit.saturating_add(1)))
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let image = decode_bytes_with(&record.id, &bytes, &self.decode)
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }

    fn attribute_names(&self) -> &[String] {
        self.attributes.names()
    }

    fn attribute(&self, index: usize, name: &str) -> Result<Option<String>> {
        self.attributes.attribute(index, self.len(), name)
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
