//! PyTorch's files: the zip format since 1.6 and the one before it.

use std::collections::BTreeMap;
use std::io::{BufReader, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use super::contents::{Container, Contents};
use super::pickle::{Heap, Input, Storage, StorageType, Value, run};
use super::sections::{Found, choose};
use super::values::{Entry, Source, StoredType};
use crate::{Error, Result};

/// Entries a zip file may have.
const MAX_RECORDS: usize = 200_000;

/// How the format before 1.6 begins: protocol 2 and the number `0x1950a86a20f9469cfc6c`.
const LEGACY_START: [u8; 15] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// Where the numbers of a storage lie.
#[derive(Debug, Clone, Copy)]
struct Record {
    start: u64,
    bytes: u64,
}

type Records = BTreeMap<String, Record>;

/// Opens a zip file; `section` names the dictionary to take instead of the likeliest.
pub(super) fn open_zip(source: Source, section: Option<&str>) -> Result<Contents> {
    let path = source.path.clone();
    let fault = |reason: String| Error::File { path: path.clone(), reason };
    let damaged = |e: &dyn std::fmt::Display| fault(format!("cut off or damaged: {e}"));
    let io = |source| Error::Io { path: path.clone(), source };
    let reader = BufReader::new(source.file.try_clone().map_err(io)?);
    let mut zip = ZipArchive::new(reader).map_err(|e| damaged(&e))?;
    if zip.len() > MAX_RECORDS {
        return Err(fault(format!("a zip file of {} entries", zip.len())));
    }
    if zip.has_duplicate_names() {
        return Err(fault("two entries of the zip file have the same name".to_string()));
    }
    if zip.has_overlapping_files().map_err(|e| damaged(&e))? {
        return Err(fault("entries of the zip file overlap".to_string()));
    }
    let named = |i| Some((i, zip.name_for_index(i)?.ok()?.into_owned()));
    let names: Vec<(usize, String)> = (0..zip.len()).filter_map(named).collect();
    let pickle = names
        .iter()
        .map(|(_, name)| name)
        .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(root) = pickle.and_then(|name| name.strip_suffix("data.pkl")) else {
        return Err(fault("a zip file, but not PyTorch's: no tensors in it".to_string()));
    };
    if names.iter().any(|(_, name)| name.strip_prefix(root).is_some_and(|n| n.starts_with("code/")))
    {
        let reason = "a TorchScript program, not a state dictionary; in PyTorch, save torch.jit.load(file).state_dict()";
        return Err(fault(reason.to_string()));
    }
    let mut records = Records::new();
    let mut whole = None;
    let mut swapped = false;
    for (index, name) in &names {
        let Some(name) = name.strip_prefix(root) else { continue };
        let wanted = name == "data.pkl" || name == "byteorder" || name.starts_with("data/");
        if !wanted {
            continue;
        }
        let entry = zip.by_index_raw(*index).map_err(|e| damaged(&e))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            let reason = "its entries are compressed or encrypted, which PyTorch never writes; unpack it and load it in PyTorch";
            return Err(fault(reason.to_string()));
        }
        let start = entry.data_start().ok_or_else(|| damaged(&"an entry without a place"))?;
        let bytes = entry.size();
        if start.checked_add(bytes).is_none_or(|end| end > source.length) {
            return Err(damaged(&format!("entry '{name}' claims {bytes} bytes")));
        }
        let record = Record { start, bytes };
        match name {
            "data.pkl" => whole = Some(record),
            "byteorder" => {
                let mut order = [0u8; 3];
                swapped = bytes == 3 && {
                    source.read_at(&mut order, start)?;
                    order == *b"big"
                };
            }
            _ => {
                let key = name.strip_prefix("data/").unwrap_or(name).to_string();
                records.insert(key, record);
            }
        }
    }
    let record = whole.ok_or_else(|| damaged(&"no data.pkl"))?;
    let mut file = zip.into_inner();
    file.seek(SeekFrom::Start(record.start)).map_err(io)?;
    let mut heap = Heap::default();
    let mut input = Input::new(file, record.bytes);
    let top = run(&mut input, &mut heap).map_err(fault)?;
    let found = choose(&heap, top, section).map_err(fault)?;
    contents(source, Container::TorchZip, &heap, found, &records, swapped)
}

/// Opens a file of the format before 1.6: five pickles, then the storages.
pub(super) fn open_legacy(source: Source, section: Option<&str>) -> Result<Contents> {
    let path = source.path.clone();
    let fault = |reason: String| Error::File { path: path.clone(), reason };
    let damaged = |e: &dyn std::fmt::Display| fault(format!("cut off or damaged: {e}"));
    let io = |source| Error::Io { path: path.clone(), source };
    let mut start = [0; LEGACY_START.len()];
    if source.length < start.len() as u64 {
        return Err(damaged(&"a pickle that ends in the middle"));
    }
    source.read_at(&mut start, 0)?;
    if start != LEGACY_START {
        let reason = "a bare pickle, which torch.save does not write; load it in Python and save it as safetensors";
        return Err(fault(reason.to_string()));
    }
    let mut file = BufReader::new(source.file.try_clone().map_err(io)?);
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut heap = Heap::default();
    let mut input = Input::new(file, source.length);
    let mut read = |heap: &mut Heap| run(&mut input, heap).map_err(fault);
    read(&mut heap)?;
    let version = read(&mut heap)?;
    if version != Value::Int(1001) {
        return Err(fault(format!("a PyTorch file of version {version:?}, not 1001")));
    }
    let system = read(&mut heap)?;
    let top = read(&mut heap)?;
    let keys = read(&mut heap)?;
    let little = heap.dict(system).unwrap_or_default().iter();
    let swapped = little
        .filter(|(key, _)| heap.text(*key) == Some("little_endian"))
        .any(|(_, value)| *value == Value::Bool(false));
    let found = choose(&heap, top, section).map_err(fault)?;
    let records = legacy_records(&source, &heap, keys, input.place(), swapped)?;
    contents(source, Container::TorchLegacy, &heap, found, &records, swapped)
}

