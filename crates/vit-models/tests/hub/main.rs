//! Models from the hub, over HTTP, from a server on loopback.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../hub/tests/support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;

use server::{COMMIT, Faults, Server, sha256};
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Error, Hub, HubFault, HubModel, HubOptions, WeightFile, save_weights};

/// A weight file of about 400 kB.
fn weights() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let values = Tensor::arange(0f32, 1e5, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([("cls_token".to_string(), values)]);
    save_weights(&path, &tensors, &serde_json::Map::new()).unwrap();
    std::fs::read(path).unwrap()
}

const CONFIG: &[u8] = br#"{"model_type": "dinov2"}"#;

fn repository() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("model.safetensors", weights()),
        ("config.json", CONFIG.to_vec()),
        ("README.md", b"#".to_vec()),
    ]
}

fn options(server: &Server, cache: &Path) -> HubOptions {
    let mut options = HubOptions::new(cache);
    options.endpoint.clone_from(&server.endpoint);
    options
}

fn fetch_from(options: HubOptions, address: &str) -> Result<HubModel, HubFault> {
    let hub = Hub::new(options).unwrap();
    hub.fetch(&address.parse().unwrap(), &mut |_| ()).map_err(|error| match error {
        Error::Hub { fault, .. } => fault,
        other => panic!("{other}"),
    })
}

fn fetch(server: &Server, cache: &Path) -> Result<HubModel, HubFault> {
    fetch_from(options(server, cache), "hf://owner/name")
}

/// Names of the blobs that have their final name.
fn blobs(cache: &Path) -> Vec<String> {
    let folder = cache.join("models--owner--name/blobs");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".incomplete")).collect()
}

#[test]
fn a_model_is_fetched_once_and_checked() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let mut hub_options = options(&server, cache.path());
    hub_options.token = Some("secret".to_string());
    let hub = Hub::new(hub_options).unwrap();
    let mut told = Vec::new();
    let address = "hf://owner/name".parse().unwrap();
    let model =
        hub.fetch(&address, &mut |p| told.push((p.file.to_string(), p.done, p.total))).unwrap();

    assert_eq!(model.commit, COMMIT);
    let file = &model.weights[0];
    assert_eq!(file.sha256, sha256(&weights()));
    assert_eq!(file.bytes, weights().len() as u64);
    assert!(!file.cached);
    assert_eq!(std::fs::read(&file.path).unwrap(), weights());
    let config = model.config.as_ref().unwrap();
    assert_eq!(
        (std::fs::read(&config.path).unwrap().as_slice(), &config.sha256),
        (CONFIG, &sha256(CONFIG))
    );
    let values = WeightFile::open(&file.path).unwrap().tensor("cls_token", &Device::Cpu).unwrap();
    assert_eq!((values.dims(), values.dtype()), (&[100_000][..], DType::F32));
    let last = told.iter().rfind(|(file, ..)| file == "model.safetensors").unwrap();
    assert_eq!((last.1, last.2), (file.bytes, file.bytes));
    assert!(told.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 <= pair[1].1));

    // The token is for the hub; the storage is another host.
    for seen in server.take_seen() {
        let token = seen.authorization.as_deref();
        assert_eq!(token, if seen.storage { None } else { Some("Bearer secret") }, "{seen:?}");
    }

    let again = hub.fetch(&address, &mut |_| panic!("nothing is transferred")).unwrap();
    assert!(again.weights[0].cached && again.config.unwrap().cached);
    let bodies = server.take_seen().into_iter().filter(|s| !s.path.starts_with("/api/")).count();
    assert_eq!(bodies, 0);

    // Others who know the layout find it.
    let theirs = hf_hub::Cache::new(cache.path().to_path_buf());
    let found = theirs.model("owner/name".to_string()).get("model.safetensors").unwrap();
    assert_eq!(std::fs::read(found).unwrap(), weights());
}

#[test]
fn a_broken_transfer_is_taken_up_where_it_stopped() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { cut: Some((70_000, 2)), ..Faults::default() });
    let model = fetch(&server, cache.path()).unwrap();
    assert_eq!(model.weights[0].sha256, sha256(&weights()));
    let ranges: Vec<_> =
        server.take_seen().into_iter().filter(|s| s.storage).map(|s| s.range).collect();
    let range = |start: usize| Some(format!("bytes={start}-"));
    assert_eq!(ranges, [None, range(70_000), range(140_000)]);
}

#[test]
fn half_a_file_never_has_its_final_name_and_the_next_run_goes_on() {
    for no_length in [false, true] {
        let server = Server::start(&repository());
        let cache = tempfile::tempdir().unwrap();
        server.set(Faults { cut: Some((1000, 1)), no_length, ..Faults::default() });
        let mut once = options(&server, cache.path());
        once.retries = 0;
        let fault = fetch_from(once, "hf://owner/name").unwrap_err();
        assert!(matches!(fault, HubFault::Truncated { got: 1000, .. }), "{fault}");
        assert!(!blobs(cache.path()).contains(&sha256(&weights())));
        let snapshot = cache.path().join("models--owner--name/snapshots").join(COMMIT);
        assert!(!snapshot.join("model.safetensors").exists());

        server.take_seen();
        let model = fetch(&server, cache.path()).unwrap();
        assert_eq!(model.weights[0].sha256, sha256(&weights()));
        let storage = server.take_seen().into_iter().find(|s| s.storage).unwrap();
        assert_eq!(storage.range.as_deref(), Some("bytes=1000-"));
    }
}

