//! Parts of pictures.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::image::map_pixels;
use crate::parameters::{check_output, check_side};
use crate::{Image, Result, Transform};

/// The square in the middle, `size` × `size`.
///
/// The offset is `(side - size) / 2` with halves rounded to the even number, and a side shorter
/// than `size` is padded with zeros, the smaller half of them first: torchvision's `center_crop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    /// Side of the square in pixels.
    pub size: usize,
}

impl CenterCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the size is 0 or above 65536.
    pub fn validate(&self) -> Result<()> {
        check_side("CenterCrop", "size", self.size)
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for CenterCrop {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let size = self.size;
        if (image.width(), image.height()) == (size, size) {
            return Ok(image);
        }
        check_output("CenterCrop", size, size, image.channels())?;
        let (x, y) = (centre(image.width(), size), centre(image.height(), size));
        let channels = image.channels();
        let pixels = map_pixels!(image.pixels(), values => {
            let mut out = vec![Default::default(); size * size * channels];
            let from = values.chunks_exact(image.width() * channels).skip(y.from).take(y.length);
            let to = out.chunks_exact_mut(size * channels).skip(y.to);
            for (from, to) in from.zip(to) {
                let from = from.iter().skip(x.from * channels).take(x.length * channels);
                for (to, from) in to.iter_mut().skip(x.to * channels).zip(from) {
                    *to = *from;
                }
            }
            out
        });
        Image::new(size, size, channels, pixels)
    }
}

/// What is copied along one axis.
struct Span {
    from: usize,
    to: usize,
    length: usize,
}

fn centre(side: usize, size: usize) -> Span {
    if side >= size {
        Span { from: half_to_even(side - size), to: 0, length: size }
    } else {
        Span { from: 0, to: (size - side) / 2, length: side }
    }
}

/// `n / 2`, halves rounded to the even number, as Python's `round`.
fn half_to_even(n: usize) -> usize {
    let half = n / 2;
    half + usize::from(n % 2 == 1 && half % 2 == 1)
}

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Cuts out a region that lies within the picture.
pub(crate) fn crop(image: Image, region: Region) -> Result<Image> {
    let Region { left, top, width, height } = region;
    if (width, height) == (image.width(), image.height()) {
        return Ok(image);
    }
    let channels = image.channels();
    let columns = left * channels..(left + width) * channels;
    let pixels = map_pixels!(image.pixels(), values => {
        let mut out = Vec::with_capacity(width * height * channels);
        for row in values.chunks_exact(image.width() * channels).skip(top).take(height) {
            out.extend_from_slice(row.get(columns.clone()).unwrap_or_default());
        }
        out
    });
    Image::new(width, height, channels, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number() {
        let halves: Vec<usize> = (0..10).map(half_to_even).collect();
        assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
    }
}
