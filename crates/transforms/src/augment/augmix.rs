//! AugMix (Hendrycks et al. 2020).

use rand_distr::{Beta, Distribution, Gamma};
use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use super::kind::{AugmentSettings, OperationKind};
use crate::level::{Level, map_levels, not_integer};
use crate::parameters::check_within;
use crate::{Error, Image, Operation, Pixels, Result, Sampling, Transform};

/// Mixes several chains of operators with random weights, and the mixture with the picture, as
/// timm does.
///
/// Made from one of timm's strings by [`crate::parse_augment`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugMix {
    /// What the chains are made of.
    pub operations: Vec<OperationKind>,
    /// Strength on the scale 0 to 10.
    pub magnitude: f64,
    /// Parameter of the Dirichlet and the Beta distribution of the weights.
    pub alpha: f64,
    /// Number of chains.
    pub width: usize,
    /// Operators in a chain; none: 1 to 3, drawn.
    pub depth: Option<usize>,
    /// timm's faster form, which blends each chain in and rounds after each.
    pub blended: bool,
    /// Noise, sampling and rules.
    pub settings: AugmentSettings,
}

const NAME: &str = "AugMix";

type Chain = Vec<(Operation, Sampling)>;

impl AugMix {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there are no operators, alpha is not positive, a count is out of
    /// bounds, or a setting makes no sense.
    pub fn validate(&self) -> Result<()> {
        if self.operations.is_empty() {
            let reason = "there is no operator to draw".to_owned();
            return Err(Error::Parameter { transform: NAME, reason });
        }
        check_within(NAME, "magnitude", self.magnitude, (0.0, 1000.0))?;
        check_within(NAME, "alpha", self.alpha, (1e-3, 1e3))?;
        check_within(NAME, "width", self.width as f64, (1.0, 64.0))?;
        check_within(NAME, "depth", self.depth.unwrap_or(1) as f64, (1.0, 64.0))?;
        self.settings.validate(NAME)
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    fn draw_chain(&self, rng: &mut Stream) -> Chain {
        let depth = self.depth.unwrap_or_else(|| rng.random_range(1..4));
        let mut chain = Vec::with_capacity(depth);
        for _ in 0..depth {
            if let Some(kind) = self.operations.get(rng.random_range(0..self.operations.len())) {
                let operation = kind.draw(self.magnitude, &self.settings, rng);
                chain.push((operation, self.settings.sampling(rng)));
            }
        }
        chain
    }

    /// Weights of the chains (Dirichlet) and of their mixture against the picture (Beta).
    fn draw_weights(&self, rng: &mut Stream) -> Result<(Vec<f32>, f32)> {
        let fail = |reason: String| Error::Parameter { transform: NAME, reason };
        let gamma = Gamma::new(self.alpha, 1.0).map_err(|error| fail(error.to_string()))?;
        let draws: Vec<f64> = (0..self.width).map(|_| gamma.sample(rng)).collect();
        let weights = shares(&draws);
        let beta = Beta::new(self.alpha, self.alpha).map_err(|error| fail(error.to_string()))?;
        Ok((weights, beta.sample(rng) as f32))
    }
}

/// The parts of the draws in their sum. A small alpha may underflow them all to 0; then, for want of
/// anything that tells the chains apart, equal parts.
fn shares(draws: &[f64]) -> Vec<f32> {
    let sum: f64 = draws.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        return draws.iter().map(|draw| (draw / sum) as f32).collect();
    }
    vec![1.0 / draws.len() as f32; draws.len()]
}

impl Transform for AugMix {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if let Pixels::F32(_) = image.pixels() {
            return Err(not_integer(NAME, &image));
        }
        let (weights, share) = self.draw_weights(rng)?;
        let chains: Vec<(f32, Chain)> =
            weights.into_iter().map(|weight| (weight, self.draw_chain(rng))).collect();
        if self.blended { blend_in(&image, &chains, share) } else { mix(&image, &chains, share) }
    }
}

fn run(image: &Image, chain: &Chain) -> Result<Image> {
    chain
        .iter()
        .try_fold(image.clone(), |image, (operation, sampling)| operation.apply(&image, sampling))
}

/// The weighted sum of the chains, cut off to whole levels, blended with the picture.
fn mix(image: &Image, chains: &[(f32, Chain)], share: f32) -> Result<Image> {
    let mut sum = vec![0f32; image.pixels().len()];
    for (weight, chain) in chains {
        add(&mut sum, &run(image, chain)?, *weight);
    }
    let pixels = map_levels!(NAME, image, values => mixed(values, &sum, share))?;
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

fn add(sum: &mut [f32], image: &Image, weight: f32) {
    match image.pixels() {
        Pixels::U8(values) => accumulate(sum, values, weight, f32::from),
        Pixels::U16(values) => accumulate(sum, values, weight, f32::from),
        Pixels::F32(_) => {}
    }
}

fn accumulate<T: Copy>(sum: &mut [f32], values: &[T], weight: f32, real: impl Fn(T) -> f32) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum += weight * real(value);
    }
}

fn mixed<T: Level>(values: &[T], sum: &[f32], share: f32) -> Vec<T> {
    let mixture = sum.iter().map(|&sum| T::truncate(sum.into()));
    values.iter().zip(mixture).map(|(&value, mixed)| T::blend(value, mixed, share)).collect()
}

/// One blend per chain, with weights that make up the same mixture.
fn blend_in(image: &Image, chains: &[(f32, Chain)], share: f32) -> Result<Image> {
    let mut shares = Vec::with_capacity(chains.len());
    let mut rest = 1.0f32;
    for (weight, _) in chains.iter().rev() {
        let alpha = weight * share / rest;
        rest *= 1.0 - alpha;
        shares.push(alpha);
    }
    let mut out = image.clone();
    for ((_, chain), alpha) in chains.iter().zip(shares.into_iter().rev()) {
        let augmented = run(image, chain)?;
        let pixels = match (out.pixels(), augmented.pixels()) {
            (Pixels::U8(a), Pixels::U8(b)) => Pixels::U8(blend(a, b, alpha)),
            (Pixels::U16(a), Pixels::U16(b)) => Pixels::U16(blend(a, b, alpha)),
            _ => return Err(not_integer(NAME, image)),
        };
        out = Image::new(image.width(), image.height(), image.channels(), pixels)?;
    }
    Ok(out)
}

fn blend<T: Level>(a: &[T], b: &[T], alpha: f32) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| T::blend(a, b, alpha)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_never_undefined() {
        assert_eq!(shares(&[1.0, 3.0]), [0.25, 0.75]);
        assert_eq!(shares(&[0.0; 4]), [0.25; 4]);
        assert_eq!(shares(&[f64::INFINITY, 1.0]), [0.5; 2]);
    }
}
