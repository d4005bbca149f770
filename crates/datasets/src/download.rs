use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use crate::{Error, MedMnistInfo, Result};

const BLOCK: usize = 64 * 1024;

/// Fetches one file over HTTP or HTTPS.
///
/// What arrives is kept beside the file as `<name>.part`, so that a broken download goes on where
/// it stopped, in the next attempt or the next run. The file itself appears only when it is whole
/// and its MD5 is right.
#[derive(Debug, Clone)]
pub struct Download {
    /// The address; redirects are followed.
    pub url: String,
    /// The file to write. If it is there, only its MD5 is checked.
    pub path: PathBuf,
    /// MD5 in hexadecimal digits, if known.
    pub md5: Option<String>,
    /// More bytes than this are refused.
    pub max_bytes: u64,
    /// How often to try.
    pub attempts: u32,
    /// How long to wait for the server to send anything.
    pub patience: Duration,
    /// A proxy such as `http://host:port`; none is taken from the environment.
    pub proxy: Option<String>,
}

/// Why an attempt ended without the whole file.
enum Stop {
    /// Trying again may help.
    Retry(String),
    /// It does not.
    Fail(Error),
}

/// What a locked part is.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// This run's to write.
    Ours,
    /// Of no use any more: the file is there.
    Finished,
    /// No longer at its path: the path must be opened again.
    Stale,
}

