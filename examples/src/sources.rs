use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use vit_datasets::{
    Concat, DataSource, Dataset, Harmonized, InMemory, InPopulation, Subset, Vocabulary, fraction,
    parse_json, split_by_group,
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
    /// `xray_union`, or a table of that form: labels that all sources are translated to. A source
    /// says in `vocabulary_source` which column of the table it is, where its reader does not.
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
        let value = parse_json(&text).with_context(name)?;
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

/// Beside the keys of the reader: its column of the vocabulary.
const ORIGIN: &str = "vocabulary_source";

fn open_source(
    name: &str,
    value: &Value,
    vocabulary: Option<&Vocabulary>,
) -> Result<Arc<dyn Dataset>> {
    let mut value = value.clone();
    let origin = value.as_object_mut().and_then(|entries| entries.remove(ORIGIN));
    let source = DataSource::parse(&value.to_string()).with_context(|| format!("part `{name}`"))?;
    let origin = match vocabulary {
        Some(vocabulary) => Some(column(name, &source, origin.as_ref(), vocabulary)?),
        None if origin.is_some() => {
            bail!("part `{name}`: `{ORIGIN}` without a `vocabulary` of the parts says nothing")
        }
        None => None,
    };
    let data = open_reader(&source).with_context(|| format!("part `{name}`"))?;
    let data: Arc<dyn Dataset> = Arc::new(InPopulation::new(data, source.population()));
    let (Some(vocabulary), Some(origin)) = (vocabulary, origin) else { return Ok(data) };
    let data = Harmonized::new(data, vocabulary, &origin);
    Ok(Arc::new(data.with_context(|| format!("part `{name}`"))?))
}

/// The column of the vocabulary that a source is translated by.
fn column(
    name: &str,
    source: &DataSource,
    given: Option<&Value>,
    vocabulary: &Vocabulary,
) -> Result<String> {
    let known = || vocabulary.sources().collect::<Vec<_>>().join(", ");
    let origin = match given {
        Some(Value::String(origin)) => origin.as_str(),
        Some(other) => bail!("part `{name}`: `{ORIGIN}` is {other}, but must be one of {}", known()),
        None => source.vocabulary_source().with_context(|| {
            format!(
                "part `{name}`: name the source's column of the vocabulary in `{ORIGIN}`; it has {}",
                known()
            )
        })?,
    };
    if !vocabulary.sources().any(|known| known == origin) {
        bail!("part `{name}`: the vocabulary has no source '{origin}'; it has {}", known());
    }
    Ok(origin.to_owned())
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
        for (value, words) in
            [(policy, "unknown field `blnak`"), (table(single), "unknown key 'skip_mising'")]
        {
            let message = format!("{:#}", open_source("train", &value, None).err().unwrap());
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn the_examples_of_the_docs_are_read() {
        let text = include_str!("../../docs/datasets.md");
        let blocks: Vec<&str> =
            text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= 5, "{}", blocks.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.json");
        for block in blocks {
            std::fs::write(&path, block).unwrap();
            let (sources, _) = Sources::read(&path).unwrap();
            let Sources::Parts(parts) = sources else { panic!("{block}") };
            let words = folder.path().join("words.csv");
            std::fs::write(&words, "mine,nih,chexpert,padchest\nHeart,,,heart\n").unwrap();
            let vocabulary = match parts.vocabulary.as_deref() {
                Some("xray_union") => Some(Vocabulary::xray_union().unwrap()),
                Some(_) => Some(Vocabulary::read(&words).unwrap()),
                None => None,
            };
            let values = [Some(&parts.train), parts.val.as_ref(), parts.test.as_ref()];
            for value in values.into_iter().flatten().filter(|value| !value.is_number()) {
                let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for value in all {
                    is_read(value, vocabulary.as_ref());
                }
            }
        }
    }

    /// The files are not there; that it is this which is missed, says the rest is read.
    fn is_read(source: &Value, vocabulary: Option<&Vocabulary>) {
        let error = open_source("part", source, vocabulary).err().unwrap();
        assert!(is_of_opening(&error), "{source}: {error:#}");
    }

    fn is_of_opening(error: &anyhow::Error) -> bool {
        use vit_datasets::Error;
        let error = error.downcast_ref::<Error>();
        error.is_some_and(|error| !matches!(error, Error::Config { option: "DataSource", .. }))
    }

    /// Pieces within a line: whole sources, and options of one.
    #[test]
    fn the_pieces_of_json_in_the_docs_are_read() {
        let text = include_str!("../../docs/datasets.md");
        let prose: String =
            text.split("```").step_by(2).collect::<Vec<_>>().join("\n").replace("``", "");
        let pieces: Vec<&str> =
            prose.split('`').skip(1).step_by(2).filter(|code| code.contains("\":")).collect();
        let mut whole = 0;
        for piece in &pieces {
            let braced =
                if piece.starts_with('{') { (*piece).to_owned() } else { format!("{{{piece}}}") };
            let value: Value = serde_json::from_str(&braced).unwrap_or_else(|error| {
                panic!("`{piece}` is no JSON: {error}");
            });
            if value.get("reader").is_some() {
                is_read(&value, None);
                whole += 1;
            } else if piece.contains("dicom") && !cfg!(feature = "dicom") {
                continue;
            } else {
                // Options of some reader or other.
                let of = [
                    serde_json::json!({ "reader": "rsna_pneumonia", "root": "r" }),
                    serde_json::json!({ "reader": "parquet", "path": "x", "column": "image" }),
                    serde_json::json!({ "reader": "che_xpert", "root": "r", "split": "train",
                        "policy": "ones" }),
                ];
                let known = of.into_iter().any(|mut source| {
                    source.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
                    let error = open_source("part", &source, None).err().unwrap();
                    is_of_opening(&error)
                });
                assert!(known, "no reader takes {piece}");
            }
        }
        assert!(whole > 0 && pieces.len() > whole, "{pieces:?}");
    }

    #[test]
    fn the_validation_part_has_the_names_of_the_docs() {
        for name in ["val", "valid", "validate", "validation"] {
            let source = |reader: &str| {
                serde_json::json!({ "reader": reader, "root": "r", "split": name,
                    "policy": "medical_mae" })
            };
            is_read(&source("che_xpert"), None);
            is_read(&source("mimic_cxr"), None);
            let list = serde_json::json!({ "reader": "xray_list", "root": "r", "list": "l",
                "kind": "rsna", "part": name });
            is_read(&list, None);
        }
        let wrong = serde_json::json!({ "reader": "gastro_vision", "root": "r", "split": "vall" });
        let message = format!("{:#}", open_source("train", &wrong, None).err().unwrap());
        assert!(message.contains("vall") && message.contains("`val`"), "{message}");
    }

    #[test]
    fn a_source_says_which_column_of_the_vocabulary_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("a.png"), b"x").unwrap();
        std::fs::write(path("t.csv"), "file,heart\na.png,1\n").unwrap();
        std::fs::write(path("words.csv"), "mine,nih,padchest\nHeart,Cardiomegaly,heart\nRest,,\n")
            .unwrap();
        let table = |more: Value| {
            let mut source = serde_json::json!({ "reader": "table", "table": path("t.csv"),
                "root": home.path(), "file_column": "file",
                "labels": { "multi": { "columns": ["heart"] } } });
            source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            source
        };
        let open = |vocabulary: Option<&str>, source: Value| {
            let mut parts = serde_json::json!({ "train": source });
            if let Some(name) = vocabulary {
                parts["vocabulary"] = path(name).to_str().unwrap().into();
            }
            std::fs::write(path("sources.json"), parts.to_string()).unwrap();
            Sources::read(&path("sources.json")).unwrap().0.open(0)
        };
        let words = Some("words.csv");
        let data = open(words, table(serde_json::json!({ ORIGIN: "padchest" }))).unwrap();
        assert_eq!(data.train.task().names(), ["Heart", "Rest"]);
        let expected = vit_datasets::Target::Labels(vec![Some(1.), None]);
        assert_eq!(data.train.record(0).unwrap().target, expected);
        for (vocabulary, more, message) in [
            (words, serde_json::json!({ ORIGIN: "pad" }), "no source 'pad'; it has nih, padchest"),
            (words, serde_json::json!({ ORIGIN: 3 }), "is 3, but must be one of nih, padchest"),
            (words, serde_json::json!({}), "in `vocabulary_source`; it has nih, padchest"),
            (None, serde_json::json!({ ORIGIN: "padchest" }), "without a `vocabulary`"),
        ] {
            let error = format!("{:#}", open(vocabulary, table(more)).err().unwrap());
            assert!(error.contains("part `train`") && error.contains(message), "{error}");
        }
        // A reader that knows its column, in a table that has none for it.
        let mimic = serde_json::json!({ "reader": "mimic_cxr", "root": "r",
            "policy": "medical_mae_mimic" });
        let error = format!("{:#}", open(words, mimic).err().unwrap());
        assert!(error.contains("no source 'mimic'; it has nih, padchest"), "{error}");
    }
}
