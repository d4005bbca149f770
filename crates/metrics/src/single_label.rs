//! One class per sample.

use serde::{Deserialize, Serialize};

use crate::metric::{check_names, check_scores};
use crate::ranking::Ranking;
use crate::report::{ClassReport, Report, Summary, Task};
use crate::{
    Batch, ConfusionMatrix, Metric, MetricsError, Result, Targets, Value, ZeroDivision, mcc,
};

/// Metrics where every sample has exactly one class.
///
/// The prediction is the highest score of a row, the lowest class index among equals. AUROC and
/// average precision are one-versus-rest on the scores as given: logits and softmax
/// probabilities rank samples differently, since each row has its own normaliser. Pass
/// probabilities to compare with `roc_auc_score(…, multi_class="ovr")`.
///
/// Keeps all scores (4 bytes each) for the exact ranking metrics. Serialise it to move it between
/// processes or into a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "State")]
pub struct SingleLabel {
    classes: Vec<String>,
    zero_division: ZeroDivision,
    scores: Vec<f32>,
    targets: Vec<usize>,
    #[serde(skip)]
    confusion: ConfusionMatrix,
}

/// What is read back; it goes through the same checks as fresh input.
#[derive(Deserialize)]
struct State {
    classes: Vec<String>,
    zero_division: ZeroDivision,
    scores: Vec<f32>,
    targets: Vec<usize>,
}

impl TryFrom<State> for SingleLabel {
    type Error = MetricsError;

    fn try_from(state: State) -> Result<Self> {
        let mut metric = Self::new(state.classes)?.with_zero_division(state.zero_division);
        metric.update(&state.scores, &state.targets)?;
        Ok(metric)
    }
}

impl SingleLabel {
    /// Metrics over these classes; class `i` of the targets and column `i` of the scores is
    /// `classes[i]`.
    ///
    /// # Errors
    /// The list is empty or names a class twice.
    pub fn new(classes: Vec<String>) -> Result<Self> {
        check_names(&classes)?;
        let confusion = ConfusionMatrix::new(classes.len());
        let zero_division = ZeroDivision::default();
        Ok(Self { classes, zero_division, scores: Vec::new(), targets: Vec::new(), confusion })
    }

    /// Sets what 0/0 means; by default it is undefined.
    #[must_use]
    pub fn with_zero_division(mut self, zero_division: ZeroDivision) -> Self {
        self.zero_division = zero_division;
        self
    }

    /// The class names.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Samples seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether no sample has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Adds samples: `scores` is row-major rows × classes (probabilities or logits), `targets`
    /// holds one class index per row.
    ///
    /// # Errors
    /// The lengths do not fit, a score is not finite, or a target is no class; row and value are
    /// named, and nothing has been added.
    pub fn update(&mut self, scores: &[f32], targets: &[usize]) -> Result<()> {
        check_scores(scores, targets.len(), &self.classes)?;
        let classes = self.classes.len();
        if let Some((row, &target)) = targets.iter().enumerate().find(|(_, t)| **t >= classes) {
            return Err(MetricsError::TargetOutOfRange { row, target, classes });
        }
        for (row, &target) in scores.chunks_exact(classes).zip(targets) {
            self.confusion.record(target, argmax(row))?;
        }
        self.scores.extend_from_slice(scores);
        self.targets.extend_from_slice(targets);
        Ok(())
    }

    /// One-versus-rest ranking of one class.
    fn ranking(&self, class: usize) -> Ranking {
        let column = self.scores.iter().skip(class).step_by(self.classes.len()).copied();
        Ranking::new(column.zip(self.targets.iter().map(|&target| target == class)))
    }

    /// The report of every class.
    fn class_reports(&self) -> Vec<ClassReport> {
        let counts = self.confusion.one_vs_rest();
        self.classes
            .iter()
            .zip(counts)
            .enumerate()
            .map(|(class, (name, counts))| {
                ClassReport::new(name, counts, 0, &self.ranking(class), self.zero_division)
            })
            .collect()
    }

    /// Mean recall of the classes that have samples, whatever 0/0 means elsewhere.
    fn balanced_accuracy(&self, classes: &[ClassReport]) -> Summary {
        Summary::mean(classes, |class| class.counts.recall())
    }
}

impl Metric for SingleLabel {
    fn update(&mut self, batch: &Batch<'_>) -> Result<()> {
        match batch.targets {
            Targets::Classes(targets) => Self::update(self, batch.scores, targets),
            Targets::Findings(_) => {
                Err(MetricsError::WrongTargets { expected: "one class index per row" })
            }
        }
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.classes != other.classes {
            return Err(MetricsError::Mismatch { what: "classes" });
        }
        if self.zero_division != other.zero_division {
            return Err(MetricsError::Mismatch { what: "meaning of 0/0" });
        }
        self.confusion.merge(&other.confusion)?;
        self.scores.extend_from_slice(&other.scores);
        self.targets.extend_from_slice(&other.targets);
        Ok(())
    }

    fn compute(&self) -> Result<Report> {
        let classes = self.class_reports();
        let mcc: Value = self.zero_division.apply(mcc(&self.confusion));
        Ok(Report {
            task: Task::SingleLabel,
            samples: self.targets.len() as u64,
            accuracy: Summary::of(self.confusion.accuracy()),
            balanced_accuracy: self.balanced_accuracy(&classes),
            precision_macro: Summary::mean(&classes, |class| class.precision),
            recall_macro: Summary::mean(&classes, |class| class.recall),
            f1_macro: Summary::mean(&classes, |class| class.f1),
            mcc: Summary::of(mcc),
            auroc_macro: Summary::mean(&classes, |class| class.auroc),
            ap_macro: Summary::mean(&classes, |class| class.average_precision),
            classes,
            confusion: Some(self.confusion.clone()),
        })
    }
}

/// The position of the highest score, the first among equals.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in row.iter().enumerate() {
        if score > best.1 {
            best = (class, score);
        }
    }
    best.0
}
