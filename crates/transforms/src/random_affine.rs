//! Rotation, shift, scale and shear in one map.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::ops::affine::{self, Matrix};
use crate::parameters::{check_interval, check_within, fill_for, uniform};
use crate::{Filter, Image, Result, Sampling, Transform};

/// Rotation about the centre, shift, scale and shear, each drawn uniformly from its interval: as
/// torchvision's `RandomAffine` on Pillow pictures. Intervals of one value are not drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomAffine {
    /// Interval of the angle in degrees, clockwise, within -360 to 360.
    pub degrees: (f64, f64),
    /// Largest shift as part of the width and of the height, 0 to 1, in whole pixels.
    #[serde(default)]
    pub translate: (f64, f64),
    /// Interval of the scale, within 0.01 to 100.
    #[serde(default = "one")]
    pub scale: (f64, f64),
    /// Interval of the shear along x in degrees, within -89 to 89.
    #[serde(default)]
    pub shear_x: (f64, f64),
    /// Interval of the shear along y in degrees, within -89 to 89.
    #[serde(default)]
    pub shear_y: (f64, f64),
    /// Filter and outside; nearest and 0 by default, as torchvision's.
    #[serde(default = "nearest")]
    pub sampling: Sampling,
}

fn one() -> (f64, f64) {
    (1.0, 1.0)
}

fn nearest() -> Sampling {
    Sampling { filter: Filter::Nearest, fill: vec![0] }
}

impl RandomAffine {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when an interval is reversed or outside of what its field says.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "RandomAffine";
        check_interval(NAME, "degrees", self.degrees, (-360.0, 360.0))?;
        check_within(NAME, "translate.0", self.translate.0, (0.0, 1.0))?;
        check_within(NAME, "translate.1", self.translate.1, (0.0, 1.0))?;
        check_interval(NAME, "scale", self.scale, (0.01, 100.0))?;
        check_interval(NAME, "shear_x", self.shear_x, (-89.0, 89.0))?;
        check_interval(NAME, "shear_y", self.shear_y, (-89.0, 89.0))?;
        self.sampling.validate(NAME)
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    fn draw<R: Rng>(&self, width: usize, height: usize, rng: &mut R) -> Parts {
        let mut within = |range: (f64, f64)| {
            if range.0 == range.1 { range.0 } else { uniform(range, rng) }
        };
        let angle = within(self.degrees);
        let mut shift = |part: f64, side: usize| {
            let most = part * side as f64;
            within((-most, most)).round_ties_even()
        };
        let translate = (shift(self.translate.0, width), shift(self.translate.1, height));
        let scale = within(self.scale);
        let shear = (within(self.shear_x), within(self.shear_y));
        Parts { angle, translate, scale, shear }
    }
}

impl Transform for RandomAffine {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let fill = fill_for("RandomAffine", &image, &self.sampling.fill)?;
        let parts = self.draw(image.width(), image.height(), rng);
        let matrix = parts.inverse(image.width(), image.height());
        affine::affine("RandomAffine", &image, &matrix, self.sampling.filter, &fill)
    }
}

/// The parts of an affine map: angle and shear in degrees, shift in pixels.
pub(crate) struct Parts {
    pub(crate) angle: f64,
    pub(crate) translate: (f64, f64),
    pub(crate) scale: f64,
    pub(crate) shear: (f64, f64),
}

impl Parts {
    /// The map from output to input: the inverse of shift · centre · rotate · shear · scale ·
    /// centre⁻¹, as torchvision's `_get_inverse_affine_matrix`.
    pub(crate) fn inverse(&self, width: usize, height: usize) -> Matrix {
        let (center_x, center_y) = (width as f64 * 0.5, height as f64 * 0.5);
        let turn = self.angle.to_radians();
        let (shear_x, shear_y) = (self.shear.0.to_radians(), self.shear.1.to_radians());
        let (sin, cos) = (turn - shear_y).sin_cos();
        let a = cos / shear_y.cos();
        let b = -cos * shear_x.tan() / shear_y.cos() - turn.sin();
        let c = sin / shear_y.cos();
        let d = -sin * shear_x.tan() / shear_y.cos() + turn.cos();
        let [m0, m1, m3, m4] = [d, -b, -c, a].map(|value| value / self.scale);
        let (x, y) = (-center_x - self.translate.0, -center_y - self.translate.1);
        let m2 = m0 * x + m1 * y + center_x;
        let m5 = m3 * x + m4 * y + center_y;
        [m0, m1, m2, m3, m4, m5]
    }
}
