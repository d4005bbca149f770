//! A report as files.

use std::path::Path;

use super::EvaluationReport;
use super::plots::{self, Canvas, Theme, Whisker};
use crate::files::write_atomic;
use crate::{Curve, MetricsError, Predictions, Result, Subgroups};

impl EvaluationReport {
    /// Writes `report.json`, `report.html`, `tables.md`, `tables.tex`, `predictions.csv`,
    /// `predictions.safetensors` and `plots/*.svg` (with the feature `png` also `plots/*.png`) into a
    /// folder, which is made if need be. Each file is whole or absent.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, predictions: &Predictions) -> Result<()> {
        let failed = |path: &Path, message: String| MetricsError::File {
            path: path.display().to_string(),
            message,
        };
        let plots = folder.join("plots");
        std::fs::create_dir_all(&plots).map_err(|error| failed(&plots, error.to_string()))?;
        predictions.write_csv(&folder.join("predictions.csv"))?;
        predictions.write_safetensors(&folder.join("predictions.safetensors"))?;
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| failed(&folder.join("report.json"), error.to_string()))?;
        let text =
            |path: &Path, text: &str| write_atomic(path, |file| file.write_all(text.as_bytes()));
        text(&folder.join("report.json"), &json)?;
        text(&folder.join("tables.md"), &self.markdown())?;
        text(&folder.join("tables.tex"), &self.latex())?;
        for (name, svg) in self.plots() {
            text(&plots.join(format!("{name}.svg")), &svg)?;
        }
        #[cfg(feature = "png")]
        for (name, png) in self.plots_png()? {
            write_atomic(&plots.join(format!("{name}.png")), |file| file.write_all(&png))?;
        }
        text(&folder.join("report.html"), &self.html())
    }

    /// Every plot as an SVG file of its own, black on white for papers: (file name without its
    /// ending, content).
    #[must_use]
    pub fn plots(&self) -> Vec<(String, String)> {
        let canvases = self.canvases().into_iter();
        canvases.map(|(name, canvas)| (name, canvas.svg(Theme::Paper))).collect()
    }

    /// Every plot as a PNG file, three times the size of the SVG: (file name without its ending,
    /// content). The font comes along, so that the bytes are the same on every machine; letters
    /// that it lacks (it has Latin, Greek and Cyrillic) are boxes.
    ///
    /// # Errors
    /// A plot cannot be drawn.
    #[cfg(feature = "png")]
    pub fn plots_png(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let canvases = self.canvases().into_iter();
        canvases.map(|(name, canvas)| Ok((name, canvas.png()?))).collect()
    }

    /// Every plot with the name of its file.
    fn canvases(&self) -> Vec<(String, Canvas)> {
        let mut plots = Vec::new();
        for (place, curves) in self.curves.iter().enumerate() {
            let title = curves.class.as_deref().unwrap_or("mean over classes");
            let class = curves.class.as_deref().unwrap_or("mean");
            let curves = [
                ("roc", Curve::Roc, &curves.roc),
                ("pr", Curve::PrecisionRecall, &curves.precision_recall),
            ];
            for (prefix, kind, curve) in curves {
                if let Some((band, area)) = curve {
                    let note = area_note(kind, area);
                    let plot = plots::curve(kind, title, &note, band, true);
                    plots.push((format!("{prefix}-{place:02}-{}", file_name(class)), plot));
                }
            }
        }
        if let Some(matrix) = &self.confusion {
            plots.push(("confusion".to_owned(), plots::confusion(matrix, &self.classes)));
        }
        let reliability = self.reliability_plots().into_iter();
        plots.extend(reliability.map(|(name, plot)| (name.to_owned(), plot)));
        for groups in &self.subgroups {
            let name =
                format!("subgroups-{}-{}", file_name(&groups.column), file_name(&groups.measure));
            plots.push((name, self.subgroup_plot(groups)));
        }
        for (place, plot) in self.learning.iter().enumerate() {
            let name = format!("learning-{place:02}-{}", file_name(&plot.title));
            plots.push((name, plots::lines(plot)));
        }
        plots
    }
}

/// `AUROC 0.912 (0.894–0.930)`.
pub(super) fn area_note(kind: Curve, area: &crate::Estimate) -> String {
    let name = match kind {
        Curve::Roc => "AUROC",
        Curve::PrecisionRecall => "AP",
    };
    format!("{name} {}", super::text::interval_text(area))
}

impl EvaluationReport {
    /// The forest plot of subgroups.
    pub(super) fn subgroup_plot(&self, groups: &Subgroups) -> Canvas {
        let all = Whisker {
            name: "all".to_owned(),
            note: String::new(),
            estimate: &groups.overall,
            reference: true,
        };
        let rows: Vec<Whisker<'_>> = std::iter::once(all)
            .chain(groups.groups.iter().map(|group| Whisker {
                name: group.name.clone(),
                note: format!("(n = {})", group.samples),
                estimate: &group.estimate,
                reference: false,
            }))
            .collect();
        let title = format!("{} by {}", self.label_of(&groups.overall), groups.column);
        plots::forest(&title, &rows)
    }
}

/// Letters, digits and dashes.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    text.chars().map(plain).take(60).collect()
}
