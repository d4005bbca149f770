//! A hub on loopback: the routes, headers and faults that matter, over real HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Each body of a large file stops after so many bytes, this often.
    pub(crate) cut: Option<(usize, usize)>,
    /// No Content-Length, so that only the size announced before tells a cut.
    pub(crate) no_length: bool,
    /// A range is answered with everything.
    pub(crate) ignore_range: bool,
    /// Other bytes than announced.
    pub(crate) wrong_bytes: bool,
    /// Instead of the file's own.
    pub(crate) etag: Option<String>,
    /// This status for every request.
    pub(crate) status: Option<u16>,
    /// The total in Content-Range.
    pub(crate) wrong_total: bool,
    /// The repository was renamed: a relative redirect comes first.
    pub(crate) renamed: bool,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// On the host for large files.
    pub(crate) storage: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Seen>>,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

impl Server {
    /// Serves these files as `owner/name` as a model and a data set. Safetensors and
    /// Parquet files are stored on another host.
    pub(crate) fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let files =
            files.iter().map(|(name, bytes)| ((*name).to_string(), bytes.clone())).collect();
        let state = Arc::new(State { files, ..State::default() });
        let storage = listen(Arc::clone(&state), None);
        let hub = listen(Arc::clone(&state), Some(storage));
        Self { endpoint: format!("http://{hub}"), state }
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    /// The requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub(crate) fn git_sha1(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    format!("{:x}", hash.finalize())
}

/// A host: the hub, which knows the storage, or the storage.
fn listen(state: Arc<State>, storage: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                // A client that goes away is its own business.
                let _ = answer(stream.unwrap(), &state, storage);
            });
        }
    });
    address
}

/// One request per connection.
fn answer(
    mut stream: TcpStream,
    state: &State,
    storage: Option<SocketAddr>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap().to_string(), words.next().unwrap().to_string());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let seen = Seen {
        method,
        path,
        range: headers.get("range").cloned(),
        authorization: headers.get("authorization").cloned(),
        storage: storage.is_none(),
    };
    state.seen.lock().unwrap().push(seen.clone());
    let faults = state.faults.lock().unwrap().clone();
    let reply = match storage {
        _ if faults.status.is_some() => Reply::status(faults.status.unwrap()),
        Some(storage) => hub(state, &faults, &seen, storage),
        None => stored(state, &faults, &seen),
    };
    let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !(faults.no_length && storage.is_none()) {
        text += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{text}\r\n").as_bytes())?;
    if seen.method == "HEAD" {
        return Ok(());
    }
    let cut = match &mut state.faults.lock().unwrap().cut {
        Some((after, times)) if storage.is_none() && *times > 0 => {
            *times -= 1;
            *after
        }
        _ => reply.body.len(),
    };
    stream.write_all(&reply.body[..cut.min(reply.body.len())])
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: b"{}".to_vec() }
    }
}

fn hub(state: &State, faults: &Faults, seen: &Seen, storage: SocketAddr) -> Reply {
    for (kind, revision) in [
        ("models", "main"),
        ("models", COMMIT),
        ("datasets", "refs%2Fconvert%2Fparquet"),
        ("datasets", COMMIT),
    ] {
        if seen.path == format!("/api/{kind}/owner/name/revision/{revision}") {
            let siblings: Vec<_> =
                state.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let info = serde_json::json!({"sha": COMMIT, "siblings": siblings, "more": [1],
                "cardData": {"license": "cc-by-4.0"}});
            return Reply { status: 200, headers: Vec::new(), body: info.to_string().into() };
        }
    }
    let prefix = format!("/owner/name/resolve/{COMMIT}/");
    let moved = format!("/owner/new-name/resolve/{COMMIT}/");
    if faults.renamed && seen.path.starts_with(&prefix) {
        let location = seen.path.replace(&prefix, &moved);
        return Reply { status: 307, headers: vec![("Location", location)], body: Vec::new() };
    }
    let path = seen.path.replace("/datasets/", "/").replace(&moved, &prefix);
    let Some((name, bytes)) = path
        .strip_prefix(&prefix)
        .and_then(|name| state.files.get_key_value(&name.replace("%20", " ")))
    else {
        return Reply::status(404);
    };
    let mut headers = vec![("X-Repo-Commit", COMMIT.to_string())];
    if !name.ends_with(".safetensors") && !name.ends_with(".parquet") {
        let etag = faults.etag.clone().unwrap_or(git_sha1(bytes));
        headers.push(("ETag", format!("\"{etag}\"")));
        return Reply { status: 200, headers, body: bytes.clone() };
    }
    let etag = faults.etag.clone().unwrap_or(sha256(bytes));
    headers.push(("X-Linked-Etag", format!("\"{etag}\"")));
    headers.push(("X-Linked-Size", bytes.len().to_string()));
    headers.push(("Location", format!("http://{storage}/{}?signature=1", sha256(bytes))));
    Reply { status: 302, headers, body: Vec::new() }
}

fn stored(state: &State, faults: &Faults, seen: &Seen) -> Reply {
    let name = seen.path.trim_start_matches('/').split('?').next().unwrap();
    let Some(bytes) = state.files.values().find(|bytes| sha256(bytes) == name) else {
        return Reply::status(404);
    };
    let mut bytes = bytes.clone();
    if faults.wrong_bytes {
        bytes[0] ^= 1;
    }
    let range = seen.range.as_deref().filter(|_| !faults.ignore_range);
    let Some(start) = range.map(|r| r["bytes=".len()..r.len() - 1].parse::<usize>().unwrap())
    else {
        return Reply {
            status: 200,
            headers: vec![("ETag", "\"other\"".to_string())],
            body: bytes,
        };
    };
    if start >= bytes.len() {
        return Reply::status(416);
    }
    let total = if faults.wrong_total { bytes.len() + 1 } else { bytes.len() };
    let range = format!("bytes {start}-{}/{total}", bytes.len() - 1);
    let body = bytes[start..].to_vec();
    Reply { status: 206, headers: vec![("Content-Range", range)], body }
}
