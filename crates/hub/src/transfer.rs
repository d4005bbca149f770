//! One file from the hub into the cache.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use crate::cache::{Folder, cache_fault, check, make_parent};
use crate::name::{escape, is_below, is_word};
use crate::{HubFault, HubFile, HubOptions, HubProgress, HubRepo};

/// Bytes handed on at a time, and how often progress is told.
const PIECE: usize = 1 << 18;
/// Longer chains of redirects go in circles.
const MOST_REDIRECTS: usize = 8;
/// First pause before another attempt; it doubles each time.
const PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Fetches files of one commit.
pub(crate) struct Transfer<'a> {
    agent: &'a Agent,
    options: &'a HubOptions,
    commit: &'a str,
    /// Address of the commit's files, with a slash at the end.
    base: String,
    folder: &'a Folder,
}

/// The client for files: redirects are followed here, since the token must not follow them.
pub(crate) fn agent(options: &HubOptions) -> Agent {
    let timeout = Some(options.timeout);
    Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        // A compressed body could neither be continued nor counted.
        .accept_encoding(AutoHeaderValue::None)
        .timeout_connect(timeout)
        .timeout_recv_response(timeout)
        .timeout_per_read(timeout)
        .build()
        .into()
}

/// What the hub says of a file before it is fetched.
struct Announced {
    /// Names the content.
    etag: String,
    size: Option<u64>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(
        agent: &'a Agent,
        options: &'a HubOptions,
        repo: &HubRepo,
        commit: &'a str,
        folder: &'a Folder,
    ) -> Self {
        let base = format!("{}/{}/resolve/{commit}/", options.endpoint, repo.repo().url());
        Self { agent, options, commit, base, folder }
    }

    /// From the cache if it is there and whole, else from the hub.
    pub(crate) fn file(
        &self,
        name: &str,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<HubFile, HubFault> {
        if !is_below(name) {
            let reason = format!("'{name}' is not a file of the repository");
            return Err(HubFault::Transfer(reason));
        }
        match self.folder.find(self.commit, name) {
            Ok(None) => {}
            Ok(Some(file)) => return Ok(file),
            Err(HubFault::Checksum { .. }) => {
                tracing::warn!(file = name, "the copy in the cache is damaged; fetching it anew");
                self.forget(name)?;
            }
            Err(other) => return Err(other),
        }
        let mut pause = PAUSE;
        for attempt in 0.. {
            match self.attempt(name, progress) {
                Err(fault) if fault.is_passing() && attempt < self.options.retries => {
                    tracing::warn!(file = name, attempt, %fault, "another attempt");
                    std::thread::sleep(pause);
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                result => return result,
            }
        }
        Err(HubFault::NotFound)
    }

    /// Removes a damaged copy.
    fn forget(&self, name: &str) -> Result<(), HubFault> {
        let announced = self.announced(name)?;
        let blob = self.folder.blob(&announced.etag);
        match std::fs::remove_file(&blob) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cache_fault(&blob, e)),
            _ => Ok(()),
        }
    }

    fn attempt(
        &self,
        name: &str,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<HubFile, HubFault> {
        let Announced { etag, size } = self.announced(name)?;
        let blob = self.folder.blob(&etag);
        make_parent(&blob)?;
        let cached = blob.is_file();
        let (bytes, sha256) = if cached {
            check(&blob, name, &etag)?
        } else {
            self.blob(name, &etag, size, &blob, progress)?
        };
        let path = self.folder.link(self.commit, name, &etag)?;
        Ok(HubFile { name: name.to_string(), path, bytes, sha256, cached })
    }

    /// Fetches into `<etag>.incomplete`, checks, and gives it its final name.
    fn blob(
        &self,
        name: &str,
        etag: &str,
        size: Option<u64>,
        blob: &Path,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<(u64, String), HubFault> {
        let part = blob.with_file_name(format!("{etag}.incomplete"));
        let fault = |e| cache_fault(&part, e);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&part)
            .map_err(fault)?;
        // Two processes must not write the same part.
        file.lock().map_err(fault)?;
        if blob.is_file() {
            return check(blob, name, etag);
        }
        let size = self.receive(name, size, &mut file, &part, progress)?;
        let got = file.metadata().map_err(fault)?.len();
        if got != size {
            if got > size {
                file.set_len(0).map_err(fault)?;
            }
            return Err(HubFault::Truncated { file: name.to_string(), got, size });
        }
        let checked = check(&part, name, etag);
        if let Err(HubFault::Checksum { .. }) = &checked {
            std::fs::remove_file(&part).map_err(fault)?;
        }
        let checked = checked?;
        file.sync_all().map_err(fault)?;
        std::fs::rename(&part, blob).map_err(fault)?;
        Ok(checked)
    }

    /// What the hub says of a file: identity and size, which for a large file are in the redirect
    /// to where it is stored.
    fn announced(&self, name: &str) -> Result<Announced, HubFault> {
        let mut url = format!("{}{}", self.base, escape(name));
        for _ in 0..MOST_REDIRECTS {
            let mut request = self.agent.head(&url).header("Accept-Encoding", "identity");
            if let Some(token) = &self.options.token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| HubFault::Transfer(e.to_string()))?;
            let (status, headers) = (response.status(), response.headers());
            if !status.is_success() && !status.is_redirection() {
                return Err(HubFault::of_status(status.as_u16()));
            }
            let etag = text(headers, "x-linked-etag");
            let etag = if status.is_success() { etag.or(text(headers, "etag")) } else { etag };
            if let Some(etag) = etag {
                let etag = etag.trim_start_matches("W/").trim_matches('"').to_string();
                if !is_word(&etag) {
                    return Err(HubFault::Transfer(format!("'{name}' has the etag '{etag}'")));
                }
                let linked = text(headers, "x-linked-size");
                let size = if status.is_success() {
                    linked.or(text(headers, "content-length"))
                } else {
                    linked
                };
                return Ok(Announced { etag, size: size.and_then(|size| size.parse().ok()) });
            }
            // Within the hub only: a renamed repository. Storage elsewhere has other etags.
            let next = text(headers, "location").and_then(|to| redirected(&url, to));
            match next.filter(|next| same_host(next, &self.options.endpoint)) {
                Some(next) => url = next,
                None => return Err(HubFault::Transfer(format!("'{name}' has no etag"))),
            }
        }
        Err(HubFault::Transfer(format!("'{name}' is redirected in circles")))
    }

