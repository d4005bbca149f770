#![doc = include_str!("../README.md")]

mod cache;
mod error;
mod name;
mod options;
mod snapshot;
mod transfer;

pub use cache::read_text;
pub use error::HubFault;
pub use name::{HubRepo, RepoKind, is_below};
pub use options::HubOptions;
pub use snapshot::{HubClient, HubFile, HubProgress, Snapshot};
