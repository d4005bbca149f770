//! The reliability diagram.

use super::Ink;
use super::axes::Axes;
use super::canvas::{Anchor, Canvas};
use crate::{ReliabilityBin, wilson};

/// Frequency over confidence with Wilson intervals, and below it how many samples each bin holds.
/// The title may be empty.
pub(in crate::page) fn reliability(bins: &[ReliabilityBin], level: f64, title: &str) -> Canvas {
    let (side, left, top, lower) = (300.0, 52.0, 24.0, 56.0);
    let (width, height) = (left + side + 16.0, top + side + lower + 84.0);
    let name = format!("reliability diagram {title}");
    let mut canvas = Canvas::new(name.trim_end(), width, height);
    canvas.text((left, 16.0), Anchor::Start, 13.0, Ink::Text, title);
    let axes = Axes::new((left, top), (side, side), (0.0, 1.0), (0.0, 1.0));
    axes.draw(&mut canvas, "", "share that came true", 12.0);
    canvas.dashed(axes.at(0.0, 0.0), axes.at(1.0, 1.0), Ink::Muted);
    let points: Vec<(f64, f64)> =
        bins.iter().map(|bin| axes.at(bin.confidence, bin.frequency)).collect();
    for bin in bins {
        if let Ok(interval) = wilson(bin.correct, bin.samples, level) {
            let ends =
                (axes.at(bin.confidence, interval.low), axes.at(bin.confidence, interval.high));
            canvas.line(ends.0, ends.1, Ink::Series(0), 1.5);
        }
    }
    canvas.path(points.clone(), Ink::Series(0), 2.0);
    for point in points {
        canvas.dot(point, 3.5, Ink::Series(0));
    }
    let most = bins.iter().map(|bin| bin.samples).max().unwrap_or(1) as f64;
    let floor = top + side + 46.0 + lower;
    for bin in bins {
        let (x, _) = axes.at(bin.confidence, 0.0);
        let bar = lower * bin.samples as f64 / most;
        canvas.rect((x - 5.0, floor - bar), (10.0, bar), Ink::Series(0), 0.55);
    }
    canvas.line((left, floor), (left + side, floor), Ink::Grid, 1.0);
    let label = (left, top + side + 38.0);
    canvas.text(label, Anchor::Start, 11.0, Ink::Muted, &format!("samples (highest bar: {most})"));
    let name = (left + side / 2.0, floor + 20.0);
    canvas.text(name, Anchor::Middle, 13.0, Ink::Text, "confidence");
    canvas
}
