use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
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
    /// that are there and the whole number, if the server said so.
    ///
    /// # Errors
    /// [`Error::Download`] when the server refuses, sends too much, or stops too often, or somebody
    /// else fetches the file;
    /// [`Error::Checksum`] when the file is whole but another one (it is then removed, unless it
    /// was there before); [`Error::Io`] for the disk.
    pub fn run(&self, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
        if self.path.is_file() {
            return self.verify(&self.path);
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = self.path.with_file_name(name);
        let agent = self.agent()?;
        let mut last = "no attempt was allowed".to_owned();
        for attempt in 1..=self.attempts {
            match self.attempt(&agent, &part, progress) {
                Ok(()) => return self.finish(&part),
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

    fn attempt(
        &self,
        agent: &Agent,
        part: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> std::result::Result<(), Stop> {
        let io = |source| Stop::Fail(Error::Io { path: part.into(), source });
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(false).open(part).map_err(io)?;
        // Two that write into one file would both go on from where the other is.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let reason = format!("somebody else is writing {}", part.display());
            return Err(Stop::Fail(self.error(reason)));
        }
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
        let received = self.receive(response, &mut file, part, start, total, progress)?;
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

    fn finish(&self, part: &Path) -> Result<()> {
        if let Err(error) = self.verify(part) {
            std::fs::remove_file(part).map_err(|source| Error::Io { path: part.into(), source })?;
            return Err(error);
        }
        let io = |source| Error::Io { path: self.path.clone(), source };
        std::fs::rename(part, &self.path).map_err(io)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        }
        Ok(())
    }

    fn verify(&self, path: &Path) -> Result<()> {
        let Some(expected) = &self.md5 else { return Ok(()) };
        let found = md5_of(path)?;
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Error::Checksum { path: path.into(), expected: expected.clone(), found })
    }
}

fn md5_of(path: &Path) -> Result<String> {
    let io = |source| Error::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Md5::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block).map_err(io)? {
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
