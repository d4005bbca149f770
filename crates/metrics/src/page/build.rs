//! From predictions to a report.

use super::pictures::Picture;
use super::{ClassCurves, ClassRow, EvaluationReport, LearningPlot, Mistake, Section, decisions};
use crate::single_label::argmax;
use crate::{
    Binning, Bootstrap, ConfusionMatrix, Conventions, CountScore, Curve, Estimate, Evaluator,
    Measure, Metric, MultiLabel, OperatingPoint, Over, Predictions, ReliabilityBin, Result,
    SingleLabel, Subgroups, Task, check_report, reliability,
};

/// Places of a curve.
const PLACES: usize = 100;
/// Bins of the reliability diagram.
const BINS: usize = 10;
/// Resamples of a band: its ends are drawn two pixels wide.
const BAND_RESAMPLES: usize = 200;

/// Gets the picture of a sample by its id.
type Pictures<'a> = Box<dyn Fn(&str) -> Option<Vec<u8>> + 'a>;

/// Collects what a report is made of. Only predictions are needed; everything else is optional.
///
/// ```
/// use vit_metrics::{Part, Predictions, ReportBuilder};
///
/// let classes = ["normal", "polyp"].map(String::from).to_vec();
/// let scores = [0.9, 0.1, 0.2, 0.8, 0.4, 0.6, 0.7, 0.3];
/// let predictions = Predictions::single_label(classes, Part::Test, &scores, &[0, 1, 0, 1])?;
/// let report = ReportBuilder::new(&predictions)
///     .title("Polyps")
///     .section("Versions", vec![("vit-metrics".to_owned(), "0.1.0".to_owned())])
///     .build()?;
/// assert!(report.html().contains("Polyps"));
/// # Ok::<(), vit_metrics::MetricsError>(())
/// ```
pub struct ReportBuilder<'a> {
    predictions: &'a Predictions,
    title: String,
    bootstrap: Bootstrap,
    conventions: Conventions,
    extra: Vec<Measure>,
    subgroups: Vec<(String, Measure)>,
    uncalibrated: Option<(String, &'a Predictions)>,
    operating_points: Vec<OperatingPoint>,
    operating_rule: String,
    most_mistakes: usize,
    thumbnails: Option<Pictures<'a>>,
    learning: Vec<LearningPlot>,
    sections: Vec<Section>,
    gallery: Vec<(String, Vec<u8>)>,
}

impl<'a> ReportBuilder<'a> {
    /// A report on these predictions, with 1,000 clustered BCa resamples.
    #[must_use]
    pub fn new(predictions: &'a Predictions) -> Self {
        Self {
            predictions,
            title: "Evaluation".to_owned(),
            bootstrap: Bootstrap::default(),
            conventions: Conventions::default(),
            extra: Vec::new(),
            subgroups: Vec::new(),
            uncalibrated: None,
            operating_points: Vec::new(),
            operating_rule: String::new(),
            most_mistakes: 12,
            thumbnails: None,
            learning: Vec::new(),
            sections: Vec::new(),
            gallery: Vec::new(),
        }
    }

    /// Sets the heading.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// Sets how intervals are computed.
    #[must_use]
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Sets what measures mean where there is a choice, decision thresholds among it.
    #[must_use]
    pub fn conventions(mut self, conventions: Conventions) -> Self {
        self.conventions = conventions;
        self
    }

    /// Adds measures to the headline table.
    #[must_use]
    pub fn measures(mut self, measures: &[Measure]) -> Self {
        self.extra.extend_from_slice(measures);
        self
    }

    /// Adds a measure by the values of a column of the predictions.
    #[must_use]
    pub fn subgroups(mut self, column: &str, measure: Measure) -> Self {
        self.subgroups.push((column.to_owned(), measure));
        self
    }

    /// Adds what calibration changed: how it was fitted, and the predictions before it. Those of
    /// [`new`](Self::new) are the ones after it.
    #[must_use]
    pub fn uncalibrated(mut self, method: &str, before: &'a Predictions) -> Self {
        self.uncalibrated = Some((method.to_owned(), before));
        self
    }

    /// Adds thresholds, one per class, that were chosen on validation data by some rule.
    #[must_use]
    pub fn operating_points(mut self, rule: &str, points: Vec<OperatingPoint>) -> Self {
        rule.clone_into(&mut self.operating_rule);
        self.operating_points = points;
        self
    }

    /// Sets how many of the largest mistakes are shown (12), and where their pictures come from:
    /// PNG or JPEG by id, asked for only for the mistakes shown.
    #[must_use]
    pub fn mistakes(
        mut self,
        most: usize,
        pictures: impl Fn(&str) -> Option<Vec<u8>> + 'a,
    ) -> Self {
        self.most_mistakes = most;
        self.thumbnails = Some(Box::new(pictures));
        self
    }

    /// Adds curves over training.
    #[must_use]
    pub fn learning(mut self, plot: LearningPlot) -> Self {
        self.learning.push(plot);
        self
    }

