//! A canvas as SVG.

use std::fmt::Write;

use super::canvas::{Anchor, Canvas, DASH, Point, RIM, Shape, Text};
use super::{Ink, Theme};
use crate::page::text::escape;

impl Canvas {
    /// The picture. On paper it has a white ground.
    pub(in crate::page) fn svg(&self, theme: Theme) -> String {
        let Self { title, width, height, shapes } = self;
        let mut body = String::new();
        for shape in shapes {
            // Writing to a string cannot fail.
            let _ = element(&mut body, theme, shape);
        }
        let (title, ground) = (
            escape(title),
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

fn element(body: &mut String, theme: Theme, shape: &Shape) -> std::fmt::Result {
    let colour = |ink: &Ink| theme.colour(*ink);
    match shape {
        Shape::Line { from, to, ink, width, dashed } => {
            let dashes =
                if *dashed { format!(";stroke-dasharray:{DASH} {DASH}") } else { String::new() };
            write!(
                body,
                "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" \
                 style=\"stroke:{};stroke-width:{width}{dashes}\"/>",
                from.0,
                from.1,
                to.0,
                to.1,
                colour(ink)
            )
        }
        Shape::Path { points, ink, width } => write!(
            body,
            "<polyline points=\"{}\" \
             style=\"fill:none;stroke:{};stroke-width:{width};stroke-linejoin:round\"/>",
            joined(points),
            colour(ink)
        ),
        Shape::Area { points, ink, opacity } => write!(
            body,
            "<polygon points=\"{}\" style=\"fill:{};fill-opacity:{opacity};stroke:none\"/>",
            joined(points),
            colour(ink)
        ),
        Shape::Rect { corner, size, ink, opacity } => write!(
            body,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             style=\"fill:{};fill-opacity:{opacity:.3}\"/>",
            corner.0,
            corner.1,
            size.0,
            size.1,
            colour(ink)
        ),
        Shape::Dot { at, radius, ink } => write!(
            body,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" style=\"fill:{}\"/>",
            at.0,
            at.1,
            colour(ink)
        ),
        Shape::Text(text) => text_element(body, theme, text),
    }
}

fn text_element(body: &mut String, theme: Theme, text: &Text) -> std::fmt::Result {
    let Text { at: (x, y), anchor, size, ink, text, degrees, rim } = text;
    let (colour, text) = (theme.colour(*ink), escape(text));
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let turn = if *degrees == 0.0 {
        String::new()
    } else {
        format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"")
    };
    let rim = if *rim {
        let ground = theme.colour(Ink::Ground);
        format!(";paint-order:stroke;stroke:{ground};stroke-width:{RIM}px;stroke-linejoin:round")
    } else {
        String::new()
    };
    write!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{turn} \
         style=\"font-size:{size}px;fill:{colour}{rim}\">{text}</text>"
    )
}

fn joined(points: &[Point]) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (x, y) in points {
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text.truncate(text.trim_end().len());
    text
}
