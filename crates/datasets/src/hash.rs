//! Content hashes: SHA-256 in lower-case hexadecimal, as `sha256sum` prints it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use vit_transforms::{Image, Pixels};

use crate::{Error, Result};

/// A hash under way.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// A text with its length, so that two texts in a row cannot be mistaken for others.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn finish(&mut self) -> String {
        HEXLOWER.encode(&self.0.finalize_reset())
    }
}

/// The hash of some bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    Hasher::default().bytes(bytes).finish()
}

/// The hash of a file's bytes.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Hasher::default();
    let mut part = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut part).map_err(io)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.bytes(part.get(..read).unwrap_or_default());
    }
}

/// The hash of a picture: sides, channels, kind of values and values.
pub(crate) fn of_image(image: &Image) -> String {
    let mut hasher = Hasher::default();
    hasher.text(&image.describe());
    match image.pixels() {
        Pixels::U8(values) => hasher.bytes(values),
        other => hasher.bytes(&little_endian(other)),
    };
    hasher.finish()
}

/// The values as bytes, lowest first.
pub(crate) fn little_endian(pixels: &Pixels) -> Vec<u8> {
    match pixels {
        Pixels::U8(values) => values.clone(),
        Pixels::U16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Pixels::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        // A kind to come has no bytes yet; its name and size are in the hash all the same.
        _ => Vec::new(),
    }
}
