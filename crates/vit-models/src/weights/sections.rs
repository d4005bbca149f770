//! Which dictionary of a checkpoint holds the model.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::pickle::{Heap, Value};

/// Dictionaries that hold a model, the likeliest first. Where there is an average of the weights
/// beside the weights, the weights come first, as the programs that write both evaluate them.
const SECTIONS: [&str; 14] = [
    "model",
    "state_dict",
    "model_state_dict",
    "teacher",
    "student",
    "module",
    "net",
    "network",
    "encoder",
    "backbone",
    "model_ema",
    "ema",
    "params",
    "weights",
];

/// Dictionaries that hold tensors and no model.
const NO_MODEL: [&str; 5] = ["optim", "sched", "scaler", "loss", "amp"];

/// What was chosen from a pickle.
pub(super) struct Found {
    pub(super) tensors: BTreeMap<String, Value>,
    pub(super) section: String,
    pub(super) sections: Vec<(String, usize)>,
    pub(super) training: Map<String, Json>,
}

/// Takes the dictionary called `section`, or the likeliest one.
pub(super) fn choose(heap: &Heap, top: Value, section: Option<&str>) -> Result<Found, String> {
    let Some(items) = heap.dict(top) else {
        return Err("holds no dictionary at its top: no tensors by name".to_string());
    };
    let mut search = Search { heap, work: 0, sections: Vec::new() };
    search.look(top, "", 0);
    if search.work > MAX_WORK {
        return Err("its dictionaries refer to each other too often".to_string());
    }
    let all = search.sections;
    let sections: Vec<(String, usize)> =
        all.iter().map(|section| (section.name.clone(), section.tensors)).collect();
    let chosen = match section {
        Some(wanted) => {
            all.into_iter().find(|section| section.name == wanted).ok_or_else(|| {
                let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
                format!("has no tensors under '{wanted}'; it has some under {names:?}")
            })?
        }
        None => likeliest(all).ok_or("no tensors in any of its dictionaries")?,
    };
    let mut tensors = BTreeMap::new();
    for (key, value) in heap.dict(chosen.dict).unwrap_or_default() {
        let (Some(key), Some(_)) = (heap.text(*key), heap.tensor(*value)) else { continue };
        if key.len() > MAX_NAME {
            return Err(format!("a tensor whose name has {} letters", key.len()));
        }
        // Before it is copied: a pickle can mention one text many times.
        if tensors.contains_key(key) {
            return Err(format!("tensor '{key}' is there twice"));
        }
        tensors.insert(key.to_string(), *value);
    }
    let training = training(heap, items);
    Ok(Found { tensors, section: chosen.name, sections, training })
}

/// Dictionaries that are listed.
const MAX_SECTIONS: usize = 64;

/// Bytes of a tensor's name.
const MAX_NAME: usize = 512;

/// Items that are looked at. A pickle can mention one dictionary in many places, so their number is
/// no bound of the work.
const MAX_WORK: usize = 1 << 23;

/// A dictionary that holds tensors.
struct Section {
    name: String,
    tensors: usize,
    dict: Value,
}

struct Search<'a> {
    heap: &'a Heap,
    work: usize,
    sections: Vec<Section>,
}

impl Search<'_> {
    /// Lists this dictionary if it has tensors, and those in it, two levels down.
    fn look(&mut self, dict: Value, name: &str, depth: usize) {
        let items = self.heap.dict(dict).unwrap_or_default();
        self.work += items.len();
        if self.work > MAX_WORK || self.sections.len() >= MAX_SECTIONS {
            return;
        }
        let heap = self.heap;
        let tensor = |(key, value): &&(Value, Value)| {
            heap.text(*key).is_some() && heap.tensor(*value).is_some()
        };
        let tensors = items.iter().filter(tensor).count();
        if tensors > 0 {
            self.sections.push(Section { name: name.to_string(), tensors, dict });
        }
        if depth == 2 {
            return;
        }
        for (key, value) in items {
            let Some(key) = heap.text(*key).filter(|key| key.len() <= MAX_NAME) else { continue };
            if heap.dict(*value).is_some() {
                let name = if depth == 0 { key.to_string() } else { format!("{name}.{key}") };
                self.look(*value, &name, depth + 1);
            }
        }
    }
}

fn likeliest(all: Vec<Section>) -> Option<Section> {
    let last = |section: &Section| section.name.rsplit('.').next().map(str::to_string);
    let named = |wanted: &str| {
        let fits = all.iter().enumerate().filter(|(_, s)| last(s).as_deref() == Some(wanted));
        fits.min_by_key(|(i, s)| (s.name.matches('.').count(), *i)).map(|(i, _)| i)
    };
    let no_model = |section: &Section| NO_MODEL.iter().any(|part| section.name.contains(part));
    let at = SECTIONS.iter().find_map(|wanted| named(wanted)).or_else(|| {
        let fits = all.iter().enumerate().filter(|(_, section)| !no_model(section));
        fits.max_by_key(|(i, section)| (section.tensors, usize::MAX - i)).map(|(i, _)| i)
    })?;
    all.into_iter().nth(at)
}

/// Numbers and texts beside the weights: the epoch, the arguments of the training program.
fn training(heap: &Heap, items: &[(Value, Value)]) -> Map<String, Json> {
    let mut out = Map::new();
    let mut plain = Plain { heap, left: 1000 };
    for (key, value) in items.iter().take(64) {
        let Some(key) = heap.text(*key) else { continue };
        let is_model = SECTIONS.contains(&key) || NO_MODEL.iter().any(|part| key.contains(part));
        if is_model {
            continue;
        }
        if let Some(value) = plain.json(*value, 0) {
            out.insert(short(key), value);
        }
    }
    out
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Turns values into JSON, a bounded number of them: a pickle can hold itself.
struct Plain<'a> {
    heap: &'a Heap,
    left: usize,
}

impl Plain<'_> {
    fn json(&mut self, value: Value, depth: usize) -> Option<Json> {
        self.left = self.left.checked_sub(1).filter(|_| depth < 4)?;
        let heap = self.heap;
        Some(match value {
            Value::None => Json::Null,
            Value::Bool(value) => value.into(),
            Value::Int(value) => value.into(),
            Value::Float(value) => value.into(),
            Value::Text(_) => short(heap.text(value)?).into(),
            Value::Tuple(_) | Value::List(_) => {
                let items = heap.items(value)?.iter().take(32);
                Json::Array(items.filter_map(|item| self.json(*item, depth + 1)).collect())
            }
            Value::Dict(_) => {
                let mut out = Map::new();
                for (key, value) in heap.dict(value)?.iter().take(128) {
                    let Some(key) = heap.text(*key) else { continue };
                    if let Some(value) = self.json(*value, depth + 1) {
                        out.insert(short(key), value);
                    }
                }
                Json::Object(out)
            }
            Value::Object(_) => self.json(heap.object(value)?.state, depth + 1)?,
            Value::Name(_) | Value::Storage(_) | Value::Tensor(_) | Value::Opaque => return None,
        })
    }
}
