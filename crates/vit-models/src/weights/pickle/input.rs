use std::io::Read;

use super::{MAX_BYTES, Reason};

/// The bytes of a pickle, with how many may follow.
pub(in crate::weights) struct Input<R> {
    reader: R,
    left: u64,
    place: u64,
}

impl<R: Read> Input<R> {
    /// At most `length` bytes of a reader.
    pub(in crate::weights) fn new(reader: R, length: u64) -> Self {
        Self { reader, left: length.min(MAX_BYTES), place: 0 }
    }

    /// Bytes read so far.
    pub(in crate::weights) fn place(&self) -> u64 {
        self.place
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Reason> {
        if count > self.left {
            return Err(format!("{count} bytes claimed where {} are left", self.left));
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(|e| e.to_string())?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Reason> {
        let count = bytes.len() as u64;
        if count > self.left {
            return Err("it ends in the middle".to_string());
        }
        self.reader.read_exact(bytes).map_err(|e| format!("it ends in the middle: {e}"))?;
        self.left -= count;
        self.place += count;
        Ok(())
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Up to the next line feed, without it.
    pub(super) fn line(&mut self) -> Result<String, Reason> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return text(line),
                byte => line.push(byte),
            }
        }
    }

    /// A text after its length.
    pub(super) fn text(&mut self, count: u64) -> Result<String, Reason> {
        text(self.bytes(count)?)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Reason> {
    // Python writes lone surrogates, too; a name that has them is still a name.
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}
