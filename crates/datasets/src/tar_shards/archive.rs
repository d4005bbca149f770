//! What one archive holds, and where.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result};

/// Most bytes of the files beside a picture: a class or some JSON.
const MAX_SIDE_FILE: u64 = 1 << 20;
/// Bytes of a block of a tar archive.
const BLOCK: u64 = 512;

/// Where the bytes of a file are in its archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A file of an archive, or a link.
pub(super) struct Member {
    pub(super) name: String,
    /// Where it is; `None` for what has no place of its own: a sparse file, a symbolic link, and a
    /// hard link whose target is no earlier file of the archive.
    pub(super) extent: Option<Extent>,
    /// The file that a hard link leads to.
    pub(super) origin: Option<String>,
}

/// Tells every file and link to `visit`, in the order of the archive.
pub(super) fn walk(path: &Path, visit: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let io = |source| Error::Io { path: path.into(), source };
    let fail = |reason: String| Error::Archive { path: path.into(), reason };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let size = file.get_ref().metadata().map_err(io)?.len();
    if let Some(packer) = packer(file.fill_buf().map_err(io)?) {
        return Err(fail(format!(
            "it is packed with {packer}; unpack it to a plain .tar, whose pictures can be read \
             from their places"
        )));
    }
    let mut archive = tar::Archive::new(Watched { file, ended: false });
    let mut known = Known::new();
    for entry in archive.entries_with_seek().map_err(|error| fail(error.to_string()))? {
        let mut entry = entry.map_err(|error| fail(error.to_string()))?;
        if let Some(member) = member(&mut entry, &known, size).map_err(fail)? {
            if let Some(extent) = member.extent {
                known.insert(member.name.clone(), (extent, member.origin.clone()));
            }
            visit(member)?;
        }
    }
    let mut rest = archive.into_inner();
    // Whoever writes a whole archive ends it with blocks of zeros; without them, nobody knows
    // what is missing.
    if rest.ended {
        return Err(fail("it has no end: it was cut short".into()));
    }
    if let Some(position) = rest.first_not_zero().map_err(io)? {
        return Err(fail(format!(
            "behind its end, a second archive follows at byte {}; unpack or name them one by one",
            position / BLOCK * BLOCK
        )));
    }
    Ok(())
}

/// The files so far by their names; for hard links, with the file that they lead to.
type Known = HashMap<String, (Extent, Option<String>)>;

/// A file or link; `None` for folders and other entries. The archive has `size` bytes.
fn member(
    entry: &mut tar::Entry<'_, impl Read>,
    known: &Known,
    size: u64,
) -> std::result::Result<Option<Member>, String> {
    let kind = entry.header().entry_type();
    let is_file = kind.is_file() || kind.is_contiguous();
    if !is_file && !kind.is_gnu_sparse() && !kind.is_hard_link() && !kind.is_symlink() {
        return Ok(None);
    }
    let sparse = pax_sparse_name(entry).map_err(|error| error.to_string())?;
    let is_whole = is_file && sparse.is_none();
    let name = String::from_utf8(sparse.unwrap_or_else(|| entry.path_bytes().into_owned()))
        .map_err(|_| "a name is not UTF-8".to_owned())?;
    let mut member = Member { name, extent: None, origin: None };
    if is_whole {
        let extent = Extent { offset: entry.raw_file_position(), length: entry.size() };
        // A header may claim more than there is.
        if extent.offset.checked_add(extent.length).is_none_or(|end| end > size) {
            return Err(format!("'{}' is cut off", member.name));
        }
        member.extent = Some(extent);
    } else if kind.is_hard_link() {
        let target = entry.link_name_bytes().unwrap_or_default();
        let target = std::str::from_utf8(&target).unwrap_or_default();
        if let Some((extent, origin)) = known.get(target) {
            member.extent = Some(*extent);
            member.origin = Some(origin.clone().unwrap_or_else(|| target.to_owned()));
        }
    }
    Ok(Some(member))
}

/// Remembers whether the last reading found the end of the file.
struct Watched {
    file: BufReader<File>,
    ended: bool,
}

impl Watched {
    /// Where the first byte that is not zero is, from here on.
    fn first_not_zero(&mut self) -> io::Result<Option<u64>> {
        let mut position = self.file.stream_position()?;
        loop {
            let bytes = self.file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
                return Ok(Some(position + index as u64));
            }
            let count = bytes.len();
            position += count as u64;
            self.file.consume(count);
        }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.ended = count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The name of a sparse file of the newer kind, which else looks like any other file:
/// <https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>.
fn pax_sparse_name(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Vec<u8>>> {
    let mut found = false;
    // Fields that cannot be read are of no interest, as they are to whoever asks for a path.
    for field in entry.pax_extensions()?.into_iter().flatten().flatten() {
        if field.key_bytes() == b"GNU.sparse.name" {
            return Ok(Some(field.value_bytes().to_vec()));
        }
        found |= field.key_bytes().starts_with(b"GNU.sparse.");
    }
    Ok(found.then(|| entry.path_bytes().into_owned()))
}

/// The program that a file was packed with, by its first bytes.
fn packer(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], _); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    ];
    known.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| name)
}

/// The text of a file beside a picture.
pub(super) fn side_file(mut archive: &File, extent: Extent) -> std::result::Result<String, String> {
    if extent.length > MAX_SIDE_FILE {
        return Err(format!("more than {MAX_SIDE_FILE} bytes"));
    }
    let mut text = String::new();
    archive
        .seek(SeekFrom::Start(extent.offset))
        .and_then(|_| archive.take(extent.length).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    Ok(text)
}
