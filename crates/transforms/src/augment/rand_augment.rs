//! RandAugment (Cubuk et al. 2019).

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use super::kind::{AugmentSettings, OperationKind};
use crate::jitter::weighted;
use crate::parameters::{chance, check_probability, check_within};
use crate::{Error, Image, Operation, Result, Sampling, Transform};

/// Draws operators and applies each with a given probability, as timm does.
///
/// Made from one of timm's strings by [`crate::parse_augment`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// How many operators are drawn for a picture.
    pub layers: usize,
    /// Strength on the scale 0 to 10.
    pub magnitude: f64,
    /// How often a drawn operator is applied.
    pub probability: f64,
    /// What is drawn from: without weights with replacement, with weights without.
    pub operations: Vec<OperationKind>,
    /// Weight of each operator; empty: all the same.
    #[serde(default)]
    pub weights: Vec<f64>,
    /// Noise, sampling and rules.
    pub settings: AugmentSettings,
}

const NAME: &str = "RandAugment";

impl RandAugment {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there are no operators, the weights do not fit them or are too
    /// few for the layers, a probability is outside 0 to 1, or a setting makes no sense.
    pub fn validate(&self) -> Result<()> {
        let fail = |reason| Err(Error::Parameter { transform: NAME, reason });
        if self.operations.is_empty() {
            return fail("there is no operator to draw".to_owned());
        }
        if self.layers > 64 {
            return fail(format!("layers is {}, it must be 0 to 64", self.layers));
        }
        check_within(NAME, "magnitude", self.magnitude, (0.0, 1000.0))?;
        check_probability(NAME, self.probability)?;
        if !self.weights.is_empty() {
            for &weight in &self.weights {
                check_within(NAME, "a weight", weight, (0.0, 1e9))?;
            }
            let positive = self.weights.iter().filter(|&&weight| weight > 0.0).count();
            if self.weights.len() != self.operations.len() || positive < self.layers {
                return fail(format!(
                    "{} weights, {positive} of them positive, for {} operators and {} layers \
                     without replacement",
                    self.weights.len(),
                    self.operations.len(),
                    self.layers
                ));
            }
        }
        self.settings.validate(NAME)
    }

    pub(crate) fn is_random(&self) -> bool {
        self.layers > 0
    }

    /// The operators one picture gets, with the way each samples.
    ///
    /// # Errors
    /// As [`RandAugment::validate`].
    pub fn draw(&self, rng: &mut Stream) -> Result<Vec<(Operation, Sampling)>> {
        self.validate()?;
        let mut drawn = Vec::with_capacity(self.layers);
        for kind in self.draw_kinds(rng) {
            if self.probability < 1.0 && !chance(self.probability, rng) {
                continue;
            }
            let operation = kind.draw(self.magnitude, &self.settings, rng);
            drawn.push((operation, self.settings.sampling(rng)));
        }
        Ok(drawn)
    }

    fn draw_kinds(&self, rng: &mut Stream) -> Vec<OperationKind> {
        let mut weights = self.weights.clone();
        (0..self.layers)
            .filter_map(|_| {
                let at = if weights.is_empty() {
                    rng.random_range(0..self.operations.len())
                } else {
                    let at = weighted(&weights, rng);
                    weights.iter_mut().skip(at).take(1).for_each(|weight| *weight = 0.0);
                    at
                };
                self.operations.get(at).copied()
            })
            .collect()
    }
}

impl Transform for RandAugment {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        let drawn = self.draw(rng)?;
        drawn
            .iter()
            .try_fold(image, |image, (operation, sampling)| operation.apply(&image, sampling))
    }
}
