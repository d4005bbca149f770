//! The service over loopback.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::future::Future;
use std::path::Path;

use serde_json::Value;
use support::{model_file, picture, png};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vit_metrics::{
    Calibration, CalibrationMethod, OperatingPoint, Part, Predictions, ThresholdRule,
};
use vit_models::candle_core::{Device, Tensor};
use vit_models::save_weights;
use vit_transforms::{Image, Pixels, encode_png};
use vitalight_examples::{
    Card, Client, Decisions, Embedder, Features, ModelArgs, ServeLimits, serve_on,
};

const CLASSES: [&str; 3] = ["normal", "polyp", "ulcer"];

fn limits() -> ServeLimits {
    ServeLimits {
        features: Features::ClassMean,
        max_batch: 8,
        max_wait_ms: 2,
        queue: 64,
        max_body: 100_000,
        max_pixels: 100_000,
        decode_threads: None,
        read_seconds: 600,
        stop_seconds: 600,
    }
}

/// A service that runs.
struct Service {
    host: String,
    stop: oneshot::Sender<()>,
    end: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start(model: &Path, limits: ServeLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { stopped.await.unwrap_or(()) };
        let end = tokio::spawn(serve_on(listener, open(model), limits, stopped));
        Self { host, stop, end }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.host).await.unwrap()
    }

    /// Waits until so many requests are under way.
    async fn under_way(&self, count: usize) {
        let line = format!("vitalight_queue_length {count}\n");
        loop {
            let text = self.client().await.get("/metrics").await.unwrap().body;
            if std::str::from_utf8(&text).unwrap().contains(&line) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        self.end.await.unwrap().unwrap();
    }
}

fn open(model: &Path) -> Embedder {
    Embedder::open(&ModelArgs::new(model.to_str().unwrap()), &Device::Cpu).unwrap()
}

/// A test with a model in a folder of its own.
fn run<F: Future<Output = ()>>(classes: &[&str], test: impl FnOnce(std::path::PathBuf) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let model = model_file(folder.path(), classes);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test(model));
}

/// What the library says of a picture.
fn direct(embedder: &Embedder, image: Image) -> (Vec<f32>, Vec<f32>) {
    let images = embedder.batch(embedder.prepare(image).unwrap()).unwrap();
    let row = |tensor: Tensor| tensor.to_vec2::<f32>().unwrap().remove(0);
    let features = row(embedder.features(&images, Features::ClassMean).unwrap());
    (features, embedder.probabilities(&images).unwrap().remove(0))
}

fn embedding(body: &[u8]) -> Vec<f32> {
    let answer: Value = serde_json::from_slice(body).unwrap();
    serde_json::from_value(answer["embedding"].clone()).unwrap()
}

fn reason(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap();
    answer["error"].as_str().unwrap().to_string()
}

#[test]
fn one_picture_gets_the_very_bits_of_the_library() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, limits()).await;
        let embedder = open(&model);
        let (features, probabilities) = direct(&embedder, picture(1));
        let mut client = service.client().await;
        let answer = client.post("/embed", png(1)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
        assert_eq!(embedding(&answer.body), features);
        assert_eq!(features.len(), 2 * embedder.model.embed_dim());
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["model"], "model");
        assert_eq!(json["model_sha256"], embedder.sha256);
        assert_eq!(json["preprocessing"], embedder.preprocessing().unwrap());
        assert_eq!(json["features"], "class_mean");

        let answer = client.post("/classify", png(1)).await.unwrap();
        assert_eq!(answer.status, 200);
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        let labels = json["labels"].as_array().unwrap();
        for ((label, name), probability) in labels.iter().zip(CLASSES).zip(&probabilities) {
            assert_eq!(label["name"], name);
            assert_eq!(label["probability"].as_f64().unwrap() as f32, *probability);
        }
        let most = (0..3).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap();
        assert_eq!(json["predicted"], CLASSES[most]);
        service.finish().await;
    });
}

