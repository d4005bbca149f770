//! Rotation about the centre.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::{Error, Image, Pixels, Result, Transform};

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
        let fail = |reason| Err(Error::Parameter { transform: "RandomRotation", reason });
        if !(0.0..=360.0).contains(&self.degrees) {
            return fail(format!("degrees is {}, it must be 0 to 360", self.degrees));
        }
        if !matches!(self.fill.len(), 1 | 3) {
            return fail(format!("{} fill values, there must be 1 or 3", self.fill.len()));
        }
        Ok(())
    }

    /// Fill value of each channel.
    fn fill_for(&self, image: &Image) -> Result<Vec<u8>> {
        match *self.fill.as_slice() {
            [value] => Ok(vec![value; image.channels()]),
            _ if self.fill.len() == image.channels() => Ok(self.fill.clone()),
            _ => Err(Error::Kind {
                transform: "RandomRotation",
                expected: format!("a picture of {} channels", self.fill.len()),
                got: image.describe(),
            }),
        }
    }
}

impl Transform for RandomRotation {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let fill = self.fill_for(&image)?;
        let angle = self.degrees * (2.0 * rng.random::<f64>() - 1.0);
        rotate(&image, angle, &fill)
    }
}

/// Rotates counter-clockwise by `angle` degrees. `fill` has one value per channel.
pub(crate) fn rotate(image: &Image, angle: f64, fill: &[u8]) -> Result<Image> {
    let map = InverseMap::new(image, angle);
    let pixels = match image.pixels() {
        Pixels::U8(values) => Pixels::U8(map.pick(image, values, fill)),
        Pixels::U16(values) => {
            let fill: Vec<u16> = fill.iter().map(|&value| u16::from(value) * 257).collect();
            Pixels::U16(map.pick(image, values, &fill))
        }
        Pixels::F32(values) => {
            let fill: Vec<f32> = fill.iter().map(|&value| f32::from(value) / 255.0).collect();
            Pixels::F32(map.pick(image, values, &fill))
        }
    };
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

/// From output to input positions, with 16 fraction bits.
///
/// Pillow's `Image.rotate`: the matrix is rounded to 15 decimals, moved to the centre of the
/// picture and turned into 16.16 fixed point. (Beyond 32768 pixels Pillow changes to floating
/// point; this keeps fixed point, wider.)
struct InverseMap {
    along_x: (i64, i64),
    along_y: (i64, i64),
    start: (i64, i64),
}

impl InverseMap {
    fn new(image: &Image, angle: f64) -> Self {
        let (width, height) = (image.width() as f64, image.height() as f64);
        let radians = -angle.rem_euclid(360.0).to_radians();
        // The rounding makes multiples of 90 degrees exact.
        let (sin, cos) = (round_decimals(radians.sin()), round_decimals(radians.cos()));
        let (center_x, center_y) = (width / 2.0, height / 2.0);
        let offset_x = cos * -center_x + sin * -center_y + center_x;
        let offset_y = -sin * -center_x + cos * -center_y + center_y;
        Self {
            along_x: (fixed(cos), fixed(-sin)),
            along_y: (fixed(sin), fixed(cos)),
            start: (
                fixed(offset_x + cos * 0.5 + sin * 0.5),
                fixed(offset_y + -sin * 0.5 + cos * 0.5),
            ),
        }
    }

    fn pick<T: Copy>(&self, image: &Image, values: &[T], fill: &[T]) -> Vec<T> {
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        let mut out = Vec::with_capacity(values.len());
        let mut row = self.start;
        for _ in 0..height {
            let (mut x, mut y) = row;
            for _ in 0..width {
                let pixel = position(x, width).zip(position(y, height)).and_then(|(x, y)| {
                    let at = (y * width + x) * channels;
                    values.get(at..at + channels)
                });
                out.extend_from_slice(pixel.unwrap_or(fill));
                x += self.along_x.0;
                y += self.along_x.1;
            }
            row = (row.0 + self.along_y.0, row.1 + self.along_y.1);
        }
        out
    }
}

/// Python's `round(value, 15)`: the decimal is rounded correctly, as formatting does.
fn round_decimals(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

fn fixed(value: f64) -> i64 {
    (value * 65536.0 + 0.5).floor() as i64
}

fn position(fixed: i64, side: usize) -> Option<usize> {
    usize::try_from(fixed >> 16).ok().filter(|&position| position < side)
}
