//! Plots, each defined once as shapes on a canvas, and the canvas as SVG and PNG.

mod axes;
mod canvas;
mod confusion;
mod curve;
mod forest;
mod lines;
#[cfg(feature = "png")]
mod png;
mod reliability;
mod svg;

pub(super) use canvas::Canvas;
pub(super) use confusion::confusion;
pub(super) use curve::curve;
pub(super) use forest::{Whisker, forest};
pub(super) use lines::lines;
pub(super) use reliability::reliability;

/// Where a plot is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// In the page: colours are variables of its style sheet, which knows light and dark.
    Page,
    /// In a file of its own, for papers: black on white.
    Paper,
}

/// What something is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text and axes.
    Text,
    /// Labels of lesser importance.
    Muted,
    /// Grid lines.
    Grid,
    /// What lies behind everything.
    Ground,
    /// Text on a filled cell.
    OnFill,
    /// The n-th series.
    Series(usize),
}

/// Colours of series that the colour-blind can tell apart (after Okabe and Ito), for light paper.
const PAPER: [&str; 6] = ["#0b62a4", "#c4520a", "#00795a", "#a3478f", "#8a6d00", "#4a4a4a"];

impl Theme {
    /// The colour as CSS.
    fn colour(self, ink: Ink) -> String {
        match (self, ink) {
            (Self::Page, Ink::Text) => "var(--text)".to_owned(),
            (Self::Page, Ink::Muted) => "var(--muted)".to_owned(),
            (Self::Page, Ink::Grid) => "var(--grid)".to_owned(),
            (Self::Page, Ink::Ground) => "var(--ground)".to_owned(),
            (Self::Page, Ink::OnFill) => "var(--on-fill)".to_owned(),
            (Self::Page, Ink::Series(n)) => format!("var(--s{})", n % PAPER.len()),
            (Self::Paper, Ink::Text) => "#111111".to_owned(),
            (Self::Paper, Ink::Muted) => "#555555".to_owned(),
            (Self::Paper, Ink::Grid) => "#dddddd".to_owned(),
            (Self::Paper, Ink::Ground | Ink::OnFill) => "#ffffff".to_owned(),
            (Self::Paper, Ink::Series(n)) => {
                PAPER.get(n % PAPER.len()).copied().unwrap_or("#000000").to_owned()
            }
        }
    }
}
