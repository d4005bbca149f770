//! Any measure of predictions under any weights: all samples, a subgroup, a resample.

mod compute;
mod prepare;

use serde::{Deserialize, Serialize};

use crate::calibration::Events;
use crate::ranking::Ranking;
use crate::{Measure, MetricsError, Predictions, Result, Task, Value, ZeroDivision};

pub(crate) use compute::{Outcome, Scratch};

/// What to do with a class whose AUROC or average precision is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AucMissing {
    /// Leave it out of the mean and say so.
    #[default]
    Skip,
    /// Refuse to compute the mean.
    Error,
    /// Count it as 0, then leave out every 0, a true 0 as well. Some published code does this
    /// (medical_mae); use it only to compare with its numbers.
    ZeroThenSkip,
}

/// The type that scores are rounded to before anything is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreType {
    /// As they are.
    #[default]
    F32,
    /// Half precision, which makes ties. Published numbers computed under mixed precision have
    /// them; use it only to compare with those.
    F16,
}

/// What a measure means where there is a choice. The defaults are the ones to publish.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conventions {
    /// What 0/0 is.
    pub zero_division: ZeroDivision,
    /// What an undefined AUROC does to a mean.
    pub auc_missing: AucMissing,
    /// What scores are rounded to.
    pub metric_dtype: ScoreType,
    /// Findings are predicted where the score is above its threshold; empty means 0.5 for all.
    pub thresholds: Vec<f32>,
}

/// Predictions made ready: sorted once per class, so that measures of the whole, of subgroups and
/// of thousands of resamples are passes over integer weights.
///
/// Rows of single-label predictions whose class is unknown are left out; unknown findings are left
/// out one by one.
#[derive(Debug, Clone)]
pub struct Evaluator {
    task: Task,
    classes: Vec<String>,
    conventions: Conventions,
    /// Row of the predictions for each row here.
    kept: Vec<usize>,
    /// Group of each row here.
    groups: Vec<Option<u32>>,
    single: Option<Single>,
    multi: Option<Multi>,
    rankings: Vec<Ranking>,
    micro: Ranking,
    probabilities: std::result::Result<Probabilities, MetricsError>,
}

/// Decisions about exclusive classes.
#[derive(Debug, Clone)]
struct Single {
    truth: Vec<u32>,
    predicted: Vec<u32>,
    /// How many classes score above the true one.
    place: Vec<u32>,
}

/// Decisions about findings.
#[derive(Debug, Clone)]
struct Multi {
    /// Known cells of each finding: row, truth, decision.
    cells: Vec<Vec<(u32, bool, bool)>>,
    /// Per row: known findings, wrong ones.
    rows: Vec<(u32, u32)>,
}

/// What can be computed only from probabilities: one entry for exclusive classes, one per finding
/// otherwise.
#[derive(Debug, Clone)]
struct Probabilities {
    /// (row, squared error, surprise).
    losses: Vec<Vec<(u32, f64, f64)>>,
    events: Vec<Events>,
}

impl Evaluator {
    /// Prepares predictions with the default [`Conventions`].
    ///
    /// # Errors
    /// There are more than 2³⁰ rows.
    pub fn new(predictions: &Predictions) -> Result<Self> {
        Self::with_conventions(predictions, Conventions::default())
    }

    /// Prepares predictions.
    ///
    /// # Errors
    /// There are more than 2³⁰ rows; there is not one threshold per class.
    pub fn with_conventions(predictions: &Predictions, conventions: Conventions) -> Result<Self> {
        prepare::evaluator(predictions, conventions)
    }

    /// What is predicted.
    #[must_use]
    pub fn task(&self) -> Task {
        self.task
    }

    /// Names of the classes or findings.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The conventions in force.
    #[must_use]
    pub fn conventions(&self) -> &Conventions {
        &self.conventions
    }