impl Download {
    /// Three attempts, a minute of patience, at most 64 GiB, no checksum.
    #[must_use]
    pub fn new(url: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            path: path.into(),
            md5: None,
            max_bytes: 64 << 30,
            attempts: 3,
            patience: Duration::from_secs(60),
            proxy: None,
        }
    }

    /// Fetches the file, or what is still missing of it. `progress` is told the number of bytes
    /// that are there and the whole number, if the server said so; at last, before the MD5 is
    /// checked, it is told the whole number twice.
    ///
    /// The part is locked until it is checked and has its name, so that two runs, of one program
    /// or of two, never write into one file.
    ///
    /// # Errors
    /// [`Error::Download`] when the server refuses, sends too much, or stops too often, or somebody
    /// else fetches the file;
    /// [`Error::Checksum`] when the file is whole but another one (it is then removed, unless it
    /// was there before); [`Error::Io`] for the disk.
    pub fn run(&self, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
        if self.path.is_file() {
            return self.verify_found();
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = self.path.with_file_name(name);
        let agent = self.agent()?;
        let Some(mut file) = self.claim(&part)? else { return self.verify_found() };
        let mut last = "no attempt was allowed".to_owned();
        for attempt in 1..=self.attempts {
            match self.attempt(&agent, &mut file, &part, progress) {
                Ok(()) => return self.finish(&file, &part, progress),
                Err(Stop::Fail(error)) => return Err(error),
                Err(Stop::Retry(reason)) => {
                    tracing::warn!(url = self.url, attempt, reason, "download interrupted");
                    last = reason;
                }
            }
        }
        Err(self.error(format!("{last} (after {} attempts)", self.attempts)))
    }

    fn error(&self, reason: String) -> Error {
        Error::Download { url: self.url.clone(), reason }
    }

    fn agent(&self) -> Result<Agent> {
        let proxy = self.proxy.as_deref().map(Proxy::new).transpose();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(proxy.map_err(|error| self.error(error.to_string()))?)
            .timeout_connect(Some(self.patience))
            .timeout_recv_response(Some(self.patience))
            .timeout_per_read(Some(self.patience));
        if self.url.starts_with("https:") {
            config = config.tls_config(tls());
        }
        Ok(config.build().new_agent())
    }

    /// The locked part; `None` when somebody else has meanwhile finished the file.
    fn claim(&self, part: &Path) -> Result<Option<File>> {
        loop {
            let io = |source| Error::Io { path: part.into(), source };
            let file = OpenOptions::new()
                .create(true)
                .read(true)
                .write(true)
                .truncate(false)
                .open(part)
                .map_err(io)?;
            // Two that write into one file would both go on from where the other is.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let reason = format!("somebody else is writing {}", part.display());
                return Err(self.error(reason));
            }
            match self.settle(&file, part)? {
                Claim::Ours => return Ok(Some(file)),
                Claim::Finished => return Ok(None),
                Claim::Stale => {}
            }
        }
    }

    /// What a part is once it is locked: between its opening and its locking, somebody else may
    /// have given it its name or removed it. From then on only this run does so.
    fn settle(&self, file: &File, part: &Path) -> Result<Claim> {
        let io = |source| Error::Io { path: part.into(), source };
        let ours = is_at(file, part).map_err(io)?;
        if self.path.is_file() {
            if ours {
                std::fs::remove_file(part).map_err(io)?;
            }
            return Ok(Claim::Finished);
        }
        Ok(if ours { Claim::Ours } else { Claim::Stale })
    }

    fn attempt(
        &self,
        agent: &Agent,
        file: &mut File,
        part: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> std::result::Result<(), Stop> {
        let io = |source| Stop::Fail(Error::Io { path: part.into(), source });
        let have = file.metadata().map_err(io)?.len();
        let mut request = agent.get(&self.url);
        if have > 0 {
            request = request.header("range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|error| Stop::Retry(error.to_string()))?;
        let (start, total) = match self.accept(&response, have) {
            Ok(accepted) => accepted,
            Err(stop) => {
                if have > 0 && matches!(stop, Stop::Retry(_)) {
                    // Begin anew: the server cannot go on from here.
                    file.set_len(0).map_err(io)?;
                }
                return Err(stop);
            }
        };
        file.set_len(start).map_err(io)?;
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        let received = self.receive(response, file, part, start, total, progress)?;
        file.sync_all().map_err(io)?;
        match total {
            Some(total) if received < total => {
                Err(Stop::Retry(format!("the body ended after {received} of {total} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Where the body begins in the file, and how long the file will be.
    fn accept(
        &self,
        response: &Response<Body>,
        have: u64,
    ) -> std::result::Result<(u64, Option<u64>), Stop> {
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        match response.status().as_u16() {
            200 => Ok((0, header("content-length").and_then(|length| length.parse().ok()))),
            206 => {
                let range = header("content-range").and_then(|range| range.strip_prefix("bytes "));
                let begins = range.is_some_and(|range| range.starts_with(&format!("{have}-")));
                if !begins {
                    return Err(Stop::Retry("the server sent another range".into()));
                }
                let total = range.and_then(|range| range.rsplit_once('/'));
                Ok((have, total.and_then(|(_, total)| total.parse().ok())))
            }
            416 if have > 0 => Err(Stop::Retry("the server has no such range".into())),
            status @ 500.. => Err(Stop::Retry(format!("the server answered {status}"))),
            status => Err(Stop::Fail(self.error(format!("the server answered {status}")))),
        }
    }

    fn receive(
        &self,
        response: Response<Body>,
        file: &mut File,
        part: &Path,
        start: u64,
        total: Option<u64>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> std::result::Result<u64, Stop> {
        let mut body = response.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        let mut received = start;
        loop {
            let count = match body.read(&mut block) {
                Ok(0) => return Ok(received),
                Ok(count) => count,
                Err(error) => {
                    let reason = format!("the body ended after {received} bytes: {error}");
                    return Err(Stop::Retry(reason));
                }
            };
            received += count as u64;
            if received > self.max_bytes {
                let io = |source| Stop::Fail(Error::Io { path: part.into(), source });
                std::fs::remove_file(part).map_err(io)?;
                let reason = format!("more than the limit of {} bytes", self.max_bytes);
                return Err(Stop::Fail(self.error(reason)));
            }
            file.write_all(block.get(..count).unwrap_or_default())
                .map_err(|source| Stop::Fail(Error::Io { path: part.into(), source }))?;
            progress(received, total);
        }
    }

    /// `file` is the open part: its lock is held until the file has its name.
    fn finish(
        &self,
        file: &File,
        part: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<()> {
        let io = |source| Error::Io { path: part.into(), source };
        let whole = file.metadata().map_err(io)?.len();
        progress(whole, Some(whole));
        if let Err(error) = self.verify(file, part) {
            std::fs::remove_file(part).map_err(io)?;
            return Err(error);
        }
        let io = |source| Error::Io { path: self.path.clone(), source };
        std::fs::rename(part, &self.path).map_err(io)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        }
        Ok(())
    }

    /// Checks a file that somebody else has put there.
    fn verify_found(&self) -> Result<()> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        self.verify(&File::open(&self.path).map_err(io)?, &self.path)
    }

    fn verify(&self, file: &File, path: &Path) -> Result<()> {
        let Some(expected) = &self.md5 else { return Ok(()) };
        let found = md5_of(file).map_err(|source| Error::Io { path: path.into(), source })?;
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Error::Checksum { path: path.into(), expected: expected.clone(), found })
    }
}

/// Whether a path leads to this open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a path leads to this open file, as far as times and length tell.
#[cfg(not(unix))]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok(open.len() == there.len()
            && open.created()? == there.created()?
            && open.modified()? == there.modified()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// MD5 of the whole file, through the handle that has the lock: other systems than Unix let nobody
/// else read a locked file.
fn md5_of(mut file: &File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Md5::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => hash.update(block.get(..count).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// TLS with the certificates of the operating system.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system cannot be used");
    }
    let certificates: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

impl MedMnistInfo {
    /// How to fetch the file with pictures of this size into `folder`; `None` for a size that does
    /// not exist. Change the [`Download::url`] to fetch it from another place.
    #[must_use]
    pub fn download(&self, size: u32, folder: &Path) -> Option<Download> {
        let (file, md5) = self.file(size)?;
        let path = folder.join(file);
        Some(Download { md5: Some(md5.into()), ..Download::new(self.url(size)?, path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may happen between the opening and the locking of a part.
    #[test]
    fn a_part_that_was_renamed_or_removed_before_it_was_locked_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let download = Download::new("http://localhost", folder.path().join("file"));
        let part = folder.path().join("file.part");
        let opened = || {
            std::fs::write(&part, "part").unwrap();
            File::open(&part).unwrap()
        };
        let file = opened();
        assert_eq!(download.settle(&file, &part).unwrap(), Claim::Ours);
        std::fs::remove_file(&part).unwrap();
        assert_eq!(download.settle(&file, &part).unwrap(), Claim::Stale);
        std::fs::write(&part, "another").unwrap();
        assert_eq!(download.settle(&file, &part).unwrap(), Claim::Stale);
        assert_eq!(std::fs::read(&part).unwrap(), b"another");

        let file = opened();
        std::fs::rename(&part, &download.path).unwrap();
        assert_eq!(download.settle(&file, &part).unwrap(), Claim::Finished);
        // The part that a late one has made anew is not left behind.
        assert!(download.claim(&part).unwrap().is_none());
        assert!(!part.exists());
        assert_eq!(std::fs::read(&download.path).unwrap(), b"part");
    }
}
