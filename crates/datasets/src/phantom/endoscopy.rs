//! A look along the bowel, roughly.

use std::f32::consts::TAU;

use vit_random::Stream;

use super::canvas::{Canvas, Clouds, Colour, View, bell, draw, length, smoothstep};

/// What differs between patients.
struct Bowel {
    wall: Colour,
    folds: f32,
    fold_phase: f32,
    lobes: f32,
    lobe_phase: f32,
    vessels: Vec<Vessel>,
    mucosa: Clouds,
}

/// A wavy dark line.
struct Vessel {
    cos: f32,
    sin: f32,
    offset: f32,
    sway: f32,
    wave: f32,
    phase: f32,
    width: f32,
}

impl Vessel {
    fn new(pixel: f32, rng: &mut Stream) -> Self {
        let (sin, cos) = draw(rng, 0.0, TAU).sin_cos();
        Self {
            cos,
            sin,
            offset: draw(rng, -0.75, 0.75),
            sway: draw(rng, 0.03, 0.08),
            wave: draw(rng, 4.0, 9.0),
            phase: draw(rng, 0.0, TAU),
            width: draw(rng, 0.012, 0.024).max(0.45 * pixel),
        }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let along = self.cos * x + self.sin * y;
        let across = self.cos * y - self.sin * x;
        bell(across - self.offset - self.sway * (along * self.wave + self.phase).sin(), self.width)
    }
}

impl Bowel {
    fn new(pixel: f32, rng: &mut Stream) -> Self {
        Self {
            wall: [draw(rng, 0.74, 0.86), draw(rng, 0.38, 0.50), draw(rng, 0.28, 0.40)],
            folds: draw(rng, 1.6, 2.4),
            fold_phase: draw(rng, 0.0, TAU),
            lobes: if draw(rng, 0.0, 1.0) < 0.7 { 3.0 } else { 2.0 },
            lobe_phase: draw(rng, 0.0, TAU),
            vessels: (0..4).map(|_| Vessel::new(pixel, rng)).collect(),
            mucosa: Clouds::new(9, rng),
        }
    }

    /// Colour seen from a camera that has the end of the lumen at `lumen`; depth grows inwards.
    fn at(&self, x: f32, y: f32, lumen: (f32, f32)) -> Colour {
        let (dx, dy) = (x - lumen.0, y - lumen.1);
        let distance = length(dx, dy);
        let angle = dy.atan2(dx);
        // The colon's folds are rounded triangles, nearer together the deeper they are.
        let shape = 1.0 + 0.10 * (self.lobes * angle + self.lobe_phase).cos();
        let radius = (distance / shape).max(0.02);
        let fold = (self.folds * TAU * radius.ln() * 0.55 + self.fold_phase).sin();
        let light = smoothstep(0.02, 0.62, radius) * (1.0 - 0.18 * smoothstep(0.7, 1.3, radius));
        // Bright crest, sharp dark edge behind it.
        let relief = 1.0 + 0.16 * fold - 0.14 * smoothstep(0.55, 1.0, -fold);
        let lit = (0.07 + 0.93 * light) * relief * (1.0 + 0.07 * self.mucosa.at(x, y));
        let near = smoothstep(0.25, 0.55, radius);
        let blood: f32 = self.vessels.iter().map(|v| v.at(x, y)).fold(0.0, f32::max) * near;
        let [r, g, b] = self.wall;
        [
            r * lit * (1.0 - 0.12 * blood),
            g * lit * (1.0 - 0.32 * blood) * (0.82 + 0.18 * light),
            b * lit * (1.0 - 0.28 * blood) * (0.80 + 0.20 * light),
        ]
    }
}

/// A reflection of the lamp on wet mucosa.
struct Glare {
    x: f32,
    y: f32,
    long: f32,
    short: f32,
    cos: f32,
    sin: f32,
}

impl Glare {
    fn new(pixel: f32, rng: &mut Stream) -> Self {
        let (sin, cos) = draw(rng, 0.0, TAU).sin_cos();
        let radius = draw(rng, 0.35, 0.8);
        let short = draw(rng, 0.015, 0.03).max(0.5 * pixel);
        let long = short * draw(rng, 1.2, 2.6);
        let (sway, lean) = draw(rng, 0.0, TAU).sin_cos();
        Self { x: radius * cos, y: radius * sin, long, short, cos: lean, sin: sway }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let along = (self.cos * dx + self.sin * dy) / self.long;
        let across = (self.cos * dy - self.sin * dx) / self.short;
        smoothstep(1.6, 0.6, length(along, across))
    }
}

pub(super) fn paint(view: &View, patient: &mut Stream, rng: &mut Stream) -> Canvas {
    let bowel = Bowel::new(view.pixel(), patient);
    let lumen = (draw(rng, -0.16, 0.16), draw(rng, -0.16, 0.16));
    let glares: Vec<Glare> = (0..5).map(|_| Glare::new(view.pixel(), rng)).collect();
    let lamp = draw(rng, 0.92, 1.08);
    Canvas::paint(view, 3, |(x, y), (frame_x, frame_y)| {
        let glare = glares.iter().map(|g| g.at(x, y)).fold(0.0, f32::max);
        let colour = bowel.at(x, y, lumen).map(|value| {
            let value = (value * lamp).min(0.92);
            value + (0.97 - value) * 0.85 * glare
        });
        // The round window of the endoscope in a black frame.
        let round = length(frame_x, frame_y);
        let square = frame_x.abs().max(frame_y.abs());
        let window = smoothstep(1.20, 1.12, round) * smoothstep(1.0, 0.93, square);
        let vignette = window * (1.0 - 0.30 * smoothstep(0.55, 1.15, round));
        let weight = smoothstep(0.95, 0.85, round) * (1.0 - glare);
        (colour.map(|value| 0.015 + value * vignette), weight)
    })
}
