use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use vit_datasets::{
    Concat, DataSource, Dataset, Harmonized, InMemory, InPopulation, Subset, Vocabulary, fraction,
    split_by_group,
};

use crate::data::{CACHE_BYTES, OpenData, split_whole};

/// A JSON file of data sets: one description, which is split by patient, or parts. Keys that a
/// reader does not know are errors.
#[derive(Debug)]
pub(crate) enum Sources {
    /// One source, several or some under common labels.
    Whole(Value),
    /// Each part on its own.
    Parts(Box<Parts>),
}

/// What an object without `reader` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    /// A source, or a list of sources.
    train: Value,
    /// The same, or a number: the share of the training patients that is taken for it.
    val: Option<Value>,
    test: Option<Value>,
    /// Keeps this share of the training patients, every class in its proportion.
    train_fraction: Option<f64>,
    /// `xray_union`, or a table of that form: labels that all sources are translated to.
    vocabulary: Option<String>,
    /// Groups of the parts may have the same names: they come from different hospitals, or a
    /// published split is to be used as it is.
    #[serde(default)]
    allow_shared_groups: bool,
}

impl Sources {
    /// Reads the file; gives its value too, for the settings of a run.
    pub(crate) fn read(path: &Path) -> Result<(Self, Value)> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        let value: Value = serde_json::from_str(&text).with_context(name)?;
        let sources = match &value {
            Value::Object(entries) if !entries.contains_key("reader") => {
                let parts = serde_json::from_value(value.clone()).with_context(|| {
                    format!("{}: neither a data set (`reader`) nor its parts", path.display())
                })?;
                Self::Parts(parts)
            }
            _ => Self::Whole(value.clone()),
        };
        Ok((sources, value))
    }

    /// Whether parts may have groups of the same names.
    pub(crate) fn allows_shared_groups(&self) -> bool {
        matches!(self, Self::Parts(parts) if parts.allow_shared_groups)
    }

    /// Opens everything. Whether the parts share patients is for the caller to look at.
    pub(crate) fn open(&self, seed: u64) -> Result<OpenData> {
        match self {
            Self::Whole(source) => split_whole(&kept(open_part("the data", source, None)?), seed),
            Self::Parts(parts) => parts.open(seed),
        }
    }
}

impl Parts {
    fn open(&self, seed: u64) -> Result<OpenData> {
        let vocabulary = match self.vocabulary.as_deref() {
            Some("xray_union") => Some(Vocabulary::xray_union()?),
            Some(path) => Some(Vocabulary::read(Path::new(path))?),
            None => None,
        };
        let open = |name: &str, part: &Value| open_part(name, part, vocabulary.as_ref());
        let source = open("train", &self.train)?;
        let mut train = Arc::clone(&source);
        let val = match &self.val {
            Some(Value::Number(share)) => {
                let share = share.as_f64().unwrap_or_default();
                let parts = split_by_group(train.as_ref(), &[1. - share, share], seed)
                    .with_context(|| format!("`val`: {share} of the training part"))?;
                let mut parts = parts.into_iter().map(|part| subset(&train, part));
                let (kept, val) = (parts.next(), parts.next());
                train = kept.context("no training part is left")??;
                val.transpose()?
            }
            Some(part) => Some(open("val", part)?),
            None => None,
        };
        if let Some(share) = self.train_fraction {
            let indices = fraction(train.as_ref(), share, seed)?;
            train = subset(&train, indices)?;
        }
        let test = self.test.as_ref().map(|part| open("test", part)).transpose()?;
        let others = [("val", &val), ("test", &test)];
        for (name, part) in
            others.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)))
        {
            if part.task() != train.task() {
                bail!(
                    "the part `{name}` is labelled {:?}, the part `train` {:?}",
                    part.task().names(),
                    train.task().names()
                );
            }
        }
        let divided = train.len() < source.len();
        let whole = divided.then_some(source);
        Ok(OpenData { whole, train: kept(train), val: val.map(kept), test: test.map(kept) })
    }
}

/// Decoded pictures are kept in memory as far as there is room.
fn kept(part: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
    Arc::new(InMemory::new(part, CACHE_BYTES))
}

fn subset(data: &Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Arc<dyn Dataset>> {
    Ok(Arc::new(Subset::new(Arc::clone(data), indices)?))
}

/// A source, or a list of them put together.
fn open_part(
    name: &str,
    part: &Value,
    vocabulary: Option<&Vocabulary>,
) -> Result<Arc<dyn Dataset>> {
    let Value::Array(sources) = part else { return open_source(name, part, vocabulary) };
    let mut opened = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        let reader = source.get("reader").and_then(Value::as_str).unwrap_or("source");
        let place = if place == 0 { reader.into() } else { format!("{reader}-{}", place + 1) };
        opened.push((place, open_source(name, source, vocabulary)?));
    }
    Ok(Arc::new(Concat::new(opened).with_context(|| format!("part `{name}`"))?))
}

fn open_source(
    name: &str,
    value: &Value,
    vocabulary: Option<&Vocabulary>,
) -> Result<Arc<dyn Dataset>> {
    let source: DataSource =
        serde_json::from_value(value.clone()).with_context(|| format!("part `{name}`"))?;
    check_keys(name, value, &serde_json::to_value(&source)?)?;
    let data = open_reader(&source).with_context(|| format!("part `{name}`"))?;
    let data: Arc<dyn Dataset> = Arc::new(InPopulation::new(data, source.population()));
    let Some(vocabulary) = vocabulary else { return Ok(data) };
    let Some(origin) = source.vocabulary_source() else {
        bail!("part `{name}`: the vocabulary knows ChestX-ray14, CheXpert and MIMIC-CXR only");
    };
    Ok(Arc::new(Harmonized::new(data, vocabulary, origin)?))
}

