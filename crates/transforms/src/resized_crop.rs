//! Random parts of pictures, resized to a square: the forms of torchvision, timm and MAE.

use serde::{Deserialize, Serialize};
use vit_random::Stream;
use vit_random::rand::Rng;

use crate::crop::Region;
use crate::parameters::{check_range, check_side, uniform};
use crate::resize::resize_region;
use crate::{Error, Filter, Image, Result, Transform};

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

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    /// The part of a `width` × `height` picture to cut out.
    pub(crate) fn draw<R: Rng>(&self, width: usize, height: usize, rng: &mut R) -> Region {
        let area = width as f64 * height as f64;
        for _ in 0..10 {
            let (w, h) = draw_sides(area, self.scale, self.ratio, rng);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return draw_place((width, height), (w, h), rng);
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
        resize_region("RandomResizedCrop", image, region, self.size, self.size, self.filter)
    }
}

/// One try: sides of a part of random area and aspect, which need not fit.
fn draw_sides<R: Rng>(
    area: f64,
    scale: (f64, f64),
    ratio: (f64, f64),
    rng: &mut R,
) -> (usize, usize) {
    let target = area * uniform(scale, rng);
    let aspect = uniform((ratio.0.ln(), ratio.1.ln()), rng).exp();
    let side = |square: f64| square.sqrt().round_ties_even() as usize;
    (side(target * aspect), side(target / aspect))
}

/// A uniformly drawn place for a part within a picture.
fn draw_place<R: Rng>(picture: (usize, usize), part: (usize, usize), rng: &mut R) -> Region {
    let top = rng.random_range(0..=picture.1 - part.1);
    let left = rng.random_range(0..=picture.0 - part.0);
    Region { left, top, width: part.0, height: part.1 }
}

/// A part of a random size, aspect and place, drawn once: the crop of MAE's linear probe
/// (facebookresearch/mae, `util/crop.py`, after BYOL).
///
/// Area and aspect are drawn as by [`RandomResizedCrop`], but a part that does not fit is not
/// drawn again: each side is cut to that of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleDrawResizedCrop {
    /// Side of the result in pixels.
    pub size: usize,
    /// Smallest and largest part of the picture's area, within 0 (excluded) to 1.
    pub scale: (f64, f64),
    /// Smallest and largest width / height of the part before it is cut.
    pub ratio: (f64, f64),
    /// Filter of the resizing.
    pub filter: Filter,
}

impl SingleDrawResizedCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// As [`RandomResizedCrop::validate`].
    pub fn validate(&self) -> Result<()> {
        check_side("SingleDrawResizedCrop", "size", self.size)?;
        check_range("SingleDrawResizedCrop", "scale", self.scale, 1.0)?;
        check_range("SingleDrawResizedCrop", "ratio", self.ratio, 1000.0)
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }

    pub(crate) fn draw<R: Rng>(&self, width: usize, height: usize, rng: &mut R) -> Region {
        let area = width as f64 * height as f64;
        let (w, h) = draw_sides(area, self.scale, self.ratio, rng);
        draw_place((width, height), (w.clamp(1, width), h.clamp(1, height)), rng)
    }
}

impl Transform for SingleDrawResizedCrop {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let region = self.draw(image.width(), image.height(), rng);
        resize_region("SingleDrawResizedCrop", image, region, self.size, self.size, self.filter)
    }
}

/// timm's `RandomResizedCropAndInterpolation`: the part is drawn as by [`RandomResizedCrop`], the
/// filter is one of a list, drawn for every picture (timm's `interpolation="random"` is bilinear
/// or bicubic).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCropAndInterpolation {
    /// Width of the result in pixels.
    pub width: usize,
    /// Height of the result in pixels.
    pub height: usize,
    /// Smallest and largest part of the picture's area, within 0 (excluded) to 1.
    pub scale: (f64, f64),
    /// Smallest and largest width / height of the part before resizing.
    pub ratio: (f64, f64),
    /// Filters of the resizing, one of which is drawn.
    pub filters: Vec<Filter>,
}

impl RandomResizedCropAndInterpolation {
    /// Checks the parameters.
    ///
    /// # Errors
    /// As [`RandomResizedCrop::validate`], and when the list of filters is empty.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "RandomResizedCropAndInterpolation";
        if self.filters.is_empty() {
            let reason = "the list of filters is empty".to_owned();
            return Err(Error::Parameter { transform: NAME, reason });
        }
        check_side(NAME, "width", self.width)?;
        check_side(NAME, "height", self.height)?;
        check_range(NAME, "scale", self.scale, 1.0)?;
        check_range(NAME, "ratio", self.ratio, 1000.0)
    }

    pub(crate) fn is_random(&self) -> bool {
        true
    }
}

impl Transform for RandomResizedCropAndInterpolation {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        let rule = RandomResizedCrop {
            size: self.width,
            scale: self.scale,
            ratio: self.ratio,
            filter: Filter::Bicubic,
        };
        let region = rule.draw(image.width(), image.height(), rng);
        let filter = match self.filters.as_slice() {
            [filter] => *filter,
            // Not empty: checked above.
            filters => filters.get(rng.random_range(0..filters.len())).copied().unwrap_or_default(),
        };
        let name = "RandomResizedCropAndInterpolation";
        resize_region(name, image, region, self.width, self.height, filter)
    }
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
}
