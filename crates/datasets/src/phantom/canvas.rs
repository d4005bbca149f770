//! The picture while it is painted: real values, one for each channel, about 0 to 1.

use vit_random::Stream;
use vit_random::rand::{Rng, RngCore};

use super::findings::Mark;

/// Colour of a pixel; grey pictures use the first entry.
pub(super) type Colour = [f32; 3];

/// 0 at `from`, 1 at `to` (which may be less than `from`), smooth between.
pub(super) fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Bell of height 1 at 0 that falls to 0.37 at `width`.
pub(super) fn bell(distance: f32, width: f32) -> f32 {
    let t = distance / width;
    // Beyond three widths it is less than a step of 8 bits, and most pixels are.
    if t.abs() < 3.0 { (-t * t).exp() } else { 0.0 }
}

/// Length of a vector; `hypot` guards against overflow that cannot happen here and is slow.
pub(super) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// A uniform draw.
pub(super) fn draw(rng: &mut Stream, from: f32, to: f32) -> f32 {
    from + (to - from) * rng.random::<f32>()
}

/// How pixels map to the anatomy's coordinates, which span -1 to 1: small turns, shifts and zooms.
pub(super) struct View {
    pub(super) size: usize,
    cos: f32,
    sin: f32,
    shift: [f32; 2],
}

impl View {
    pub(super) fn new(size: usize, rng: &mut Stream) -> Self {
        let (angle, zoom) = (draw(rng, -0.07, 0.07), draw(rng, 0.95, 1.07));
        let shift = [draw(rng, -0.05, 0.05), draw(rng, -0.05, 0.05)];
        Self { size, cos: angle.cos() * zoom, sin: angle.sin() * zoom, shift }
    }

    /// Side of a pixel.
    pub(super) fn pixel(&self) -> f32 {
        2.0 / self.size as f32
    }

    /// Frame coordinates of a pixel's centre, -1 to 1.
    fn frame(&self, index: usize) -> (f32, f32) {
        let at = |i: usize| (i as f32 + 0.5) * self.pixel() - 1.0;
        (at(index % self.size), at(index / self.size))
    }

    /// Anatomy coordinates of a pixel's centre.
    fn anatomy(&self, index: usize) -> (f32, f32) {
        let (x, y) = self.frame(index);
        let [dx, dy] = self.shift;
        (self.cos * x - self.sin * y + dx, self.sin * x + self.cos * y + dy)
    }
}

/// Smooth random values between the points of a coarse grid over -1.2 to 1.2.
pub(super) struct Clouds {
    side: usize,
    values: Vec<f32>,
}

impl Clouds {
    pub(super) fn new(side: usize, rng: &mut Stream) -> Self {
        let side = side.max(2);
        Self { side, values: (0..side * side).map(|_| draw(rng, -1.0, 1.0)).collect() }
    }

    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let scale = (self.side - 1) as f32 / 2.4;
        let locate = |v: f32| ((v + 1.2) * scale).clamp(0.0, (self.side - 1) as f32 - 1e-3);
        let (x, y) = (locate(x), locate(y));
        let (i, j) = (x as usize, y as usize);
        let (fx, fy) = (smoothstep(0.0, 1.0, x.fract()), smoothstep(0.0, 1.0, y.fract()));
        let value = |i: usize, j: usize| self.values.get(j * self.side + i).copied().unwrap_or(0.0);
        let top = value(i, j) * (1.0 - fx) + value(i + 1, j) * fx;
        let bottom = value(i, j + 1) * (1.0 - fx) + value(i + 1, j + 1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

/// Pixels with the weight of each: findings show, and are made up for, where the weight is.
pub(super) struct Canvas {
    size: usize,
    channels: usize,
    colours: Vec<Colour>,
    weights: Vec<f32>,
    noise: f32,
}

impl Canvas {
    /// Paints each pixel with `paint(anatomy x, anatomy y, frame x, frame y) -> (colour, weight)`.
    pub(super) fn paint(
        view: &View,
        channels: usize,
        mut paint: impl FnMut((f32, f32), (f32, f32)) -> (Colour, f32),
    ) -> Self {
        let pixels = (0..view.size * view.size).map(|i| paint(view.anatomy(i), view.frame(i)));
        let (colours, weights) = pixels.unzip();
        Self { size: view.size, channels, colours, weights, noise: 0.0 }
    }

    /// What the machine does to all its pictures: gain, offset, gamma, colour balance, shading,
    /// noise.
    pub(super) fn apply_site(&mut self, rng: &mut Stream) {
        let (gain, offset) = (draw(rng, 0.85, 1.0), draw(rng, 0.0, 0.05));
        let gamma = draw(rng, 0.85, 1.2);
        let balance = [draw(rng, 0.96, 1.04), draw(rng, 0.93, 1.07), draw(rng, 0.88, 1.12)];
        let (slope_x, slope_y) = (draw(rng, -0.06, 0.06), draw(rng, -0.06, 0.06));
        self.noise = draw(rng, 0.012, 0.028);
        let scale = 2.0 / self.size as f32;
        for (index, colour) in self.colours.iter_mut().enumerate() {
            let x = (index % self.size) as f32 * scale - 1.0;
            let y = (index / self.size) as f32 * scale - 1.0;
            let shading = gain * (1.0 + slope_x * x + slope_y * y);
            for (value, balance) in colour.iter_mut().zip(balance).take(self.channels) {
                let balance = if self.channels == 1 { 1.0 } else { balance };
                *value = value.clamp(0.0, 1.0).powf(gamma) * shading * balance + offset;
            }
        }
    }

    /// Adds the findings and takes the same sum away over the whole weighted region, so that the
    /// mean of every channel stays what it was.
    pub(super) fn add_marks(&mut self, view: &View, marks: &[Mark], contrast: f32) {
        if marks.is_empty() {
            return;
        }
        let mut total = [0.0f32; 3];
        for (index, (colour, &weight)) in self.colours.iter_mut().zip(&self.weights).enumerate() {
            if weight <= 0.0 {
                continue;
            }
            let (x, y) = view.anatomy(index);
            for mark in marks {
                let added = mark.at(x, y);
                for ((value, total), added) in colour.iter_mut().zip(&mut total).zip(added) {
                    // Nothing is lost to clipping later, or the means would tell.
                    let change = (added * weight * contrast).clamp(0.02 - *value, 0.98 - *value);
                    *value += change;
                    *total += change;
                }
            }
        }
        let weight: f32 = self.weights.iter().sum();
        if weight > 0.0 {
            for (colour, &own) in self.colours.iter_mut().zip(&self.weights) {
                for (value, total) in colour.iter_mut().zip(total) {
                    *value -= total * own / weight;
                }
            }
        }
    }

    /// Adds noise and rounds to 8 bits.
    pub(super) fn finish(self, rng: &mut Stream) -> (usize, Vec<u8>) {
        let mut pixels = Vec::with_capacity(self.colours.len() * self.channels);
        for colour in &self.colours {
            for value in colour.iter().take(self.channels) {
                let noisy = value + self.noise * normal(rng);
                // `as` clamps to 0..=255.
                pixels.push((noisy * 255.0 + 0.5) as u8);
            }
        }
        (self.channels, pixels)
    }
}

/// About normal with mean 0 and variance 1: the sum of four bytes, which is much faster than exact.
fn normal(rng: &mut Stream) -> f32 {
    let sum: u16 = rng.next_u32().to_le_bytes().iter().map(|&byte| u16::from(byte)).sum();
    (f32::from(sum) - 510.0) / 147.8
}
