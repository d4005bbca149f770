//! What a model said about a set of samples, and what is true.

mod csv;
mod safetensors;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::metric::{check_names, check_scores};
use crate::{MetricsError, Result, Task};

/// Which part of the data predictions are on. Thresholds and calibration refuse to be fitted on
/// [`Part::Test`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the weights were fitted on.
    Train,
    /// What choices are made on: epochs, thresholds, calibration.
    Validation,
    /// What is reported.
    #[default]
    Test,
}

/// The truth of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowTarget<'a> {
    /// One class, `None` if unknown.
    Class(Option<usize>),
    /// One value per finding: exactly 0 or 1, `None` if unknown.
    Findings(&'a [Option<f32>]),
}

/// The truth of all samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Truth {
    /// One class per row.
    Classes(Vec<Option<usize>>),
    /// Row-major rows × findings.
    Findings(Vec<Option<bool>>),
}

/// Scores, truth, and what is known of each sample: its id, its group (the patient) and any
/// columns to form subgroups by (sex, age band, view, site).
///
/// Built row by row with [`push`](Self::push), from several workers with
/// [`merge`](Self::merge), or read from a file. Everything else in this crate, from intervals to
/// the report, is computed from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    task: Task,
    part: Part,
    classes: Vec<String>,
    ids: Vec<String>,
    groups: Vec<Option<String>>,
    scores: Vec<f32>,
    truth: Truth,
    columns: BTreeMap<String, Vec<String>>,
}

impl Predictions {
    /// Predictions on no samples yet.
    ///
    /// # Errors
    /// The list of classes is empty or names one twice.
    pub fn new(task: Task, classes: Vec<String>, part: Part) -> Result<Self> {
        check_names(&classes)?;
        let truth = match task {
            Task::SingleLabel => Truth::Classes(Vec::new()),
            Task::MultiLabel => Truth::Findings(Vec::new()),
        };
        let (ids, groups, scores, columns) = Default::default();
        Ok(Self { task, part, classes, ids, groups, scores, truth, columns })
    }

    /// Predictions of exclusive classes from plain slices: `scores` row-major rows × classes. Ids
    /// are the row numbers, and there are no groups.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`push`](Self::push).
    pub fn single_label(
        classes: Vec<String>,
        part: Part,
        scores: &[f32],
        targets: &[usize],
    ) -> Result<Self> {
        let mut predictions = Self::new(Task::SingleLabel, classes, part)?;
        let width = predictions.classes.len();
        check_scores(scores, targets.len(), &predictions.classes)?;
        for (row, (scores, &target)) in scores.chunks_exact(width).zip(targets).enumerate() {
            predictions.push(&row.to_string(), None, scores, RowTarget::Class(Some(target)))?;
        }
        Ok(predictions)
    }

    /// Predictions of findings from plain slices, row-major rows × findings. Ids are the row
    /// numbers, and there are no groups.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`push`](Self::push).
    pub fn multi_label(
        findings: Vec<String>,
        part: Part,
        scores: &[f32],
        targets: &[Option<f32>],
    ) -> Result<Self> {
        let mut predictions = Self::new(Task::MultiLabel, findings, part)?;
        let width = predictions.classes.len();
        if !targets.len().is_multiple_of(width) {
            return Err(MetricsError::TargetCount { classes: width, got: targets.len() });
        }
        check_scores(scores, targets.len() / width, &predictions.classes)?;
        let rows = scores.chunks_exact(width).zip(targets.chunks_exact(width));
        for (row, (scores, targets)) in rows.enumerate() {
            predictions.push(&row.to_string(), None, scores, RowTarget::Findings(targets))?;
        }
        Ok(predictions)
    }

