//! A program outside the workspace that depends on vit-models alone (`tests/outside`).
//!
//! What is checked always: what such a program pulls in, and that it stays short. Building it is an
//! ignored test: outside the workspace candle's own dependencies have fewer features, so after a
//! build of the whole workspace cargo builds candle a second time (minutes); after
//! `cargo test -p vit-kernels -p vit-models` it takes seconds. The README's example is the same
//! program and runs as a documentation test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Backbone, Context, ParamStore, Vit, VitConfig, save_weights};

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn outside() -> PathBuf {
    crate_folder().join("../../tests/outside")
}

/// The program in a folder of its own, with the versions of the workspace.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::fs::read_to_string(outside().join("Cargo.toml")).unwrap();
    let path = crate_folder().display().to_string();
    assert!(manifest.contains("\"../../crates/vit-models\""));
    let manifest = manifest.replace("../../crates/vit-models", &path);
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    for (from, to) in [
        (outside().join("src/main.rs"), "src/main.rs"),
        (crate_folder().join("../../Cargo.lock"), "Cargo.lock"),
    ] {
        std::fs::copy(from, folder.path().join(to)).unwrap();
    }
    folder
}

fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "cargo {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Names of the crates in a dependency tree.
fn names(tree: &str) -> Vec<&str> {
    let mut names: Vec<_> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn the_crate_pulls_in_no_pictures_tables_or_command_line() {
    let tree = ["tree", "--offline", "-e", "normal", "--prefix", "none"];
    let folder = copy();
    for tree in [
        cargo(crate_folder(), &[&tree[..], &["-p", "vit-models"]].concat()),
        cargo(folder.path(), &tree),
    ] {
        let names = names(&tree);
        for expected in ["vit-models", "vit-kernels", "candle-core", "safetensors"] {
            assert!(names.contains(&expected), "not a tree of vit-models: {names:?}");
        }
        for unwanted in [
            "image",
            "clap",
            "indicatif",
            "csv",
            "npyz",
            "vit-datasets",
            "vit-transforms",
            "vit-train",
            "vit-metrics",
            "vit-lora",
            "mae-pretrain",
            "tracing-subscriber",
            "anyhow",
            "tokio",
        ] {
            assert!(!names.contains(&unwanted), "vit-models pulls in {unwanted}");
        }
    }
}

#[test]
fn the_program_is_short_and_needs_one_crate() {
    let source = std::fs::read_to_string(outside().join("src/main.rs")).unwrap();
    assert!(source.lines().count() < 20);
    assert!(source.contains("vit_large"));
    let tree = cargo(copy().path(), &["tree", "--offline", "--depth", "1", "--prefix", "none"]);
    assert_eq!(names(&tree), ["embed-outside", "vit-models"]);
}

/// The same way through the code as with a ViT-L, whose file would be 1.2 GB: a ViT-Ti, by the
/// program's second argument.
#[test]
#[ignore = "builds candle a second time after a build of the whole workspace"]
fn the_program_embeds_a_picture() {
    let folder = copy();
    let config = VitConfig::vit_tiny(16, 224);
    let specs = Vit::specs(&config).unwrap();
    let store = ParamStore::init(&specs, 3, DType::F32, &Device::Cpu).unwrap();
    let weights = folder.path().join("weights.safetensors");
    save_weights(&weights, &store.tensors(), &serde_json::Map::new()).unwrap();

    // The workspace's own folder, so that candle is not built again where it fits.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let target = target.to_str().unwrap();
    let weights = weights.to_str().unwrap();
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let run = ["run", "--offline", "--quiet", "--target-dir", target];
    let printed = cargo(folder.path(), &[&run, profile, &["--", weights, "vit_tiny"]].concat());
    let printed: Vec<f32> = serde_json::from_str(&printed).unwrap();

    let model = Vit::new(&config, &store.frozen()).unwrap();
    let picture = Tensor::full(0.5f32, (1, 3, 224, 224), &Device::Cpu).unwrap();
    let embedding = model.embed(&picture, &Context::eval()).unwrap().squeeze(0).unwrap();
    assert_eq!(printed, embedding.to_vec1::<f32>().unwrap());
}
