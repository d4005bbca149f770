//! A file seen with our names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::family::{Meaning, Naming};
use super::tables::{COUNTER, USELESS};
use super::{Family, WeightFile};

/// Prefixes that wrappers put before every name (PyTorch's `DataParallel`, detector backbones).
const WRAPPERS: [&str; 3] = ["module.", "backbone.", "encoder."];

/// Where a tensor of ours is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name in the file, or names of its parts from top to bottom.
    pub(super) names: Vec<String>,
    /// Its shape.
    pub(super) shape: Vec<usize>,
}

/// All tensors of a file by our names.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) naming: Naming,
    pub(super) places: BTreeMap<String, Place>,
    /// Names in the file that mean nothing to us, with the reason if it is known.
    pub(super) useless: BTreeMap<String, Option<String>>,
}

/// The parts of one tensor that have been found: how many there are to be, and their names.
type Parts = (usize, BTreeMap<usize, String>);

impl View {
    /// `wanted` tells whether the model has a name; such a name in the file is taken as it stands.
    pub(super) fn of(
        file: &WeightFile,
        family: Option<Family>,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let naming = Naming::of(file, family);
        let mut whole: BTreeMap<String, &str> = BTreeMap::new();
        let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
        let mut useless = BTreeMap::new();
        for name in file.shapes().keys() {
            if wanted(name) {
                // The name as it stands wins over a renamed one.
                if let Some(other) = whole.insert(name.clone(), name) {
                    useless.insert(other.to_string(), None);
                }
                continue;
            }
            match naming.meaning(name) {
                Some(Meaning::Dropped(reason)) => {
                    useless.insert(name.clone(), Some(reason.to_string()));
                }
                Some(Meaning::Part(ours, part, of)) => {
                    let (_, found) = parts.entry(ours).or_insert((of, BTreeMap::new()));
                    if let Some(other) = found.insert(part, name.clone()) {
                        useless.insert(other, Some("is there under two names".to_string()));
                    }
                }
                meaning => {
                    let ours = match meaning {
                        Some(Meaning::Whole(ours)) => ours,
                        _ => name.clone(),
                    };
                    let plain = unwrapped(&ours, &wanted).to_string();
                    match whole.entry(plain) {
                        Entry::Occupied(_) => drop(useless.insert(name.clone(), None)),
                        Entry::Vacant(place) => drop(place.insert(name)),
                    }
                }
            }
        }
        let mut places = BTreeMap::new();
        for (ours, name) in whole {
            let shape = file.shapes().get(name).cloned().unwrap_or_default();
            places.insert(ours, Place { names: vec![name.to_string()], shape });
        }
        for (ours, (of, found)) in parts {
            match fused(file, of, &found) {
                Ok(place) if !places.contains_key(&ours) => drop(places.insert(ours, place)),
                Ok(_) => {
                    useless.extend(found.into_values().map(|name| (name, None)));
                }
                Err(reason) => {
                    let reason = format!("{reason}, so '{ours}' cannot be put together");
                    useless.extend(found.into_values().map(|name| (name, Some(reason.clone()))));
                }
            }
        }
        Self { naming, places, useless }
    }

    /// Why a model that lacks a tensor of ours has no use for it, where that is known.
    pub(super) fn reason(ours: &str) -> Option<&'static str> {
        if ours.ends_with(COUNTER.0) {
            return Some(COUNTER.1);
        }
        let plain =
            WRAPPERS.iter().fold(ours, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
        USELESS.iter().find(|(prefix, _)| plain.starts_with(prefix)).map(|(_, reason)| *reason)
    }

    /// Numbers in the names of blocks, each once.
    pub(super) fn blocks(&self, before: &str) -> BTreeSet<usize> {
        let number = |name: &String| name.strip_prefix(before)?.split('.').next()?.parse().ok();
        self.places.keys().filter_map(number).collect()
    }
}

/// A name without wrappers' prefixes. One that is in the model is never shortened.
fn unwrapped<'a>(name: &'a str, wanted: &impl Fn(&str) -> bool) -> &'a str {
    let mut plain = name;
    while !wanted(plain) {
        match WRAPPERS.iter().find_map(|prefix| plain.strip_prefix(prefix)) {
            Some(shorter) => plain = shorter,
            None => return if plain == name || wanted(plain) { plain } else { name },
        }
    }
    plain
}

/// One tensor from the parts a family keeps apart.
fn fused(file: &WeightFile, of: usize, found: &BTreeMap<usize, String>) -> Result<Place, String> {
    if found.len() != of {
        return Err(format!("{} of {of} parts are there", found.len()));
    }
    let names: Vec<String> = found.values().cloned().collect();
    let shapes: Vec<&Vec<usize>> =
        names.iter().filter_map(|name| file.shapes().get(name)).collect();
    let same = shapes.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    let Some((rows, rest)) = shapes.first().and_then(|shape| shape.split_first()) else {
        return Err("a part has no rows".to_string());
    };
    if !same {
        return Err(format!("parts have the shapes {shapes:?}"));
    }
    let shape = [&[rows.saturating_mul(of)], rest].concat();
    Ok(Place { names, shape })
}