/// A model that was calibrated answers with calibrated probabilities, and says so.
#[test]
fn calibrated_probabilities_are_served() {
    run(&CLASSES, |model| async move {
        let plain = direct(&open(&model), picture(1)).1;
        let (file, card) = Card::open(&model).unwrap();
        let names = CLASSES.map(str::to_string).to_vec();
        let part = Part::Validation;
        let embedder = open(&model);
        let scores: Vec<f32> =
            (0..40).flat_map(|number| direct(&embedder, picture(number)).1).collect();
        let targets: Vec<usize> = (0..40).map(|number| number % 3).collect();
        let predictions = Predictions::single_label(names, part, &scores, &targets).unwrap();
        let calibration = Calibration::fit(&predictions, CalibrationMethod::Temperature).unwrap();
        let rule = ThresholdRule::Youden;
        let calibrated = calibration.calibrated(&predictions).unwrap();
        let operating_points = OperatingPoint::per_class(&calibrated, rule, 0.5).unwrap();
        let mut expected = plain.clone();
        calibration.apply(&mut expected).unwrap();
        assert!(plain != expected);
        let decisions = Decisions { calibration, operating_points, rule, fitted_on: 40 };
        let card = Card { decisions: Some(decisions), ..card };
        let shapes = file.shapes().keys();
        let tensors =
            shapes.map(|name| (name.clone(), file.tensor(name, &Device::Cpu).unwrap())).collect();
        save_weights(&model, &tensors, &card.metadata().unwrap()).unwrap();

        let service = Service::start(&model, limits()).await;
        let answer = service.client().await.post("/classify", png(1)).await.unwrap();
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["calibrated"], true);
        for (label, probability) in json["labels"].as_array().unwrap().iter().zip(&expected) {
            assert_eq!(label["probability"].as_f64().unwrap() as f32, *probability);
        }
        service.finish().await;
    });
}

#[test]
fn pictures_at_the_same_time_are_not_mixed_up_and_a_bad_one_harms_nobody() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, limits()).await;
        let embedder = open(&model);
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..48 {
            let host = service.host.clone();
            clients.spawn(async move {
                let mut client = Client::connect(&host).await.unwrap();
                let mut bytes = png(number);
                if number % 6 == 5 {
                    bytes.truncate(bytes.len() / 2);
                }
                let route = if number % 2 == 0 { "/embed" } else { "/classify" };
                (number, client.post(route, bytes).await.unwrap())
            });
        }
        while let Some(answer) = clients.join_next().await {
            let (number, answer) = answer.unwrap();
            if number % 6 == 5 {
                assert_eq!(answer.status, 422);
                assert!(reason(&answer.body).contains("decode"), "{}", reason(&answer.body));
                continue;
            }
            assert_eq!(answer.status, 200);
            let (features, probabilities) = direct(&embedder, picture(number));
            let (got, expected) = if number % 2 == 0 {
                (embedding(&answer.body), features)
            } else {
                let json: Value = serde_json::from_slice(&answer.body).unwrap();
                let labels = json["labels"].as_array().unwrap().clone();
                let number = |label: &Value| label["probability"].as_f64().unwrap() as f32;
                (labels.iter().map(number).collect(), probabilities)
            };
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
            assert!(
                got.len() == expected.len() && got.iter().zip(&expected).all(close),
                "{number}"
            );
        }
        let text = service.client().await.get("/metrics").await.unwrap().body;
        let text = std::str::from_utf8(&text).unwrap();
        for line in [
            "vitalight_requests_total{route=\"embed\",status=\"200\"} 24\n",
            "vitalight_requests_total{route=\"classify\",status=\"422\"} 8\n",
            "vitalight_batch_size_sum 40.0\n",
            "vitalight_queue_length 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        service.finish().await;
    });
}

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, limits()).await;
        let grey = |width: usize, height: usize| {
            let pixels = Pixels::U8(vec![0; width * height]);
            encode_png(&Image::new(width, height, 1, pixels).unwrap()).unwrap()
        };
        for (bytes, status, word) in [
            (Vec::new(), 400, "empty"),
            (b"GIF89a not really".to_vec(), 422, "PNG"),
            (grey(400, 300), 413, "pixels"),
            (vec![0u8; 100_001], 413, "larger than 100000 bytes"),
            (vec![0u8; 50_000_000], 413, "larger than 100000 bytes"),
            // Its resized width would be enormous.
            (grey(90_000, 1), 422, "50 times"),
        ] {
            let answer = service.client().await.post("/embed", bytes).await.unwrap();
            let reason = reason(&answer.body);
            assert_eq!(answer.status, status, "{reason}");
            assert!(reason.contains(word), "{reason}");
        }
        let mut client = service.client().await;
        assert_eq!(client.post("/nothing", png(1)).await.unwrap().status, 404);
        assert_eq!(client.get("/embed").await.unwrap().status, 405);
        assert_eq!(client.get("/healthz").await.unwrap().status, 200);
        let about: Value = serde_json::from_slice(&client.get("/").await.unwrap().body).unwrap();
        assert_eq!(about["input"], serde_json::json!([1, 32, 32]));
        // After all this it still works.
        assert_eq!(client.post("/embed", png(2)).await.unwrap().status, 200);
        service.finish().await;
    });
}