    /// Adds a picture (PNG or JPEG), a reconstruction for example.
    #[must_use]
    pub fn picture(mut self, caption: &str, bytes: Vec<u8>) -> Self {
        self.gallery.push((caption.to_owned(), bytes));
        self
    }

    /// Adds a list of facts: data card, audit, split, preprocessing, versions.
    #[must_use]
    pub fn section(mut self, title: &str, entries: Vec<(String, String)>) -> Self {
        self.sections.push(Section { title: title.to_owned(), entries });
        self
    }

    /// Computes the report.
    ///
    /// # Errors
    /// Settings out of range; an unknown column; a measure that does not exist for the
    /// predictions; a picture that is neither PNG nor JPEG.
    pub fn build(self) -> Result<EvaluationReport> {
        let predictions = self.predictions;
        let evaluator = Evaluator::with_conventions(predictions, self.conventions.clone())?;
        let reliability = reliability_of(predictions, &evaluator)?;
        let mut measures = Measure::headline(predictions.task());
        if !reliability.is_empty() {
            measures.extend(Measure::of_probabilities());
        }
        measures.extend(
            self.extra
                .iter()
                .filter(|extra| !measures.contains(extra))
                .copied()
                .collect::<Vec<_>>(),
        );
        let bootstrap = self.bootstrap;
        let per_class = per_class(&evaluator, predictions, &bootstrap)?;
        let headline = bootstrap.estimate(&evaluator, &measures)?;
        let (confusion, inconsistencies) = counts(predictions, &self.conventions)?;
        let calibration = self
            .uncalibrated
            .map(|(method, before)| {
                let bins = reliability_of(
                    before,
                    &Evaluator::with_conventions(before, self.conventions.clone())?,
                )?;
                decisions::change(&method, before, predictions, bins, &bootstrap, &self.conventions)
            })
            .transpose()?;
        let operating_points = match self.operating_points.as_slice() {
            [] => Vec::new(),
            points => decisions::operating_rows(predictions, points, &bootstrap)?,
        };
        let subgroups = self.subgroups.iter().map(|(column, measure)| {
            Subgroups::of(predictions, &evaluator, column, *measure, &bootstrap)
        });
        let mistakes = mistakes(predictions, &self.conventions, self.most_mistakes);
        let picture = |mistake: &Mistake| match &self.thumbnails {
            Some(pictures) => {
                pictures(&mistake.id).map(|bytes| Picture::new(&mistake.id, bytes)).transpose()
            }
            None => Ok(None),
        };
        let thumbnails = mistakes.iter().map(picture).collect::<Result<_>>()?;
        let gallery =
            self.gallery.into_iter().map(|(caption, bytes)| Picture::new(&caption, bytes));
        Ok(EvaluationReport {
            title: self.title,
            task: predictions.task(),
            part: predictions.part(),
            classes: predictions.classes().to_vec(),
            samples: evaluator.rows().len(),
            patients: patients(&evaluator),
            bootstrap,
            conventions: self.conventions,
            curves: curves(&evaluator, &bootstrap, &headline, &per_class)?,
            headline,
            per_class,
            confusion,
            reliability,
            calibration,
            operating_points,
            operating_rule: self.operating_rule,
            subgroups: subgroups.collect::<Result<_>>()?,
            mistakes,
            learning: self.learning,
            sections: self.sections,
            inconsistencies,
            thumbnails,
            gallery: gallery.collect::<Result<_>>()?,
        })
    }
}

/// Groups, if every row has one.
fn patients(evaluator: &Evaluator) -> Option<usize> {
    let groups = (0..evaluator.rows().len()).map(|row| evaluator.group_of(row));
    let distinct: Option<std::collections::HashSet<u32>> = groups.collect();
    distinct.map(|groups| groups.len()).filter(|count| *count > 0)
}

/// Measures class by class.
fn per_class(
    evaluator: &Evaluator,
    predictions: &Predictions,
    bootstrap: &Bootstrap,
) -> Result<Vec<ClassRow>> {
    let classes = evaluator.classes();
    let of_class = |class: usize| {
        let over = Over::Class(class);
        let count = |score| Measure::Count(score, over);
        [
            count(CountScore::Recall),
            count(CountScore::Specificity),
            count(CountScore::Precision),
            count(CountScore::FBeta(1.0)),
            Measure::Auroc(over),
            Measure::AveragePrecision(over),
        ]
    };
    let measures: Vec<Measure> = (0..classes.len()).flat_map(of_class).collect();
    let estimates = bootstrap.estimate(evaluator, &measures)?;
    let rows = classes.iter().zip(estimates.chunks(of_class(0).len())).enumerate();
    Ok(rows
        .map(|(class, (name, estimates))| {
            let (_, truth) = predictions.one_vs_rest(class);
            ClassRow {
                name: name.clone(),
                support: truth.iter().filter(|positive| **positive).count() as u64,
                known: truth.len() as u64,
                estimates: estimates.to_vec(),
            }
        })
        .collect())
}

