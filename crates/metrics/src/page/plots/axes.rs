//! Axes on a canvas.

use super::Ink;
use super::canvas::{Anchor, Canvas};

/// A rectangle of the canvas with a scale on either side.
pub(super) struct Axes {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    /// `x` and `y` are the ranges shown; an empty range is widened.
    pub(super) fn new(corner: (f64, f64), size: (f64, f64), x: (f64, f64), y: (f64, f64)) -> Self {
        let wide = |range: (f64, f64)| {
            if range.1 > range.0 { range } else { (range.0 - 0.5, range.0 + 0.5) }
        };
        let ((left, top), (width, height)) = (corner, size);
        Self { left, top, width, height, x: wide(x), y: wide(y) }
    }

    /// A point of the scales in pixels.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        let (x, y) = (share(x, self.x), share(y, self.y));
        (self.left + x * self.width, self.top + (1.0 - y) * self.height)
    }

    /// Draws frame, grid, numbers and names.
    pub(super) fn draw(&self, canvas: &mut Canvas, x_name: &str, y_name: &str, numbers: f64) {
        let bottom = self.top + self.height;
        for value in ticks(self.x) {
            let (x, _) = self.at(value, 0.0);
            canvas.line((x, self.top), (x, bottom), Ink::Grid, 1.0);
            let label = tick_label(value, self.x);
            canvas.text((x, bottom + numbers + 4.0), Anchor::Middle, numbers, Ink::Muted, &label);
        }
        for value in ticks(self.y) {
            let (_, y) = self.at(0.0, value);
            canvas.line((self.left, y), (self.left + self.width, y), Ink::Grid, 1.0);
            let label = tick_label(value, self.y);
            let place = (self.left - 5.0, y + numbers * 0.35);
            canvas.text(place, Anchor::End, numbers, Ink::Muted, &label);
        }
        let middle = (self.left + self.width / 2.0, bottom + 2.0 * numbers + 12.0);
        canvas.text(middle, Anchor::Middle, numbers + 1.0, Ink::Text, x_name);
        let side = (self.left - 2.4 * numbers - 10.0, self.top + self.height / 2.0);
        canvas.turned(side, Anchor::Middle, numbers + 1.0, Ink::Text, y_name, -90.0);
    }
}

/// Round numbers across a range, about five.
pub(super) fn ticks(range: (f64, f64)) -> Vec<f64> {
    let step = step(range);
    let first = (range.0 / step - 1e-9).ceil();
    let count = ((range.1 / step + 1e-9).floor() - first).clamp(0.0, 20.0) as usize;
    (0..=count).map(|n| (first + n as f64) * step).collect()
}

/// 1, 2 or 5 times a power of ten.
fn step(range: (f64, f64)) -> f64 {
    let rough = ((range.1 - range.0) / 5.0).max(f64::MIN_POSITIVE);
    let power = 10.0_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// With as many digits as the step needs.
pub(super) fn tick_label(value: f64, range: (f64, f64)) -> String {
    let digits = (-step(range).log10().floor()).clamp(0.0, 8.0) as usize;
    let value = if value == 0.0 { 0.0 } else { value };
    format!("{value:.digits$}")
}
