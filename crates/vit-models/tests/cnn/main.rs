//! Convolutional networks: equal to torchvision, trained, saved, refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]

mod presets;
mod statistics;
mod support;
mod torchvision;