#[test]
fn a_body_without_a_length_is_bounded_too() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, limits()).await;
        let mut stream = TcpStream::connect(&service.host).await.unwrap();
        let head = "POST /embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..3 {
            stream.write_all(format!("{:x}\r\n", 40_000).as_bytes()).await.unwrap();
            stream.write_all(&[7u8; 40_000]).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        assert!(first_line(&mut stream).await.contains("413"));
        drop(stream);
        service.finish().await;
    });
}

#[test]
fn without_a_head_there_are_no_classes() {
    run(&[], |model| async move {
        let service = Service::start(&model, limits()).await;
        let mut client = service.client().await;
        assert_eq!(client.post("/embed", png(1)).await.unwrap().status, 200);
        let answer = client.post("/classify", png(1)).await.unwrap();
        assert_eq!(answer.status, 404);
        assert!(reason(&answer.body).contains("no classes"));
        service.finish().await;
    });
}

/// Sends the head of a request and half of its body.
async fn half_a_request(service: &Service, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&service.host).await.unwrap();
    let head =
        format!("POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..bytes.len() / 2]).await.unwrap();
    stream
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut piece = [0u8; 512];
    while !text.contains(&b'\n') {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the connection was closed without an answer");
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&text).lines().next().unwrap().to_string()
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, ServeLimits { queue: 2, ..limits() }).await;
        let bytes = png(1);
        let mut first = half_a_request(&service, &bytes).await;
        let second = half_a_request(&service, &bytes).await;
        service.under_way(2).await;
        let mut client = service.client().await;
        let answer = client.post("/embed", bytes.clone()).await.unwrap();
        assert_eq!((answer.status, answer.retry_after), (503, Some(1)));
        // A client that goes away gives its place back; one that goes on is answered.
        drop(second);
        service.under_way(1).await;
        assert_eq!(client.post("/embed", bytes.clone()).await.unwrap().status, 200);
        first.write_all(&bytes[bytes.len() / 2..]).await.unwrap();
        assert!(first_line(&mut first).await.contains("200"));
        service.finish().await;
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, ServeLimits { read_seconds: 1, ..limits() }).await;
        let mut stream = half_a_request(&service, &png(1)).await;
        assert!(first_line(&mut stream).await.contains("408"));
        service.under_way(0).await;
        service.finish().await;
    });
}

#[test]
fn a_stop_finishes_what_was_accepted() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, limits()).await;
        let bytes = png(1);
        let mut accepted = half_a_request(&service, &bytes).await;
        service.under_way(1).await;
        service.stop.send(()).unwrap();
        // The listener is closed once a connection is refused.
        while TcpStream::connect(&service.host).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!service.end.is_finished());
        accepted.write_all(&bytes[bytes.len() / 2..]).await.unwrap();
        assert!(first_line(&mut accepted).await.contains("200"));
        service.end.await.unwrap().unwrap();
    });
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    run(&CLASSES, |model| async move {
        let service = Service::start(&model, ServeLimits { stop_seconds: 1, ..limits() }).await;
        let stalled = half_a_request(&service, &png(1)).await;
        service.under_way(1).await;
        service.stop.send(()).unwrap();
        assert!(service.end.await.unwrap().unwrap_err().to_string().contains("unfinished"));
        drop(stalled);
    });
}
