//! A canvas in pixels: what is drawn is kept as shapes, so that one definition of a plot serves every
//! kind of file.

use super::Ink;

/// Which end of a text its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A place, in pixels from the upper left corner.
pub(super) type Point = (f64, f64);

/// What can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Line { from: Point, to: Point, ink: Ink, width: f64, dashed: bool },
    Path { points: Vec<Point>, ink: Ink, width: f64 },
    Area { points: Vec<Point>, ink: Ink, opacity: f64 },
    Rect { corner: Point, size: Point, ink: Ink, opacity: f64 },
    Dot { at: Point, radius: f64, ink: Ink },
    Text(Text),
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    pub(super) size: f64,
    pub(super) ink: Ink,
    pub(super) text: String,
    /// Turned clockwise around its place.
    pub(super) degrees: f64,
    /// With a rim of the ground's colour, so that lines behind it do not cross it.
    pub(super) rim: bool,
}

/// Width of a text's rim, both sides together.
pub(super) const RIM: f64 = 4.0;
/// Lengths of dashes and of the gaps between them.
pub(super) const DASH: f64 = 4.0;

/// A picture that can be written as [`svg`](Self::svg) or, with the feature `png`, as `png`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::page) struct Canvas {
    pub(super) title: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

impl Canvas {
    pub(super) fn new(title: &str, width: f64, height: f64) -> Self {
        Self { title: title.to_owned(), width, height, shapes: Vec::new() }
    }

    pub(super) fn line(&mut self, from: Point, to: Point, ink: Ink, width: f64) {
        self.shapes.push(Shape::Line { from, to, ink, width, dashed: false });
    }

    pub(super) fn dashed(&mut self, from: Point, to: Point, ink: Ink) {
        self.shapes.push(Shape::Line { from, to, ink, width: 1.0, dashed: true });
    }

    pub(super) fn path(&mut self, points: Vec<Point>, ink: Ink, width: f64) {
        self.shapes.push(Shape::Path { points, ink, width });
    }

    pub(super) fn area(&mut self, points: Vec<Point>, ink: Ink, opacity: f64) {
        self.shapes.push(Shape::Area { points, ink, opacity });
    }

    pub(super) fn rect(&mut self, corner: Point, size: Point, ink: Ink, opacity: f64) {
        self.shapes.push(Shape::Rect { corner, size, ink, opacity });
    }

    pub(super) fn dot(&mut self, at: Point, radius: f64, ink: Ink) {
        self.shapes.push(Shape::Dot { at, radius, ink });
    }

    pub(super) fn text(&mut self, at: Point, anchor: Anchor, size: f64, ink: Ink, text: &str) {
        self.turned(at, anchor, size, ink, text, 0.0);
    }

    pub(super) fn turned(
        &mut self,
        at: Point,
        anchor: Anchor,
        size: f64,
        ink: Ink,
        text: &str,
        degrees: f64,
    ) {
        let text = text.to_owned();
        self.shapes.push(Shape::Text(Text { at, anchor, size, ink, text, degrees, rim: false }));
    }

    /// Text that lines behind it do not cross.
    pub(super) fn text_over(&mut self, at: Point, anchor: Anchor, size: f64, text: &str) {
        let (text, ink) = (text.to_owned(), Ink::Text);
        self.shapes.push(Shape::Text(Text {
            at,
            anchor,
            size,
            ink,
            text,
            degrees: 0.0,
            rim: true,
        }));
    }
}
