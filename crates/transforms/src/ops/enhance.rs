//! Blends with a degenerate picture, as `PIL.ImageEnhance`: factor 0 gives the degenerate picture,
//! 1 the original, beyond 1 exaggerates.

use crate::level::{Level, map_levels};
use crate::{Image, Result};

/// Blends every value of `image` with that of `degenerate`.
fn blend_with<T: Level>(values: &[T], degenerate: impl Iterator<Item = T>, factor: f32) -> Vec<T> {
    values.iter().zip(degenerate).map(|(&value, base)| T::blend(base, value, factor)).collect()
}

/// Blend with black.
pub(crate) fn brightness(image: &Image, factor: f64) -> Result<Image> {
    let pixels = map_levels!("Brightness", image, values => {
        blend_with(values, std::iter::repeat(Default::default()), factor as f32)
    })?;
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

/// Blend with the rounded mean of the luma.
pub(crate) fn contrast(image: &Image, factor: f64) -> Result<Image> {
    let channels = image.channels();
    let pixels = map_levels!("Contrast", image, values => {
        blend_with(values, std::iter::repeat(mean_luma(values, channels)), factor as f32)
    })?;
    Image::new(image.width(), image.height(), channels, pixels)
}

fn mean_luma<T: Level>(values: &[T], channels: usize) -> T {
    let as_sum = |value: T| -> u64 { u64::from(Into::<u32>::into(value)) };
    let sum: u64 = if channels == 3 {
        let (pixels, _) = values.as_chunks::<3>();
        pixels.iter().map(|&pixel| as_sum(T::luma(pixel))).sum()
    } else {
        values.iter().map(|&value| as_sum(value)).sum()
    };
    let count = (values.len() / channels.max(1)).max(1);
    T::truncate(sum as f64 / count as f64 + 0.5)
}

/// Blend with the grey picture (saturation). A grey picture stays as it is.
pub(crate) fn color(image: &Image, factor: f64) -> Result<Image> {
    let channels = image.channels();
    let pixels = map_levels!("Color", image, values => {
        if channels == 1 { values.clone() } else { saturate(values, factor as f32) }
    })?;
    Image::new(image.width(), image.height(), channels, pixels)
}

fn saturate<T: Level>(values: &[T], factor: f32) -> Vec<T> {
    let (pixels, _) = values.as_chunks::<3>();
    let mut out = Vec::with_capacity(pixels.len());
    for &pixel in pixels {
        let grey = T::luma(pixel);
        out.push(pixel.map(|value| T::blend(grey, value, factor)));
    }
    out.into_flattened()
}

/// Blend with the picture smoothed by the kernel (1 1 1; 1 5 1; 1 1 1) / 13, whose border pixels
/// stay as they are.
pub(crate) fn sharpness(image: &Image, factor: f64) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = map_levels!("Sharpness", image, values => {
        let smooth = smooth(values, width, height, channels);
        blend_with(values, smooth.into_iter(), factor as f32)
    })?;
    Image::new(width, height, channels, pixels)
}

fn smooth<T: Level>(values: &[T], width: usize, height: usize, channels: usize) -> Vec<T> {
    let mut out = values.to_vec();
    if width < 3 || height < 3 {
        return out;
    }
    let row = width * channels;
    let level = |value: &T| -> u32 { (*value).into() };
    let neighbours = values.windows(3 * row).step_by(row);
    for (window, line) in neighbours.zip(out.chunks_exact_mut(row).skip(1)) {
        let (above, rest) = window.split_at(row);
        let (here, below) = rest.split_at(row);
        // The sum of the three rows at a column, then of three columns.
        let column = |at: usize| -> u32 {
            [above, here, below].iter().filter_map(|line| line.get(at)).map(level).sum()
        };
        let inner = channels..row - channels;
        for (at, slot) in inner.clone().zip(line.iter_mut().skip(channels)) {
            let sum = column(at - channels) + column(at) + column(at + channels);
            let weighted = sum + 4 * here.get(at).map_or(0, level);
            *slot = T::from_level(i64::from((2 * weighted + 13) / 26));
        }
    }
    out
}
