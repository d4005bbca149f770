//! The model: parameters, first values, forward and backward pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]

mod bad_input;
mod counts;
mod drop_path;
mod gradients;
mod initialisation;
mod support;
mod torch_golden;
mod variants;
