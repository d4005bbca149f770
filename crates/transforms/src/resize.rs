//! The resize step.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::crop::{Region, crop};
use crate::image::map_pixels;
use crate::parameters::{check_output, check_side};
use crate::resample::resample;
use crate::{Filter, Image, Result, Transform};

/// The size a picture is brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeSize {
    /// The shorter side becomes this long, the longer one `size * long / short`, cut off to whole
    /// pixels (torchvision's `Resize(int)`).
    ShorterSide(usize),
    /// Both sides are given; the aspect may change.
    Exact {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
}

/// Resamples the whole picture.
///
/// 8-bit pictures come out with exactly the values of Pillow's `Image.resize`; 16-bit and real
/// ones are computed in floating point with the same weights and rounded once at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Size of the result.
    pub size: ResizeSize,
    /// How values are combined.
    pub filter: Filter,
}

impl Resize {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when a side is 0 or above 65536.
    pub fn validate(&self) -> Result<()> {
        match self.size {
            ResizeSize::ShorterSide(side) => check_side("Resize", "shorter_side", side),
            ResizeSize::Exact { height, width } => {
                check_side("Resize", "height", height)?;
                check_side("Resize", "width", width)
            }
        }
    }

    /// Width and height of the result.
    fn target(&self, image: &Image) -> (usize, usize) {
        let (width, height) = (image.width(), image.height());
        match self.size {
            ResizeSize::Exact { height, width } => (width, height),
            ResizeSize::ShorterSide(side) => {
                let longer = |long: usize, short: usize| side.saturating_mul(long) / short;
                if width <= height {
                    (side, longer(height, width))
                } else {
                    (longer(width, height), side)
                }
            }
        }
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for Resize {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let (width, height) = self.target(&image);
        resize_exact("Resize", image, width, height, self.filter)
    }
}

/// Resizes on behalf of `transform`, which is named in errors.
pub(crate) fn resize_exact(
    transform: &'static str,
    image: Image,
    width: usize,
    height: usize,
    filter: Filter,
) -> Result<Image> {
    let whole = Region { left: 0, top: 0, width: image.width(), height: image.height() };
    resize_region(transform, image, whole, width, height, filter)
}

/// Cuts out a region that lies within the picture and resizes it, on behalf of `transform`: the
/// region is not copied first where the filter allows.
pub(crate) fn resize_region(
    transform: &'static str,
    image: Image,
    region: Region,
    width: usize,
    height: usize,
    filter: Filter,
) -> Result<Image> {
    if (width, height) == (region.width, region.height) {
        return crop(image, region);
    }
    check_output(transform, width, height, image.channels())?;
    // Between the two passes the picture has the new width and the old height. (Where the columns
    // go first they become fewer.)
    check_output(transform, width, region.height, image.channels())?;
    match filter {
        Filter::Nearest => nearest(&crop(image, region)?, width, height),
        _ => resample(&image, region, width, height, filter),
    }
}

fn nearest(image: &Image, width: usize, height: usize) -> Result<Image> {
    let columns = nearest_positions(image.width(), width);
    let rows = nearest_positions(image.height(), height);
    let pixels = map_pixels!(image.pixels(), values => {
        if image.channels() == 1 {
            pick::<_, 1>(values, image.width(), &columns, &rows)
        } else {
            pick::<_, 3>(values, image.width(), &columns, &rows)
        }
    });
    Image::new(width, height, image.channels(), pixels)
}

/// The pixels at these columns and rows of a picture of `C` channels.
fn pick<T: Copy, const C: usize>(
    values: &[T],
    width: usize,
    columns: &[usize],
    rows: &[usize],
) -> Vec<T> {
    let (pixels, _) = values.as_chunks::<C>();
    let mut out: Vec<[T; C]> = Vec::with_capacity(columns.len() * rows.len());
    for &y in rows {
        let row = pixels.get(y * width..).unwrap_or_default();
        out.extend(columns.iter().filter_map(|&x| row.get(x)));
    }
    out.into_flattened()
}

/// The input position under the centre of each output position.
///
/// The centre is stepped by repeated addition, as Pillow does: a product would fall on the other
/// side of a pixel's edge now and then.
fn nearest_positions(input: usize, output: usize) -> Vec<usize> {
    let scale = input as f64 / output as f64;
    let mut center = scale * 0.5;
    let mut positions = Vec::with_capacity(output);
    for _ in 0..output {
        positions.push((center as usize).min(input - 1));
        center += scale;
    }
    positions
}