    /// Adds what is missing to the part and gives the size that the whole should have.
    fn receive(
        &self,
        name: &str,
        size: Option<u64>,
        file: &mut File,
        part: &Path,
        progress: &mut dyn FnMut(HubProgress),
    ) -> Result<u64, HubFault> {
        let fault = |e| cache_fault(part, e);
        let mut start = file.metadata().map_err(fault)?.len();
        if size.is_some_and(|size| start > size) {
            start = 0;
        }
        if let Some(size) = size.filter(|size| start == *size) {
            return Ok(size);
        }
        let response = self.get(name, start)?;
        let status = response.status().as_u16();
        let length = text(response.headers(), "content-length").and_then(|n| n.parse::<u64>().ok());
        let (from, total) = match status {
            200 => (0, length),
            206 => content_range(response.headers()).ok_or_else(|| {
                HubFault::Transfer(format!("'{name}': a part of it without Content-Range"))
            })?,
            416 => {
                file.set_len(0).map_err(fault)?;
                let reason = format!("'{name}' cannot be continued after {start} bytes");
                return Err(HubFault::Transfer(reason));
            }
            status => return Err(HubFault::of_status(status)),
        };
        if from != start && from != 0 {
            let reason = format!("'{name}': asked for bytes from {start}, got them from {from}");
            return Err(HubFault::Transfer(reason));
        }
        let known = size.or(total);
        if let (Some(size), Some(total)) = (size, total)
            && size != total
        {
            let reason = format!("'{name}' has {total} bytes, the hub announced {size}");
            return Err(HubFault::Transfer(reason));
        }
        let size =
            known.ok_or_else(|| HubFault::Transfer(format!("'{name}': nobody tells its size")))?;
        file.set_len(from).map_err(fault)?;
        file.seek(SeekFrom::Start(from)).map_err(fault)?;
        let mut body = response.into_body().into_reader().take(size - from.min(size));
        let mut piece = vec![0u8; PIECE];
        let mut done = from;
        loop {
            progress(HubProgress { file: name, done, total: size });
            match body.read(&mut piece) {
                Ok(0) => return Ok(size),
                Ok(read) => {
                    file.write_all(piece.get(..read).unwrap_or_default()).map_err(fault)?;
                    done += read as u64;
                }
                Err(error) => {
                    tracing::warn!(file = name, done, %error, "the transfer broke off");
                    return Ok(size);
                }
            }
        }
    }

    /// The file from a byte on, wherever redirects lead. The token stays with the hub.
    fn get(&self, name: &str, start: u64) -> Result<Response<Body>, HubFault> {
        let mut url = format!("{}{}", self.base, escape(name));
        for _ in 0..MOST_REDIRECTS {
            let mut request = self.agent.get(&url).header("Accept-Encoding", "identity");
            if start > 0 {
                request = request.header("Range", format!("bytes={start}-"));
            }
            let home = same_host(&url, &self.options.endpoint);
            if let Some(token) = self.options.token.as_ref().filter(|_| home) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| HubFault::Transfer(e.to_string()))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let next = text(response.headers(), "location").and_then(|to| redirected(&url, to));
            url = next.ok_or_else(|| {
                HubFault::Transfer(format!("'{name}' is redirected to no usable address"))
            })?;
        }
        Err(HubFault::Transfer(format!("'{name}' is redirected in circles")))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// `bytes 5-9/10` to 5 and 10.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, "content-range")?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// Where a redirect leads: an address, or a path on the same host. Not from TLS to plain text.
fn redirected(from: &str, to: &str) -> Option<String> {
    if to.starts_with("https://") || (to.starts_with("http://") && from.starts_with("http://")) {
        return Some(to.to_string());
    }
    let uri: Uri = from.parse().ok()?;
    let path = to.starts_with('/') && !to.starts_with("//");
    path.then(|| Some(format!("{}://{}{to}", uri.scheme_str()?, uri.authority()?))).flatten()
}

fn same_host(url: &str, endpoint: &str) -> bool {
    let parts = |text: &str| -> Option<(String, String)> {
        let uri: Uri = text.parse().ok()?;
        Some((uri.scheme_str()?.to_string(), uri.authority()?.to_string()))
    };
    parts(url).is_some_and(|url| parts(endpoint) == Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects() {
        let from = "https://hub.co/a/b";
        assert_eq!(redirected(from, "/c").as_deref(), Some("https://hub.co/c"));
        assert_eq!(redirected(from, "https://cdn.co/x?y").as_deref(), Some("https://cdn.co/x?y"));
        assert_eq!(redirected(from, "http://cdn.co/x"), None);
        assert_eq!(redirected(from, "//cdn.co/x"), None);
        assert_eq!(redirected("http://[::1]:80/a", "/c").as_deref(), Some("http://[::1]:80/c"));
        assert!(same_host("https://hub.co/x", "https://hub.co"));
        assert!(!same_host("https://hub.co.evil/x", "https://hub.co"));
        assert!(!same_host("http://hub.co/x", "https://hub.co"));
    }
}
