//! Several findings per sample, each present, absent or unknown.

use serde::{Deserialize, Serialize};

use crate::metric::{check_names, check_scores};
use crate::ranking::Ranking;
use crate::report::{ClassReport, Report, Summary, Task};
use crate::{Batch, BinaryCounts, Metric, MetricsError, Result, Targets, ZeroDivision};

/// The decision threshold on probabilities.
const HALF: f32 = 0.5;

/// Metrics where every sample has a yes, a no or an unknown for each finding.
///
/// A finding is predicted where its score is **above** the threshold. Unknown targets are left
/// out finding by finding. `accuracy`, `balanced_accuracy` and `mcc` of the report are means over
/// the findings, like the macro values.
///
/// Keeps the scores of all known targets for the exact ranking metrics. Serialise it to move it
/// between processes or into a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "State")]
pub struct MultiLabel {
    findings: Vec<String>,
    threshold: Option<f32>,
    zero_division: ZeroDivision,
    rows: u64,
    columns: Vec<Column>,
}

/// The known targets of one finding, in the order in which they were seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Column {
    scores: Vec<f32>,
    positive: Vec<bool>,
}

/// What is read back; it goes through the same checks as fresh input.
#[derive(Deserialize)]
struct State {
    findings: Vec<String>,
    threshold: Option<f32>,
    zero_division: ZeroDivision,
    rows: u64,
    columns: Vec<Column>,
}

impl TryFrom<State> for MultiLabel {
    type Error = MetricsError;

    fn try_from(state: State) -> Result<Self> {
        let mut metric = Self::new(state.findings)?.with_zero_division(state.zero_division);
        if let Some(threshold) = state.threshold {
            metric = metric.with_threshold(threshold)?;
        }
        if state.columns.len() != metric.findings.len() {
            return Err(MetricsError::Mismatch { what: "number of findings and columns" });
        }
        for (finding, column) in metric.findings.iter().zip(&state.columns) {
            let (scores, targets) = (column.scores.len(), column.positive.len());
            if scores != targets {
                return Err(MetricsError::LengthMismatch { scores, targets });
            }
            if scores as u64 > state.rows {
                let rows = usize::try_from(state.rows).unwrap_or(usize::MAX);
                return Err(MetricsError::ScoreCount { rows, classes: 1, got: scores });
            }
            for (row, &score) in column.scores.iter().enumerate() {
                metric.check_score(row, finding, score)?;
            }
        }
        metric.rows = state.rows;
        metric.columns = state.columns;
        Ok(metric)
    }
}

impl MultiLabel {
    /// Metrics over these findings, whose scores are probabilities, decided at 0.5.
    ///
    /// # Errors
    /// The list is empty or names a finding twice.
    pub fn new(findings: Vec<String>) -> Result<Self> {
        check_names(&findings)?;
        let columns = vec![Column::default(); findings.len()];
        let zero_division = ZeroDivision::default();
        Ok(Self { findings, threshold: None, zero_division, rows: 0, columns })
    }

    /// Sets the decision threshold, and with it the scale: scores may then be any finite number
    /// (0 for logits). Only accuracy, precision, recall, F1 and MCC depend on it. Set it before
    /// the first [`update`](Self::update): what has been added is judged by it, too.
    ///
    /// # Errors
    /// The threshold is not finite.
    pub fn with_threshold(mut self, threshold: f32) -> Result<Self> {
        if !threshold.is_finite() {
            return Err(MetricsError::Threshold { threshold });
        }
        self.threshold = Some(threshold);
        Ok(self)
    }

    /// Sets what 0/0 means; by default it is undefined.
    #[must_use]
    pub fn with_zero_division(mut self, zero_division: ZeroDivision) -> Self {
        self.zero_division = zero_division;
        self
    }

