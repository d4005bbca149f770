//! A frontal chest radiograph, roughly.

use std::f32::consts::TAU;

use vit_random::Stream;

use super::canvas::{Canvas, Clouds, View, bell, draw, length, smoothstep};

/// What differs between patients. The patient's left is on the right, as radiographs are hung.
struct Chest {
    width: f32,
    lung: [f32; 2],
    apart: f32,
    heart: [f32; 2],
    spine: f32,
    ribs: f32,
    rib_phase: f32,
    rib_fall: f32,
    rib_strength: f32,
    domes: [f32; 2],
    collar: f32,
    tissue: Clouds,
}

impl Chest {
    fn new(rng: &mut Stream) -> Self {
        Self {
            width: draw(rng, 0.80, 0.95),
            lung: [draw(rng, 0.25, 0.31), draw(rng, 0.56, 0.70)],
            apart: draw(rng, 0.37, 0.43),
            heart: [draw(rng, 0.19, 0.30), draw(rng, 0.20, 0.28)],
            spine: draw(rng, 0.07, 0.10),
            ribs: draw(rng, 0.19, 0.24),
            rib_phase: draw(rng, 0.0, TAU),
            rib_fall: draw(rng, 0.35, 0.6),
            rib_strength: draw(rng, 0.05, 0.09),
            domes: [draw(rng, 0.42, 0.52), draw(rng, 0.47, 0.57)],
            collar: draw(rng, -0.72, -0.64),
            tissue: Clouds::new(6, rng),
        }
    }

    /// Brightness without noise, and how much a point is lung.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let body = self.body(x, y);
        if body <= 0.0 {
            return (0.03, 0.0);
        }
        let lung = self.lung(x, y);
        let mut value = 0.03 + body * (0.50 + 0.05 * self.tissue.at(x, y));
        value -= lung * (0.36 + 0.03 * self.tissue.at(1.2 - y, x));
        value += body * self.ribs(x, y) * smoothstep(0.75, 0.45, y);
        value += body * (0.16 * bell(x, self.spine + 0.03) + self.vertebrae(x, y));
        value += 0.27 * self.heart(x, y);
        value += body * self.collar_bones(x, y);
        (value.clamp(0.0, 0.93), lung * body)
    }

    /// Neck, shoulders and trunk.
    fn body(&self, x: f32, y: f32) -> f32 {
        let half = 0.27 + (self.width - 0.27) * smoothstep(-1.0, -0.62, y) - 0.05 * y.max(0.0);
        smoothstep(half + 0.04, half - 0.08, x.abs())
    }

    /// Two tall halves of ellipses, cut by the domes of the diaphragm below.
    fn lung(&self, x: f32, y: f32) -> f32 {
        let [half_width, half_height] = self.lung;
        let dx = (x.abs() - self.apart) / (half_width * (1.0 + 0.15 * y));
        let dy = (y + 0.10) / half_height;
        let inside = smoothstep(1.06, 0.78, length(dx, dy));
        let [right, left] = self.domes;
        let dome = if x < 0.0 { right } else { left };
        let edge = dome + 0.9 * (x.abs() - self.apart + 0.06).powi(2);
        inside * smoothstep(edge + 0.02, edge - 0.05, y)
    }

    /// Bands that fall to the sides, sharper below; fainter ones of the front fall to the middle.
    fn ribs(&self, x: f32, y: f32) -> f32 {
        let out = x.abs() - 0.12;
        let back = y - self.rib_fall * out.max(0.0).powi(2) * 1.6 + 0.12 * out;
        let front = y + 0.55 * out;
        let turn = TAU / self.ribs;
        let band = smoothstep(-0.2, 0.75, (back * turn + self.rib_phase).sin());
        let faint = smoothstep(0.2, 0.9, (front * turn * 0.9 + 2.0 * self.rib_phase).sin());
        let thorax = smoothstep(0.08, 0.16, x.abs()) * smoothstep(0.80, 0.66, x.abs());
        self.rib_strength * thorax * (band + 0.35 * faint) * smoothstep(-0.85, -0.7, y)
    }

    fn vertebrae(&self, x: f32, y: f32) -> f32 {
        let turn = TAU / (self.ribs * 0.8);
        0.025 * bell(x, self.spine) * (y * turn).sin()
    }

    /// Heart and great vessels.
    fn heart(&self, x: f32, y: f32) -> f32 {
        let [width, height] = self.heart;
        let (dx, dy) = ((x - 0.10) / width, (y - 0.28 - 0.25 * (x - 0.10)) / height);
        let heart = smoothstep(1.15, 0.75, length(dx, dy));
        let vessels = bell(x - 0.02, 0.13) * smoothstep(-0.75, -0.45, y) * smoothstep(0.4, 0.1, y);
        let roots = 0.25 * bell(x.abs() - 0.20, 0.09) * bell(y + 0.05, 0.16);
        (heart + 0.6 * vessels * (1.0 - heart) + roots).min(1.0)
    }

    fn collar_bones(&self, x: f32, y: f32) -> f32 {
        let line = self.collar - 0.18 * (x.abs() - 0.1);
        let reach = smoothstep(0.07, 0.14, x.abs()) * smoothstep(0.75, 0.6, x.abs());
        0.10 * reach * bell(y - line, 0.035)
    }
}

pub(super) fn paint(view: &View, patient: &mut Stream, rng: &mut Stream) -> Canvas {
    let chest = Chest::new(patient);
    // Breath and posture differ between pictures of one patient.
    let breath = draw(rng, 0.96, 1.05);
    let haze = Clouds::new(4, rng);
    Canvas::paint(view, 1, |(x, y), _| {
        let (value, lung) = chest.at(x, y * breath);
        ([value + 0.02 * haze.at(x, y); 3], lung)
    })
}
