//! Rotation about the centre.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::ops::affine;
use crate::parameters::{check_fill, fill_for};
use crate::{Error, Filter, Image, Result, Transform};

/// Rotates by an angle drawn uniformly from `-degrees` to `degrees`, counter-clockwise, about the
/// centre, with the nearest pixel; the size stays, what turns in from outside is filled.
///
/// As torchvision's `RandomRotation` with its defaults on Pillow pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomRotation {
    /// Largest angle in degrees, 0 to 360.
    pub degrees: f64,
    /// Value outside the picture, on the scale 0 to 255: one for all channels, or one per channel.
    /// 16-bit pictures take it times 257, real ones divided by 255.
    pub fill: Vec<u8>,
}

impl RandomRotation {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the angle is not within 0 to 360 or there are neither 1 nor 3
    /// fill values.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=360.0).contains(&self.degrees) {
            let reason = format!("degrees is {}, it must be 0 to 360", self.degrees);
            return Err(Error::Parameter { transform: "RandomRotation", reason });
        }
        check_fill("RandomRotation", &self.fill)
    }

    pub(crate) fn is_random(&self) -> bool {
        self.degrees > 0.0
    }
}

impl Transform for RandomRotation {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let fill = fill_for("RandomRotation", &image, &self.fill)?;
        let angle = self.degrees * (2.0 * rng.random::<f64>() - 1.0);
        rotate(&image, angle, &fill)
    }
}

/// Rotates counter-clockwise by `angle` degrees. `fill` has one value per channel.
pub(crate) fn rotate(image: &Image, angle: f64, fill: &[u8]) -> Result<Image> {
    let matrix = affine::rotation(image.width(), image.height(), angle);
    affine::affine("RandomRotation", image, &matrix, Filter::Nearest, fill)
}
