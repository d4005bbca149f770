//! Learning curves.

use super::Ink;
use super::axes::Axes;
use super::canvas::{Anchor, Canvas};
use crate::page::LearningPlot;

/// Several series over one axis, with a legend below.
pub(in crate::page) fn lines(plot: &LearningPlot) -> Canvas {
    let (left, top, width, height) = (60.0, 30.0, 300.0, 200.0);
    let legend = 18.0 * plot.series.len() as f64;
    let total = (left + width + 16.0, top + height + 50.0 + legend);
    let mut canvas = Canvas::new(&plot.title, total.0, total.1);
    canvas.text((left, 18.0), Anchor::Start, 13.0, Ink::Text, &plot.title);
    // A diverged epoch has no place on the scale.
    let all = || plot.series.iter().flat_map(|series| &series.points);
    let points = || all().filter_map(|(x, y)| Some((*x, (*y)?)));
    let range = |value: fn((f64, f64)) -> f64| {
        let low = points().map(value).fold(f64::INFINITY, f64::min);
        let high = points().map(value).fold(f64::NEG_INFINITY, f64::max);
        if low.is_finite() { (low, high) } else { (0.0, 1.0) }
    };
    let (x, y) = (range(|p| p.0), range(|p| p.1));
    let room = (y.1 - y.0) * 0.04;
    let axes = Axes::new((left, top), (width, height), x, (y.0 - room, y.1 + room));
    axes.draw(&mut canvas, &plot.x_name, &plot.y_name, 11.0);
    for (place, series) in plot.series.iter().enumerate() {
        let ink = Ink::Series(place);
        for run in series.points.split(|point| point.1.is_none()) {
            let run: Vec<(f64, f64)> =
                run.iter().filter_map(|(x, y)| Some(axes.at(*x, (*y)?))).collect();
            if let [only] = run.as_slice() {
                canvas.dot(*only, 2.5, ink);
            } else if !run.is_empty() {
                canvas.path(run, ink, 2.0);
            }
        }
        let y = top + height + 54.0 + 18.0 * place as f64;
        canvas.line((left, y - 4.0), (left + 22.0, y - 4.0), ink, 3.0);
        canvas.text((left + 28.0, y), Anchor::Start, 12.0, Ink::Text, &series.name);
    }
    canvas
}
