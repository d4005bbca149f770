//! The confusion matrix.

use super::Ink;
use super::canvas::{Anchor, Canvas};
use crate::ConfusionMatrix;
use crate::page::text::shortened;

/// Longest class name beside the matrix, in letters.
const LONGEST: usize = 28;

/// The matrix; cells are shaded by their share of the true class and hold the counts.
pub(in crate::page) fn confusion(matrix: &ConfusionMatrix, classes: &[String]) -> Canvas {
    let names: Vec<String> = classes.iter().map(|name| shortened(name, LONGEST)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
    let widest = matrix.rows().iter().flatten().max().map_or(1, |n| n.to_string().len()) as f64;
    let cell = if names.len() <= 6 { 46.0 } else { (widest * 6.4 + 6.0).max(24.0) };
    let margin = longest * 6.4 + 30.0;
    let side = cell * names.len() as f64;
    // Turned names stand on the columns and lean to the right.
    let (top, lean) = (longest * 4.6 + 44.0, longest * 4.6);
    let (width, height) = (margin + (side + lean).max(200.0), top + side + 12.0);
    let mut canvas = Canvas::new("confusion matrix", width, height);
    canvas.text((margin, 14.0), Anchor::Start, 12.0, Ink::Muted, "columns: predicted; rows: truth");
    for (place, name) in names.iter().enumerate() {
        let middle = (place as f64 + 0.5) * cell;
        let above = (margin + middle, top - 6.0);
        canvas.turned(above, Anchor::Start, 11.0, Ink::Text, name, -45.0);
        let beside = (margin - 6.0, top + middle + 4.0);
        canvas.text(beside, Anchor::End, 11.0, Ink::Text, name);
    }
    for (truth, row) in matrix.rows().iter().enumerate() {
        let total: u64 = row.iter().sum();
        for (predicted, &count) in row.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            let corner = (margin + predicted as f64 * cell, top + truth as f64 * cell);
            let size = (cell - 1.0, cell - 1.0);
            canvas.rect(corner, size, Ink::Grid, 0.35);
            if count > 0 {
                canvas.rect(corner, size, Ink::Series(0), share.max(0.06));
                let ink = if share > 0.5 { Ink::OnFill } else { Ink::Text };
                let middle = (corner.0 + cell / 2.0, corner.1 + cell / 2.0 + 4.0);
                canvas.text(middle, Anchor::Middle, 11.0, ink, &count.to_string());
            }
        }
    }
    canvas
}
