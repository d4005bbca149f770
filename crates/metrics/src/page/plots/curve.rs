//! ROC and precision–recall curves.

use super::Ink;
use super::axes::Axes;
use super::canvas::{Anchor, Canvas};
use crate::{Band, Curve};

/// A curve with its band. `large` for the plot of all classes, small for one of many.
pub(in crate::page) fn curve(
    kind: Curve,
    title: &str,
    note: &str,
    band: &Band,
    large: bool,
) -> Canvas {
    let (side, numbers, left, top) =
        if large { (300.0, 12.0, 52.0, 44.0) } else { (180.0, 11.0, 48.0, 44.0) };
    let (width, height) = (left + side + 16.0, top + side + 2.0 * numbers + 22.0);
    let mut canvas = Canvas::new(&format!("{title}, {note}"), width, height);
    // A long class name must not run out of the picture.
    let room = ((width - 8.0) / 7.4) as usize;
    let short = crate::page::text::shortened(title, room);
    canvas.text((left, 18.0), Anchor::Start, 13.0, Ink::Text, &short);
    canvas.text((left, 35.0), Anchor::Start, 12.0, Ink::Muted, note);
    let axes = Axes::new((left, top), (side, side), (0.0, 1.0), (0.0, 1.0));
    match kind {
        Curve::Roc => {
            axes.draw(&mut canvas, "1 − specificity", "sensitivity", numbers);
            canvas.dashed(axes.at(0.0, 0.0), axes.at(1.0, 1.0), Ink::Muted);
        }
        Curve::PrecisionRecall => axes.draw(&mut canvas, "recall", "precision", numbers),
    }
    let along = |values: &[f64]| -> Vec<(f64, f64)> {
        band.x.iter().zip(values).map(|(x, y)| axes.at(*x, *y)).collect()
    };
    let mut outline = along(&band.low);
    outline.extend(along(&band.high).into_iter().rev());
    canvas.area(outline, Ink::Series(0), 0.2);
    let mut line = along(&band.value);
    if kind == Curve::Roc {
        line.insert(0, axes.at(0.0, 0.0));
    }
    canvas.path(line, Ink::Series(0), 2.0);
    canvas
}
