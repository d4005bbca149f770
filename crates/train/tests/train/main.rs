//! The trainer: exact resume, updates, guards against silent faults, choice of the best model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test stops by panicking")]

mod audit;
mod best;
mod checkpoint;
mod labels;
mod non_finite;
mod optimizer;
mod resume;
mod support;
mod updates;
mod worst_group;
