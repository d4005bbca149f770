//! A reader of pickles that runs nothing.
//!
//! A pickle is a program for a small stack machine, and Python's machine can call anything. This
//! one builds plain values only. The names a pickle mentions are kept as inert text; a call is
//! answered for the few that rebuild tensors and containers ([`names`]) and refused by name for
//! every other. Memory is bounded: lengths are checked against what is left of the file, and a
//! pickle may have [`MAX_STEPS`] steps, each of which adds at most one small value. There is no
//! recursion: values refer to each other by place.

mod input;
mod machine;
mod names;
mod value;

pub(super) use input::Input;
pub(super) use machine::run;
pub(super) use value::{Heap, Storage, StorageType, Value};

/// Steps one pickle may take. A checkpoint of a ViT-g with its optimiser has some 200,000.
const MAX_STEPS: u64 = 2_000_000;

/// Bytes one pickle may have; tensors are stored outside of it.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Why a pickle was not read.
pub(super) type Reason = String;
