//! Separable resampling with the arithmetic of Pillow's `Image.resize`.
//!
//! Every output pixel is a weighted sum over a window of input pixels, along the rows and then
//! along the columns. When shrinking, the filter is widened by the scale (antialiasing).

mod bytes;

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::crop::Region;
use crate::{Image, Pixels, Result};

/// How a picture is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// The input pixel under the centre of the output pixel; no antialiasing.
    Nearest,
    /// The mean of the pixels an output pixel covers, support 0.5.
    Box,
    /// Triangle, support 1.
    Bilinear,
    /// Raised cosine window times sinc, support 1.
    Hamming,
    /// Cubic convolution with a = −0.5 (Keys 1981), support 2.
    #[default]
    Bicubic,
    /// Windowed sinc, support 3.
    Lanczos,
}

impl Filter {
    /// Half the width of the filter in pixels of the coarser of the two pictures.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance < 1.0 => hamming(distance),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Bicubic => cubic(distance),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming | Self::Lanczos => 0.0,
        }
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Pillow writes the two constants in single precision.
fn hamming(x: f64) -> f64 {
    let x = x * PI;
    x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// The windows and the weights of all output positions along one axis.
struct Taps<W> {
    windows: Vec<Window>,
    /// Those of all windows, one after another.
    weights: Vec<W>,
}

/// Input positions `start..start + length`; their weights begin at `first`.
struct Window {
    start: usize,
    length: usize,
    first: usize,
}

impl<W> Taps<W> {
    /// First input position and weights of each output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[W])> {
        self.windows.iter().map(|&Window { start, length, first }| {
            (start, self.weights.get(first..first + length).unwrap_or_default())
        })
    }

    /// Number of output positions.
    fn len(&self) -> usize {
        self.windows.len()
    }

    fn map<V>(self, rule: impl Fn(W) -> V) -> Taps<V> {
        Taps { windows: self.windows, weights: self.weights.into_iter().map(rule).collect() }
    }
}

/// Weights of every output position, each set adding up to 1.
fn taps(input: usize, output: usize, filter: Filter) -> Taps<f64> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = filter.support() * widening;
    let inverse = 1.0 / widening;
    let (mut windows, mut weights) = (Vec::with_capacity(output), Vec::new());
    for position in 0..output {
        let center = (position as f64 + 0.5) * scale;
        // The conversions cut off below zero.
        let start = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(input);
        let first = weights.len();
        weights.extend((start..end).map(|x| filter.weight((x as f64 - center + 0.5) * inverse)));
        let new = weights.get_mut(first..).unwrap_or_default();
        let sum: f64 = new.iter().sum();
        if sum != 0.0 {
            new.iter_mut().for_each(|weight| *weight /= sum);
        }
        windows.push(Window { start, length: end.saturating_sub(start), first });
    }
    Taps { windows, weights }
}

/// Rows of a picture or of a part of it.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    /// From the first value of the first row on.
    values: &'a [T],
    /// From the beginning of a row to that of the next.
    stride: usize,
    /// Values in a row.
    length: usize,
    count: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Rows without gaps.
    fn whole(values: &'a [T], length: usize) -> Self {
        Self { values, stride: length, length, count: values.len() / length }
    }

    /// The rows of a region that lies within the picture.
    fn part(values: &'a [T], width: usize, channels: usize, region: Region) -> Self {
        let first = (region.top * width + region.left) * channels;
        Self {
            values: values.get(first..).unwrap_or_default(),
            stride: width * channels,
            length: region.width * channels,
            count: region.height,
        }
    }

    fn iter(self) -> impl Iterator<Item = &'a [T]> {
        let row = move |row: &'a [T]| row.get(..self.length).unwrap_or_default();
        self.values.chunks(self.stride).take(self.count).map(row)
    }
}

/// Resamples a region that lies within the picture to `width` × `height`, with a filter other than
/// [`Filter::Nearest`]. No pixel outside of the region has an influence.
pub(crate) fn resample(
    image: &Image,
    region: Region,
    width: usize,
    height: usize,
    filter: Filter,
) -> Result<Image> {
    let (to, channels) = ((width, height), image.channels());
    let pixels = match image.pixels() {
        Pixels::U8(values) => {
            let part = Rows::part(values, image.width(), channels, region);
            Pixels::U8(bytes::resample(part, channels, to, filter))
        }
        Pixels::U16(values) => {
            let part = Rows::part(values, image.width(), channels, region);
            let real: Vec<f32> = part.iter().flatten().map(|&value| f32::from(value)).collect();
            let result = resample_f32(Rows::whole(&real, part.length), channels, to, filter);
            // `as` clamps to 0..=65535.
            Pixels::U16(result.into_iter().map(|value| (value + 0.5) as u16).collect())
        }
        Pixels::F32(values) => {
            let part = Rows::part(values, image.width(), channels, region);
            Pixels::F32(resample_f32(part, channels, to, filter))
        }
    };
    Image::new(width, height, channels, pixels)
}

/// Whether the columns are resampled before the rows. It is a matter of speed that shows in the
/// rounding of 8-bit pictures.
///
/// Pillow 13 does so where the height shrinks by more than twice what the width does; before, it
/// always took the rows first. (Measured with 13.0 and 11.3 on 3916 random pairs of sizes.)
fn columns_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let (width, height) = (from.0.saturating_sub(to.0), from.1.saturating_sub(to.1));
    height > 2 * width
}

/// Runs the two passes over a picture of `channels` channels in their order; a side that stays has
/// none. Gives the values without gaps.
fn passes<T: Copy>(
    picture: Rows<T>,
    channels: usize,
    to: (usize, usize),
    along_rows: impl Fn(Rows<T>) -> Vec<T>,
    along_columns: impl Fn(Rows<T>) -> Vec<T>,
) -> Vec<T> {
    let from = (picture.length / channels, picture.count);
    match (from.0 != to.0, from.1 != to.1) {
        (true, true) if columns_first(from, to) => {
            along_rows(Rows::whole(&along_columns(picture), picture.length))
        }
        (true, true) => along_columns(Rows::whole(&along_rows(picture), to.0 * channels)),
        (false, _) => along_columns(picture),
        (true, false) => along_rows(picture),
    }
}

fn resample_f32(
    picture: Rows<f32>,
    channels: usize,
    to: (usize, usize),
    filter: Filter,
) -> Vec<f32> {
    let horizontal =
        |rows: Rows<f32>| rows_f32(rows, channels, &taps(rows.length / channels, to.0, filter));
    let vertical = |rows: Rows<f32>| columns_f32(rows, &taps(rows.count, to.1, filter));
    passes(picture, channels, to, horizontal, vertical)
}

fn rows_f32(rows: Rows<f32>, channels: usize, taps: &Taps<f64>) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.count * taps.len() * channels);
    for row in rows.iter() {
        for (start, weights) in taps.iter() {
            for channel in 0..channels {
                let line = row.iter().skip(start * channels + channel).step_by(channels);
                let sum: f64 = line.zip(weights).map(|(&v, &w)| f64::from(v) * w).sum();
                out.push(sum as f32);
            }
        }
    }
    out
}

fn columns_f32(rows: Rows<f32>, taps: &Taps<f64>) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.length * taps.len());
    let mut sums = vec![0f64; rows.length];
    for (start, weights) in taps.iter() {
        sums.fill(0.0);
        for (line, &weight) in rows.iter().skip(start).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += f64::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| sum as f32));
    }
    out
}
