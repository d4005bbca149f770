//! AutoAugment (Cubuk et al. 2018).

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use super::kind::{AugmentSettings, OperationKind};
use crate::parameters::{chance, check_probability, check_within};
use crate::{Error, Image, Operation, Result, Sampling, Transform};

/// One operator of a sub-policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyStep {
    /// Which operator.
    pub operation: OperationKind,
    /// How often it is applied.
    pub probability: f64,
    /// Strength on the scale 0 to 10.
    pub magnitude: f64,
}

/// Draws one sub-policy and applies its operators, each with its probability, as timm does.
///
/// Made from one of timm's names by [`crate::parse_augment`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoAugment {
    /// The sub-policies.
    pub policy: Vec<Vec<PolicyStep>>,
    /// Noise, sampling and rules.
    pub settings: AugmentSettings,
}

const NAME: &str = "AutoAugment";

impl AutoAugment {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there is no sub-policy, a probability or magnitude is out of
    /// bounds, or a setting makes no sense.
    pub fn validate(&self) -> Result<()> {
        if self.policy.is_empty() {
            let reason = "there is no sub-policy".to_owned();
            return Err(Error::Parameter { transform: NAME, reason });
        }
        for step in self.policy.iter().flatten() {
            check_probability(NAME, step.probability)?;
            check_within(NAME, "magnitude", step.magnitude, (0.0, 1000.0))?;
        }
        self.settings.validate(NAME)
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    /// The operators one picture gets, with the way each samples.
    ///
    /// # Errors
    /// As [`AutoAugment::validate`].
    pub fn draw(&self, rng: &mut Stream) -> Result<Vec<(Operation, Sampling)>> {
        self.validate()?;
        let mut drawn = Vec::new();
        let steps = self.policy.get(rng.random_range(0..self.policy.len()));
        for step in steps.into_iter().flatten() {
            if step.probability >= 1.0 || chance(step.probability, rng) {
                let operation = step.operation.draw(step.magnitude, &self.settings, rng);
                drawn.push((operation, self.settings.sampling(rng)));
            }
        }
        Ok(drawn)
    }
}

impl Transform for AutoAugment {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        let drawn = self.draw(rng)?;
        drawn
            .iter()
            .try_fold(image, |image, (operation, sampling)| operation.apply(&image, sampling))
    }
}
