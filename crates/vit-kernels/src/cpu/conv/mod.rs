//! Convolutions of pictures `[batch, height, width, channels]`.
//!
//! Every product is of pixels where they lie, or in a window with zeros around, with packed
//! weights: no matrix of patches is made.

mod kernel;
mod plan;
mod source;
mod tiles;
mod weights;

pub(crate) use plan::Geometry;
pub(crate) use source::{Activation, Source};
pub(crate) use tiles::{Tile, forward, into};
pub(crate) use weights::{Packed, gradient};
