//! Parts of pictures.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::image::map_pixels;
use crate::parameters::{check_output, check_range, check_side};
use crate::resize::resize_exact;
use crate::{Filter, Image, Result, Transform};

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

/// A part of a random size, aspect and place, resized to a square.
///
/// As torchvision's `RandomResizedCrop`: area = picture's area × U(`scale`), aspect
/// (width / height) = exp(U(ln `ratio.0`, ln `ratio.1`)), sides rounded to whole pixels (halves to
/// even), drawn up to 10 times until the part fits, then a uniformly drawn place. If none fits:
/// the largest central part whose aspect is within `ratio`. The part is cut out first and then
/// resized, so no pixel outside of it has an influence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Side of the result in pixels.
    pub size: usize,
    /// Smallest and largest part of the picture's area, within 0 (excluded) to 1.
    pub scale: (f64, f64),
    /// Smallest and largest width / height of the part before resizing.
    pub ratio: (f64, f64),
    /// Filter of the resizing.
    pub filter: Filter,
}

impl RandomResizedCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the size is 0 or above 65536, an interval is reversed, not
    /// positive or not a number, the scale goes above 1 or the ratio above 1000.
    pub fn validate(&self) -> Result<()> {
        check_side("RandomResizedCrop", "size", self.size)?;
        check_range("RandomResizedCrop", "scale", self.scale, 1.0)?;
        check_range("RandomResizedCrop", "ratio", self.ratio, 1000.0)
    }

    /// The part of a `width` × `height` picture to cut out.
    pub(crate) fn draw(&self, width: usize, height: usize, rng: &mut Stream) -> Region {
        let area = width as f64 * height as f64;
        let logs = (self.ratio.0.ln(), self.ratio.1.ln());
        for _ in 0..10 {
            let target = area * uniform(self.scale, rng);
            let aspect = uniform(logs, rng).exp();
            let w = (target * aspect).sqrt().round_ties_even() as usize;
            let h = (target / aspect).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = rng.random_range(0..=height - h);
                let left = rng.random_range(0..=width - w);
                return Region { left, top, width: w, height: h };
            }
        }
        self.fallback(width, height)
    }

    fn fallback(&self, width: usize, height: usize) -> Region {
        let aspect = width as f64 / height as f64;
        let (mut w, mut h) = (width, height);
        if aspect < self.ratio.0 {
            h = (width as f64 / self.ratio.0).round_ties_even() as usize;
        } else if aspect > self.ratio.1 {
            w = (height as f64 * self.ratio.1).round_ties_even() as usize;
        }
        // A picture of one pixel's width and an extreme ratio would round to nothing.
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Region { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

impl Transform for RandomResizedCrop {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let region = self.draw(image.width(), image.height(), rng);
        let part = crop(image, region)?;
        resize_exact("RandomResizedCrop", part, self.size, self.size, self.filter)
    }
}

/// Uniform between the ends of the interval.
fn uniform((low, high): (f64, f64), rng: &mut Stream) -> f64 {
    low + (high - low) * rng.random::<f64>()
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
    use proptest::prelude::*;
    use vit_random::Streams;

    fn transform(scale: (f64, f64), ratio: (f64, f64)) -> RandomResizedCrop {
        RandomResizedCrop { size: 8, scale, ratio, filter: Filter::Bicubic }
    }

    proptest! {
        #[test]
        fn the_crop_lies_within_the_picture(
            sides in (1..3000usize, 1..3000usize),
            scale in (0.001..1f64, 0.001..1f64),
            ratio in (0.001..1000f64, 0.001..1000f64),
            seed: u64,
        ) {
            let sorted = |(a, b): (f64, f64)| (a.min(b), a.max(b));
            let transform = transform(sorted(scale), sorted(ratio));
            transform.validate().unwrap();
            let region = transform.draw(sides.0, sides.1, &mut Streams::new(seed).stream("", 0, 0));
            prop_assert!(region.width >= 1 && region.left + region.width <= sides.0);
            prop_assert!(region.height >= 1 && region.top + region.height <= sides.1);
        }
    }

    fn draws(count: u64, transform: &RandomResizedCrop, side: usize) -> Vec<Region> {
        let streams = Streams::new(5);
        (0..count).map(|i| transform.draw(side, side, &mut streams.stream("crop", 0, i))).collect()
    }

    /// On a large square the area is nearly U(0.2, 1), but large areas of long shape do not fit
    /// and are drawn again. The means are those of a simulation of the rule with NumPy
    /// (2 million draws): area `AREA`, ln(aspect) 0, centre in the middle.
    #[test]
    fn crops_are_distributed_as_torchvisions() {
        const AREA: f64 = 0.5389;
        let (count, side) = (40_000, 1000);
        let regions = draws(count, &transform((0.2, 1.0), (3.0 / 4.0, 4.0 / 3.0)), side);
        let mean =
            |value: &dyn Fn(&Region) -> f64| regions.iter().map(value).sum::<f64>() / count as f64;
        let area = mean(&|r| (r.width * r.height) as f64 / (side * side) as f64);
        assert!((area - AREA).abs() < 0.004, "area {area}");
        let aspect = mean(&|r| (r.width as f64 / r.height as f64).ln());
        assert!(aspect.abs() < 0.004, "ln(aspect) {aspect}");
        let x = mean(&|r| r.left as f64 + r.width as f64 / 2.0);
        let y = mean(&|r| r.top as f64 + r.height as f64 / 2.0);
        assert!((x - 500.0).abs() < 3.0 && (y - 500.0).abs() < 3.0, "centre {x} {y}");
    }

    /// A strip in which no crop of the asked shape and area has room.
    #[test]
    fn the_fallback_is_central_and_within_the_ratio() {
        let transform = transform((0.9, 1.0), (0.75, 4.0 / 3.0));
        let mut stream = Streams::new(0).stream("", 0, 0);
        let wide = transform.draw(1000, 90, &mut stream);
        assert_eq!(wide, Region { left: 440, top: 0, width: 120, height: 90 });
        let tall = transform.draw(90, 1000, &mut stream);
        assert_eq!(tall, Region { left: 0, top: 440, width: 90, height: 120 });
    }

    #[test]
    fn halves_go_to_the_even_number() {
        let halves: Vec<usize> = (0..10).map(half_to_even).collect();
        assert_eq!(halves, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
    }
}
