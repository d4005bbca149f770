//! A run killed at a random moment and started again ends with the same bytes as one that was not.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use vitalight_tests::example;

fn pretrain(folder: &Path, workers: usize) -> Child {
    let flags = [
        "--data",
        "phantom",
        "--phantom-len",
        "160",
        "--depth",
        "2",
        "--decoder-embed-dim",
        "48",
        "--decoder-depth",
        "1",
        "--decoder-num-heads",
        "3",
        "--patch-size",
        "8",
        "--epochs",
        "3",
        "--batch-size",
        "8",
        "--accum-iter",
        "2",
        "--checkpoint-every",
        "2",
    ];
    Command::new(example("pretrain"))
        .args(flags)
        .arg("--num-workers")
        .arg(workers.to_string())
        .arg("--output-dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn finish(mut run: Child) {
    assert!(run.wait().unwrap().success());
}

fn log_lines(folder: &Path) -> usize {
    fs::read_to_string(folder.join("log.jsonl")).map_or(0, |text| text.lines().count())
}

/// Kills the run as soon as its log has this many lines; tells whether it was still running.
fn kill_at(mut run: Child, folder: &Path, lines: usize) -> bool {
    loop {
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        if log_lines(folder) >= lines {
            run.kill().unwrap();
            run.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_and_resumed_gives_the_bytes_of_an_unbroken_run() {
    let home = TempDir::new().unwrap();
    let (whole, broken) = (home.path().join("whole"), home.path().join("broken"));
    finish(pretrain(&whole, 1));
    let lines = log_lines(&whole);
    assert!(lines > 15, "{lines}");

    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() as usize;
    let (first, second) = (1 + nanos % (lines / 2), lines / 2 + nanos / 1000 % (lines / 2 - 2));
    println!("killing at {first} and {second} of {lines} log lines");
    let killed = kill_at(pretrain(&broken, 0), &broken, first)
        | kill_at(pretrain(&broken, 2), &broken, second);
    assert!(killed, "the run ended before it could be killed");
    finish(pretrain(&broken, 3));

    for file in ["model.safetensors", "best.safetensors", "checkpoint.safetensors", "log.jsonl"] {
        let (a, b) = (fs::read(whole.join(file)).unwrap(), fs::read(broken.join(file)).unwrap());
        assert!(a == b, "{file} differs after kills at {first} and {second} of {lines} lines");
    }
}

#[test]
fn a_run_with_other_settings_is_not_continued() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("run");
    assert!(kill_at(pretrain(&folder, 1), &folder, 8));
    let before = fs::read(folder.join("checkpoint.safetensors")).unwrap();
    let output = Command::new(example("pretrain"))
        .args(["--data", "phantom", "--phantom-len", "160", "--depth", "2", "--decoder-embed-dim"])
        .args(["48", "--decoder-depth", "1", "--decoder-num-heads", "3", "--patch-size", "8"])
        .args(["--epochs", "3", "--batch-size", "16", "--output-dir"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("batch_size (then 8, now 16)"), "{message}");
    assert_eq!(fs::read(folder.join("checkpoint.safetensors")).unwrap(), before);
}
