//! The kernels against their formulas, against finite differences and against candle's own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]

mod adamw;
mod gradients;
mod graph;
mod guard;
mod momentum;
mod patches;
mod pictures;
mod support;
mod twins;
mod values;
