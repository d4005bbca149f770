//! Measures by name.

use serde::{Deserialize, Serialize};

use crate::{Average, CalibrationError, CountScore, KappaWeights, MetricsError, Result, Task};

/// Over what a per-class score is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All classes.
    All(Average),
    /// One class against the rest, by its index.
    Class(usize),
}

/// A number that sums up predictions. [`Evaluator`](crate::Evaluator) computes it, on all samples,
/// on resamples and on subgroups alike.
///
/// [`name`](Self::name) and [`parse`](Self::parse) translate to texts: `accuracy`,
/// `balanced_accuracy`, `top_5_accuracy`, `mcc`, `kappa`, `kappa_linear`, `kappa_quadratic`,
/// `brier`, `log_loss`, `ece`, `mce`, `ace`, `hamming_loss`, `subset_accuracy`, `auroc_ovo_macro`,
/// `auroc_ovo_weighted`; and `precision`, `recall`, `specificity`, `f1` (or `f2`, `f0.5`, …), `iou`,
/// `auroc`, `ap`, `sensitivity_at_0.9` followed by `_macro`, `_micro`, `_weighted`, or by a class
/// in brackets: `recall[polyp]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// Share of right predictions; for findings the mean of their accuracies.
    Accuracy,
    /// Share of samples whose class is among the `k` highest scores.
    TopK(usize),
    /// Mean recall of the classes that occur; for findings the mean of (recall + specificity)/2.
    BalancedAccuracy,
    /// A score of the decisions.
    Count(CountScore, Over),
    /// Multi-class [`mcc`](crate::mcc()); for findings the mean.
    Mcc,
    /// [`cohen_kappa`](crate::cohen_kappa).
    Kappa(KappaWeights),
    /// One-versus-rest [`auroc`](crate::auroc()).
    Auroc(Over),
    /// [`auroc_one_vs_one`](crate::auroc_one_vs_one).
    AurocOneVsOne(Average),
    /// [`average_precision`](crate::average_precision()).
    AveragePrecision(Over),
    /// [`sensitivity_at_specificity`](crate::sensitivity_at_specificity) with this specificity.
    SensitivityAt(f64, Over),
    /// [`brier_score_classes`](crate::brier_score_classes); for findings the mean.
    Brier,
    /// [`log_loss_classes`](crate::log_loss_classes); for findings the mean.
    LogLoss,
    /// Of the highest score of each sample; for findings the mean.
    Calibration(CalibrationError),
    /// [`hamming_loss`](crate::hamming_loss).
    HammingLoss,
    /// [`subset_accuracy`](crate::subset_accuracy).
    SubsetAccuracy,
}

/// Names of means.
const AVERAGES: [(&str, Average); 3] =
    [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)];

/// Names without parameters.
const PLAIN: [(&str, Measure); 12] = [
    ("accuracy", Measure::Accuracy),
    ("balanced_accuracy", Measure::BalancedAccuracy),
    ("mcc", Measure::Mcc),
    ("kappa", Measure::Kappa(KappaWeights::None)),
    ("kappa_linear", Measure::Kappa(KappaWeights::Linear)),
    ("kappa_quadratic", Measure::Kappa(KappaWeights::Quadratic)),
    ("brier", Measure::Brier),
    ("log_loss", Measure::LogLoss),
    ("hamming_loss", Measure::HammingLoss),
    ("subset_accuracy", Measure::SubsetAccuracy),
    ("auroc_ovo_macro", Measure::AurocOneVsOne(Average::Macro)),
    ("auroc_ovo_weighted", Measure::AurocOneVsOne(Average::Weighted)),
];

impl Measure {
    /// Macro F1.
    pub const F1_MACRO: Self = Self::Count(CountScore::FBeta(1.0), Over::All(Average::Macro));
    /// Macro one-versus-rest AUROC.
    pub const AUROC_MACRO: Self = Self::Auroc(Over::All(Average::Macro));
    /// Macro one-versus-rest average precision.
    pub const AP_MACRO: Self = Self::AveragePrecision(Over::All(Average::Macro));

    /// What a report shows first for this kind of task.
    #[must_use]
    pub fn headline(task: Task) -> Vec<Self> {
        let count = |score| Self::Count(score, Over::All(Average::Macro));
        let mut measures = vec![Self::Accuracy, Self::BalancedAccuracy];
        measures.extend([count(CountScore::Precision), count(CountScore::Recall), Self::F1_MACRO]);
        measures.extend([Self::Mcc, Self::AUROC_MACRO, Self::AP_MACRO]);
        match task {
            Task::SingleLabel => measures.push(Self::Kappa(KappaWeights::None)),
            Task::MultiLabel => measures.extend([Self::HammingLoss, Self::SubsetAccuracy]),
        }
        measures
    }

