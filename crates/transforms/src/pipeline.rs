//! Lists of transforms.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::{
    CenterCrop, HorizontalFlip, Image, Normalize, RandomResizedCrop, RandomRotation, Resize,
    Result, ToGrey, ToRgb, Transform, VerticalFlip,
};

/// One transform of a [`Pipeline`]; in a file, its parameters and a `"name"` in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// See [`Resize`].
    Resize(Resize),
    /// See [`CenterCrop`].
    CenterCrop(CenterCrop),
    /// See [`RandomResizedCrop`].
    RandomResizedCrop(RandomResizedCrop),
    /// See [`HorizontalFlip`].
    HorizontalFlip(HorizontalFlip),
    /// See [`VerticalFlip`].
    VerticalFlip(VerticalFlip),
    /// See [`RandomRotation`].
    RandomRotation(RandomRotation),
    /// See [`ToRgb`].
    ToRgb(ToRgb),
    /// See [`ToGrey`].
    ToGrey(ToGrey),
    /// See [`Normalize`].
    Normalize(Normalize),
}

impl Step {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] with the transform's name and the value that makes no sense.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Resize(step) => step.validate(),
            Self::CenterCrop(step) => step.validate(),
            Self::RandomResizedCrop(step) => step.validate(),
            Self::HorizontalFlip(step) => step.validate(),
            Self::VerticalFlip(step) => step.validate(),
            Self::RandomRotation(step) => step.validate(),
            Self::ToRgb(_) | Self::ToGrey(_) => Ok(()),
            Self::Normalize(step) => step.validate(),
        }
    }

    /// Whether the result depends on the random stream.
    #[must_use]
    pub fn is_random(&self) -> bool {
        let undecided = |probability: f64| probability > 0.0 && probability < 1.0;
        match self {
            Self::RandomResizedCrop(_) => true,
            Self::HorizontalFlip(step) => undecided(step.probability),
            Self::VerticalFlip(step) => undecided(step.probability),
            Self::RandomRotation(step) => step.degrees > 0.0,
            Self::Resize(_)
            | Self::CenterCrop(_)
            | Self::ToRgb(_)
            | Self::ToGrey(_)
            | Self::Normalize(_) => false,
        }
    }
}

impl Transform for Step {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        match self {
            Self::Resize(step) => step.apply(image, rng),
            Self::CenterCrop(step) => step.apply(image, rng),
            Self::RandomResizedCrop(step) => step.apply(image, rng),
            Self::HorizontalFlip(step) => step.apply(image, rng),
            Self::VerticalFlip(step) => step.apply(image, rng),
            Self::RandomRotation(step) => step.apply(image, rng),
            Self::ToRgb(step) => step.apply(image, rng),
            Self::ToGrey(step) => step.apply(image, rng),
            Self::Normalize(step) => step.apply(image, rng),
        }
    }
}

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
