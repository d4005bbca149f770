//! A canvas in pixels, and axes on it.

use std::fmt::Write;

use super::{Ink, Theme};
use crate::page::text::escape;

/// Which end of a text its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Elements of a picture.
pub(super) struct Canvas {
    theme: Theme,
    title: String,
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub(super) fn new(theme: Theme, title: &str, width: f64, height: f64) -> Self {
        Self { theme, title: title.to_owned(), width, height, body: String::new() }
    }

    /// Adds an element. Writing to a string cannot fail.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        let colour = self.theme.colour(ink);
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" \
             style=\"stroke:{colour};stroke-width:{width}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink) {
        let colour = self.theme.colour(ink);
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" \
             style=\"stroke:{colour};stroke-width:1;stroke-dasharray:4 4\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], ink: Ink, width: f64) {
        let (colour, points) = (self.theme.colour(ink), joined(points));
        self.add(format_args!(
            "<polyline points=\"{points}\" \
             style=\"fill:none;stroke:{colour};stroke-width:{width};stroke-linejoin:round\"/>"
        ));
    }

    pub(super) fn area(&mut self, points: &[(f64, f64)], ink: Ink, opacity: f64) {
        let (colour, points) = (self.theme.colour(ink), joined(points));
        self.add(format_args!(
            "<polygon points=\"{points}\" style=\"fill:{colour};fill-opacity:{opacity};stroke:none\"/>"
        ));
    }

    pub(super) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), ink: Ink, opacity: f64) {
        let colour = self.theme.colour(ink);
        self.add(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             style=\"fill:{colour};fill-opacity:{opacity:.3}\"/>",
            corner.0, corner.1, size.0, size.1
        ));
    }

    pub(super) fn dot(&mut self, at: (f64, f64), radius: f64, ink: Ink) {
        let colour = self.theme.colour(ink);
        self.add(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" style=\"fill:{colour}\"/>",
            at.0, at.1
        ));
    }

    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, size: f64, ink: Ink, text: &str) {
        self.turned(at, anchor, size, ink, text, 0.0);
    }

    pub(super) fn turned(
        &mut self,
        at: (f64, f64),
        anchor: Anchor,
        size: f64,
        ink: Ink,
        text: &str,
        degrees: f64,
    ) {
        let (colour, text) = (self.theme.colour(ink), escape(text));
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = at;
        let turn = if degrees == 0.0 {
            String::new()
        } else {
            format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"")
        };
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{turn} \
             style=\"font-size:{size}px;fill:{colour}\">{text}</text>"
        ));
    }

    /// Text that lines behind it do not cross.
    pub(super) fn text_over(&mut self, at: (f64, f64), anchor: Anchor, size: f64, text: &str) {
        let ground = self.theme.colour(Ink::Ground);
        self.add(format_args!(
            "<g style=\"paint-order:stroke;stroke:{ground};stroke-width:4px;stroke-linejoin:round\">"
        ));
        self.text(at, anchor, size, Ink::Text, text);
        self.add(format_args!("</g>"));
    }

    /// The picture. On paper it has a white ground.
    pub(super) fn finish(self) -> String {
        let Self { theme, title, width, height, body } = self;
        let (title, ground) = (
            escape(&title),
            match theme {
                Theme::Page => "",
                Theme::Paper => "<rect width=\"100%\" height=\"100%\" style=\"fill:#ffffff\"/>",
            },
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\" \
             style=\"font-family:system-ui,Helvetica,Arial,sans-serif\">{ground}{body}</svg>"
        )
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (x, y) in points {
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text.truncate(text.trim_end().len());
    text
}

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
