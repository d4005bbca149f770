//! Cutting away what surrounds the picture proper.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::crop::{Region, crop};
use crate::level::{Level, histograms, not_integer};
use crate::medical::window::percentile;
use crate::parameters::check_within;
use crate::{Image, Pixels, Result, Transform};

/// Cuts off the dark border (collimation, padding) of X-rays.
///
/// A pixel has content where it is brighter than `threshold` times the 99th percentile. The border
/// line (row or column) with the least content is removed, again and again, until every border
/// line has content in at least the part `content` of its pixels. A small letter in the border
/// does not keep it. Where less than `least` of a side would remain, the picture is left as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BorderCrop {
    /// Brightness of content as part of the 99th percentile, 0 to 1.
    pub threshold: f64,
    /// Part of a border line that must have content, 0 to 1.
    pub content: f64,
    /// Least part of each side that must remain, 0 to 1.
    pub least: f64,
}

impl Default for BorderCrop {
    /// Content above 5 % of the brightness in 10 % of the line, a quarter of each side at least.
    fn default() -> Self {
        Self { threshold: 0.05, content: 0.1, least: 0.25 }
    }
}

impl BorderCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when a value is outside 0 to 1.
    pub fn validate(&self) -> Result<()> {
        check_within("BorderCrop", "threshold", self.threshold, (0.0, 1.0))?;
        check_within("BorderCrop", "content", self.content, (0.0, 1.0))?;
        check_within("BorderCrop", "least", self.least, (0.0, 1.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for BorderCrop {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        trim("BorderCrop", image, &Threshold::Relative(self.threshold), self.content, self.least)
    }
}

/// Cuts off the black frame of endoscopy pictures, with the text fields in it.
///
/// As [`BorderCrop`] with a fixed threshold: with the default `content` the corners that the
/// round optics leave black stay in the picture; towards 1 the rectangle shrinks until it lies
/// within the lit area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlackFrameCrop {
    /// Luma above which a pixel has content, on the 8-bit scale.
    pub threshold: f64,
    /// Part of a border line that must have content, 0 to 1.
    pub content: f64,
    /// Least part of each side that must remain, 0 to 1.
    pub least: f64,
}

impl Default for BlackFrameCrop {
    /// Content above level 24 in 30 % of the line, a quarter of each side at least.
    fn default() -> Self {
        Self { threshold: 24.0, content: 0.3, least: 0.25 }
    }
}

impl BlackFrameCrop {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the threshold is outside 0 to 255 or a part outside 0 to 1.
    pub fn validate(&self) -> Result<()> {
        check_within("BlackFrameCrop", "threshold", self.threshold, (0.0, 255.0))?;
        check_within("BlackFrameCrop", "content", self.content, (0.0, 1.0))?;
        check_within("BlackFrameCrop", "least", self.least, (0.0, 1.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }
}

impl Transform for BlackFrameCrop {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        trim("BlackFrameCrop", image, &Threshold::Fixed(self.threshold), self.content, self.least)
    }
}

enum Threshold {
    /// Part of the 99th percentile.
    Relative(f64),
    /// Level of the 8-bit scale.
    Fixed(f64),
}

fn trim(
    transform: &'static str,
    image: Image,
    threshold: &Threshold,
    content: f64,
    least: f64,
) -> Result<Image> {
    let mask = match image.pixels() {
        Pixels::U8(values) => mask(values, image.channels(), threshold),
        Pixels::U16(values) => mask(values, image.channels(), threshold),
        Pixels::F32(_) => return Err(not_integer(transform, &image)),
    };
    let (width, height) = (image.width(), image.height());
    let region = shrink(&Sums::new(&mask, width, height), content);
    match region {
        Some(region)
            if region.width as f64 >= least * width as f64
                && region.height as f64 >= least * height as f64 =>
        {
            crop(image, region)
        }
        _ => Ok(image),
    }
}

/// Which pixels have content.
fn mask<T: Level>(values: &[T], channels: usize, threshold: &Threshold) -> Vec<bool> {
    let luma: Vec<T> = if channels == 3 {
        values.as_chunks::<3>().0.iter().map(|&pixel| T::luma(pixel)).collect()
    } else {
        values.to_vec()
    };
    let limit = match threshold {
        Threshold::Fixed(level) => level * f64::from(T::STEP),
        Threshold::Relative(part) => {
            let counts = histograms(&luma, 1).pop().unwrap_or_default();
            part * percentile(&counts, 99.0) as f64
        }
    };
    luma.into_iter().map(|value| Into::<f64>::into(value) > limit).collect()
}

/// Sums over all rectangles that begin at the top left corner, so that any rectangle's sum takes
/// four look-ups.
struct Sums {
    sums: Vec<u64>,
    width: usize,
    height: usize,
}

impl Sums {
    fn new(mask: &[bool], width: usize, height: usize) -> Self {
        let mut sums = vec![0u64; width + 1];
        let mut previous = sums.clone();
        for row in mask.chunks_exact(width) {
            let mut line = 0;
            let mut next = vec![0];
            for (&set, above) in row.iter().zip(previous.iter().skip(1)) {
                line += u64::from(set);
                next.push(above + line);
            }
            sums.extend_from_slice(&next);
            previous = next;
        }
        Self { sums, width, height }
    }

    fn count(&self, region: Region) -> u64 {
        let Region { left, top, width, height } = region;
        let at = |x: usize, y: usize| {
            self.sums.get(y * (self.width + 1) + x).copied().unwrap_or_default()
        };
        at(left + width, top + height) + at(left, top)
            - at(left + width, top)
            - at(left, top + height)
    }

    /// Part of the pixels of a region that are set.
    fn part(&self, region: Region) -> f64 {
        self.count(region) as f64 / (region.width * region.height).max(1) as f64
    }
}

/// Removes the emptiest border line until all four have enough; `None` when nothing remains.
fn shrink(sums: &Sums, content: f64) -> Option<Region> {
    let mut region = Region { left: 0, top: 0, width: sums.width, height: sums.height };
    while region.width > 0 && region.height > 0 {
        let Region { left, top, width, height } = region;
        let lines = [
            Region { height: 1, ..region },
            Region { top: top + height - 1, height: 1, ..region },
            Region { width: 1, ..region },
            Region { left: left + width - 1, width: 1, ..region },
        ];
        let parts = lines.map(|line| sums.part(line));
        let (emptiest, part) = parts.into_iter().enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        if part >= content {
            return Some(region);
        }
        region = match emptiest {
            0 => Region { top: top + 1, height: height - 1, ..region },
            1 => Region { height: height - 1, ..region },
            2 => Region { left: left + 1, width: width - 1, ..region },
            _ => Region { width: width - 1, ..region },
        };
    }
    None
}
