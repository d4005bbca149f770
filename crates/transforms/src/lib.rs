#![doc = include_str!("../README.md")]

mod color;
mod crop;
mod decode;
mod error;
mod flip;
mod image;
mod jpeg;
mod parameters;
#[cfg(test)]
mod pillow_tests;
mod pipeline;
mod presets;
mod resample;
mod resize;
mod rotate;

pub use color::{IMAGENET_MEAN, IMAGENET_STD, Normalize, ToGrey, ToRgb};
pub use crop::{CenterCrop, RandomResizedCrop};
pub use decode::{DecodeLimits, decode_bytes, decode_file, encode_png};
pub use error::{Error, Result};
pub use flip::{HorizontalFlip, VerticalFlip};
pub use image::{Image, Pixels};
pub use pipeline::{Pipeline, Step};
pub use resample::Filter;
pub use resize::{Resize, ResizeSize};
pub use rotate::RandomRotation;

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