    /// Adds one sample: its scores are one per class. Rows without a `group` count as patients of
    /// their own.
    ///
    /// # Errors
    /// The number of scores or targets does not fit; a score is not finite; the target is no class
    /// or neither 0 nor 1; the other kind of target; columns have been set already. Nothing has
    /// been added then.
    pub fn push(
        &mut self,
        id: &str,
        group: Option<&str>,
        scores: &[f32],
        target: RowTarget<'_>,
    ) -> Result<()> {
        let row = self.ids.len();
        if !self.columns.is_empty() {
            return Err(MetricsError::Mismatch { what: "rows and columns: add all rows first" });
        }
        let located = |error| match error {
            MetricsError::NonFiniteScore { class, value, .. } => {
                MetricsError::NonFiniteScore { row, class, value }
            }
            other => other,
        };
        check_scores(scores, 1, &self.classes).map_err(located)?;
        let classes = self.classes.len();
        match (&mut self.truth, target) {
            (Truth::Classes(truth), RowTarget::Class(target)) => {
                if let Some(target) = target.filter(|target| *target >= classes) {
                    return Err(MetricsError::TargetOutOfRange { row, target, classes });
                }
                truth.push(target);
            }
            (Truth::Findings(truth), RowTarget::Findings(targets)) => {
                MetricsError::check_length("targets", classes, targets.len())?;
                for (class, target) in self.classes.iter().zip(targets) {
                    if let Some(value) = target.filter(|value| *value != 0.0 && *value != 1.0) {
                        return Err(MetricsError::SoftTarget { row, class: class.clone(), value });
                    }
                }
                truth.extend(targets.iter().map(|target| target.map(|value| value == 1.0)));
            }
            (Truth::Classes(_), RowTarget::Findings(_)) => {
                return Err(MetricsError::WrongTargets { expected: "one class index per row" });
            }
            (Truth::Findings(_), RowTarget::Class(_)) => {
                return Err(MetricsError::WrongTargets {
                    expected: "one value per finding and row",
                });
            }
        }
        self.scores.extend_from_slice(scores);
        self.ids.push(id.to_owned());
        self.groups.push(group.map(str::to_owned));
        Ok(())
    }

    /// Adds a column to form subgroups by, one text per row; an empty text is "unknown".
    ///
    /// # Errors
    /// There are not as many values as rows.
    pub fn with_column(mut self, name: &str, values: Vec<String>) -> Result<Self> {
        MetricsError::check_length("values of a column", self.len(), values.len())?;
        self.columns.insert(name.to_owned(), values);
        Ok(self)
    }

    /// Replaces the scores, as calibration does; row-major rows × classes.
    ///
    /// # Errors
    /// There are not rows × classes of them; one is not finite.
    pub fn with_scores(mut self, scores: Vec<f32>) -> Result<Self> {
        check_scores(&scores, self.len(), &self.classes)?;
        self.scores = scores;
        Ok(self)
    }

