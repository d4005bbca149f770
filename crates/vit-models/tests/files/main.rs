//! Weight files: written and read back, fitted to models, damaged, of other makers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod containers;
mod damaged;
mod doctor;
mod export;
mod families;
mod other_family;
mod pickles;
mod pytorch;
mod reports;
mod round_trip;
mod sidecars;
mod support;