/// As the library opens it; a data set of the hub where the environment says that the hub is.
fn open_reader(source: &DataSource) -> Result<Arc<dyn Dataset>> {
    #[cfg(feature = "hub")]
    if let DataSource::Hub(hub) = source {
        let options = crate::HubArgs::default().options()?;
        let data = crate::embedder::hub::with_bar(|note| hub.open_with(options, note))?;
        let licence = data.licence().unwrap_or("not stated");
        println!("{} {}: commit {}, licence {licence}", hub.repo, hub.split, data.commit());
        return Ok(Arc::new(data));
    }
    Ok(source.open()?)
}

/// A key that is not read would be a setting that silently does nothing.
fn check_keys(name: &str, given: &Value, read: &Value) -> Result<()> {
    let (Value::Object(given), Value::Object(read)) = (given, read) else { return Ok(()) };
    if let Some(key) = given.keys().find(|key| !read.contains_key(*key)) {
        let known: Vec<&str> = read.keys().map(String::as_str).collect();
        bail!("part `{name}`: unknown key '{key}'; this reader has {}", known.join(", "));
    }
    // A description has no maps whose keys are data, and a variant of an enum is written as it was
    // read; what may be written in several ways (the name of a preset) is no object there.
    given.iter().filter_map(|(key, value)| Some((value, read.get(key)?))).try_for_each(
        |(given, read)| match (given, read) {
            (Value::Array(given), Value::Array(read)) => {
                given.iter().zip(read).try_for_each(|(given, read)| check_keys(name, given, read))
            }
            _ => check_keys(name, given, read),
        },
    )
}

#[cfg(test)]
mod tests {
    use vit_datasets::check_group_disjoint;

    use super::*;

    /// A patient is the same one whether its source stands alone or in a list, and a picture is
    /// not taken twice.
    #[test]
    fn lists_do_not_hide_shared_patients() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let mut nih = String::new();
        let mut chexpert = String::new();
        for patient in 1..=4 {
            let name = format!("0000000{patient}_000.png");
            write(&format!("nih/{name}"), b"x");
            nih += &format!("{name} {}\n", ["0"; 14].join(" "));
            let name = format!("train/patient0000{patient}/study1/view1_frontal.jpg");
            write(&format!("chexpert/{name}"), b"x");
            chexpert += &format!("CheXpert-v1.0-small/{name} 0 0 0 0 0\n");
        }
        write("nih.txt", nih.as_bytes());
        write("chexpert.txt", chexpert.as_bytes());
        let source = |name: &str, kind: &str| {
            serde_json::json!({ "reader": "xray_list", "root": home.path().join(name),
                "list": home.path().join(format!("{name}.txt")), "kind": kind, "part": "train" })
        };
        let nih = source("nih", "chest_xray14_medical_mae");
        let chexpert = source("chexpert", "chexpert_mrm");
        let open = |value: Value| {
            let path = home.path().join("sources.json");
            std::fs::write(&path, value.to_string()).unwrap();
            Sources::read(&path).unwrap().0.open(0)
        };
        let check = |open: &OpenData| {
            let parts: Vec<&dyn Dataset> = open.parts().map(|(_, part)| part.as_ref()).collect();
            check_group_disjoint(&parts)
        };
        let both = serde_json::json!({ "vocabulary": "xray_union",
            "train": [nih.clone(), chexpert.clone()], "test": chexpert.clone() });
        let message = check(&open(both).unwrap()).unwrap_err().to_string();
        assert!(message.contains("chexpert/patient0000"), "{message}");
        let apart = serde_json::json!({ "vocabulary": "xray_union",
            "train": [nih.clone()], "test": chexpert.clone() });
        check(&open(apart).unwrap()).unwrap();
        let twice = serde_json::json!({ "train": [chexpert.clone(), chexpert], "val": 0.3 });
        let message = format!("{:#}", open(twice).err().unwrap());
        assert!(message.contains("both hold the picture"), "{message}");
    }

    #[test]
    fn unknown_keys_are_refused_at_any_depth() {
        let table = |labels: Value| {
            serde_json::json!({ "reader": "table", "table": "t.csv", "file_column": "f",
                "labels": labels })
        };
        let policy = serde_json::json!({ "reader": "che_xpert", "root": "r", "split": "train",
            "policy": { "name": "own", "findings": [
                { "finding": "Edema", "uncertain": { "soft": { "low": 0.5, "high": 1 } },
                  "blnak": "missing" }] } });
        let single = serde_json::json!({ "single": { "column": "c", "skip_mising": true } });
        for (value, key) in [(policy, "blnak"), (table(single), "skip_mising")] {
            let message = format!("{:#}", open_source("train", &value, None).err().unwrap());
            assert!(message.contains(&format!("unknown key '{key}'")), "{message}");
        }
    }

    #[test]
    fn the_examples_of_the_docs_are_read() {
        let text = include_str!("../../docs/datasets.md");
        let blocks: Vec<&str> =
            text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(blocks.len(), 4);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.json");
        for block in blocks {
            std::fs::write(&path, block).unwrap();
            let (sources, _) = Sources::read(&path).unwrap();
            let Sources::Parts(parts) = sources else { panic!("{block}") };
            let values = [Some(&parts.train), parts.val.as_ref(), parts.test.as_ref()];
            for value in values.into_iter().flatten().filter(|value| !value.is_number()) {
                let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for value in all {
                    // The files are not there; that it is this which is missed, says the rest is read.
                    let error = open_source("part", value, None).err().unwrap();
                    let cause = error.downcast_ref::<vit_datasets::Error>();
                    assert!(cause.is_some(), "{value}: {error:#}");
                }
            }
        }
    }
}
