//! Contrast-limited adaptive histogram equalisation (Zuiderveld 1994).

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::level::{Level, map_levels};
use crate::ops::blur::reflect;
use crate::parameters::check_within;
use crate::{Error, Image, Pixels, Result, Transform};

/// Entries of the tables of all tiles, of 4 bytes each: 256 MiB. That is 1024 tiles of 16 bits, or
/// every number of tiles of 8 bits.
const MOST_ENTRIES: usize = 1 << 26;

/// Equalises the histogram of each tile, limited in contrast, and interpolates between the tiles:
/// OpenCV's `createCLAHE`, value for value on 8- and 16-bit grey.
///
/// Of RGB pictures the luma (BT.601) is equalised and its change added to all three channels,
/// which is CLAHE on the Y of YCbCr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clahe {
    /// Largest count of a value, as a multiple of an even histogram's; 0 does not limit.
    pub clip_limit: f64,
    /// Tiles in a row.
    pub tiles_x: usize,
    /// Tiles in a column.
    pub tiles_y: usize,
}

impl Default for Clahe {
    /// Limit 2 and 8 × 8 tiles.
    fn default() -> Self {
        Self { clip_limit: 2.0, tiles_x: 8, tiles_y: 8 }
    }
}

impl Clahe {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the limit is negative or above 10000, or there are not 1
    /// to 256 tiles along a side.
    pub fn validate(&self) -> Result<()> {
        check_within("Clahe", "clip_limit", self.clip_limit, (0.0, 1e4))?;
        check_within("Clahe", "tiles_x", self.tiles_x as f64, (1.0, 256.0))?;
        check_within("Clahe", "tiles_y", self.tiles_y as f64, (1.0, 256.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        false
    }

    /// The tables of a picture of 16 bits have 65536 entries a tile.
    fn check_tables(&self, image: &Image) -> Result<()> {
        let levels = if matches!(image.pixels(), Pixels::U16(_)) { 1 << 16 } else { 1 << 8 };
        let most = MOST_ENTRIES / levels;
        if self.tiles_x * self.tiles_y > most {
            let reason = format!(
                "{}x{} tiles are too many for {levels} levels, at most {most} in all",
                self.tiles_x, self.tiles_y
            );
            return Err(Error::Parameter { transform: "Clahe", reason });
        }
        Ok(())
    }

    fn equalize<T: Level>(&self, values: &[T], width: usize, height: usize) -> Vec<T> {
        let (tile_w, tile_h) = self.tile_size(width, height);
        let tables = self.tables(values, (width, height), (tile_w, tile_h));
        let columns = blends(width, tile_w, self.tiles_x);
        let rows = blends(height, tile_h, self.tiles_y);
        let mut out = Vec::with_capacity(values.len());
        for (line, y) in values.chunks_exact(width).zip(&rows) {
            for (&value, x) in line.iter().zip(&columns) {
                let level: u32 = value.into();
                let at = |row: usize, column: usize| -> f32 {
                    let table = tables.get(row * self.tiles_x + column);
                    table.and_then(|table| table.get(level as usize)).copied().unwrap_or_default()
                };
                let above =
                    at(y.first, x.first) * x.first_part + at(y.first, x.second) * x.second_part;
                let below =
                    at(y.second, x.first) * x.first_part + at(y.second, x.second) * x.second_part;
                let result = above * y.first_part + below * y.second_part;
                out.push(T::truncate(f64::from(result.round_ties_even())));
            }
        }
        out
    }

    /// Sides of a tile. A picture that does not divide is continued on the right and below; a side
    /// that does divide then gets a whole tile count more, as in OpenCV.
    fn tile_size(&self, width: usize, height: usize) -> (usize, usize) {
        let (x, y) = (self.tiles_x, self.tiles_y);
        if width.is_multiple_of(x) && height.is_multiple_of(y) {
            return (width / x, height / y);
        }
        ((width + x - width % x) / x, (height + y - height % y) / y)
    }

    /// The table of each tile, row by row.
    fn tables<T: Level>(
        &self,
        values: &[T],
        (width, height): (usize, usize),
        (tile_w, tile_h): (usize, usize),
    ) -> Vec<Vec<f32>> {
        let area = tile_w * tile_h;
        let levels = T::MAX as usize + 1;
        let limit = (self.clip_limit * area as f64 / levels as f64) as u64;
        let limit = (self.clip_limit > 0.0).then_some(limit.max(1));
        let tile = |index: usize| {
            let (row, column) = (index / self.tiles_x, index % self.tiles_x);
            let mut counts = vec![0u64; levels];
            for y in row * tile_h..(row + 1) * tile_h {
                let line = reflect(y as i64, height) * width;
                for x in column * tile_w..(column + 1) * tile_w {
                    let value = values.get(line + reflect(x as i64, width)).copied();
                    let level: u32 = value.unwrap_or_default().into();
                    if let Some(count) = counts.get_mut(level as usize) {
                        *count += 1;
                    }
                }
            }
            if let Some(limit) = limit {
                clip(&mut counts, limit);
            }
            cumulative::<T>(&counts, area)
        };
        (0..self.tiles_x * self.tiles_y).map(tile).collect()
    }
}

/// Cuts counts to the limit and deals out what was cut off evenly.
fn clip(counts: &mut [u64], limit: u64) {
    let mut clipped = 0;
    for count in counts.iter_mut() {
        clipped += count.saturating_sub(limit);
        *count = (*count).min(limit);
    }
    let levels = counts.len() as u64;
    let (each, rest) = (clipped / levels, clipped % levels);
    counts.iter_mut().for_each(|count| *count += each);
    if let Some(step) = levels.checked_div(rest) {
        let every = counts.iter_mut().step_by(step.max(1) as usize).take(rest as usize);
        every.for_each(|count| *count += 1);
    }
}

fn cumulative<T: Level>(counts: &[u64], area: usize) -> Vec<f32> {
    let scale = T::MAX as f32 / area as f32;
    let mut sum = 0u64;
    counts
        .iter()
        .map(|count| {
            sum += count;
            (sum as f32 * scale).round_ties_even().min(T::MAX as f32)
        })
        .collect()
}

/// The two tiles a position lies between, and their parts.
struct Blend {
    first: usize,
    second: usize,
    first_part: f32,
    second_part: f32,
}

fn blends(side: usize, tile: usize, tiles: usize) -> Vec<Blend> {
    let inverse = 1.0 / tile as f32;
    let blend = |at: usize| {
        let place = at as f32 * inverse - 0.5;
        let floor = place.floor();
        let second_part = place - floor;
        let first = floor as i64;
        Blend {
            first: first.max(0) as usize,
            second: ((first + 1).max(0) as usize).min(tiles - 1),
            first_part: 1.0 - second_part,
            second_part,
        }
    };
    (0..side).map(blend).collect()
}

/// Adds the change of the luma to all channels.
fn shift_luma<T: Level>(values: &[T], rule: impl Fn(&[T]) -> Vec<T>) -> Vec<T> {
    let (pixels, _) = values.as_chunks::<3>();
    let luma: Vec<T> = pixels.iter().map(|&pixel| T::luma(pixel)).collect();
    let changed = rule(&luma);
    let level = |value: T| i64::from(Into::<u32>::into(value));
    let shifted = pixels.iter().zip(luma.iter().zip(&changed)).map(|(pixel, (&old, &new))| {
        pixel.map(|value| T::from_level(level(value) + level(new) - level(old)))
    });
    shifted.collect::<Vec<_>>().into_flattened()
}

impl Transform for Clahe {
    fn apply(&self, image: Image, _rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        self.check_tables(&image)?;
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        let pixels = map_levels!("Clahe", &image, values => {
            if channels == 1 {
                self.equalize(values, width, height)
            } else {
                shift_luma(values, |luma| self.equalize(luma, width, height))
            }
        })?;
        Image::new(width, height, channels, pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_do_not_fit_into_memory_are_refused() {
        let run = |tiles: usize, pixels: Pixels| {
            let image = Image::new(64, 64, 1, pixels).unwrap();
            let clahe = Clahe { tiles_x: tiles, tiles_y: tiles, ..Clahe::default() };
            clahe.apply(image, &mut vit_random::Streams::new(0).stream("", 0, 0))
        };
        let error = run(256, Pixels::U16(vec![9; 64 * 64])).unwrap_err().to_string();
        assert!(error.contains("256x256 tiles") && error.contains("1024"), "{error}");
        assert!(run(33, Pixels::U16(vec![9; 64 * 64])).is_err());
        assert!(run(8, Pixels::U16(vec![9; 64 * 64])).is_ok());
        assert!(run(256, Pixels::U8(vec![9; 64 * 64])).is_ok());
    }
}
