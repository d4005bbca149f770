//! The report of an evaluation: numbers, a page to read, tables and plots for papers.

mod build;
mod decisions;
mod html;
mod pictures;
mod plots;
mod tables;
mod text;
mod write;

use serde::{Deserialize, Serialize};

use crate::{
    Band, Bootstrap, ConfusionMatrix, Conventions, Estimate, Inconsistency, Part, ReliabilityBin,
    Subgroups, Task,
};

pub use build::ReportBuilder;
pub use decisions::{CalibrationChange, OperatingRow};
use pictures::Picture;

/// Everything that is reported about predictions on one part of the data. Made by
/// [`ReportBuilder`]; serialises to `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Heading of the page.
    pub title: String,
    /// What is predicted.
    pub task: Task,
    /// Part of the data.
    pub part: Part,
    /// Names of the classes or findings.
    pub classes: Vec<String>,
    /// Samples that count.
    pub samples: usize,
    /// Patients among them, if groups are known.
    pub patients: Option<usize>,
    /// How intervals were computed.
    pub bootstrap: Bootstrap,
    /// What measures mean where there is a choice.
    pub conventions: Conventions,
    /// Measures of all classes.
    pub headline: Vec<Estimate>,
    /// Measures class by class.
    pub per_class: Vec<ClassRow>,
    /// Counts of (truth, prediction), for exclusive classes.
    pub confusion: Option<ConfusionMatrix>,
    /// ROC and precision–recall curves: the mean over classes first if there are several.
    pub curves: Vec<ClassCurves>,
    /// Reliability diagram of the highest score of each sample, or of all findings together.
    /// Empty where scores are no probabilities.
    pub reliability: Vec<ReliabilityBin>,
    /// What the model's calibration changed, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationChange>,
    /// What thresholds chosen on validation data do here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operating_points: Vec<OperatingRow>,
    /// How they were chosen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operating_rule: String,
    /// Measures by subgroup.
    pub subgroups: Vec<Subgroups>,
    /// The most confident mistakes.
    pub mistakes: Vec<Mistake>,
    /// Curves over training.
    pub learning: Vec<LearningPlot>,
    /// Data card, audit, split, preprocessing, versions and whatever else the caller adds.
    pub sections: Vec<Section>,
    /// Numbers of this report that contradict each other; always empty unless it was edited.
    pub inconsistencies: Vec<Inconsistency>,
    #[serde(skip)]
    thumbnails: Vec<Option<Picture>>,
    #[serde(skip)]
    gallery: Vec<Picture>,
}

/// A line of the table of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Name of the class.
    pub name: String,
    /// Positive samples.
    pub support: u64,
    /// Samples whose truth is known.
    pub known: u64,
    /// Recall, specificity, precision, F1, AUROC, average precision.
    pub estimates: Vec<Estimate>,
}

/// Curves of a class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCurves {
    /// The class; `None` for the mean over classes.
    pub class: Option<String>,
    /// ROC curve, with its area.
    pub roc: Option<(Band, Estimate)>,
    /// Precision–recall curve, with the average precision.
    pub precision_recall: Option<(Band, Estimate)>,
}

/// A wrong decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Id of the sample.
    pub id: String,
    /// The true class; for findings the finding with its truth.
    pub truth: String,
    /// The predicted class; for findings the decision.
    pub predicted: String,
    /// Score of what was predicted.
    pub score: f32,
    /// How wrong: score of the prediction minus score of the truth, or distance of score and truth.
    pub margin: f32,
}

/// Series over training steps or epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningPlot {
    /// What is shown, `loss` for example.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_name: String,
    /// Name of the vertical axis.
    pub y_name: String,
    /// The series.
    pub series: Vec<Series>,
}

/// A named series of points (x, y). A missing y interrupts the line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Points in the order of x; `None` where a value is not finite (JSON has no NaN).
    pub points: Vec<(f64, Option<f64>)>,
}

impl Series {
    /// A series of measured points; those without a finite x are dropped.
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().filter(|point| point.0.is_finite());
        let points = points.map(|(x, y)| (x, y.is_finite().then_some(y))).collect();
        Self { name: name.to_owned(), points }
    }
}

/// A titled list of facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Name and value of each fact.
    pub entries: Vec<(String, String)>,
}
