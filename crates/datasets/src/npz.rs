//! Just enough of NumPy's npz for arrays of integers.
//!
//! A header of our own instead of a Python literal parser: this one does not recurse, does not
//! multiply unchecked and allocates only what has really been read, up to a limit.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use crate::{Error, Result};

/// Deflate, which packs arrays, makes no byte into more than 1032; so no more can be claimed.
const MOST_UNPACKED: u64 = 1032;
/// Memory is taken in steps of at least so many bytes.
const STEP: usize = 1 << 20;
/// Longest header read; NumPy's own is about a hundred bytes.
const MAX_HEADER: usize = 64 * 1024;

/// An open archive.
pub(crate) struct Npz {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

/// Integers of one array in C order.
#[derive(Debug)]
pub(crate) struct Array {
    kind: Kind,
    bytes: Vec<u8>,
}

/// Type of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    signed: bool,
    width: usize,
    big_endian: bool,
}

impl Npz {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| Error::Archive { path: path.into(), reason: error.to_string() })?;
        Ok(Self { path: path.into(), zip })
    }

    /// The shape of an array, without its elements.
    pub(crate) fn shape(&mut self, name: &str) -> Result<Vec<usize>> {
        Ok(self.header(name)?.0)
    }

    /// The shape of an array whose elements are bytes.
    pub(crate) fn shape_of_bytes(&mut self, name: &str) -> Result<Vec<usize>> {
        let (shape, kind) = self.header(name)?;
        if kind.width == 1 && !kind.signed {
            return Ok(shape);
        }
        let reason = format!("elements are {} but must be u8", kind.describe());
        Err(Error::Array { path: self.path.clone(), array: name.into(), reason })
    }

    fn header(&mut self, name: &str) -> Result<(Vec<usize>, Kind)> {
        let path = self.path.clone();
        let mut entry = self.entry(name)?;
        read_header(&mut entry).map_err(|reason| Error::Array { path, array: name.into(), reason })
    }

    /// Reads one array of at most `limit` bytes; memory is bounded by what the archive really
    /// holds, and by the header.
    pub(crate) fn array(&mut self, name: &str, limit: u64) -> Result<Array> {
        let path = self.path.clone();
        let fail = |reason: String| Error::Array { path: path.clone(), array: name.into(), reason };
        let mut entry = self.entry(name)?;
        let packed = entry.compressed_size();
        let (shape, kind) = read_header(&mut entry).map_err(fail)?;
        let expected = shape
            .iter()
            .try_fold(kind.width, |product, &side| product.checked_mul(side))
            .filter(|&bytes| bytes as u64 <= limit)
            .ok_or_else(|| fail(format!("shape {shape:?} is too large (limit {limit} bytes)")))?;
        if expected as u64 > packed.saturating_mul(MOST_UNPACKED) {
            let reason = format!(
                "shape {shape:?} has {expected} bytes, but only {packed} packed ones are there"
            );
            return Err(fail(reason));
        }
        let bytes = read_exactly(&mut entry, expected)
            .map_err(|reason| fail(format!("{reason} (shape {shape:?})")))?;
        Ok(Array { kind, bytes })
    }

    fn entry(&mut self, name: &str) -> Result<ZipFile<'_, BufReader<File>>> {
        let path = self.path.clone();
        self.zip.by_name(&format!("{name}.npy")).map_err(|error| {
            let reason = match error {
                ZipError::FileNotFound => "it is missing".into(),
                error => error.to_string(),
            };
            Error::Array { path, array: name.into(), reason }
        })
    }
}

/// Reads so many bytes and no more. The vector grows with what arrives.
fn read_exactly(reader: &mut impl Read, expected: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < expected {
        let step = bytes.len().max(STEP).min(expected - bytes.len());
        bytes.try_reserve_exact(step).map_err(|_| format!("no memory for its {expected} bytes"))?;
        let read = reader
            .take(step as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("truncated or damaged: {error}"))?;
        if read == 0 {
            return Err(format!("fewer bytes than the {expected} of its header"));
        }
    }
    // Only its end shows whether the whole was undamaged.
    match reader.read(&mut [0]) {
        Ok(0) => Ok(bytes),
        Ok(_) => Err(format!("more bytes than the {expected} of its header")),
        Err(error) => Err(format!("truncated or damaged: {error}")),
    }
}

impl Array {
    /// The elements as they are stored.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The elements as integers; unsigned ones beyond `i64` saturate.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i64> + '_ {
        self.bytes.chunks_exact(self.kind.width).map(|bytes| self.kind.integer(bytes))
    }
}

impl Kind {
    fn parse(descr: &str) -> Option<Self> {
        let mut characters = descr.chars();
        let big_endian = match characters.next()? {
            '<' | '|' | '=' => false,
            '>' => true,
            _ => return None,
        };
        let signed = match characters.next()? {
            'i' => true,
            'u' | 'b' => false,
            _ => return None,
        };
        let width = match characters.as_str() {
            "1" => 1,
            "2" => 2,
            "4" => 4,
            "8" => 8,
            _ => return None,
        };
        Some(Self { signed, width, big_endian })
    }

