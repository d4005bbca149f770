//! Elastic deformation.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::ops::affine::warp;
use crate::ops::blur::smooth_field;
use crate::parameters::{chance, check_probability, check_within, uniform};
use crate::{Image, Result, Transform};

/// Moves every pixel by a smooth random field (Simard et al. 2003): displacements in x and y are
/// uniform noise from −1 to 1, blurred by a Gaussian of `sigma` pixels and multiplied by `alpha`.
/// Bilinear; beyond the border the border pixel counts.
///
/// torchvision's `ElasticTransform` with the same `sigma` has half the displacement at the same
/// `alpha`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticDeformation {
    /// How often, 0 to 1.
    pub probability: f64,
    /// Factor of the displacement in pixels.
    pub alpha: f64,
    /// Smoothness in pixels.
    pub sigma: f64,
}

impl ElasticDeformation {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the probability is outside 0 to 1, alpha outside 0 to
    /// 10000, or sigma outside 0.1 to 200.
    pub fn validate(&self) -> Result<()> {
        check_probability("ElasticDeformation", self.probability)?;
        check_within("ElasticDeformation", "alpha", self.alpha, (0.0, 1e4))?;
        check_within("ElasticDeformation", "sigma", self.sigma, (0.1, 200.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0
    }

    fn field(&self, image: &Image, rng: &mut Stream) -> Vec<f64> {
        let (width, height) = (image.width(), image.height());
        let noise: Vec<f64> = (0..width * height).map(|_| uniform((-1.0, 1.0), rng)).collect();
        let mut field = smooth_field(&noise, width, height, self.sigma);
        field.iter_mut().for_each(|value| *value *= self.alpha);
        field
    }
}

impl Transform for ElasticDeformation {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if !chance(self.probability, rng) {
            return Ok(image);
        }
        let (dx, dy) = (self.field(&image, rng), self.field(&image, rng));
        warp(&image, &dx, &dy)
    }
}
