//! A canvas as PNG, with a font that comes along: the same bytes on every machine.

use tiny_skia::{
    Color, FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};
use ttf_parser::{Face, OutlineBuilder};

use super::canvas::{Anchor, Canvas, DASH, Point, RIM, Shape, Text};
use super::{Ink, Theme};
use crate::{MetricsError, Result};

/// DejaVu Sans: Latin, Greek, Cyrillic and a few signs. Other letters become boxes.
const FONT: &[u8] = include_bytes!("../../../fonts/DejaVuSans-subset.ttf");
/// Pixels per pixel of the canvas: about 288 dots per inch in print.
const SCALE: f64 = 3.0;
/// Longest side of a picture.
const LONGEST: f64 = 8000.0;

impl Canvas {
    /// The picture, black on white, three times the size of the SVG in pixels.
    pub(in crate::page) fn png(&self) -> Result<Vec<u8>> {
        let failed = |message: &str| MetricsError::File {
            path: self.title.clone(),
            message: format!("cannot be drawn: {message}"),
        };
        let face = Face::parse(FONT, 0).map_err(|error| failed(&error.to_string()))?;
        let scale = SCALE.min(LONGEST / self.width.max(self.height).max(1.0));
        let side = |length: f64| (length * scale).round().max(1.0) as u32;
        let mut pixels = Pixmap::new(side(self.width), side(self.height))
            .ok_or_else(|| failed("the size is out of range"))?;
        pixels.fill(Color::WHITE);
        let scale = Transform::from_scale(scale as f32, scale as f32);
        let mut drawing = Drawing { pixels, scale, face };
        for shape in &self.shapes {
            drawing.shape(shape);
        }
        drawing.pixels.encode_png().map_err(|error| failed(&error.to_string()))
    }
}

struct Drawing<'a> {
    pixels: Pixmap,
    scale: Transform,
    face: Face<'a>,
}

impl Drawing<'_> {
    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Line { from, to, ink, width, dashed } => {
                let dash = if *dashed { StrokeDash::new(vec![DASH as f32; 2], 0.0) } else { None };
                let stroke = Stroke { width: *width as f32, dash, ..Stroke::default() };
                self.stroke(path(&[*from, *to], false), *ink, &stroke, self.scale);
            }
            Shape::Path { points, ink, width } => {
                let line_join = LineJoin::Round;
                let stroke = Stroke { width: *width as f32, line_join, ..Stroke::default() };
                self.stroke(path(points, false), *ink, &stroke, self.scale);
            }
            Shape::Area { points, ink, opacity } => {
                self.fill(path(points, true), *ink, *opacity, self.scale);
            }
            Shape::Rect { corner, size, ink, opacity } => {
                let [x, y, w, h] = [corner.0, corner.1, size.0, size.1].map(|value| value as f32);
                let path = Rect::from_xywh(x, y, w, h).map(PathBuilder::from_rect);
                self.fill(path, *ink, *opacity, self.scale);
            }
            Shape::Dot { at, radius, ink } => {
                let circle = PathBuilder::from_circle(at.0 as f32, at.1 as f32, *radius as f32);
                self.fill(circle, *ink, 1.0, self.scale);
            }
            Shape::Text(text) => self.text(text),
        }
    }

    fn text(&mut self, text: &Text) {
        let (x, y) = (text.at.0 as f32, text.at.1 as f32);
        let mut line = Line::new(&self.face, text);
        let outline = line.outline(&self.face, &text.text);
        let turned = self.scale.pre_concat(Transform::from_rotate_at(text.degrees as f32, x, y));
        if text.rim {
            let line_join = LineJoin::Round;
            let stroke = Stroke { width: RIM as f32, line_join, ..Stroke::default() };
            self.stroke(outline.clone(), Ink::Ground, &stroke, turned);
        }
        self.fill(outline, text.ink, 1.0, turned);
    }

    fn fill(&mut self, path: Option<Path>, ink: Ink, opacity: f64, place: Transform) {
        if let Some(path) = path {
            let rule = FillRule::Winding;
            self.pixels.fill_path(&path, &paint(ink, opacity), rule, place, None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, ink: Ink, stroke: &Stroke, place: Transform) {
        if let Some(path) = path {
            self.pixels.stroke_path(&path, &paint(ink, 1.0), stroke, place, None);
        }
    }
}

/// The ink of black-on-white pictures.
fn paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let colour = Theme::Paper.colour(ink);
    let channel = |from: usize| {
        let digits = colour.get(from..from + 2);
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0)
    };
    let alpha = (opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(channel(1), channel(3), channel(5), alpha);
    paint
}

fn path(points: &[Point], close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if place == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

/// Puts glyphs beside one another.
struct Line {
    builder: PathBuilder,
    x: f32,
    y: f32,
    /// Pixels of the canvas per unit of the font.
    unit: f32,
}

impl Line {
    fn new(face: &Face<'_>, text: &Text) -> Self {
        let unit = text.size as f32 / f32::from(face.units_per_em());
        let width: f32 = text.text.chars().map(|letter| advance(face, letter) * unit).sum();
        let start = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let (x, y) = (text.at.0 as f32 - start, text.at.1 as f32);
        Self { builder: PathBuilder::new(), x, y, unit }
    }

    fn outline(&mut self, face: &Face<'_>, text: &str) -> Option<Path> {
        for letter in text.chars() {
            face.outline_glyph(face.glyph_index(letter).unwrap_or_default(), self);
            self.x += advance(face, letter) * self.unit;
        }
        std::mem::take(&mut self.builder).finish()
    }

    /// A point of a glyph on the canvas, whose y goes down.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.unit, self.y - y * self.unit)
    }
}

/// How far the next letter is, in units of the font.
fn advance(face: &Face<'_>, letter: char) -> f32 {
    let glyph = face.glyph_index(letter).unwrap_or_default();
    f32::from(face.glyph_hor_advance(glyph).unwrap_or(0))
}

impl OutlineBuilder for Line {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}
