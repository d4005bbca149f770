//! What can be found in a phantom.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use super::PhantomKind;
use super::canvas::{Colour, View, bell, draw, length, smoothstep};

/// Something to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomFinding {
    /// A round spot: a nodule, or a polyp.
    Disc,
    /// A long thin thing: a catheter.
    Line,
    /// A patch of fine net-like texture.
    Texture,
}

impl PhantomFinding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disc, Self::Line, Self::Texture];

    /// `"disc"`, `"line"` or `"texture"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Line => "line",
            Self::Texture => "texture",
        }
    }
}

/// A finding at its place in the anatomy.
pub(super) struct Mark {
    shape: Shape,
    x: f32,
    y: f32,
    /// Direction of a line, of a texture's grain and of the light on a disc.
    cos: f32,
    sin: f32,
    colour: Colour,
}

enum Shape {
    /// `light`: how much one side is brighter than the other.
    Disc {
        radius: f32,
        light: f32,
    },
    Line {
        half: f32,
        bend: f32,
        width: f32,
    },
    Texture {
        radius: f32,
        wave: f32,
        phase: [f32; 2],
    },
}

impl Mark {
    pub(super) fn place(
        finding: PhantomFinding,
        kind: PhantomKind,
        view: &View,
        rng: &mut Stream,
    ) -> Self {
        let (x, y) = place(kind, rng);
        let angle = match (finding, kind) {
            // A catheter runs down the chest.
            (PhantomFinding::Line, PhantomKind::Xray) => draw(rng, 1.2, 1.95),
            _ => draw(rng, 0.0, TAU),
        };
        let (sin, cos) = angle.sin_cos();
        let pixel = view.pixel();
        let shape = match finding {
            PhantomFinding::Disc => Shape::Disc {
                radius: draw(rng, 0.10, 0.15).max(1.6 * pixel),
                light: if kind == PhantomKind::Xray { 0.0 } else { 0.9 },
            },
            PhantomFinding::Line => Shape::Line {
                half: draw(rng, 0.35, 0.5),
                bend: draw(rng, -0.12, 0.12),
                width: 0.022f32.max(0.55 * pixel),
            },
            PhantomFinding::Texture => Shape::Texture {
                radius: draw(rng, 0.22, 0.30),
                wave: draw(rng, 0.085, 0.11).max(2.3 * pixel),
                phase: [draw(rng, 0.0, TAU), draw(rng, 0.0, TAU)],
            },
        };
        let strength = draw(rng, 0.85, 1.15);
        let colour = colour(finding, kind).map(|value| value * strength);
        Self { shape, x, y, cos, sin, colour }
    }

    /// What the finding adds at a point.
    pub(super) fn at(&self, x: f32, y: f32) -> Colour {
        let (dx, dy) = (x - self.x, y - self.y);
        let along = self.cos * dx + self.sin * dy;
        let across = self.cos * dy - self.sin * dx;
        let value = match self.shape {
            Shape::Disc { radius, light } => disc(along, length(dx, dy), radius, light),
            Shape::Line { half, bend, width } => line(along / half, across, bend, width),
            Shape::Texture { radius, wave, phase } => {
                let [p, q] = phase;
                let turn = TAU / wave;
                // Two gratings crossed and folded: bright strands around dark cells.
                let net = (along * turn + p).sin().max((across * turn + q).sin());
                (net - 0.4) * smoothstep(1.2, 0.7, length(dx, dy) / radius)
            }
        };
        self.colour.map(|colour| colour * value)
    }
}

fn disc(along: f32, distance: f32, radius: f32, light: f32) -> f32 {
    let inside = smoothstep(1.25, 0.75, distance / radius);
    let rim = bell(distance - 1.25 * radius, 0.35 * radius);
    inside * (1.0 + light * along / radius) - 0.35 * light * rim
}

fn line(t: f32, across: f32, bend: f32, width: f32) -> f32 {
    if t.abs() > 1.0 {
        return 0.0;
    }
    // Its ends stay in place, its middle moves aside.
    let distance = (across - bend * (1.0 - t * t)).abs();
    bell(distance, width) - 0.4 * bell(distance - 2.2 * width, 0.8 * width)
}

/// Somewhere in a lung, or on the wall around the lumen.
fn place(kind: PhantomKind, rng: &mut Stream) -> (f32, f32) {
    let (angle, out) = (draw(rng, 0.0, TAU), draw(rng, 0.0, 1.0).sqrt());
    match kind {
        PhantomKind::Xray => {
            let side = if draw(rng, -1.0, 1.0) < 0.0 { -1.0 } else { 1.0 };
            (side * 0.40 + 0.13 * out * angle.cos(), -0.08 + 0.30 * out * angle.sin())
        }
        PhantomKind::Endoscopy => {
            let radius = 0.42 + 0.16 * out;
            (radius * angle.cos(), radius * angle.sin())
        }
    }
}

fn colour(finding: PhantomFinding, kind: PhantomKind) -> Colour {
    match (kind, finding) {
        (PhantomKind::Xray, PhantomFinding::Disc) => [0.22; 3],
        (PhantomKind::Xray, PhantomFinding::Line) => [0.30; 3],
        (PhantomKind::Xray, PhantomFinding::Texture) => [0.13; 3],
        (PhantomKind::Endoscopy, PhantomFinding::Disc) => [0.14, 0.13, 0.11],
        (PhantomKind::Endoscopy, PhantomFinding::Line) => [-0.10, 0.22, 0.32],
        (PhantomKind::Endoscopy, PhantomFinding::Texture) => [0.10, 0.11, 0.09],
    }
}
