//! Integer pixel values, 8 or 16 bits, behind one trait, so that every operator is written once.

use crate::{Error, Image, Result};

/// An integer pixel value.
pub(crate) trait Level: Copy + Default + Ord + Send + Sync + Into<u32> + Into<f64> {
    /// The largest value: 255 or 65535.
    const MAX: u32;
    /// What one step of the 8-bit scale is: 1 or 257.
    const STEP: u32;

    /// Clamps to the range of the type.
    fn from_level(value: i64) -> Self;

    /// Clamps and cuts off the fraction, as Pillow does where it blends or interpolates.
    fn truncate(value: f64) -> Self;

    /// Clamps and rounds half up.
    fn round(value: f64) -> Self {
        Self::truncate(value + 0.5)
    }

    /// `a + alpha (b - a)`, cut off: Pillow's `Image.blend`, which computes in single precision.
    fn blend(a: Self, b: Self, alpha: f32) -> Self;

    /// The luma of ITU-R BT.601 as Pillow's `convert("L")`: the weights add up to 65536, so that
    /// 16-bit values just fit 32 bits.
    fn luma([r, g, b]: [Self; 3]) -> Self {
        let (r, g, b): (u32, u32, u32) = (r.into(), g.into(), b.into());
        Self::from_level(i64::from((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16))
    }
}

impl Level for u8 {
    const MAX: u32 = 255;
    const STEP: u32 = 1;

    fn from_level(value: i64) -> Self {
        value.clamp(0, 255) as u8
    }

    fn truncate(value: f64) -> Self {
        value as u8
    }

    fn blend(a: Self, b: Self, alpha: f32) -> Self {
        let (a, b) = (f32::from(a), f32::from(b));
        (a + alpha * (b - a)) as u8
    }
}

impl Level for u16 {
    const MAX: u32 = 65535;
    const STEP: u32 = 257;

    fn from_level(value: i64) -> Self {
        value.clamp(0, 65535) as u16
    }

    fn truncate(value: f64) -> Self {
        value as u16
    }

    fn blend(a: Self, b: Self, alpha: f32) -> Self {
        let (a, b) = (f64::from(a), f64::from(b));
        (a + f64::from(alpha) * (b - a)) as u16
    }
}

/// The refusal of real-valued pictures by operators of integers.
pub(crate) fn not_integer(transform: &'static str, image: &Image) -> Error {
    Error::Kind { transform, expected: "a u8 or u16 picture".to_owned(), got: image.describe() }
}

/// Applies one expression to the values of an 8- or 16-bit picture; real values are refused.
macro_rules! map_levels {
    ($transform:expr, $image:expr, $values:ident => $result:expr) => {
        match $image.pixels() {
            $crate::Pixels::U8($values) => Ok($crate::Pixels::U8($result)),
            $crate::Pixels::U16($values) => Ok($crate::Pixels::U16($result)),
            $crate::Pixels::F32(_) => Err($crate::level::not_integer($transform, $image)),
        }
    };
}
pub(crate) use map_levels;

/// Number of pixels with each value, per channel.
pub(crate) fn histograms<T: Level>(values: &[T], channels: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0u64; T::MAX as usize + 1]; channels];
    for pixel in values.chunks_exact(channels) {
        for (count, &value) in counts.iter_mut().zip(pixel) {
            let value: u32 = value.into();
            if let Some(slot) = count.get_mut(value as usize) {
                *slot += 1;
            }
        }
    }
    counts
}

/// Replaces every value by that of its channel's table (one table serves all channels).
pub(crate) fn look_up<T: Level>(values: &[T], channels: usize, tables: &[Vec<T>]) -> Vec<T> {
    let get = |table: &Vec<T>, value: T| {
        let at: u32 = value.into();
        table.get(at as usize).copied().unwrap_or(value)
    };
    match tables {
        [table] => values.iter().map(|&value| get(table, value)).collect(),
        _ => {
            let mut out = Vec::with_capacity(values.len());
            for pixel in values.chunks_exact(channels) {
                out.extend(pixel.iter().zip(tables).map(|(&value, table)| get(table, value)));
            }
            out
        }
    }
}

/// A table made by a rule from the value (as integer) to the new value (clamped).
pub(crate) fn table<T: Level>(rule: impl Fn(u32) -> i64) -> Vec<T> {
    (0..=T::MAX).map(|value| T::from_level(rule(value))).collect()
}

/// Replaces all values by one rule.
pub(crate) fn map_rule(
    transform: &'static str,
    image: &Image,
    rule: impl Fn(u32, u32) -> i64,
) -> Result<Image> {
    let channels = image.channels();
    let pixels = map_levels!(transform, image, values => {
        let step = step_of(values);
        look_up(values, channels, &[table(|value| rule(value, step))])
    })?;
    Image::new(image.width(), image.height(), channels, pixels)
}

fn step_of<T: Level>(_values: &[T]) -> u32 {
    T::STEP
}
