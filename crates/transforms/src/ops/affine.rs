//! Affine maps with Pillow's kernels, which interpolate but do not antialias.

use crate::{Error, Filter, Image, Pixels, Result};

/// `[a, b, c, d, e, f]`: the output pixel at (x, y) shows the input at
/// (a x + b y + c, d x + e y + f); pixel centres are at halves.
pub(crate) type Matrix = [f64; 6];

/// Applies an affine map; the size stays, what lies outside is filled. `fill` has one value per
/// channel on the 8-bit scale.
///
/// 8- and 16-bit pictures come out as from Pillow's `Image.transform(AFFINE)`: bilinear and
/// bicubic (cubic convolution with a = -1) are computed in double precision and cut off.
pub(crate) fn affine(
    transform: &'static str,
    image: &Image,
    matrix: &Matrix,
    filter: Filter,
    fill: &[u8],
) -> Result<Image> {
    check_filter(transform, filter)?;
    let pixels = match image.pixels() {
        Pixels::U8(values) => Pixels::U8(map(image, values, matrix, filter, fill)),
        Pixels::U16(values) => {
            let fill: Vec<u16> = fill.iter().map(|&value| u16::from(value) * 257).collect();
            Pixels::U16(map(image, values, matrix, filter, &fill))
        }
        Pixels::F32(values) => {
            let fill: Vec<f32> = fill.iter().map(|&value| f32::from(value) / 255.0).collect();
            Pixels::F32(map(image, values, matrix, filter, &fill))
        }
    };
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

/// The kernels that exist without antialiasing.
pub(crate) fn check_filter(transform: &'static str, filter: Filter) -> Result<()> {
    match filter {
        Filter::Nearest | Filter::Bilinear | Filter::Bicubic => Ok(()),
        _ => Err(Error::Parameter {
            transform,
            reason: format!("the filter is {filter:?}, it must be Nearest, Bilinear or Bicubic"),
        }),
    }
}

/// The matrix of `Image.rotate(angle)` (degrees, counter-clockwise, about the centre).
pub(crate) fn rotation(width: usize, height: usize, angle: f64) -> Matrix {
    let (center_x, center_y) = (width as f64 / 2.0, height as f64 / 2.0);
    let radians = -angle.rem_euclid(360.0).to_radians();
    // The rounding makes multiples of 90 degrees exact.
    let (sin, cos) = (round_decimals(radians.sin()), round_decimals(radians.cos()));
    let offset_x = cos * -center_x + sin * -center_y + center_x;
    let offset_y = -sin * -center_x + cos * -center_y + center_y;
    [cos, sin, offset_x, -sin, cos, offset_y]
}

/// Python's `round(value, 15)`: the decimal is rounded correctly, as formatting does.
fn round_decimals(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// A value that can be interpolated.
pub(crate) trait Sample: Copy {
    fn real(self) -> f64;

    /// Clamps to the range of integers and cuts off the fraction.
    fn cut(value: f64) -> Self;

    /// Clamps to the range of integers and rounds half up.
    fn near(value: f64) -> Self;
}

impl Sample for u8 {
    fn real(self) -> f64 {
        self.into()
    }
    fn cut(value: f64) -> Self {
        value as u8
    }
    fn near(value: f64) -> Self {
        (value + 0.5) as u8
    }
}

impl Sample for u16 {
    fn real(self) -> f64 {
        self.into()
    }
    fn cut(value: f64) -> Self {
        value as u16
    }
    fn near(value: f64) -> Self {
        (value + 0.5) as u16
    }
}

impl Sample for f32 {
    fn real(self) -> f64 {
        self.into()
    }
    fn cut(value: f64) -> Self {
        value as f32
    }
    fn near(value: f64) -> Self {
        value as f32
    }
}

fn map<T: Sample>(
    image: &Image,
    values: &[T],
    matrix: &Matrix,
    filter: Filter,
    fill: &[T],
) -> Vec<T> {
    if image.channels() == 1 {
        map_pixels::<T, 1>(image, values, matrix, filter, fill).into_flattened()
    } else {
        map_pixels::<T, 3>(image, values, matrix, filter, fill).into_flattened()
    }
}

fn map_pixels<T: Sample, const C: usize>(
    image: &Image,
    values: &[T],
    matrix: &Matrix,
    filter: Filter,
    fill: &[T],
) -> Vec<[T; C]> {
    let (pixels, _) = values.as_chunks::<C>();
    let source = Source { pixels, width: image.width() as i64, height: image.height() as i64 };
    // Callers bring one value per channel.
    let first = source.pixels.first().copied();
    let Some(fill) = fill.first_chunk::<C>().copied().or(first) else { return Vec::new() };
    let (width, height) = (image.width(), image.height());
    match filter {
        Filter::Nearest if matrix[1] == 0.0 && matrix[3] == 0.0 => source.scaled(matrix, &fill),
        Filter::Nearest => source.nearest(matrix, &fill),
        _ => {
            let mut out = Vec::with_capacity(width * height);
            for y in 0..height {
                for x in 0..width {
                    let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                    let [a, b, c, d, e, f] = *matrix;
                    let (x, y) = (a * x + b * y + c, d * x + e * y + f);
                    let pixel = match filter {
                        Filter::Bilinear => source.bilinear(x, y),
                        _ => source.bicubic(x, y),
                    };
                    out.push(pixel.unwrap_or(fill));
                }
            }
            out
        }
    }
}

struct Source<'a, T, const C: usize> {
    pixels: &'a [[T; C]],
    width: i64,
    height: i64,
}

impl<T: Sample, const C: usize> Source<'_, T, C> {
    fn pixel(&self, x: i64, y: i64) -> Option<[T; C]> {
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside.then(|| self.pixels.get((y * self.width + x) as usize).copied()).flatten()
    }

    /// Nearest pixel in 16.16 fixed point. (Beyond 32768 pixels Pillow changes to floating point;
    /// this keeps fixed point, wider.)
    fn nearest(&self, matrix: &Matrix, fill: &[T; C]) -> Vec<[T; C]> {
        let [a, b, c, d, e, f] = *matrix;
        let mut row = (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
        let (along_x, along_y) = ((fixed(a), fixed(d)), (fixed(b), fixed(e)));
        let mut out = Vec::with_capacity(self.pixels.len());
        for _ in 0..self.height {
            let (mut x, mut y) = row;
            for _ in 0..self.width {
                out.push(self.pixel(x >> 16, y >> 16).unwrap_or(*fill));
                x += along_x.0;
                y += along_x.1;
            }
            row = (row.0 + along_y.0, row.1 + along_y.1);
        }
        out
    }

    /// Nearest pixel of a map that keeps the axes: positions are stepped in floating point.
    fn scaled(&self, matrix: &Matrix, fill: &[T; C]) -> Vec<[T; C]> {
        let [a, _, c, _, e, f] = *matrix;
        let columns = steps(c + a * 0.5, a, self.width);
        let mut out = Vec::with_capacity(self.pixels.len());
        for y in steps(f + e * 0.5, e, self.height) {
            out.extend(columns.iter().map(|&x| self.pixel(x, y).unwrap_or(*fill)));
        }
        out
    }

    /// Whole part and fraction of the position between pixel centres; `None` outside.
    fn place(&self, x: f64, y: f64) -> Option<(i64, i64, f64, f64)> {
        let inside = x >= 0.0 && x < self.width as f64 && y >= 0.0 && y < self.height as f64;
        if !inside {
            return None;
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (column, row) = (x.floor(), y.floor());
        Some((column as i64, row as i64, x - column, y - row))
    }

    /// `N` neighbours of a row, the border pixel repeated.
    fn neighbours<const N: usize>(&self, first: i64, y: i64) -> [[T; C]; N] {
        let row = y.clamp(0, self.height - 1) * self.width;
        let at = |x: i64| (row + x.clamp(0, self.width - 1)) as usize;
        if first >= 0
            && first + (N as i64) <= self.width
            && let Some(window) = self.pixels.get(at(first)..).and_then(|rest| rest.first_chunk())
        {
            return *window;
        }
        // In range by the clamping; the first pixel always exists.
        std::array::from_fn(|i| {
            self.pixels.get(at(first + i as i64)).copied().unwrap_or(self.pixels[0])
        })
    }

    fn bilinear(&self, x: f64, y: f64) -> Option<[T; C]> {
        let (column, row, dx, dy) = self.place(x, y)?;
        let line = |y: i64| {
            let [left, right] = self.neighbours::<2>(column, y);
            std::array::from_fn::<f64, C, _>(|c| mix(left[c].real(), right[c].real(), dx))
        };
        let (above, below) = (line(row), line(row + 1));
        Some(std::array::from_fn(|c| T::cut(mix(above[c], below[c], dy))))
    }

    fn bicubic(&self, x: f64, y: f64) -> Option<[T; C]> {
        let (column, row, dx, dy) = self.place(x, y)?;
        let lines: [[f64; C]; 4] = std::array::from_fn(|i| {
            let pixels = self.neighbours::<4>(column - 1, row - 1 + i as i64);
            std::array::from_fn(|c| cubic(pixels.map(|pixel| pixel[c].real()), dx))
        });
        Some(std::array::from_fn(|c| T::cut(cubic(lines.map(|line| line[c]), dy))))
    }
}

fn mix(a: f64, b: f64, part: f64) -> f64 {
    a + (b - a) * part
}

/// Cubic convolution with a = -1 through four values, `part` of the way from the second to the
/// third.
fn cubic([v1, v2, v3, v4]: [f64; 4], part: f64) -> f64 {
    let p2 = -v1 + v3;
    let p3 = 2.0 * (v1 - v2) + v3 - v4;
    let p4 = -v1 + v2 - v3 + v4;
    v2 + part * (p2 + part * (p3 + part * p4))
}

fn fixed(value: f64) -> i64 {
    (value * 65536.0 + 0.5).floor() as i64
}

fn steps(start: f64, step: f64, count: i64) -> Vec<i64> {
    let mut position = start;
    (0..count)
        .map(|_| {
            let at = if position < 0.0 { -1 } else { position as i64 };
            position += step;
            at
        })
        .collect()
}

/// Moves every pixel: the output at (x, y) shows the input at (x + dx, y + dy), bilinear, rounded,
/// the border pixel continued outside. The fields have one value per pixel.
pub(crate) fn warp(image: &Image, dx: &[f64], dy: &[f64]) -> Result<Image> {
    let pixels = match image.pixels() {
        Pixels::U8(values) => Pixels::U8(move_all(image, values, dx, dy)),
        Pixels::U16(values) => Pixels::U16(move_all(image, values, dx, dy)),
        Pixels::F32(values) => Pixels::F32(move_all(image, values, dx, dy)),
    };
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

fn move_all<T: Sample>(image: &Image, values: &[T], dx: &[f64], dy: &[f64]) -> Vec<T> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let mut out = Vec::with_capacity(values.len());
    for (at, (dx, dy)) in dx.iter().zip(dy).enumerate() {
        let x = ((at % width) as f64 + dx).clamp(0.0, (width - 1) as f64);
        let y = ((at / width) as f64 + dy).clamp(0.0, (height - 1) as f64);
        let (left, top) = (x.floor() as usize, y.floor() as usize);
        let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
        let (part_x, part_y) = (x - left as f64, y - top as f64);
        for c in 0..channels {
            let value = |x: usize, y: usize| {
                values.get((y * width + x) * channels + c).map_or(0.0, |value| value.real())
            };
            let above = mix(value(left, top), value(right, top), part_x);
            let below = mix(value(left, bottom), value(right, bottom), part_x);
            out.push(T::near(mix(above, below, part_y)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_shift_moves_pixels_and_half_a_pixel_mixes_them() {
        let image = Image::new(4, 1, 1, Pixels::U8(vec![10, 20, 40, 80])).unwrap();
        let run = |dx: f64| warp(&image, &[dx; 4], &[0.0; 4]).unwrap().into_pixels();
        assert_eq!(run(1.0), Pixels::U8(vec![20, 40, 80, 80]));
        assert_eq!(run(-0.5), Pixels::U8(vec![10, 15, 30, 60]));
    }
}
