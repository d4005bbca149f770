//! The cache on disk: `blobs/<etag>`, links to them in `snapshots/<commit>`, `refs/<revision>`, and
//! of our own `lists/<commit>.json`.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use hf_hub::{Cache, Repo};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::name::{is_below, is_word};
use crate::{HubFault, HubFile, HubRepo};

/// Bytes read at a time.
const PIECE: usize = 1 << 18;
/// No list of files is larger than this.
pub(crate) const MOST_LIST: u64 = 64 << 20;

pub(crate) fn cache_fault(path: &Path, source: std::io::Error) -> HubFault {
    HubFault::Cache { path: path.to_path_buf(), source }
}

/// A text, of which no more than `most` bytes are read.
///
/// # Errors
/// [`HubFault::Cache`] when it cannot be read.
pub fn read_text(path: &Path, most: u64) -> Result<Vec<u8>, HubFault> {
    let fault = |e| cache_fault(path, e);
    let mut text = Vec::new();
    File::open(path).map_err(fault)?.take(most).read_to_end(&mut text).map_err(fault)?;
    Ok(text)
}

/// One repository's folder in the cache.
pub(crate) struct Folder {
    root: PathBuf,
    cache: Cache,
    repo: Repo,
}

impl Folder {
    pub(crate) fn new(cache: &Path, repo: &HubRepo) -> Self {
        let repo = repo.repo();
        let root = cache.join(repo.folder_name());
        Self { root, cache: Cache::new(cache.to_path_buf()), repo }
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.cache.repo(self.repo.clone()).pointer_path(commit)
    }

    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.cache.repo(self.repo.clone()).blob_path(etag)
    }

    /// The commit a revision stood for when it was last fetched.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        let named = std::fs::read_to_string(self.root.join("refs").join(revision)).ok();
        let commit = named.map_or_else(|| revision.to_string(), |text| text.trim().to_string());
        (is_word(&commit) && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// Notes what the revision stands for. A commit stands for itself.
    pub(crate) fn remember(&self, commit: &str) -> Result<(), HubFault> {
        if self.repo.revision() == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(self.repo.revision());
        write_atomic(&path, commit.as_bytes())
    }

    /// Where the hub's list of a commit's files is kept. The folder is ours; `huggingface_hub` looks
    /// at `blobs`, `refs` and `snapshots`.
    fn list_path(&self, commit: &str) -> PathBuf {
        self.root.join("lists").join(format!("{commit}.json"))
    }

    /// The hub's list, if it was kept.
    pub(crate) fn list(&self, commit: &str) -> Result<Option<Listing>, HubFault> {
        let path = self.list_path(commit);
        if !path.is_file() {
            return Ok(None);
        }
        let text = read_text(&path, MOST_LIST)?;
        let list = serde_json::from_slice(&text)
            .map_err(|e| cache_fault(&path, std::io::Error::new(ErrorKind::InvalidData, e)))?;
        Ok(Some(list))
    }

    /// Keeps the hub's list.
    pub(crate) fn keep_list(&self, commit: &str, list: &Listing) -> Result<(), HubFault> {
        let path = self.list_path(commit);
        let text = serde_json::to_vec(list).map_err(|e| HubFault::Transfer(e.to_string()))?;
        write_atomic(&path, &text)
    }

    /// Names of the files of a commit that are here, sorted.
    pub(crate) fn files(&self, commit: &str) -> Result<Vec<String>, HubFault> {
        let root = self.snapshot(commit);
        let (mut names, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).map_err(|e| cache_fault(&folder, e))?;
            for entry in entries {
                let entry = entry.map_err(|e| cache_fault(&folder, e))?;
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if let Ok(below) = path.strip_prefix(&root) {
                    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                    names.push(parts.join("/"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// A file of a commit, checked against the checksum that its blob is named after.
    pub(crate) fn find(&self, commit: &str, name: &str) -> Result<Option<HubFile>, HubFault> {
        let path = self.snapshot(commit).join(name);
        if !is_below(name) || !path.is_file() {
            return Ok(None);
        }
        let blob = std::fs::canonicalize(&path).map_err(|e| cache_fault(&path, e))?;
        let etag = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (bytes, sha256) = check(&path, name, &etag)?;
        Ok(Some(HubFile { name: name.to_string(), path, bytes, sha256, cached: true }))
    }

    /// Makes a blob a file of a commit.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf, HubFault> {
        let pointer = self.snapshot(commit).join(name);
        make_parent(&pointer)?;
        if pointer.is_file() {
            return Ok(pointer);
        }
        link(&self.blob(etag), &pointer).map_err(|e| cache_fault(&pointer, e))?;
        Ok(pointer)
    }
}

/// What the hub says of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) files: Vec<String>,
    pub(crate) licence: Option<String>,
}

/// Writes a small file whole or not at all, and the folders above it.
fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), HubFault> {
    let fault = |e| cache_fault(path, e);
    make_parent(path)?;
    let mut builder = tempfile::Builder::new();
    // A cache may be shared: the process's mask applies, as to its other files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(path.parent().unwrap_or(Path::new("."))).map_err(fault)?;
    file.write_all(bytes).map_err(fault)?;
    file.as_file().sync_all().map_err(fault)?;
    file.persist(path).map_err(|e| fault(e.error))?;
    Ok(())
}

pub(crate) fn make_parent(path: &Path) -> Result<(), HubFault> {
    match path.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|e| cache_fault(folder, e)),
        None => Ok(()),
    }
}

