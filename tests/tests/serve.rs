//! The service as a program: started, asked, told to stop by a signal.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use vitalight_tests::example;

/// A grey PNG of 8 x 8 pixels with nothing but its own bytes, so that no encoder is needed here.
const PNG: &[u8] = include_bytes!("fixtures/grey8.png");

fn request(host: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_trained_model_is_served_until_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let finetune = Command::new(example("finetune"))
        .args(["--data", "phantom", "--phantom-len", "60", "--depth", "1", "--patch-size", "8"])
        .args(["--epochs", "1", "--batch-size", "16", "--lora-rank", "2", "--output-dir"])
        .arg(&run)
        .stdout(Stdio::null())
        .status();
    assert!(finetune.unwrap().success());

    // With adapters, and with the same adapters merged.
    let mut answers = Vec::new();
    for file in ["best.safetensors", "merged.safetensors"] {
        let mut server = Command::new(example("serve"))
            .args(["--listen", "127.0.0.1:0", "--model"])
            .arg(run.join(file))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let host = line.split_once(" at http://").unwrap().1;
        let answer = request(host, "POST /classify", PNG);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        answers.push(serde_json::from_str::<serde_json::Value>(body).unwrap());
        assert!(request(host, "POST /embed", &PNG[..40]).starts_with("HTTP/1.1 422"));
        assert!(request(host, "GET /healthz", b"").starts_with("HTTP/1.1 200"));

        let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
        assert!(told.unwrap().success());
        assert!(server.wait().unwrap().success());
    }
    let [adapters, merged] = answers.try_into().unwrap();
    assert_eq!(
        adapters["labels"].as_array().unwrap().len(),
        merged["labels"].as_array().unwrap().len()
    );
    for (a, b) in
        adapters["labels"].as_array().unwrap().iter().zip(merged["labels"].as_array().unwrap())
    {
        assert_eq!(a["name"], b["name"]);
        let probability = |label: &serde_json::Value| label["probability"].as_f64().unwrap();
        assert!((probability(a) - probability(b)).abs() < 1e-5, "{a} {b}");
    }
}
