#![doc = include_str!("../README.md")]

mod augment;
mod color;
mod crop;
mod decode;
mod erase;
mod error;
mod flip;
mod image;
mod jitter;
mod level;
mod medical;
mod mix;
mod operation;
#[cfg(test)]
mod operation_tests;
mod ops;
mod pad;
mod parameters;
#[cfg(test)]
mod pillow_tests;
mod pipeline;
mod presets;
mod random_affine;
#[cfg(test)]
mod random_tests;
mod recipes;
mod repeat;
mod resample;
mod resize;
mod resized_crop;
mod rotate;
mod views;

pub use augment::{
    AugMix, AugmentSettings, AutoAugment, Noise, OperationKind, PolicyStep, RandAugment, TimmRules,
    parse_augment,
};
pub use color::{IMAGENET_MEAN, IMAGENET_STD, Normalize, ToGrey, ToRgb, ToU8};
pub use crop::CenterCrop;
#[cfg(feature = "dicom")]
pub use decode::dicom::{
    BurnedIn, DeidentificationReport, DicomDepth, DicomPicture, DicomRule, Identifier,
    IdentifierKind, Modality, Table, Voi, deidentification_report, read_dicom,
};
pub use decode::{
    DecodeLimits, DecodeOptions, decode_bytes, decode_bytes_with, decode_file, decode_file_with,
    encode_png,
};
pub use erase::{EraseMode, RandomErasing};
pub use error::{Error, Result};
pub use flip::{HorizontalFlip, RandomQuarterTurn, VerticalFlip};
pub use image::{Image, Pixels};
pub use jitter::{Blur, ColorJitter, GaussianBlur, RandomApply, RandomChoice, RandomGrey};
pub use medical::{
    BiasField, BlackFrameCrop, BorderCrop, Clahe, ElasticDeformation, HistogramMatch, VoiFunction,
    Window, WindowRange,
};
pub use mix::{BatchShape, MixMode, MixTarget, Mixup};
pub use operation::{Apply, Operation, Sampling};
pub use pad::{Border, Pad, RandomCrop};
pub use pipeline::{Pipeline, Step};
pub use random_affine::RandomAffine;
pub use recipes::TimmTraining;
pub use repeat::RepeatedAugmentation;
pub use resample::Filter;
pub use resize::{Resize, ResizeSize};
pub use resized_crop::{
    RandomResizedCrop, RandomResizedCropAndInterpolation, SingleDrawResizedCrop,
};
pub use rotate::RandomRotation;
pub use views::{Views, mean_over_views};

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
