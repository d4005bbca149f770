//! Downloads from a server of the test's own, which misbehaves as asked.
#![cfg(feature = "download")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use vit_datasets::{Download, Error, MedMnistInfo};

/// MD5 of [`bytes`], from Python's hashlib.
const MD5: &str = "933a1d4cb15c704ff3ef254fd45ad4fc";

fn bytes() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

/// Requests so far: path and range.
type Log = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Serves until the program ends; the address without a path.
fn serve() -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let seen = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap(), &seen);
        }
    });
    (address, log)
}

fn answer(stream: &mut TcpStream, log: &Log) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let range = lines
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_owned));
    let earlier = {
        let mut log = log.lock().unwrap();
        log.push((path.to_owned(), range.clone()));
        log.iter().filter(|(other, _)| other == path).count() - 1
    };
    // A test may drop the connection early, so failures of writing do not matter.
    let _ = respond(stream, path, range.as_deref(), earlier);
}

fn respond(
    stream: &mut TcpStream,
    path: &str,
    range: Option<&str>,
    earlier: usize,
) -> std::io::Result<()> {
    let whole = bytes();
    let start: Option<usize> =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let length = if headers.contains("content-length") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        stream.write_all(
            format!("HTTP/1.1 {status}\r\n{headers}{length}connection: close\r\n\r\n").as_bytes(),
        )?;
        stream.write_all(body)
    };
    let total = whole.len();
    let cut = format!("content-length: {total}\r\n");
    match (path, start) {
        ("/redirect", _) => send("302 Found", "location: /file\r\n", b""),
        ("/circle", _) => send("302 Found", "location: /circle\r\n", b""),
        ("/wrong", _) => send("200 OK", "", b"something else"),
        ("/busy", _) if earlier == 0 => send("503 Service Unavailable", "", b""),
        ("/file", Some(start)) if start == total => send("416 Range Not Satisfiable", "", b""),
        ("/shrunk", Some(_)) => send("416 Range Not Satisfiable", "", b""),
        ("/always-cut", _) => send("200 OK", &cut, &whole[..1000]),
        ("/cut" | "/cut-without-range" | "/other-range" | "/shrunk", None) if earlier == 0 => {
            send("200 OK", &cut, &whole[..70_000])
        }
        ("/other-range", Some(start)) => {
            let range = format!("content-range: bytes {}-{}/{total}\r\n", start + 1, total - 1);
            send("206 Partial Content", &range, &whole[start + 1..])
        }
        ("/cut" | "/file", Some(start)) if start <= total => {
            let range = format!("content-range: bytes {start}-{}/{total}\r\n", total - 1);
            send("206 Partial Content", &range, &whole[start..])
        }
        ("/cut" | "/cut-without-range" | "/file" | "/busy" | "/other-range" | "/shrunk", _) => {
            send("200 OK", "", &whole)
        }
        _ => send("404 Not Found", "", b"no"),
    }
}

fn download(address: &str, path: &str, folder: &Path) -> Download {
    let url = format!("{address}{path}");
    Download { md5: Some(MD5.into()), ..Download::new(url, folder.join("file.npz")) }
}

#[test]
fn whole_files_redirects_and_every_way_to_go_on() {
    let (address, log) = serve();
    for (path, resumed) in [
        ("/file", false),
        ("/redirect", false),
        ("/busy", false),
        ("/cut", true),
        ("/cut-without-range", true),
        ("/other-range", true),
        ("/shrunk", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut last = (0, None);
        download(&address, path, folder.path())
            .run(&mut |have, total| last = (have, total))
            .unwrap();
        assert_eq!(std::fs::read(folder.path().join("file.npz")).unwrap(), bytes(), "{path}");
        assert_eq!(last, (200_000, Some(200_000)), "{path}");
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "{path}: nothing else is left");
        let log = log.lock().unwrap();
        let ranges: Vec<&String> = log
            .iter()
            .filter(|(other, _)| other == path)
            .filter_map(|(_, range)| range.as_ref())
            .collect();
        assert_eq!(
            ranges.first().map(|range| range.as_str()),
            resumed.then_some("bytes=70000-"),
            "{path}"
        );
    }
}

#[test]
fn a_second_run_goes_on_where_the_first_stopped() {
    let (address, log) = serve();
    let folder = tempfile::tempdir().unwrap();
    let once = Download { attempts: 1, ..download(&address, "/cut", folder.path()) };
    let error = once.run(&mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Download { .. }), "{error}");
    let part = folder.path().join("file.npz.part");
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 70_000);
    assert!(!folder.path().join("file.npz").exists());
    let mut smallest = u64::MAX;
    once.run(&mut |have, _| smallest = smallest.min(have)).unwrap();
    assert!(smallest > 70_000, "{smallest}");
    assert_eq!(std::fs::read(folder.path().join("file.npz")).unwrap(), bytes());
    assert!(!part.exists());
    assert_eq!(log.lock().unwrap().len(), 2);
    // There: nothing is asked for.
    once.run(&mut |_, _| panic!("nothing is fetched")).unwrap();
    assert_eq!(log.lock().unwrap().len(), 2);
    std::fs::write(folder.path().join("file.npz"), "changed").unwrap();
    let error = once.run(&mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert!(folder.path().join("file.npz").exists(), "a file of the user is not removed");
}

