#![doc = include_str!("../README.md")]

mod error;
mod image;

pub use error::{Error, Result};
pub use image::{Image, Pixels};

use vit_random::Stream;

/// One step from picture to picture.
///
/// A transform takes all its randomness from the stream it is handed, which belongs to one sample
/// of one epoch, so the result does not depend on threads or order.
pub trait Transform: Send + Sync {
    /// Applies the transform.
    ///
    /// # Errors
    /// When the picture is of a kind the transform cannot take (its name, the kind and the size
    /// are in the error) or a parameter does not fit the picture.
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image>;
}
