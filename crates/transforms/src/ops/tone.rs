//! Operators of look-up tables, as `PIL.ImageOps`.

use crate::level::{Level, histograms, look_up, map_levels, map_rule, table};
use crate::{Image, Result};

/// `255 - v` (65535 - v).
pub(crate) fn invert(image: &Image) -> Result<Image> {
    map_rule("Invert", image, |value, step| 255 * i64::from(step) - i64::from(value))
}

/// Values at or above the threshold (0 to 256 on the 8-bit scale) are inverted.
pub(crate) fn solarize(image: &Image, threshold: u32) -> Result<Image> {
    map_rule("Solarize", image, |value, step| {
        if value < threshold * step {
            i64::from(value)
        } else {
            255 * i64::from(step) - i64::from(value)
        }
    })
}

/// Adds to values below the threshold (both on the 8-bit scale).
pub(crate) fn solarize_add(image: &Image, add: u32, threshold: u32) -> Result<Image> {
    map_rule("SolarizeAdd", image, |value, step| {
        if value < threshold * step {
            i64::from(value) + i64::from(add * step)
        } else {
            i64::from(value)
        }
    })
}

/// Keeps this many of the highest bits; 8 and more (of 8-bit pictures) change nothing, as in timm.
pub(crate) fn posterize(image: &Image, bits: u32) -> Result<Image> {
    if bits >= 8 {
        return Ok(image.clone());
    }
    map_rule("Posterize", image, |value, step| {
        let width = if step == 1 { 8 } else { 16 };
        i64::from(value & !((1 << (width - bits)) - 1))
    })
}

/// Stretches each channel so that its smallest value becomes 0 and its largest 255 (65535).
pub(crate) fn auto_contrast(image: &Image) -> Result<Image> {
    per_channel("AutoContrast", image, &Stretch)
}

/// Spreads each channel's values evenly: `ImageOps.equalize`.
///
/// 16-bit pictures follow the same formula with a real step width; the integer one would be 0 for
/// pictures of fewer than 65535 pixels.
pub(crate) fn equalize(image: &Image) -> Result<Image> {
    per_channel("Equalize", image, &Spread)
}

/// Makes a table from the histogram of a channel; `None` leaves the channel as it is.
trait TableRule {
    fn table<T: Level>(&self, counts: &[u64]) -> Option<Vec<T>>;
}

fn per_channel(transform: &'static str, image: &Image, rule: &impl TableRule) -> Result<Image> {
    let channels = image.channels();
    let pixels = map_levels!(transform, image, values => {
        let tables: Vec<_> = histograms(values, channels)
            .iter()
            .map(|counts| rule.table(counts).unwrap_or_else(|| table(i64::from)))
            .collect();
        look_up(values, channels, &tables)
    })?;
    Image::new(image.width(), image.height(), channels, pixels)
}

struct Stretch;

impl TableRule for Stretch {
    fn table<T: Level>(&self, counts: &[u64]) -> Option<Vec<T>> {
        let low = counts.iter().position(|&count| count > 0)?;
        let high = counts.iter().rposition(|&count| count > 0)?;
        if high <= low {
            return None;
        }
        let scale = f64::from(T::MAX) / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some((0..=T::MAX).map(|value| T::truncate(f64::from(value) * scale + offset)).collect())
    }
}

struct Spread;

impl TableRule for Spread {
    fn table<T: Level>(&self, counts: &[u64]) -> Option<Vec<T>> {
        let total: u64 = counts.iter().sum();
        let last = counts.iter().rev().copied().find(|&count| count > 0)?;
        let spread = total - last;
        if T::STEP == 1 {
            let step = spread / u64::from(T::MAX);
            if step == 0 {
                return None;
            }
            return Some(running(counts, step / 2, |sum| T::from_level((sum / step) as i64)));
        }
        if spread == 0 {
            return None;
        }
        let step = spread as f64 / f64::from(T::MAX);
        Some(running(counts, 0, |sum| T::truncate(sum as f64 / step + 0.5)))
    }
}

/// The rule applied to the number of pixels below each value, plus a start.
fn running<T>(counts: &[u64], start: u64, rule: impl Fn(u64) -> T) -> Vec<T> {
    counts
        .iter()
        .scan(start, |sum, &count| {
            let before = *sum;
            *sum += count;
            Some(rule(before))
        })
        .collect()
}