    /// Appends the rows of another worker or process.
    ///
    /// # Errors
    /// Task, part, classes or columns differ; nothing has been added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.classes != other.classes || self.task != other.task {
            return Err(MetricsError::Mismatch { what: "classes" });
        }
        if self.part != other.part {
            return Err(MetricsError::Mismatch { what: "part of the data" });
        }
        if self.columns.keys().ne(other.columns.keys()) {
            return Err(MetricsError::Mismatch { what: "columns" });
        }
        match (&mut self.truth, &other.truth) {
            (Truth::Classes(mine), Truth::Classes(more)) => mine.extend_from_slice(more),
            (Truth::Findings(mine), Truth::Findings(more)) => mine.extend_from_slice(more),
            _ => return Err(MetricsError::Mismatch { what: "classes" }),
        }
        for (mine, more) in self.columns.values_mut().zip(other.columns.values()) {
            mine.extend_from_slice(more);
        }
        self.scores.extend_from_slice(&other.scores);
        self.ids.extend_from_slice(&other.ids);
        self.groups.extend_from_slice(&other.groups);
        Ok(())
    }

    /// The rows of `other` in the order of the ids here, so that two models can be compared.
    ///
    /// # Errors
    /// An id occurs twice; the two do not hold the same ids with the same truth.
    pub fn align(&self, other: &Self) -> Result<Self> {
        let places = unique(&other.ids)?;
        unique(&self.ids)?;
        if self.len() != other.len() || self.classes != other.classes || self.task != other.task {
            return Err(MetricsError::Mismatch { what: "samples or classes of two models" });
        }
        let order: Option<Vec<usize>> =
            self.ids.iter().map(|id| places.get(id.as_str()).copied()).collect();
        let order = order.ok_or(MetricsError::Mismatch { what: "ids of two models" })?;
        let aligned = other.select(&order);
        if aligned.truth != self.truth {
            return Err(MetricsError::Mismatch { what: "truth of two models" });
        }
        Ok(aligned)
    }

    /// The same without columns.
    pub(crate) fn without_columns(mut self) -> Self {
        self.columns.clear();
        self
    }

    /// The given rows, in that order; rows beyond the last are skipped.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let width = self.classes.len();
        let wide = |row: &usize| row * width..(row + 1) * width;
        Self {
            task: self.task,
            part: self.part,
            classes: self.classes.clone(),
            ids: pick(&self.ids, rows),
            groups: pick(&self.groups, rows),
            scores: rows
                .iter()
                .filter_map(|r| self.scores.get(wide(r)))
                .flatten()
                .copied()
                .collect(),
            truth: match &self.truth {
                Truth::Classes(truth) => Truth::Classes(pick(truth, rows)),
                Truth::Findings(truth) => Truth::Findings(
                    rows.iter().filter_map(|r| truth.get(wide(r))).flatten().copied().collect(),
                ),
            },
            columns: self.columns.iter().map(|(k, v)| (k.clone(), pick(v, rows))).collect(),
        }
    }

    /// What is predicted.
    #[must_use]
    pub fn task(&self) -> Task {
        self.task
    }

    /// Which part of the data this is.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// Names of the classes or findings.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Id of every sample.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Group (patient) of every sample.
    #[must_use]
    pub fn groups(&self) -> &[Option<String>] {
        &self.groups
    }

    /// Row-major rows × classes.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Names of the columns for subgroups.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The values of a column.
    ///
    /// # Errors
    /// There is no such column.
    pub fn column(&self, name: &str) -> Result<&[String]> {
        self.columns.get(name).map(Vec::as_slice).ok_or_else(|| MetricsError::UnknownColumn {
            name: name.to_owned(),
            known: self.columns.keys().cloned().collect(),
        })
    }

    /// The true class of a row; `None` if unknown, or for findings.
    #[must_use]
    pub fn class_of(&self, row: usize) -> Option<usize> {
        match &self.truth {
            Truth::Classes(truth) => truth.get(row).copied().flatten(),
            Truth::Findings(_) => None,
        }
    }

    /// Whether class `class` is true of `row`; `None` if unknown.
    #[must_use]
    pub fn is_positive(&self, row: usize, class: usize) -> Option<bool> {
        if class >= self.classes.len() {
            return None;
        }
        match &self.truth {
            Truth::Classes(truth) => truth.get(row).copied().flatten().map(|t| t == class),
            Truth::Findings(truth) => {
                truth.get(row * self.classes.len() + class).copied().flatten()
            }
        }
    }

    /// The scores of a row; empty beyond the last.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.classes.len();
        self.scores.get(row * width..(row + 1) * width).unwrap_or(&[])
    }

    /// Scores and truth of one class against the rest, without rows where it is unknown.
    #[must_use]
    pub fn one_vs_rest(&self, class: usize) -> (Vec<f32>, Vec<bool>) {
        let rows = 0..self.len();
        let known = |row| Some((*self.row(row).get(class)?, self.is_positive(row, class)?));
        rows.filter_map(known).unzip()
    }

    /// Refuses the test part.
    pub(crate) fn check_fittable(&self, what: &'static str) -> Result<()> {
        match self.part {
            Part::Test => Err(MetricsError::FittedOnTest { what }),
            Part::Train | Part::Validation => Ok(()),
        }
    }
}

/// The values at some places.
fn pick<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|place| values.get(*place).cloned()).collect()
}

/// Where each id is.
fn unique(ids: &[String]) -> Result<HashMap<&str, usize>> {
    let mut places = HashMap::with_capacity(ids.len());
    for (second, id) in ids.iter().enumerate() {
        if let Some(first) = places.insert(id.as_str(), second) {
            return Err(MetricsError::DuplicateId { id: id.clone(), first, second });
        }
    }
    Ok(places)
}
