//! Gaussian blur in the two forms of the recipes.

use crate::level::{Level, map_levels};
use crate::{Image, Result};

/// Pillow's `ImageFilter.GaussianBlur(radius)`: three box blurs with fractional radius along the
/// rows, three along the columns. (Gwosdek et al. 2011, "Theoretical foundations of Gaussian
/// convolution by extended box filtering".)
pub(crate) fn gaussian_box(image: &Image, radius: f64) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let radius = box_radius(radius as f32);
    // A radius beyond the picture changes nothing more; without the cap it would be as slow.
    let pixels = map_levels!("GaussianBlur", image, values => {
        if radius == 0.0 { values.clone() } else { box_three(values, width, height, channels, radius) }
    })?;
    Image::new(width, height, channels, pixels)
}

/// Radius of each of three boxes whose repetition is a Gaussian of this standard deviation.
fn box_radius(sigma: f32) -> f32 {
    let sigma2 = sigma * sigma / 3.0;
    let length = (12.0 * f64::from(sigma2) + 1.0).sqrt() as f32;
    let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * sigma2);
    let part = part / (6.0 * (sigma2 - (whole + 1.0) * (whole + 1.0)));
    whole + part
}

fn box_three<T: Level>(
    values: &[T],
    width: usize,
    height: usize,
    channels: usize,
    radius: f32,
) -> Vec<T> {
    let weights = BoxWeights::new(radius);
    let mut out = values.to_vec();
    for _ in 0..3 {
        out = box_rows(&out, width, channels, &weights);
    }
    let mut turned = transpose(&out, width, height, channels);
    for _ in 0..3 {
        turned = box_rows(&turned, height, channels, &weights);
    }
    transpose(&turned, height, width, channels)
}

/// A box of `2 radius + 1` whole pixels and a fraction of one more on each side.
struct BoxWeights {
    radius: usize,
    whole: u64,
    edge: u64,
}

impl BoxWeights {
    fn new(radius: f32) -> Self {
        let whole = ((1u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        let pixels = radius as u32;
        let edge = (1u32 << 24).saturating_sub((pixels * 2 + 1).saturating_mul(whole)) / 2;
        Self { radius: pixels as usize, whole: u64::from(whole), edge: u64::from(edge) }
    }
}

/// One pass along the rows; beyond the ends the last pixel counts on.
fn box_rows<T: Level>(values: &[T], width: usize, channels: usize, weights: &BoxWeights) -> Vec<T> {
    let mut out = vec![T::default(); values.len()];
    let radius = weights.radius as i64;
    let last = width as i64 - 1;
    for (row, result) in
        values.chunks_exact(width * channels).zip(out.chunks_exact_mut(width * channels))
    {
        for channel in 0..channels {
            let at = |x: i64| -> u64 {
                let value = row.get(x.clamp(0, last) as usize * channels + channel);
                value.map_or(0, |&value| u64::from(Into::<u32>::into(value)))
            };
            let mut sum: u64 = (-radius..=radius).map(at).sum();
            for (x, slot) in (0i64..).zip(result.iter_mut().skip(channel).step_by(channels)) {
                let ends = at(x - radius - 1) + at(x + radius + 1);
                let bulk = sum * weights.whole + ends * weights.edge;
                *slot = T::from_level(((bulk + (1 << 23)) >> 24) as i64);
                sum = sum + at(x + radius + 1) - at(x - radius);
            }
        }
    }
    out
}

fn transpose<T: Copy>(values: &[T], width: usize, height: usize, channels: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    for x in 0..width {
        for y in 0..height {
            let at = (y * width + x) * channels;
            out.extend_from_slice(values.get(at..at + channels).unwrap_or_default());
        }
    }
    out
}

/// torchvision's `gaussian_blur`: a sampled Gaussian of `size` (odd) taps, pictures reflected at
/// the border without repeating the edge pixel, rounded to the nearest value.
///
/// torchvision convolves with the two-dimensional kernel, this along rows and then columns in
/// double precision: values within rounding of a half may come out one level apart.
pub(crate) fn gaussian_kernel(image: &Image, size: usize, sigma: f64) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let kernel = sampled_gaussian(size, sigma);
    let pixels = map_levels!("GaussianBlur", image, values => {
        let real: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let rows = convolve_rows(&real, width, channels, &kernel);
        let turned = transpose(&rows, width, height, channels);
        let columns = convolve_rows(&turned, height, channels, &kernel);
        transpose(&columns, height, width, channels).into_iter().map(round_even).collect()
    })?;
    Image::new(width, height, channels, pixels)
}

/// `torch.round`: halves to even.
fn round_even<T: Level>(value: f64) -> T {
    T::truncate(value.round_ties_even())
}

/// Blurs a field of real values by a Gaussian cut off at four standard deviations, reflected at
/// the border.
pub(crate) fn smooth_field(values: &[f64], width: usize, height: usize, sigma: f64) -> Vec<f64> {
    let kernel = sampled_gaussian(2 * (4.0 * sigma).ceil() as usize + 1, sigma);
    let rows = convolve_rows(values, width, 1, &kernel);
    let turned = transpose(&rows, width, height, 1);
    transpose(&convolve_rows(&turned, height, 1, &kernel), height, width, 1)
}

fn sampled_gaussian(size: usize, sigma: f64) -> Vec<f64> {
    let half = (size as f64 - 1.0) / 2.0;
    let weights: Vec<f64> =
        (0..size).map(|at| (-0.5 * ((at as f64 - half) / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn convolve_rows(values: &[f64], width: usize, channels: usize, kernel: &[f64]) -> Vec<f64> {
    let half = (kernel.len() / 2) as i64;
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width * channels) {
        for x in 0..width as i64 {
            for channel in 0..channels {
                let sum: f64 = (x - half..)
                    .zip(kernel)
                    .map(|(x, weight)| {
                        let at = reflect(x, width) * channels + channel;
                        weight * row.get(at).copied().unwrap_or_default()
                    })
                    .sum();
                out.push(sum);
            }
        }
    }
    out
}

/// The position a reflection without repeated edge shows (`dcb|abcd|cba`).
pub(crate) fn reflect(at: i64, side: usize) -> usize {
    if side <= 1 {
        return 0;
    }
    let period = 2 * (side as i64 - 1);
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}