#[test]
fn a_part_of_another_file_does_not_survive() {
    let (address, _) = serve();
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("file.npz.part");
    std::fs::write(&part, vec![9; 500]).unwrap();
    let reader = download(&address, "/file", folder.path());
    let error = reader.run(&mut |_, _| {}).unwrap_err();
    assert!(matches!(&error, Error::Checksum { expected, .. } if expected == MD5), "{error}");
    assert!(!part.exists() && !folder.path().join("file.npz").exists());
    reader.run(&mut |_, _| {}).unwrap();
}

#[test]
fn refusals() {
    let (address, log) = serve();
    let folder = tempfile::tempdir().unwrap();
    let open =
        |path: &str| download(&address, path, folder.path()).run(&mut |_, _| {}).unwrap_err();
    let error = open("/absent");
    assert!(error.to_string().contains("/absent: the server answered 404"), "{error}");
    assert_eq!(log.lock().unwrap().len(), 1, "a refusal is not repeated");
    assert!(matches!(open("/wrong"), Error::Checksum { .. }));
    let error = open("/circle");
    assert!(matches!(error, Error::Download { .. }), "{error}");
    let error = open("/always-cut");
    assert!(error.to_string().contains("after 3 attempts"), "{error}");
    std::fs::remove_file(folder.path().join("file.npz.part")).unwrap();
    let small = Download { max_bytes: 150_000, ..download(&address, "/file", folder.path()) };
    let error = small.run(&mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("more than the limit of 150000 bytes"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    // A server that does not speak TLS.
    let tls = address.replace("http:", "https:");
    let error = download(&tls, "/file", folder.path()).run(&mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Download { .. }), "{error}");
    std::fs::remove_file(folder.path().join("file.npz.part")).unwrap();

    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = download(&format!("http://{free}"), "/file", folder.path());
    assert!(matches!(nobody.run(&mut |_, _| {}), Err(Error::Download { .. })));
    let lost = download(&address, "/file", &folder.path().join("absent"));
    assert!(matches!(lost.run(&mut |_, _| {}), Err(Error::Io { .. })));
}

#[test]
fn addresses_of_medmnist() {
    let info = MedMnistInfo::find("PathMNIST").unwrap();
    let download = info.download(224, Path::new("data")).unwrap();
    assert_eq!(
        download.url,
        "https://zenodo.org/records/10519652/files/pathmnist_224.npz?download=1"
    );
    assert_eq!(download.path, Path::new("data/pathmnist_224.npz"));
    assert_eq!(download.md5.as_deref(), Some("2c51a510bcdc9cf8ddb2af93af1eadec"));
    assert!(info.download(100, Path::new("data")).is_none());
}

#[test]
fn two_do_not_write_into_one_file() {
    let (address, _) = serve();
    let folder = tempfile::tempdir().unwrap();
    let part = std::fs::File::create(folder.path().join("file.npz.part")).unwrap();
    part.lock().unwrap();
    let fetch = download(&address, "/file", folder.path());
    let message = fetch.run(&mut |_, _| {}).unwrap_err().to_string();
    assert!(message.contains("somebody else is writing"), "{message}");
    drop(part);
    fetch.run(&mut |_, _| {}).unwrap();
    assert_eq!(std::fs::read(folder.path().join("file.npz")).unwrap(), bytes());
}

/// The second comes when the first has everything and is about to check it.
#[test]
fn a_download_that_is_being_checked_is_still_locked() {
    let (address, log) = serve();
    let folder = tempfile::tempdir().unwrap();
    let fetch = download(&address, "/file", folder.path());
    let (mut blocks, mut refused) = (0, Vec::new());
    fetch
        .run(&mut |have, total| {
            blocks += 1;
            assert_eq!(total, Some(200_000), "block {blocks}");
            if have == 200_000 {
                let error = fetch.run(&mut |_, _| panic!("nothing is fetched")).unwrap_err();
                refused.push(error.to_string());
            }
        })
        .unwrap();
    // With the last block, and before the check.
    assert_eq!(refused.len(), 2, "{refused:?}");
    let right = |message: &String| message.contains("somebody else is writing");
    assert!(refused.iter().all(right), "{refused:?}");
    assert_eq!(log.lock().unwrap().len(), 1, "the second has asked for nothing");
    assert_eq!(std::fs::read(folder.path().join("file.npz")).unwrap(), bytes());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Whenever they come, one fetches the file, and the others find it or are told to wait.
#[test]
fn many_downloads_of_one_file_fetch_it_once() {
    let (address, log) = serve();
    for round in 1..=20 {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let fetch = download(&address, "/file", folder.path());
                    while let Err(error) = fetch.run(&mut |_, _| {}) {
                        let message = error.to_string();
                        assert!(message.contains("somebody else is writing"), "{message}");
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(std::fs::read(folder.path().join("file.npz")).unwrap(), bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(log.lock().unwrap().len(), round, "one request for each round");
    }
}
