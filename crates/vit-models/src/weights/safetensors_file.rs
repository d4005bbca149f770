//! The header of a safetensors file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::METADATA_KEY;
use super::contents::{Container, Contents};
use super::values::{Entry, Source, StoredType};
use super::write::MAX_METADATA;
use crate::{Error, Result};

/// Bytes a header may have, as the format's own library limits it.
const MAX_HEADER: u64 = 100_000_000;

/// Dimensions a tensor may have.
const MAX_DIMS: usize = 64;

/// A header, read entry by entry: a document in memory would be many times its text.
#[derive(Default)]
struct Header {
    metadata: Option<BTreeMap<String, String>>,
    /// As they come: a map would hide that a name occurs twice.
    tensors: Vec<(String, Described)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name != "__metadata__" {
                        let about = map
                            .next_value()
                            .map_err(|e| A::Error::custom(format!("tensor '{name}': {e}")))?;
                        header.tensors.push((name, about));
                        continue;
                    }
                    let texts = map.next_value().map_err(|e| {
                        A::Error::custom(format!("the metadata is not a list of texts: {e}"))
                    })?;
                    if header.metadata.replace(texts).is_some() {
                        return Err(A::Error::custom("the metadata is there twice"));
                    }
                }
                Ok(header)
            }
        }
        from.deserialize_map(All)
    }
}

#[derive(Deserialize)]
struct Described {
    #[serde(deserialize_with = "stored_type")]
    dtype: StoredType,
    #[serde(deserialize_with = "sizes")]
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

fn stored_type<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<StoredType, D::Error> {
    Ok(match &*Cow::<str>::deserialize(from)? {
        "F64" => StoredType::F64,
        "F32" => StoredType::F32,
        "F16" => StoredType::F16,
        "BF16" => StoredType::Bf16,
        "F8_E4M3" => StoredType::F8E4M3,
        "I64" => StoredType::I64,
        "I32" => StoredType::I32,
        "I16" => StoredType::I16,
        "I8" => StoredType::I8,
        "U32" => StoredType::U32,
        "U16" => StoredType::U16,
        "U8" => StoredType::U8,
        "BOOL" => StoredType::Bool,
        "U64" | "C64" | "F4" | "F6_E2M3" | "F6_E3M2" | "F8_E5M2" | "F8_E8M0" => StoredType::Other,
        other => return Err(D::Error::custom(format!("there is no type '{other}'"))),
    })
}

fn sizes<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<usize>, D::Error> {
    struct Sizes;
    impl<'de> Visitor<'de> for Sizes {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("sizes")
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> std::result::Result<Vec<usize>, A::Error> {
            let mut sizes = Vec::new();
            while let Some(size) = items.next_element()? {
                if sizes.len() == MAX_DIMS {
                    return Err(A::Error::custom(format!("more than {MAX_DIMS} dimensions")));
                }
                sizes.push(size);
            }
            Ok(sizes)
        }
    }
    from.deserialize_seq(Sizes)
}

/// Reads the header and checks every claim of it against the file.
pub(super) fn open(source: Source) -> Result<Contents> {
    let path = source.path.clone();
    let fault = |reason: String| Error::File { path: path.clone(), reason };
    let mut size = [0u8; 8];
    source.read_at(&mut size, 0)?;
    let size = u64::from_le_bytes(size);
    let Some(data) = size.checked_add(8).filter(|data| *data <= source.length) else {
        let reason = format!("cut off: a header of {size} bytes in a file of {}", source.length);
        return Err(fault(reason));
    };
    if size > MAX_HEADER {
        return Err(fault(format!("a header of {size} bytes: more than {MAX_HEADER}")));
    }
    let mut header = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read_at(&mut header, 8)?;
    let Header { metadata, tensors } = serde_json::from_slice(&header)
        .map_err(|e| fault(format!("the header cannot be read: {e}")))?;
    drop(header);
    let mut contents = Contents { container: Container::Safetensors, ..Contents::default() };
    contents.header = metadata.unwrap_or_default();
    let mut ranges = Vec::with_capacity(tensors.len());
    for (name, about) in tensors {
        let offsets = about.data_offsets;
        let entry = entry(about, data).map_err(|e| fault(format!("tensor '{name}': {e}")))?;
        ranges.push((offsets, name.clone()));
        if contents.entries.insert(name.clone(), entry).is_some() {
            return Err(fault(format!("tensor '{name}' is there twice")));
        }
    }
    check_ranges(&mut ranges, source.length - data).map_err(fault)?;
    if let Some(text) = contents.header.remove(METADATA_KEY) {
        if text.len() > MAX_METADATA {
            return Err(fault(format!("metadata '{METADATA_KEY}' of {} bytes", text.len())));
        }
        contents.metadata = serde_json::from_str(&text)
            .map_err(|e| fault(format!("metadata '{METADATA_KEY}': {e}")))?;
    }
    contents.sections = vec![(String::new(), contents.entries.len())];
    contents.sources = vec![source];
    Ok(contents)
}

fn entry(about: Described, data: u64) -> std::result::Result<Entry, String> {
    let Described { dtype, shape, data_offsets: (start, end) } = about;
    let bytes = end.checked_sub(start).ok_or("ends before it begins")?;
    let span = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    let claimed = span.and_then(|n| n.checked_mul(dtype.size()));
    if claimed.map(|n| n as u64) != Some(bytes) && dtype != StoredType::Other {
        return Err(format!("claims shape {shape:?} in {bytes} bytes"));
    }
    let start = data.checked_add(start).ok_or("begins outside of the file")?;
    let span = span.unwrap_or(0);
    Ok(Entry { shape, dtype, strides: None, file: 0, start, span, swapped: false })
}

/// The format's rule: tensors follow each other without hole or overlap, and fill the file.
fn check_ranges(
    ranges: &mut [((u64, u64), String)],
    length: u64,
) -> std::result::Result<(), String> {
    ranges.sort();
    let mut end = 0;
    for ((start, stop), name) in ranges.iter() {
        if *start != end {
            let what = if *start < end { "overlaps" } else { "leaves a hole after" };
            return Err(format!("damaged: tensor '{name}' {what} the one before it"));
        }
        end = *stop;
    }
    match end.cmp(&length) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => {
            Err(format!("cut off: tensors of {end} bytes, {length} are there"))
        }
        std::cmp::Ordering::Less => {
            Err(format!("damaged: {} bytes after the last tensor", length - end))
        }
    }
}

/// What an index says: which file holds which tensor.
#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) weight_map: BTreeMap<String, String>,
}
