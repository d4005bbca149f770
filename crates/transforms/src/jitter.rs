//! Random changes of colour, and random choices between steps.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;
use vit_random::rand::seq::SliceRandom;

use crate::parameters::{chance, check_interval, check_probability, check_within, uniform};
use crate::{Error, Image, Operation, Result, Sampling, Step, ToGrey, ToRgb, Transform};

/// Changes brightness, contrast, saturation and hue by factors drawn from intervals, in a random
/// order: as torchvision's `ColorJitter` on Pillow pictures. An interval that only holds "no
/// change" (1, or 0 of the hue) is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Interval of the brightness factor.
    pub brightness: (f64, f64),
    /// Interval of the contrast factor.
    pub contrast: (f64, f64),
    /// Interval of the saturation factor.
    pub saturation: (f64, f64),
    /// Interval of the turn of the hue, within -0.5 to 0.5 of the circle.
    pub hue: (f64, f64),
}

impl ColorJitter {
    /// Intervals around "no change", as torchvision makes them of single numbers: factors from
    /// `max(0, 1 - x)` to `1 + x`, hue from `-x` to `x`.
    #[must_use]
    pub fn new(brightness: f64, contrast: f64, saturation: f64, hue: f64) -> Self {
        let around = |x: f64| ((1.0 - x).max(0.0), 1.0 + x);
        Self {
            brightness: around(brightness),
            contrast: around(contrast),
            saturation: around(saturation),
            hue: (-hue, hue),
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when an interval is reversed, a factor is negative or above 1000, or
    /// the hue is outside -0.5 to 0.5.
    pub fn validate(&self) -> Result<()> {
        const FACTOR: (f64, f64) = (0.0, 1000.0);
        check_interval("ColorJitter", "brightness", self.brightness, FACTOR)?;
        check_interval("ColorJitter", "contrast", self.contrast, FACTOR)?;
        check_interval("ColorJitter", "saturation", self.saturation, FACTOR)?;
        check_interval("ColorJitter", "hue", self.hue, (-0.5, 0.5))
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    /// The operations in the order they are applied in.
    fn draw(&self, rng: &mut Stream) -> Vec<Operation> {
        let mut order = [0, 1, 2, 3];
        order.shuffle(rng);
        let mut factor = |range: (f64, f64), neutral: f64| {
            (range != (neutral, neutral)).then(|| uniform(range, rng))
        };
        let drawn = [
            factor(self.brightness, 1.0).map(|factor| Operation::Brightness { factor }),
            factor(self.contrast, 1.0).map(|factor| Operation::Contrast { factor }),
            factor(self.saturation, 1.0).map(|factor| Operation::Color { factor }),
            factor(self.hue, 0.0).map(|turn| Operation::Hue { turn }),
        ];
        order.into_iter().filter_map(|at: usize| drawn.get(at).copied().flatten()).collect()
    }
}

impl Transform for ColorJitter {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let sampling = Sampling::default();
        let drawn = self.draw(rng);
        drawn.iter().try_fold(image, |image, operation| operation.apply(&image, &sampling))
    }
}

/// Takes the colour out with a given probability; the channels stay as many as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomGrey {
    /// How often, 0 to 1.
    pub probability: f64,
}

impl RandomGrey {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the probability is outside 0 to 1.
    pub fn validate(&self) -> Result<()> {
        check_probability("RandomGrey", self.probability)
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0 && self.probability < 1.0
    }
}

impl Transform for RandomGrey {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if !chance(self.probability, rng) || image.channels() == 1 {
            return Ok(image);
        }
        let grey = ToGrey.apply(image, rng)?;
        ToRgb.apply(grey, rng)
    }
}

/// Which of the two Gaussian blurs, and how wide.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blur {
    /// Pillow's (SimCLR in PyTorch, MoCo, 3-Augment): see [`Operation::GaussianBlur`].
    Pillow {
        /// Interval of the radius in pixels.
        radius: (f64, f64),
    },
    /// torchvision's: see [`Operation::KernelBlur`].
    Kernel {
        /// Taps of the kernel, odd.
        size: usize,
        /// Interval of the standard deviation in pixels.
        sigma: (f64, f64),
    },
}

