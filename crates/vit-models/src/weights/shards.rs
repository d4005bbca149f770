//! Several files with an index, as Hugging Face's libraries write large models.

use std::collections::BTreeSet;
use std::path::Path;

use super::contents::{Container, Contents};
use super::read::open_plain;
use super::safetensors_file::Index;
use super::values::Source;
use crate::{Error, Result};

/// Files one index may name.
const MAX_SHARDS: usize = 1024;

/// Bytes an index may have.
const MAX_INDEX: u64 = 64 << 20;

/// Whether a file is an index by its name.
pub(super) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// Opens all files of an index. All must be there, every tensor in the file the index says and in
/// no other.
pub(super) fn open(index_file: &Source) -> Result<Contents> {
    let path = &index_file.path;
    let fault = |reason: String| Error::File { path: path.clone(), reason };
    if index_file.length > MAX_INDEX {
        return Err(fault(format!("an index of {} bytes", index_file.length)));
    }
    let mut text = vec![0; usize::try_from(index_file.length).unwrap_or(0)];
    index_file.read_at(&mut text, 0)?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|e| fault(format!("is not an index: {e}")))?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if names.len() > MAX_SHARDS {
        return Err(fault(format!("names {} files", names.len())));
    }
    let mut all = Contents { container: Container::Sharded, ..Contents::default() };
    for name in names {
        add(&mut all, path, name)?;
    }
    for (tensor, file) in &index.weight_map {
        let holder = all.entries.get(tensor).and_then(|entry| all.sources.get(entry.file));
        let found = holder.and_then(|source| source.path.file_name()?.to_str());
        if found != Some(file.as_str()) {
            return Err(fault(format!("says that '{tensor}' is in {file}, and it is not")));
        }
    }
    all.sections = vec![(String::new(), all.entries.len())];
    Ok(all)
}

fn add(all: &mut Contents, index: &Path, name: &str) -> Result<()> {
    let fault = |reason: String| Error::File { path: index.to_path_buf(), reason };
    // A name only: an index must not lead out of its folder.
    if Path::new(name).file_name().and_then(|plain| plain.to_str()) != Some(name) {
        return Err(fault(format!("names '{name}', which is not a file beside it")));
    }
    let shard = index.with_file_name(name);
    if is_index(&shard) {
        return Err(fault(format!("names '{name}', which is an index itself")));
    }
    if !shard.exists() {
        return Err(fault(format!("one of its files is missing: {name}")));
    }
    let mut contents = open_plain(Source::open(&shard)?, None)?;
    let first = all.sources.len();
    all.sources.append(&mut contents.sources);
    all.header.append(&mut contents.header);
    for (tensor, mut entry) in contents.entries {
        entry.file += first;
        if let Some(other) = all.entries.insert(tensor.clone(), entry) {
            let other = all.sources.get(other.file).map(|source| source.path.display().to_string());
            let other = other.unwrap_or_default();
            return Err(fault(format!("tensor '{tensor}' is in {name} and in {other}")));
        }
    }
    Ok(())
}