    /// What a report shows of probabilities.
    #[must_use]
    pub fn of_probabilities() -> Vec<Self> {
        vec![Self::Brier, Self::LogLoss, Self::Calibration(CalibrationError::ECE)]
    }

    /// Whether more is better; otherwise less is.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::Brier | Self::LogLoss | Self::Calibration(_) | Self::HammingLoss)
    }

    /// The name; `classes` are the names of the classes.
    #[must_use]
    pub fn name(self, classes: &[String]) -> String {
        if let Some((name, _)) = PLAIN.iter().find(|(_, measure)| *measure == self) {
            return (*name).to_owned();
        }
        let (base, over) = match self {
            Self::TopK(k) => return format!("top_{k}_accuracy"),
            Self::Calibration(error) => return calibration_name(error),
            Self::Count(score, over) => (count_name(score), over),
            Self::Auroc(over) => ("auroc".to_owned(), over),
            Self::AveragePrecision(over) => ("ap".to_owned(), over),
            Self::SensitivityAt(specificity, over) => {
                (format!("sensitivity_at_{specificity}"), over)
            }
            other => return format!("{other:?}"),
        };
        match over {
            Over::Class(class) => {
                let unknown = class.to_string();
                format!("{base}[{}]", classes.get(class).unwrap_or(&unknown))
            }
            Over::All(average) => {
                let name = AVERAGES.iter().find(|(_, known)| *known == average);
                format!("{base}_{}", name.map_or("", |(name, _)| name))
            }
        }
    }

    /// The measure of a name.
    ///
    /// # Errors
    /// No measure, or no class, has it.
    pub fn parse(name: &str, classes: &[String]) -> Result<Self> {
        Self::lookup(name, classes)
            .ok_or_else(|| MetricsError::UnknownMeasure { name: name.to_owned() })
    }

    fn lookup(name: &str, classes: &[String]) -> Option<Self> {
        if let Some((_, measure)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Some(*measure);
        }
        let errors = [CalibrationError::ECE, CalibrationError::MCE, CalibrationError::ACE];
        if let Some(error) = errors.into_iter().find(|error| calibration_name(*error) == name) {
            return Some(Self::Calibration(error));
        }
        if let Some(k) = name.strip_prefix("top_").and_then(|rest| rest.strip_suffix("_accuracy")) {
            return k.parse().ok().filter(|k| *k > 0).map(Self::TopK);
        }
        let (base, over) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((base, class)) => {
                (base, Over::Class(classes.iter().position(|known| known == class)?))
            }
            None => {
                let (base, average) = name.rsplit_once('_')?;
                let (_, average) = AVERAGES.iter().find(|(known, _)| *known == average)?;
                (base, Over::All(*average))
            }
        };
        match base {
            "auroc" => Some(Self::Auroc(over)),
            "ap" => Some(Self::AveragePrecision(over)),
            _ => match base.strip_prefix("sensitivity_at_") {
                Some(share) => {
                    let share = share.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
                    Some(Self::SensitivityAt(share, over))
                }
                None => Some(Self::Count(count_score(base)?, over)),
            },
        }
    }
}

fn count_name(score: CountScore) -> String {
    match score {
        CountScore::Accuracy => "accuracy".to_owned(),
        CountScore::Precision => "precision".to_owned(),
        CountScore::Recall => "recall".to_owned(),
        CountScore::Specificity => "specificity".to_owned(),
        CountScore::FBeta(beta) => format!("f{beta}"),
        CountScore::BalancedAccuracy => "balanced_accuracy".to_owned(),
        CountScore::Mcc => "mcc".to_owned(),
        CountScore::Iou => "iou".to_owned(),
    }
}

fn count_score(name: &str) -> Option<CountScore> {
    let known = [
        CountScore::Accuracy,
        CountScore::Precision,
        CountScore::Recall,
        CountScore::Specificity,
        CountScore::BalancedAccuracy,
        CountScore::Mcc,
        CountScore::Iou,
    ];
    let plain = known.into_iter().find(|score| count_name(*score) == name);
    let beta = || name.strip_prefix('f')?.parse().ok().filter(|b: &f64| b.is_finite() && *b > 0.0);
    plain.or_else(|| beta().map(CountScore::FBeta))
}

fn calibration_name(error: CalibrationError) -> String {
    let plain = [
        ("ece", CalibrationError::ECE),
        ("mce", CalibrationError::MCE),
        ("ace", CalibrationError::ACE),
    ];
    let name = plain.into_iter().find(|(_, known)| *known == error);
    name.map_or_else(
        || {
            format!("calibration_{:?}_{:?}_{}", error.norm, error.binning, error.bins)
                .to_lowercase()
        },
        |(name, _)| name.to_owned(),
    )
}