    fn describe(self) -> String {
        format!("{}{}", if self.signed { 'i' } else { 'u' }, self.width * 8)
    }

    fn integer(self, bytes: &[u8]) -> i64 {
        let join = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        let raw = if self.big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        };
        if self.signed {
            // Moves the sign bit to the top and back.
            let unused = 64 - 8 * self.width as u32;
            ((raw << unused) as i64) >> unused
        } else {
            i64::try_from(raw).unwrap_or(i64::MAX)
        }
    }
}

/// Reads magic number, version and dictionary and leaves the reader at the data.
fn read_header(reader: &mut impl Read) -> std::result::Result<(Vec<usize>, Kind), String> {
    let truncated = |error: std::io::Error| format!("no whole npy header: {error}");
    let mut start = [0u8; 8];
    reader.read_exact(&mut start).map_err(truncated)?;
    let [b'\x93', b'N', b'U', b'M', b'P', b'Y', major, _] = start else {
        return Err("it does not begin like an npy file".into());
    };
    let mut length = [0u8; 4];
    let size_bytes = if major == 1 { 2 } else { 4 };
    let (used, _) = length.split_at_mut(size_bytes);
    reader.read_exact(used).map_err(truncated)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(format!("its header claims {length} bytes (limit {MAX_HEADER})"));
    }
    let mut text = vec![0u8; length];
    reader.read_exact(&mut text).map_err(truncated)?;
    parse_header(&String::from_utf8_lossy(&text))
}

/// `{'descr': '|u1', 'fortran_order': False, 'shape': (546, 28, 28), }`
fn parse_header(text: &str) -> std::result::Result<(Vec<usize>, Kind), String> {
    let odd = || format!("header not understood: {}", text.trim());
    let after = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let descr = after("descr")
        .and_then(|rest| rest.strip_prefix('\''))
        .and_then(|rest| rest.split_once('\''))
        .map(|(descr, _)| descr)
        .ok_or_else(odd)?;
    let kind = Kind::parse(descr).ok_or_else(|| format!("elements are '{descr}', not integers"))?;
    match after("fortran_order") {
        Some(rest) if rest.starts_with("False") => {}
        Some(rest) if rest.starts_with("True") => {
            return Err(
                "it is stored in Fortran order; save it with numpy.ascontiguousarray".into()
            );
        }
        _ => return Err(odd()),
    }
    let (shape, _) = after("shape")
        .and_then(|rest| rest.strip_prefix('('))
        .and_then(|rest| rest.split_once(')'))
        .ok_or_else(odd)?;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(|side| side.parse::<usize>().map_err(|_| odd()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((shape, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_kind() {
        let read = |descr: &str, bytes: &[u8]| Kind::parse(descr).unwrap().integer(bytes);
        assert_eq!(read("|u1", &[255]), 255);
        assert_eq!(read("|i1", &[255]), -1);
        assert_eq!(read("<i8", &[254, 255, 255, 255, 255, 255, 255, 255]), -2);
        assert_eq!(read(">i4", &[0, 0, 1, 2]), 258);
        assert_eq!(read("<u2", &[1, 2]), 513);
        assert_eq!(read("<u8", &[255; 8]), i64::MAX);
        assert_eq!(Kind::parse("<f4"), None);
        assert_eq!(Kind::parse("|O"), None);
        assert_eq!(Kind::parse("é"), None);
    }

    #[test]
    fn odd_headers_are_errors() {
        for text in [
            "",
            "{'descr': '|u1'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (((((((, }",
        ] {
            assert!(parse_header(text).is_err(), "{text}");
        }
        let (shape, _) =
            parse_header("{'descr': '|u1', 'fortran_order': False, 'shape': (), }").unwrap();
        assert!(shape.is_empty());
    }

    #[test]
    fn memory_grows_with_what_arrives() {
        let read = |there: usize, expected: usize| read_exactly(&mut &vec![7; there][..], expected);
        for size in [0, 1, STEP - 1, STEP, STEP + 1, 5 * STEP + 3] {
            let bytes = read(size, size).unwrap();
            assert_eq!((bytes.len(), bytes.capacity()), (size, size));
            assert!(read(size, size + 1).unwrap_err().contains("fewer"));
            assert!(read(size + 1, size).unwrap_err().contains("more"));
        }
        // Nobody has so much memory; a little has arrived.
        assert!(read(10, isize::MAX as usize).unwrap_err().contains("fewer"));
        assert!(read(3 * STEP, usize::MAX).unwrap_err().contains("fewer"));
    }

    #[test]
    fn a_huge_claimed_header_is_refused() {
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        assert!(read_header(&mut bytes.as_slice()).unwrap_err().contains("claims"));
    }
}
