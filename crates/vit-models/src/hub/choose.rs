//! Which files of a repository are the model.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use vit_hub::{HubFault, is_below};

/// Which files hold the weights.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// One file.
    Whole(String),
    /// An index that names the parts.
    Sharded(String),
}

const SAFETENSORS: &str = "model.safetensors";
const INDEX_END: &str = ".safetensors.index.json";
/// What PyTorch's files are called.
const PICKLED: [&str; 3] = [".bin", ".pth", ".pt"];

impl Weights {
    /// The file asked for, else safetensors, else PyTorch's.
    pub(super) fn choose(files: &[String], asked: Option<&str>) -> Result<Self, HubFault> {
        if let Some(asked) = asked {
            let found = files.iter().any(|file| file == asked);
            let missing = || HubFault::NoFile { file: asked.to_string(), there: files.to_vec() };
            return found.then(|| Self::of(asked)).ok_or_else(missing);
        }
        let top: Vec<&str> =
            files.iter().map(String::as_str).filter(|file| !file.contains('/')).collect();
        if top.contains(&SAFETENSORS) {
            return Ok(Self::Whole(SAFETENSORS.to_string()));
        }
        // Parts are named by their index and are no choice of their own.
        if let Some(index) = top.iter().find(|file| file.ends_with(INDEX_END)) {
            return Ok(Self::Sharded((*index).to_string()));
        }
        let ending = |ends: &[&str]| -> Vec<&str> {
            top.iter().copied().filter(|file| ends.iter().any(|end| file.ends_with(end))).collect()
        };
        let safetensors = ending(&[".safetensors"]);
        let candidates = if safetensors.is_empty() { ending(&PICKLED) } else { safetensors };
        let usual = candidates.iter().find(|file| **file == "pytorch_model.bin");
        match (candidates.as_slice(), usual) {
            ([one], _) | (_, Some(one)) => Ok(Self::Whole((*one).to_string())),
            ([], _) => Err(HubFault::NoWeights { there: files.to_vec() }),
            (several, _) => Err(HubFault::Ambiguous {
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn of(file: &str) -> Self {
        if file.ends_with(INDEX_END) {
            Self::Sharded(file.to_string())
        } else {
            Self::Whole(file.to_string())
        }
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The parts an index names, sorted; paths as in the repository.
pub(super) fn shards(index_name: &str, text: &[u8]) -> Result<Vec<String>, HubFault> {
    let bad = |reason: String| HubFault::Index { file: index_name.to_string(), reason };
    let index: Index = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
    let folder = index_name.rsplit_once('/').map(|(folder, _)| format!("{folder}/"));
    let folder = folder.unwrap_or_default();
    let names: BTreeSet<String> =
        index.weight_map.into_values().map(|name| format!("{folder}{name}")).collect();
    if let Some(name) = names.iter().find(|name| !is_below(name)) {
        return Err(bad(format!("'{name}' is not a file of the repository")));
    }
    if names.is_empty() {
        return Err(bad("it names no parts".to_string()));
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(files: &[&str], asked: Option<&str>) -> Result<Weights, HubFault> {
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        Weights::choose(&files, asked)
    }

    fn whole(file: &str) -> Weights {
        Weights::Whole(file.to_string())
    }

    #[test]
    fn safetensors_before_pickles() {
        let files = ["config.json", "pytorch_model.bin", "model.safetensors"];
        assert_eq!(choose(&files, None).unwrap(), whole("model.safetensors"));
        assert_eq!(choose(&["a.pth", "README.md"], None).unwrap(), whole("a.pth"));
        assert_eq!(
            choose(&["open.safetensors", "b.bin"], None).unwrap(),
            whole("open.safetensors")
        );
        let files = ["pytorch_model.bin", "training_args.bin"];
        assert_eq!(choose(&files, None).unwrap(), whole("pytorch_model.bin"));
        let files = ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"];
        let index = Weights::Sharded("model.safetensors.index.json".to_string());
        assert_eq!(choose(&files, None).unwrap(), index);
        assert_eq!(
            choose(&files, Some("model-2.safetensors")).unwrap(),
            whole("model-2.safetensors")
        );
    }

    #[test]
    fn no_guessing() {
        let two = choose(&["a.safetensors", "b.safetensors"], None);
        assert!(matches!(two, Err(HubFault::Ambiguous { .. })), "{two:?}");
        let none = choose(&["README.md", "deep/model.safetensors"], None);
        assert!(matches!(none, Err(HubFault::NoWeights { .. })), "{none:?}");
        let other = choose(&["a.safetensors"], Some("c.safetensors"));
        assert!(matches!(other, Err(HubFault::NoFile { .. })), "{other:?}");
    }

    #[test]
    fn parts_of_an_index() {
        let text = br#"{"metadata": {}, "weight_map": {"b": "2.safetensors", "a": "1.safetensors",
            "c": "2.safetensors"}}"#;
        assert_eq!(shards("i.json", text).unwrap(), ["1.safetensors", "2.safetensors"]);
        assert_eq!(shards("sub/i.json", text).unwrap()[0], "sub/1.safetensors");
        for bad in [&br#"{"weight_map": {"a": "../../x"}}"#[..], br#"{"weight_map": {}}"#, b"[]"] {
            assert!(matches!(shards("i.json", bad), Err(HubFault::Index { .. })));
        }
    }
}