/// Each storage is its number of elements and then the elements, in the order of the keys.
fn legacy_records(
    source: &Source,
    heap: &Heap,
    keys: Value,
    mut place: u64,
    swapped: bool,
) -> Result<Records> {
    let damaged = |reason: &str| Error::File {
        path: source.path.clone(),
        reason: format!("cut off or damaged: {reason}"),
    };
    let sizes: BTreeMap<&str, u64> = heap
        .storages()
        .iter()
        .filter_map(|Storage { key, kind, .. }| match kind {
            StorageType::Typed(kind) => Some((heap.text(*key)?, kind.size() as u64)),
            StorageType::Untyped => Some((heap.text(*key)?, 1)),
        })
        .collect();
    let mut records = Records::new();
    for key in heap.items(keys).ok_or_else(|| damaged("no list of storages"))? {
        let key = heap.text(*key).ok_or_else(|| damaged("a storage without a key"))?;
        let size = sizes.get(key).ok_or_else(|| damaged("a storage nobody uses"))?;
        if place.checked_add(8).is_none_or(|end| end > source.length) {
            return Err(damaged("it ends before its numbers"));
        }
        let mut count = [0; 8];
        source.read_at(&mut count, place)?;
        let count = if swapped { u64::from_be_bytes(count) } else { u64::from_le_bytes(count) };
        let start = place + 8;
        let end = count.checked_mul(*size).and_then(|bytes| start.checked_add(bytes));
        let Some(end) = end.filter(|end| *end <= source.length) else {
            return Err(damaged("a storage that is larger than the file"));
        };
        records.insert(key.to_string(), Record { start, bytes: end - start });
        place = end;
    }
    Ok(records)
}

fn contents(
    source: Source,
    container: Container,
    heap: &Heap,
    found: Found,
    records: &Records,
    swapped: bool,
) -> Result<Contents> {
    let mut entries = BTreeMap::new();
    for (name, value) in found.tensors {
        let entry = entry(heap, value, records, swapped, source.length).map_err(|reason| {
            Error::File { path: source.path.clone(), reason: format!("tensor '{name}' {reason}") }
        })?;
        entries.insert(name, entry);
    }
    Ok(Contents {
        sources: vec![source],
        entries,
        container,
        section: found.section,
        sections: found.sections,
        training: found.training,
        ..Contents::default()
    })
}

/// A tensor's claims against the storage and the file.
fn entry(
    heap: &Heap,
    value: Value,
    records: &Records,
    swapped: bool,
    length: u64,
) -> std::result::Result<Entry, String> {
    let tensor = heap.tensor(value).ok_or("is none")?;
    let storage = heap.storage(tensor.storage).ok_or("has no storage")?;
    let key = heap.text(storage.key).ok_or("has a storage without a key")?;
    let record = records
        .get(key)
        .ok_or_else(|| format!("has its numbers in '{key}', which is not in the file"))?;
    let size = tensor.dtype.size() as u64;
    if let StorageType::Typed(StoredType::Other) = storage.kind {
        return Err("has a type of numbers that is not read".to_string());
    }
    let unit = match storage.kind {
        StorageType::Typed(kind) => kind.size() as u64,
        StorageType::Untyped => 1,
    };
    if storage.elements.checked_mul(unit).is_none_or(|bytes| bytes > record.bytes) {
        return Err(format!(
            "claims a storage of {} elements, more than the file holds",
            storage.elements
        ));
    }
    let claim = |what: &str| format!("claims shape {:?}, more than {what} holds", tensor.shape);
    let elements = tensor.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    let elements = elements.ok_or_else(|| claim("the file"))?;
    // Repeated rows may stand for more numbers than there are, but not for more than the file.
    if (elements as u64).checked_mul(size).is_none_or(|bytes| bytes > length) {
        return Err(claim("the file"));
    }
    let mut span = usize::from(elements > 0);
    if elements > 0 {
        for (count, stride) in tensor.shape.iter().zip(&tensor.strides) {
            let reach = (count - 1).checked_mul(*stride);
            span = reach.and_then(|n| n.checked_add(span)).ok_or_else(|| claim("its storage"))?;
        }
    }
    let first = tensor.offset.checked_mul(size).ok_or_else(|| claim("its storage"))?;
    let bytes = (span as u64).checked_mul(size).ok_or_else(|| claim("its storage"))?;
    if first.checked_add(bytes).is_none_or(|end| end > record.bytes) {
        return Err(claim("its storage"));
    }
    let strides = (!row_major(&tensor.shape, &tensor.strides)).then(|| tensor.strides.clone());
    Ok(Entry {
        shape: tensor.shape.clone(),
        dtype: tensor.dtype,
        strides: strides.filter(|_| elements > 0),
        file: 0,
        start: record.start + first,
        span,
        swapped,
    })
}

/// Whether elements follow each other row by row. Strides of dimensions of one do not matter.
fn row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    for (size, stride) in shape.iter().zip(strides).rev() {
        if *size != 1 && *stride != expected {
            return false;
        }
        expected = expected.saturating_mul(*size);
    }
    true
}

/// Whether these bytes begin a tar archive, PyTorch's format of 2016.
pub(super) fn is_tar(source: &Source) -> bool {
    let mut mark = [0; 5];
    source.length > 262 && source.read_at(&mut mark, 257).is_ok() && mark == *b"ustar"
}
