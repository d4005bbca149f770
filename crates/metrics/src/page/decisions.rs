//! What calibration changed, and what thresholds chosen on validation data do here.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::EvaluationReport;
use super::html::class_cell;
use super::plots::{self, Canvas, Theme};
use super::text::{escape, label, number};
use crate::{
    Bootstrap, Comparison, Conventions, CountScore, Estimate, Evaluator, Measure, MetricsError,
    OperatingPoint, Over, Predictions, ReliabilityBin, Result, RowTarget, Task,
};

/// Probabilities before and after a calibration that was fitted on other data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationChange {
    /// How it was fitted, for the reader.
    pub method: String,
    /// Reliability diagram of the scores before.
    pub before: Vec<ReliabilityBin>,
    /// Measures of probabilities: first before, second after.
    pub changes: Vec<Comparison>,
}

/// A threshold with what it does on the reported samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingRow {
    /// The class against the rest, or the finding.
    pub class: String,
    /// The threshold, and what it did on the data that it was chosen on.
    pub point: OperatingPoint,
    /// Sensitivity, specificity, precision.
    pub estimates: Vec<Estimate>,
}

/// Measures of probabilities before and after.
pub(super) fn change(
    method: &str,
    before: &Predictions,
    after: &Predictions,
    bins: Vec<ReliabilityBin>,
    bootstrap: &Bootstrap,
    conventions: &Conventions,
) -> Result<CalibrationChange> {
    let measures = Measure::of_probabilities();
    let changes = bootstrap.compare(before, after, conventions, &measures)?;
    Ok(CalibrationChange { method: method.to_owned(), before: bins, changes })
}

/// What each threshold does. Of two exclusive classes only the second is shown: the first is the
/// same decision turned round.
pub(super) fn operating_rows(
    predictions: &Predictions,
    points: &[OperatingPoint],
    bootstrap: &Bootstrap,
) -> Result<Vec<OperatingRow>> {
    let classes = predictions.classes();
    MetricsError::check_length("operating points", classes.len(), points.len())?;
    let findings = one_vs_rest(predictions)?;
    let thresholds = points.iter().map(|point| point.threshold).collect();
    let conventions = Conventions { thresholds, ..Conventions::default() };
    let evaluator = Evaluator::with_conventions(&findings, conventions)?;
    let scores = [CountScore::Recall, CountScore::Specificity, CountScore::Precision];
    let of_class = |class| scores.map(|score| Measure::Count(score, Over::Class(class)));
    let measures: Vec<Measure> = (0..classes.len()).flat_map(of_class).collect();
    let estimates = bootstrap.estimate(&evaluator, &measures)?;
    let two = predictions.task() == Task::SingleLabel && classes.len() == 2;
    let rows = classes.iter().zip(points).zip(estimates.chunks(scores.len()));
    let row = |((class, point), estimates): ((&String, &OperatingPoint), &[Estimate])| {
        let (class, estimates) = (class.clone(), estimates.to_vec());
        OperatingRow { class, point: *point, estimates }
    };
    Ok(rows.map(row).skip(usize::from(two)).collect())
}

/// Exclusive classes as findings, each against the rest.
fn one_vs_rest(predictions: &Predictions) -> Result<Predictions> {
    let classes = predictions.classes().to_vec();
    let width = classes.len();
    let mut findings = Predictions::new(Task::MultiLabel, classes, predictions.part())?;
    for (row, (id, group)) in predictions.ids().iter().zip(predictions.groups()).enumerate() {
        let truth = |class| predictions.is_positive(row, class).map(|y| f32::from(u8::from(y)));
        let targets: Vec<Option<f32>> = (0..width).map(truth).collect();
        let scores = predictions.row(row);
        findings.push(id, group.as_deref(), scores, RowTarget::Findings(&targets))?;
    }
    Ok(findings)
}

impl EvaluationReport {
    /// The reliability diagrams with the names of their files: with a calibration one before it
    /// and one after it.
    pub(super) fn reliability_plots(&self) -> Vec<(&'static str, Canvas)> {
        let plot = |bins, title| plots::reliability(bins, self.bootstrap.level, title);
        match &self.calibration {
            _ if self.reliability.is_empty() => Vec::new(),
            None => vec![("reliability", plot(&self.reliability, ""))],
            Some(change) => vec![
                ("reliability-before", plot(&change.before, "before calibration")),
                ("reliability", plot(&self.reliability, "after calibration")),
            ],
        }
    }

    pub(super) fn reliability_section(&self) -> String {
        if self.reliability.is_empty() {
            return String::new();
        }
        let what = match self.task {
            Task::SingleLabel => "The highest score of each sample, and how often it was right.",
            Task::MultiLabel => {
                "All findings together: scores, and how often the finding was there."
            }
        };
        let plots: String =
            self.reliability_plots().iter().map(|(_, plot)| plot.svg(Theme::Page)).collect();
        let change = self.calibration.as_ref().map_or_else(String::new, |change| {
            let rows: String = change.changes.iter().map(change_row).collect();
            format!(
                "<p>Calibration: {}. All other numbers of this report are those after it. \
                 Lower is better here.</p>\
                 <div class=\"wide\"><table><thead><tr><th>Measure</th><th>Before</th><th>After</th><th>Before − after, {:.0} % interval</th></tr></thead>\
                 <tbody>{rows}</tbody></table></div>",
                escape(&change.method),
                100.0 * self.bootstrap.level,
            )
        });
        format!(
            "<h2>Reliability</h2><p class=\"muted\">{what} On the dashed line scores are \
             probabilities.</p>{change}<div class=\"plots\">{plots}</div>"
        )
    }

    pub(super) fn operating_section(&self) -> String {
        if self.operating_points.is_empty() {
            return String::new();
        }
        let mut rows = String::new();
        for row in &self.operating_points {
            let cells: String = row.estimates.iter().map(class_cell).collect();
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td class=\"r\">{}</td>{cells}</tr>",
                escape(&row.class),
                threshold(row.point.threshold)
            );
        }
        format!(
            "<h2>Operating points</h2><p class=\"muted\">Predicted where the score is above the \
             threshold, which was chosen on validation data{}.</p><div class=\"wide\">\
             <table class=\"class\"><thead><tr><th>Class</th><th class=\"r\">Threshold</th>\
             <th>Sensitivity</th><th>Specificity</th><th>Precision</th></tr></thead>\
             <tbody>{rows}</tbody></table></div>",
            if self.operating_rule.is_empty() {
                String::new()
            } else {
                format!(": {}", escape(&self.operating_rule))
            }
        )
    }
}

fn change_row(change: &Comparison) -> String {
    let interval = match (change.low.defined(), change.high.defined()) {
        (Some(_), Some(_)) => format!(" ({} to {})", number(change.low), number(change.high)),
        _ => String::new(),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}{interval}</td></tr>",
        escape(&label(&change.name)),
        number(change.first),
        number(change.second),
        number(change.difference)
    )
}

/// Four digits; thresholds beyond every score are infinite.
fn threshold(value: f32) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "∞".to_owned() }
}