/// The confusion matrix, and what the checks of published tables say of our own numbers.
fn counts(
    predictions: &Predictions,
    conventions: &Conventions,
) -> Result<(Option<ConfusionMatrix>, Vec<crate::Inconsistency>)> {
    let classes = predictions.classes().to_vec();
    let report = match predictions.task() {
        Task::SingleLabel => {
            let mut metric =
                SingleLabel::new(classes)?.with_zero_division(conventions.zero_division);
            for row in 0..predictions.len() {
                if let Some(class) = predictions.class_of(row) {
                    metric.update(predictions.row(row), &[class])?;
                }
            }
            metric.compute()?
        }
        Task::MultiLabel => {
            // Any finite score may come; what counts here does not depend on the threshold.
            let metric = MultiLabel::new(classes)?.with_threshold(0.5)?;
            let mut metric = metric.with_zero_division(conventions.zero_division);
            for row in 0..predictions.len() {
                let truth =
                    |class| predictions.is_positive(row, class).map(|y| f32::from(u8::from(y)));
                let targets: Vec<Option<f32>> =
                    (0..predictions.classes().len()).map(truth).collect();
                metric.update(predictions.row(row), &targets)?;
            }
            metric.compute()?
        }
    };
    let found = check_report(&report);
    Ok((report.confusion, found))
}

/// Curves of the mean and of every class; of two exclusive classes only the second, whose curve
/// is the first's turned round.
fn curves(
    evaluator: &Evaluator,
    bootstrap: &Bootstrap,
    headline: &[Estimate],
    per_class: &[ClassRow],
) -> Result<Vec<ClassCurves>> {
    let bootstrap = Bootstrap { resamples: bootstrap.resamples.min(BAND_RESAMPLES), ..*bootstrap };
    let classes = evaluator.classes();
    let named = |name: &str| headline.iter().find(|estimate| estimate.name == name).cloned();
    let mut wanted: Vec<(Option<usize>, Option<Estimate>, Option<Estimate>)> = Vec::new();
    let two = evaluator.task() == Task::SingleLabel && classes.len() == 2;
    if classes.len() > 1 && !two {
        wanted.push((None, named("auroc_macro"), named("ap_macro")));
    }
    for (class, row) in per_class.iter().enumerate().skip(usize::from(two)) {
        let own = |place: usize| row.estimates.get(place).cloned();
        wanted.push((Some(class), own(4), own(5)));
    }
    wanted
        .into_iter()
        .map(|(class, auroc, precision)| {
            let band = |curve| bootstrap.band(evaluator, curve, class, PLACES);
            Ok(ClassCurves {
                class: class.and_then(|class| classes.get(class).cloned()),
                roc: band(Curve::Roc)?.zip(auroc),
                precision_recall: band(Curve::PrecisionRecall)?.zip(precision),
            })
        })
        .collect()
}

/// The bins of the reliability diagram; none where scores are no probabilities.
fn reliability_of(predictions: &Predictions, evaluator: &Evaluator) -> Result<Vec<ReliabilityBin>> {
    if evaluator.check(&Measure::of_probabilities()).is_err() || predictions.is_empty() {
        return Ok(Vec::new());
    }
    let (confidences, correct): (Vec<f32>, Vec<bool>) = match predictions.task() {
        Task::SingleLabel => (0..predictions.len())
            .filter_map(|row| {
                let (scores, truth) = (predictions.row(row), predictions.class_of(row)?);
                let best = argmax(scores);
                Some((*scores.get(best)?, best == truth))
            })
            .unzip(),
        Task::MultiLabel => (0..predictions.classes().len())
            .flat_map(|class| {
                let (scores, truth) = predictions.one_vs_rest(class);
                scores.into_iter().zip(truth)
            })
            .unzip(),
    };
    reliability(&confidences, &correct, BINS, Binning::EqualWidth)
}

/// The wrong decisions with the largest margins.
fn mistakes(predictions: &Predictions, conventions: &Conventions, most: usize) -> Vec<Mistake> {
    let classes = predictions.classes();
    let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
    let id = |row: usize| predictions.ids().get(row).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for row in 0..predictions.len() {
        let scores = predictions.row(row);
        if let Some(truth) = predictions.class_of(row) {
            let best = argmax(scores);
            if let (true, Some(&score), Some(&own)) =
                (best != truth, scores.get(best), scores.get(truth))
            {
                let (truth, predicted) = (name(truth), name(best));
                found.push(Mistake { id: id(row), truth, predicted, score, margin: score - own });
            }
        } else if predictions.task() == Task::MultiLabel {
            for (class, &score) in scores.iter().enumerate() {
                let threshold = conventions.thresholds.get(class).copied().unwrap_or(0.5);
                let Some(positive) = predictions.is_positive(row, class) else { continue };
                if (score > threshold) != positive {
                    let says = |yes: bool| {
                        format!("{} {}", name(class), if yes { "present" } else { "absent" })
                    };
                    let (truth, predicted) = (says(positive), says(!positive));
                    let margin = (score - f32::from(u8::from(positive))).abs();
                    found.push(Mistake { id: id(row), truth, predicted, score, margin });
                }
            }
        }
    }
    found.sort_by(|a, b| b.margin.total_cmp(&a.margin).then_with(|| a.id.cmp(&b.id)));
    found.truncate(most);
    found
}
