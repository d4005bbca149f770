//! Wrong input to the programs: each a clear message, no panic, nothing lost.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use vitalight_tests::example;

/// Runs a program that must fail, and gives its message.
fn failure(program: &str, flags: &[&str], folder: &Path) -> String {
    let output = Command::new(example(program)).args(flags).current_dir(folder).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{program} {flags:?} succeeded");
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// A grey PNG of 16 by 16 pixels.
fn write_picture(path: &Path, value: u8) {
    use vit_transforms::{Image, Pixels, encode_png};
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = Image::new(16, 16, 1, Pixels::U8(vec![value; 256])).unwrap();
    fs::write(path, encode_png(&image).unwrap()).unwrap();
}

#[test]
fn data_that_are_not_there() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("empty")).unwrap();
    says(&failure("pretrain", &["--data", "nowhere"], home.path()), &["nowhere", "phantom"]);
    says(&failure("pretrain", &["--data", "empty"], home.path()), &["empty"]);
    says(&failure("pretrain", &["--data", "absent.npz"], home.path()), &["absent.npz"]);
    says(&failure("pretrain", &["--data", "absent.csv"], home.path()), &["absent.csv"]);
}

#[test]
fn files_of_the_wrong_kind() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("text.safetensors"), "hello, this is no model").unwrap();
    let flags = ["--checkpoint", "text.safetensors"];
    for program in ["evaluate", "reconstruct"] {
        says(&failure(program, &flags, home.path()), &["text.safetensors", "neither safetensors"]);
    }
    says(
        &failure("finetune", &["--finetune", "text.safetensors"], home.path()),
        &["text.safetensors"],
    );
    fs::write(home.path().join("wrong.npz"), "no zip").unwrap();
    says(&failure("pretrain", &["--data", "wrong.npz"], home.path()), &["wrong.npz"]);
}

#[test]
fn a_broken_picture_is_named() {
    let home = TempDir::new().unwrap();
    for i in 0..12 {
        write_picture(&home.path().join(format!("set/class{}/p{i}.png", i % 2)), 10 * i);
    }
    fs::write(home.path().join("set/class0/broken.png"), "this is text").unwrap();
    let flags = ["--data", "set", "--batch-size", "2", "--input-size", "16"];
    says(&failure("pretrain", &flags, home.path()), &["broken.png"]);
}

#[test]
fn a_class_of_the_validation_part_only() {
    let home = TempDir::new().unwrap();
    for (part, classes) in [("train", 2), ("val", 3)] {
        for class in 0..classes {
            for i in 0..4 {
                write_picture(
                    &home.path().join(format!("set/{part}/c{class}/p{i}.png")),
                    40 * class,
                );
            }
        }
    }
    let message = failure("finetune", &["--data", "set", "--input-size", "16"], home.path());
    says(&message, &["c2"]);
}

#[test]
fn a_model_and_data_that_do_not_belong_together() {
    let home = TempDir::new().unwrap();
    let small = [
        "--data",
        "phantom",
        "--phantom-len",
        "80",
        "--depth",
        "1",
        "--patch-size",
        "8",
        "--epochs",
        "1",
        "--batch-size",
        "8",
    ];
    let run = |program: &str, flags: &[&str]| {
        let output =
            Command::new(example(program)).args(flags).current_dir(home.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("finetune", &[&small[..], &["--output-dir", "model"]].concat());
    let model = "model/best.safetensors";
    for i in 0..20 {
        write_picture(&home.path().join(format!("set/class{}/p{i}.png", i % 2)), 10 * i);
    }
    let message = failure("evaluate", &["--checkpoint", model, "--data", "set"], home.path());
    says(&message, &["class0", "normal"]);
    says(&failure("reconstruct", &["--checkpoint", model], home.path()), &["no decoder"]);

    let bytes = fs::read(home.path().join(model)).unwrap();
    fs::write(home.path().join("cut.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let message = failure("evaluate", &["--checkpoint", "cut.safetensors"], home.path());
    says(&message, &["cut.safetensors", "cut off"]);
    let checkpoint = home.path().join("model/checkpoint.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let message =
        failure("finetune", &[&small[..], &["--output-dir", "model"]].concat(), home.path());
    says(&message, &["checkpoint.safetensors", "cut off"]);
}