    /// Rows that count: those of the predictions at these places.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.kept
    }

    /// A measure of all samples.
    ///
    /// # Errors
    /// The measure does not exist for this task, needs probabilities where the scores are none, or
    /// names a class that does not exist; an undefined AUROC under [`AucMissing::Error`].
    pub fn value(&self, measure: Measure) -> Result<Value> {
        let value = self.values(&[measure])?.pop();
        value.ok_or(MetricsError::Mismatch { what: "number of measures" })
    }

    /// Several measures of all samples.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn values(&self, measures: &[Measure]) -> Result<Vec<Value>> {
        self.values_of(measures, &vec![1; self.kept.len()])
    }

    /// Several measures of the samples with these weights, one per row of
    /// [`rows`](Self::rows): how often the sample counts.
    ///
    /// # Errors
    /// As [`value`](Self::value); there is not one weight per row.
    pub fn values_of(&self, measures: &[Measure], weights: &[u32]) -> Result<Vec<Value>> {
        self.check(measures)?;
        MetricsError::check_length("weights", self.kept.len(), weights.len())?;
        let mut scratch = Scratch::new(self);
        let outcomes = self.compute(measures, weights, &mut scratch);
        for (measure, outcome) in measures.iter().zip(outcomes) {
            self.refuse_missing(*measure, outcome)?;
        }
        Ok(outcomes.iter().map(|outcome| outcome.value).collect())
    }

    /// Applies [`AucMissing::Error`].
    fn refuse_missing(&self, measure: Measure, outcome: &Outcome) -> Result<()> {
        match (self.conventions.auc_missing, measure, outcome.value) {
            (
                AucMissing::Error,
                Measure::Auroc(_) | Measure::AveragePrecision(_),
                Value::Undefined(reason),
            ) => {
                let class = match measure {
                    Measure::Auroc(crate::Over::Class(class)) => self.classes.get(class).cloned(),
                    _ => None,
                };
                let class = class.unwrap_or_else(|| "a class".to_owned());
                Err(MetricsError::UndefinedValue {
                    measure: "AUROC or average precision",
                    class,
                    reason,
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses measures that these predictions do not have.
    pub(crate) fn check(&self, measures: &[Measure]) -> Result<()> {
        for &measure in measures {
            let single_only =
                matches!(measure, Measure::TopK(_) | Measure::Kappa(_) | Measure::AurocOneVsOne(_));
            let multi_only = matches!(measure, Measure::HammingLoss | Measure::SubsetAccuracy);
            let wrong = match self.task {
                Task::SingleLabel if multi_only => Some("single-label"),
                Task::MultiLabel if single_only => Some("multi-label"),
                _ => None,
            };
            if let Some(task) = wrong {
                let measure = measure.name(&self.classes);
                return Err(MetricsError::WrongTask { measure, task });
            }
            match measure {
                Measure::Brier | Measure::LogLoss => {
                    self.probabilities.as_ref().map_err(Clone::clone)?;
                }
                Measure::Calibration(error) => {
                    error.empty()?;
                    self.probabilities.as_ref().map_err(Clone::clone)?;
                }
                Measure::AurocOneVsOne(crate::Average::Micro) => {
                    return Err(MetricsError::setting("the average", "micro", "macro or weighted"));
                }
                Measure::TopK(0) => return Err(MetricsError::setting("k", 0, "at least 1")),
                Measure::SensitivityAt(share, _) => {
                    crate::curves::check_share("the specificity", share)?;
                }
                Measure::Count(crate::CountScore::FBeta(beta), _)
                    if !(beta.is_finite() && beta > 0.0) =>
                {
                    return Err(MetricsError::setting("beta", beta, "finite and positive"));
                }
                _ => {}
            }
            self.check_class(measure)?;
        }
        Ok(())
    }

    fn check_class(&self, measure: Measure) -> Result<()> {
        let (Measure::Count(_, over)
        | Measure::Auroc(over)
        | Measure::AveragePrecision(over)
        | Measure::SensitivityAt(_, over)) = measure
        else {
            return Ok(());
        };
        match over {
            crate::Over::Class(class) if class >= self.classes.len() => {
                Err(MetricsError::setting("the class of a measure", class, "one of the classes"))
            }
            _ => Ok(()),
        }
    }

    /// The group of a row.
    pub(crate) fn group_of(&self, row: usize) -> Option<u32> {
        self.groups.get(row).copied().flatten()
    }

    /// The classes that are true of a row.
    pub(crate) fn labels_of(&self, row: usize) -> Vec<u32> {
        match (&self.single, &self.multi) {
            (Some(single), _) => single.truth.get(row).copied().into_iter().collect(),
            (None, Some(multi)) => {
                let positive = |(_, cells): &(usize, &Vec<(u32, bool, bool)>)| {
                    let cell = cells.binary_search_by_key(&(row as u32), |cell| cell.0);
                    cell.ok().and_then(|place| cells.get(place)).is_some_and(|cell| cell.1)
                };
                let classes = multi.cells.iter().enumerate().filter(positive);
                classes.map(|(class, _)| class as u32).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// The ranking of one class against the rest.
    pub(crate) fn ranking(&self, class: usize) -> Option<&Ranking> {
        self.rankings.get(class)
    }
}