/// Blurs with a random width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianBlur {
    /// How often, 0 to 1.
    pub probability: f64,
    /// Form and interval of widths.
    pub blur: Blur,
}

impl GaussianBlur {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the probability is outside 0 to 1, the interval is reversed or
    /// outside 0 to 4096, or the number of taps is even or above 1023.
    pub fn validate(&self) -> Result<()> {
        check_probability("GaussianBlur", self.probability)?;
        match self.blur {
            Blur::Pillow { radius } => {
                check_interval("GaussianBlur", "radius", radius, (0.0, 4096.0))
            }
            Blur::Kernel { size, sigma } => {
                check_interval("GaussianBlur", "sigma", sigma, (1e-3, 4096.0))?;
                Operation::KernelBlur { size, sigma: sigma.0 }.validate()
            }
        }
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0
    }
}

impl Transform for GaussianBlur {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if !chance(self.probability, rng) {
            return Ok(image);
        }
        let operation = match self.blur {
            Blur::Pillow { radius } => Operation::GaussianBlur { radius: uniform(radius, rng) },
            Blur::Kernel { size, sigma } => {
                Operation::KernelBlur { size, sigma: uniform(sigma, rng) }
            }
        };
        operation.apply(&image, &Sampling::default())
    }
}

/// Applies all of its steps with a given probability, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomApply {
    /// How often, 0 to 1.
    pub probability: f64,
    /// What is applied.
    pub steps: Vec<Step>,
}

impl RandomApply {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the probability is outside 0 to 1 or a step makes no sense.
    pub fn validate(&self) -> Result<()> {
        check_probability("RandomApply", self.probability)?;
        self.steps.iter().try_for_each(Step::validate)
    }

    pub(crate) fn is_random(&self) -> bool {
        let undecided = self.probability > 0.0 && self.probability < 1.0;
        undecided || self.steps.iter().any(Step::is_random)
    }
}

impl Transform for RandomApply {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        check_probability("RandomApply", self.probability)?;
        if !chance(self.probability, rng) {
            return Ok(image);
        }
        self.steps.iter().try_fold(image, |image, step| step.apply(image, rng))
    }
}

/// Applies exactly one of its steps, drawn with these weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomChoice {
    /// What is chosen from.
    pub steps: Vec<Step>,
    /// Weight of each step; empty: all the same.
    #[serde(default)]
    pub weights: Vec<f64>,
}

impl RandomChoice {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there is no step, the weights are not as many as the steps,
    /// negative or all 0, or a step makes no sense.
    pub fn validate(&self) -> Result<()> {
        self.check_weights()?;
        self.steps.iter().try_for_each(Step::validate)
    }

    fn check_weights(&self) -> Result<()> {
        let fail = |reason| Err(Error::Parameter { transform: "RandomChoice", reason });
        if self.steps.is_empty() {
            return fail("there is no step to choose from".to_owned());
        }
        if self.weights.is_empty() {
            return Ok(());
        }
        if self.weights.len() != self.steps.len() {
            let (weights, steps) = (self.weights.len(), self.steps.len());
            return fail(format!("{weights} weights for {steps} steps"));
        }
        for &weight in &self.weights {
            check_within("RandomChoice", "a weight", weight, (0.0, 1e9))?;
        }
        if self.weights.iter().sum::<f64>() <= 0.0 {
            return fail("all weights are 0".to_owned());
        }
        Ok(())
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    fn choose(&self, rng: &mut Stream) -> usize {
        if self.weights.is_empty() {
            return rng.random_range(0..self.steps.len());
        }
        weighted(&self.weights, rng)
    }
}

impl Transform for RandomChoice {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.check_weights()?;
        match self.steps.get(self.choose(rng)) {
            Some(step) => step.apply(image, rng),
            None => Ok(image),
        }
    }
}

/// A position drawn with these weights, of which at least one is positive.
pub(crate) fn weighted(weights: &[f64], rng: &mut impl Rng) -> usize {
    let mut rest = uniform((0.0, weights.iter().sum()), rng);
    let mut last = 0;
    for (at, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = at;
            if rest < weight {
                return at;
            }
            rest -= weight;
        }
    }
    last
}