    /// The names of the findings.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Samples seen, including those without any known target.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds samples: `scores` and `targets` are row-major rows × findings; `None` is unknown.
    ///
    /// # Errors
    /// The lengths do not fit, a score is not finite or, without
    /// [`with_threshold`](Self::with_threshold), not in [0, 1], or a target is neither 0 nor 1;
    /// row, finding and value are named, and nothing has been added.
    pub fn update(&mut self, scores: &[f32], targets: &[Option<f32>]) -> Result<()> {
        let classes = self.findings.len();
        if !targets.len().is_multiple_of(classes) {
            return Err(MetricsError::TargetCount { classes, got: targets.len() });
        }
        let rows = targets.len() / classes;
        check_scores(scores, rows, &self.findings)?;
        let cells = scores.chunks_exact(classes).zip(targets.chunks_exact(classes));
        for (row, (scores, targets)) in cells.clone().enumerate() {
            for ((finding, &score), &target) in self.findings.iter().zip(scores).zip(targets) {
                self.check_score(row, finding, score)?;
                check_target(row, finding, target)?;
            }
        }
        for (scores, targets) in cells {
            for ((column, &score), target) in self.columns.iter_mut().zip(scores).zip(targets) {
                if let Some(target) = target {
                    column.scores.push(score);
                    column.positive.push(*target == 1.0);
                }
            }
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Refuses a score that does not fit the scale in force.
    fn check_score(&self, row: usize, finding: &str, value: f32) -> Result<()> {
        if !value.is_finite() {
            return Err(MetricsError::NonFiniteScore { row, class: finding.to_owned(), value });
        }
        if self.threshold.is_none() && !(0.0..=1.0).contains(&value) {
            return Err(MetricsError::NotAProbability { row, class: finding.to_owned(), value });
        }
        Ok(())
    }

    /// The report of one finding.
    fn class_report(&self, finding: &str, column: &Column) -> ClassReport {
        let threshold = self.threshold.unwrap_or(HALF);
        let samples = column.scores.iter().copied().zip(column.positive.iter().copied());
        let mut counts = BinaryCounts::default();
        for (score, positive) in samples.clone() {
            counts.record(positive, score > threshold);
        }
        let missing = self.rows - counts.total();
        ClassReport::new(finding, counts, missing, &Ranking::new(samples), self.zero_division)
    }
}

impl Metric for MultiLabel {
    fn update(&mut self, batch: &Batch<'_>) -> Result<()> {
        match batch.targets {
            Targets::Findings(targets) => Self::update(self, batch.scores, targets),
            Targets::Classes(_) => {
                Err(MetricsError::WrongTargets { expected: "one value per finding and row" })
            }
        }
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.findings != other.findings {
            return Err(MetricsError::Mismatch { what: "findings" });
        }
        if self.threshold != other.threshold {
            return Err(MetricsError::Mismatch { what: "decision threshold" });
        }
        if self.zero_division != other.zero_division {
            return Err(MetricsError::Mismatch { what: "meaning of 0/0" });
        }
        self.rows = self.rows.checked_add(other.rows).ok_or(MetricsError::TooManySamples)?;
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            column.scores.extend_from_slice(&more.scores);
            column.positive.extend_from_slice(&more.positive);
        }
        Ok(())
    }

    fn compute(&self) -> Result<Report> {
        let pairs = self.findings.iter().zip(&self.columns);
        let classes: Vec<_> = pairs.map(|(name, column)| self.class_report(name, column)).collect();
        Ok(Report {
            task: Task::MultiLabel,
            samples: self.rows,
            accuracy: Summary::mean(&classes, |class| class.accuracy),
            balanced_accuracy: Summary::mean(&classes, |class| class.balanced_accuracy),
            precision_macro: Summary::mean(&classes, |class| class.precision),
            recall_macro: Summary::mean(&classes, |class| class.recall),
            f1_macro: Summary::mean(&classes, |class| class.f1),
            mcc: Summary::mean(&classes, |class| class.mcc),
            auroc_macro: Summary::mean(&classes, |class| class.auroc),
            ap_macro: Summary::mean(&classes, |class| class.average_precision),
            classes,
            confusion: None,
        })
    }
}

/// Refuses a soft target.
fn check_target(row: usize, finding: &str, target: Option<f32>) -> Result<()> {
    match target {
        Some(value) if value != 0.0 && value != 1.0 => {
            Err(MetricsError::SoftTarget { row, class: finding.to_owned(), value })
        }
        _ => Ok(()),
    }
}