/// A relative link, so that the cache can be moved.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    let target = relative(blob, pointer);
    match std::os::unix::fs::symlink(&target, pointer) {
        // Another process was faster, or a link to a blob that is gone is in the way.
        Err(e) if e.kind() == ErrorKind::AlreadyExists && !pointer.is_file() => {
            std::fs::remove_file(pointer)?;
            std::os::unix::fs::symlink(&target, pointer)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Links need a permission there that users do not have.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, pointer).or_else(|_| std::fs::copy(blob, pointer).map(|_| ()))
}

/// The way to `target` from the folder of `from`; both have a common root.
#[cfg_attr(not(unix), allow(dead_code))]
fn relative(target: &Path, from: &Path) -> PathBuf {
    let folder = from.parent().unwrap_or(from);
    let shared = target.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(target.components().skip(shared)).collect()
}

/// Size and SHA-256 of a file whose name on the hub is its checksum: SHA-256 for large files, git's
/// SHA-1 for small ones. Other names tell nothing to check.
pub(crate) fn check(path: &Path, name: &str, etag: &str) -> Result<(u64, String), HubFault> {
    let fault = |e| cache_fault(path, e);
    let mut file = File::open(path).map_err(fault)?;
    let bytes = file.metadata().map_err(fault)?.len();
    let hexadecimal = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut git = (hexadecimal && etag.len() == 40).then(Sha1::new);
    if let Some(git) = &mut git {
        git.update(format!("blob {bytes}\0"));
    }
    let mut sha256 = Sha256::new();
    let mut piece = vec![0u8; PIECE];
    loop {
        let read = file.read(&mut piece).map_err(fault)?;
        let Some(new) = piece.get(..read).filter(|new| !new.is_empty()) else { break };
        sha256.update(new);
        if let Some(git) = &mut git {
            git.update(new);
        }
    }
    let sha256 = format!("{:x}", sha256.finalize());
    let got = match git {
        Some(git) => Some(format!("{:x}", git.finalize())),
        None => (hexadecimal && etag.len() == 64).then(|| sha256.clone()),
    };
    match got {
        Some(got) if !got.eq_ignore_ascii_case(etag) => {
            Err(HubFault::Checksum { file: name.to_string(), got, expected: etag.to_string() })
        }
        _ => Ok((bytes, sha256)),
    }
}
