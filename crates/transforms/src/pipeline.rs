//! Lists of transforms.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::{
    Apply, AugMix, AutoAugment, BiasField, BlackFrameCrop, BorderCrop, CenterCrop, Clahe,
    ColorJitter, ElasticDeformation, GaussianBlur, HistogramMatch, HorizontalFlip, Image,
    Normalize, Pad, RandAugment, RandomAffine, RandomApply, RandomChoice, RandomCrop,
    RandomErasing, RandomGrey, RandomQuarterTurn, RandomResizedCrop,
    RandomResizedCropAndInterpolation, RandomRotation, Resize, Result, SingleDrawResizedCrop,
    ToGrey, ToRgb, ToU8, Transform, VerticalFlip, Window,
};

/// Writes the enumeration of all transforms and passes its methods on to them.
macro_rules! steps {
    ($($name:ident),* $(,)?) => {
        /// One transform of a [`Pipeline`]; in a file, its parameters and a `"name"` in snake case.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Step {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        impl Step {
            /// Checks the parameters.
            ///
            /// # Errors
            /// [`crate::Error::Parameter`] with the transform's name and the value that makes no
            /// sense.
            pub fn validate(&self) -> Result<()> {
                match self {
                    $(Self::$name(step) => step.validate(),)*
                }
            }

            /// Whether the result depends on the random stream.
            #[must_use]
            pub fn is_random(&self) -> bool {
                match self {
                    $(Self::$name(step) => step.is_random(),)*
                }
            }
        }

        impl Transform for Step {
            fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
                match self {
                    $(Self::$name(step) => Transform::apply(step, image, rng),)*
                }
            }
        }

        $(
            impl From<$name> for Step {
                fn from(step: $name) -> Self {
                    Self::$name(step)
                }
            }
        )*
    };
}

steps!(
    Resize,
    CenterCrop,
    RandomCrop,
    RandomResizedCrop,
    SingleDrawResizedCrop,
    RandomResizedCropAndInterpolation,
    Pad,
    HorizontalFlip,
    VerticalFlip,
    RandomQuarterTurn,
    RandomRotation,
    RandomAffine,
    ToRgb,
    ToGrey,
    ToU8,
    RandomGrey,
    ColorJitter,
    GaussianBlur,
    Apply,
    RandomApply,
    RandomChoice,
    RandAugment,
    AutoAugment,
    AugMix,
    RandomErasing,
    Clahe,
    Window,
    HistogramMatch,
    BorderCrop,
    BlackFrameCrop,
    BiasField,
    ElasticDeformation,
    Normalize,
);

/// Transforms applied one after another: plain data that is stored beside a model, so that
/// evaluation and serving use the one it was trained for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The transforms in order.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// A pipeline of these steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Applies all steps.
    ///
    /// # Errors
    /// The error of the first step that fails; see [`Transform::apply`].
    pub fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.steps.iter().try_fold(image, |image, step| step.apply(image, rng))
    }

    /// Applies all steps and writes the result plane by plane: [`Pipeline::apply`] and then
    /// [`Image::write_chw`], value for value, but faster where the last step is [`Normalize`].
    ///
    /// # Errors
    /// As the two; [`crate::Error::Buffer`] when `out` does not have the size of the result.
    pub fn apply_chw(&self, image: Image, rng: &mut Stream, out: &mut [f32]) -> Result<()> {
        if let Some((Step::Normalize(normalize), before)) = self.steps.split_last() {
            let image = before.iter().try_fold(image, |image, step| step.apply(image, rng))?;
            return normalize.write_chw(&image, out);
        }
        self.apply(image, rng)?.write_chw(out)
    }

    /// Whether the result depends on the random stream: not for pipelines of evaluation.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.steps.iter().any(Step::is_random)
    }

    /// Checks the parameters of all steps, so that a bad file is refused before training starts.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] of the first step whose parameters make no sense.
    pub fn validate(&self) -> Result<()> {
        self.steps.iter().try_for_each(Step::validate)
    }
}

impl Transform for Pipeline {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        Self::apply(self, image, rng)
    }
}
