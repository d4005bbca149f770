//! Borders around pictures, and the crops that use them.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::crop::{Region, crop};
use crate::image::map_pixels;
use crate::ops::blur::reflect;
use crate::parameters::{check_fill, check_output, check_side, fill_for};
use crate::{Error, Image, Pixels, Result, Transform};

/// What a border shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Border {
    /// These values on the 8-bit scale: one for all channels, or one per channel.
    Constant(Vec<u8>),
    /// The border pixel, repeated.
    Edge,
    /// The picture mirrored at the border pixel, which is not repeated.
    Reflect,
    /// The picture mirrored at its border, the border pixel repeated.
    Symmetric,
}

impl Border {
    fn validate(&self, transform: &'static str) -> Result<()> {
        match self {
            Self::Constant(fill) => check_fill(transform, fill),
            _ => Ok(()),
        }
    }

    /// Column (row) shown at `at`, which may lie outside; `None` is the constant.
    fn source(&self, at: i64, side: usize) -> Option<usize> {
        let inside = (0..side as i64).contains(&at);
        match self {
            Self::Constant(_) => inside.then_some(at as usize),
            Self::Edge => Some(at.clamp(0, side as i64 - 1) as usize),
            Self::Reflect => Some(reflect(at, side)),
            Self::Symmetric => {
                let at = at.rem_euclid(2 * side as i64);
                Some(at.min(2 * side as i64 - 1 - at) as usize)
            }
        }
    }
}

/// Adds a border on all four sides, as torchvision's `Pad`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Width of the border in pixels.
    pub pixels: usize,
    /// What it shows.
    pub border: Border,
}

impl Pad {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the border is above 65536 pixels or has neither 1 nor 3 values.
    pub fn validate(&self) -> Result<()> {
        check_side("Pad", "pixels", self.pixels.max(1))?;
        self.border.validate("Pad")
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for Pad {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        pad("Pad", &image, self.pixels, self.pixels, &self.border)
    }
}

/// Adds `x` columns on the left and right and `y` rows above and below.
fn pad(
    transform: &'static str,
    image: &Image,
    x: usize,
    y: usize,
    border: &Border,
) -> Result<Image> {
    let (width, height) = (image.width() + 2 * x, image.height() + 2 * y);
    check_output(transform, width, height, image.channels())?;
    let fill = match border {
        Border::Constant(fill) => fill_for(transform, image, fill)?,
        _ => vec![0; image.channels()],
    };
    let columns: Vec<_> =
        (0..width).map(|at| border.source(at as i64 - x as i64, image.width())).collect();
    let rows: Vec<_> =
        (0..height).map(|at| border.source(at as i64 - y as i64, image.height())).collect();
    let fill = match image.pixels() {
        Pixels::U8(_) => Pixels::U8(fill),
        Pixels::U16(_) => Pixels::U16(fill.iter().map(|&v| u16::from(v) * 257).collect()),
        Pixels::F32(_) => Pixels::F32(fill.iter().map(|&v| f32::from(v) / 255.0).collect()),
    };
    let pixels = match (image.pixels(), &fill) {
        (Pixels::U8(values), Pixels::U8(fill)) => {
            Pixels::U8(gather(image, values, &columns, &rows, fill))
        }
        (Pixels::U16(values), Pixels::U16(fill)) => {
            Pixels::U16(gather(image, values, &columns, &rows, fill))
        }
        (Pixels::F32(values), Pixels::F32(fill)) => {
            Pixels::F32(gather(image, values, &columns, &rows, fill))
        }
        // The kinds were made equal above.
        (other, _) => map_pixels!(other, values => values.clone()),
    };
    Image::new(width, height, image.channels(), pixels)
}

fn gather<T: Copy>(
    image: &Image,
    values: &[T],
    columns: &[Option<usize>],
    rows: &[Option<usize>],
    fill: &[T],
) -> Vec<T> {
    let channels = image.channels();
    let mut out = Vec::with_capacity(columns.len() * rows.len() * channels);
    for y in rows {
        for x in columns {
            let pixel = x.zip(*y).and_then(|(x, y)| {
                let at = (y * image.width() + x) * channels;
                values.get(at..at + channels)
            });
            out.extend_from_slice(pixel.unwrap_or(fill));
        }
    }
    out
}

/// A square at a uniformly drawn place, as torchvision's `RandomCrop`: the picture first gets a
/// border of `padding` pixels and, with `pad_if_needed`, as much more as it is too small by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Side of the square in pixels.
    pub size: usize,
    /// Width of the border that is added first.
    pub padding: usize,
    /// Whether a picture that is still too small gets more border; otherwise it is refused.
    pub pad_if_needed: bool,
    /// What the border shows.
    pub border: Border,
}

impl RandomCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a length is above 65536, the size is 0, or the border has neither
    /// 1 nor 3 values.
    pub fn validate(&self) -> Result<()> {
        check_side("RandomCrop", "size", self.size)?;
        check_side("RandomCrop", "padding", self.padding.max(1))?;
        self.border.validate("RandomCrop")
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }
}

impl Transform for RandomCrop {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        const NAME: &str = "RandomCrop";
        self.validate()?;
        let mut image = image;
        if self.padding > 0 {
            image = pad(NAME, &image, self.padding, self.padding, &self.border)?;
        }
        let missing = |side: usize| self.size.saturating_sub(side);
        let (x, y) = (missing(image.width()), missing(image.height()));
        if (x, y) != (0, 0) && !self.pad_if_needed {
            return Err(Error::Kind {
                transform: NAME,
                expected: format!("a picture of at least {0}x{0} with its border", self.size),
                got: image.describe(),
            });
        }
        // As torchvision, what is missing is added on both sides.
        if x > 0 {
            image = pad(NAME, &image, x, 0, &self.border)?;
        }
        if y > 0 {
            image = pad(NAME, &image, 0, y, &self.border)?;
        }
        let top = rng.random_range(0..=image.height() - self.size);
        let left = rng.random_range(0..=image.width() - self.size);
        crop(image, Region { left, top, width: self.size, height: self.size })
    }
}
