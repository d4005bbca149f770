//! Everyday pictures, for comparing with published numbers.

mod imagenet;
mod inaturalist;
mod path_list;

pub use imagenet::{ImageNet, ImageNetVariant};
pub use inaturalist::{INaturalist, INaturalistYear};
pub use path_list::{PathList, PathListKind};