#[test]
fn a_server_that_knows_no_ranges_sends_everything_again() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { cut: Some((70_000, 1)), ignore_range: true, ..Faults::default() });
    assert_eq!(fetch(&server, cache.path()).unwrap().weights[0].sha256, sha256(&weights()));
}

#[test]
fn other_bytes_than_announced_are_thrown_away() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { wrong_bytes: true, ..Faults::default() });
    let fault = fetch(&server, cache.path()).unwrap_err();
    assert!(matches!(fault, HubFault::Checksum { .. }), "{fault}");
    assert!(!blobs(cache.path()).contains(&sha256(&weights())));
    server.set(Faults::default());
    assert_eq!(fetch(&server, cache.path()).unwrap().weights[0].sha256, sha256(&weights()));
}

#[test]
fn contradicting_sizes_are_refused() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let faults = Faults { cut: Some((70_000, 1)), wrong_total: true, ..Faults::default() };
    server.set(faults);
    let mut few = options(&server, cache.path());
    few.retries = 1;
    let fault = fetch_from(few, "hf://owner/name").unwrap_err();
    assert!(matches!(fault, HubFault::Transfer(_)), "{fault}");
    assert!(!blobs(cache.path()).contains(&sha256(&weights())));
}

#[test]
fn what_is_not_there_or_not_allowed_is_named() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let get = |address| fetch_from(options(&server, cache.path()), address).unwrap_err();
    assert!(matches!(get("hf://owner/other"), HubFault::NotFound));
    assert!(matches!(get("hf://owner/name@v2"), HubFault::NotFound));
    let fault = get("hf://owner/name/model.bin");
    assert!(matches!(&fault, HubFault::NoFile { there, .. } if there.len() == 3), "{fault}");
    server.set(Faults { status: Some(401), ..Faults::default() });
    assert!(matches!(get("hf://owner/name"), HubFault::Denied { status: 401 }));
    assert!(blobs(cache.path()).is_empty());
}

#[test]
fn an_etag_cannot_lead_out_of_the_cache() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { etag: Some("../../../evil".to_string()), ..Faults::default() });
    let mut once = options(&server, cache.path());
    once.retries = 0;
    let fault = fetch_from(once, "hf://owner/name").unwrap_err();
    assert!(matches!(fault, HubFault::Transfer(_)), "{fault}");
    assert!(blobs(cache.path()).is_empty());
}

#[test]
fn a_renamed_repository_is_followed() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    server.set(Faults { renamed: true, ..Faults::default() });
    assert_eq!(fetch(&server, cache.path()).unwrap().weights[0].sha256, sha256(&weights()));
}

#[test]
fn all_parts_of_an_index() {
    let part = |fill: u8| vec![fill; 1000];
    let index = br#"{"weight_map": {"a": "model 1.safetensors", "b": "model-2.safetensors"}}"#;
    let server = Server::start(&[
        ("model.safetensors.index.json", index.to_vec()),
        ("model 1.safetensors", part(1)),
        ("model-2.safetensors", part(2)),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let model = fetch(&server, cache.path()).unwrap();
    let contents: Vec<_> =
        model.weights.iter().map(|file| std::fs::read(&file.path).unwrap()).collect();
    assert_eq!(contents, [part(1), part(2)]);
    assert_eq!(model.index.unwrap().name, "model.safetensors.index.json");
    assert!(model.config.is_none());
}

#[test]
fn offline_takes_what_is_there_and_asks_nobody() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let mut offline = options(&server, cache.path());
    offline.offline = true;
    let fault = fetch_from(offline.clone(), "hf://owner/name").unwrap_err();
    assert!(matches!(fault, HubFault::NotCached { file: None }), "{fault}");
    assert!(server.take_seen().is_empty());

    let online = fetch(&server, cache.path()).unwrap();
    server.take_seen();
    for address in ["hf://owner/name".to_string(), format!("hf://owner/name@{COMMIT}")] {
        let model = fetch_from(offline.clone(), &address).unwrap();
        assert_eq!(model.weights[0].path, online.weights[0].path);
        assert_eq!(model.weights[0].sha256, sha256(&weights()));
        assert!(model.config.unwrap().cached);
    }
    let fault = fetch_from(offline, "hf://owner/name/README.md").unwrap_err();
    assert!(matches!(fault, HubFault::NoFile { .. }), "{fault}");
    assert!(server.take_seen().is_empty());
}

#[test]
fn a_copy_that_was_damaged_later_is_found_out() {
    let server = Server::start(&repository());
    let cache = tempfile::tempdir().unwrap();
    let path = fetch(&server, cache.path()).unwrap().weights[0].path.clone();
    let mut bytes = weights();
    bytes[500] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut offline = options(&server, cache.path());
    offline.offline = true;
    let fault = fetch_from(offline, "hf://owner/name").unwrap_err();
    assert!(matches!(fault, HubFault::Checksum { .. }), "{fault}");
    let model = fetch(&server, cache.path()).unwrap();
    assert_eq!(model.weights[0].sha256, sha256(&weights()));
    assert!(!model.weights[0].cached);
}

#[test]
fn nobody_answers() {
    let cache = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(cache.path());
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    options.endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let fault = fetch_from(options, "hf://owner/name").unwrap_err();
    assert!(matches!(fault, HubFault::Transfer(_)), "{fault}");
}
