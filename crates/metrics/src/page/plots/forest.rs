//! Forest plots: one interval per row.

use super::Ink;
use super::axes::{Axes, tick_label, ticks};
use super::canvas::{Anchor, Canvas};
use crate::page::text::{interval_text, shortened};
use crate::{Estimate, Value};

/// A row of a forest plot.
pub(in crate::page) struct Whisker<'a> {
    pub(in crate::page) name: String,
    pub(in crate::page) note: String,
    pub(in crate::page) estimate: &'a Estimate,
    /// Drawn in the first colour with a line down the plot.
    pub(in crate::page) reference: bool,
}

/// Height of a row.
const ROW: f64 = 34.0;

/// Intervals below one another. The name and the numbers stand above each whisker, so that the plot
/// is narrow enough for a phone.
pub(in crate::page) fn forest(title: &str, rows: &[Whisker<'_>]) -> Canvas {
    let (left, width, top) = (14.0, 360.0, 14.0);
    let bottom = top + ROW * rows.len() as f64;
    let mut canvas = Canvas::new(title, width, bottom + 44.0);
    let ends = |row: &Whisker<'_>| {
        [row.estimate.low, row.estimate.value, row.estimate.high]
            .into_iter()
            .filter_map(Value::defined)
    };
    let low = rows.iter().flat_map(ends).fold(f64::INFINITY, f64::min);
    let high = rows.iter().flat_map(ends).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
    let room = ((high - low) * 0.04).max(0.005);
    let range = (low - room, high + room);
    let axes = Axes::new((left, top), (width - 2.0 * left, bottom - top), range, (0.0, 1.0));
    for value in ticks(range) {
        let (x, _) = axes.at(value, 0.0);
        canvas.line((x, top), (x, bottom), Ink::Grid, 1.0);
        let label = tick_label(value, range);
        canvas.text((x, bottom + 15.0), Anchor::Middle, 11.0, Ink::Muted, &label);
    }
    canvas.text((width / 2.0, bottom + 35.0), Anchor::Middle, 12.0, Ink::Text, title);
    if let Some(value) =
        rows.iter().find(|row| row.reference).and_then(|r| r.estimate.value.defined())
    {
        let (x, _) = axes.at(value, 0.0);
        canvas.dashed((x, top), (x, bottom), Ink::Muted);
    }
    for (place, row) in rows.iter().enumerate() {
        let y = top + ROW * place as f64;
        let ink = if row.reference { Ink::Series(0) } else { Ink::Series(1) };
        let name = format!("{} {}", shortened(&row.name, 26), row.note);
        canvas.text_over((left, y + 12.0), Anchor::Start, 11.5, name.trim());
        let numbers = match row.estimate.value {
            Value::Defined(_) => interval_text(row.estimate),
            Value::Undefined(reason) => reason.to_string(),
        };
        canvas.text_over((width - left, y + 12.0), Anchor::End, 11.5, &numbers);
        let middle = y + 23.0;
        if let (Value::Defined(low), Value::Defined(high)) = (row.estimate.low, row.estimate.high) {
            let (from, to) = (axes.at(low, 0.0).0, axes.at(high, 0.0).0);
            canvas.line((from, middle), (to, middle), ink, 2.0);
            for x in [from, to] {
                canvas.line((x, middle - 3.5), (x, middle + 3.5), ink, 2.0);
            }
        }
        if let Value::Defined(value) = row.estimate.value {
            canvas.dot((axes.at(value, 0.0).0, middle), 4.5, ink);
        }
    }
    canvas
}
