//! What the tests that cross crates share.

// Test helpers: failing is their purpose.
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

pub mod tiny;

use std::path::{Path, PathBuf};

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the data that are not part of the project: below `variable`, or else below
/// `../shared/{fallback}` beside the checkout. `None`, with a message, where it is absent;
/// `VITALIGHT_REQUIRE_DATA=1`, which CI sets, makes absence a failure.
#[must_use]
pub fn shared_file(variable: &str, fallback: &str, file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| root().join("../shared").join(fallback));
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    let message = format!("skipped: {} is absent; set {variable} to its folder", path.display());
    if std::env::var_os("VITALIGHT_REQUIRE_DATA").is_some_and(|value| value == "1") {
        panic!("{message}");
    }
    #[allow(clippy::print_stderr)] // the test runner's user must see why
    {
        eprintln!("{message}");
    }
    None
}

/// An example's program, which `cargo test --workspace` builds beside the tests.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built; run `cargo test --workspace`", path.display());
    path
}
