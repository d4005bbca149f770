use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use vit_datasets::Dataset;
use vit_metrics::{
    AucMissing, Bootstrap, Conventions, EvaluationReport, IntervalMethod, Measure, Predictions,
    ReportBuilder, ScoreType, Task, ThresholdRule,
};

use crate::columns::{ColumnArgs, sample_columns};
use crate::data::Split3;
use crate::learning::RunLog;
use crate::parse::named;
use crate::predict::Judge;
use crate::{DataArgs, Decisions, DeviceArgs, ViewArg, facts};

/// Evaluation of a classifier.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    /// Model file written by fine-tuning. Preprocessing, label names, calibration and thresholds
    /// come from it.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Which part to evaluate on.
    #[arg(long, default_value = "test")]
    pub split: Split3,
    /// Pictures per batch.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Heading of the report (default: data and part).
    #[arg(long)]
    pub title: Option<String>,
    /// Further measures, comma-separated: `kappa_quadratic`, `sensitivity_at_0.9_macro`, ….
    #[arg(long, value_delimiter = ',')]
    pub measures: Vec<String>,
    /// Columns to form subgroups by, comma-separated: `sex,view`; `age:40:60` makes bands.
    #[arg(long, value_delimiter = ',')]
    pub subgroups: Vec<String>,
    /// Measure that is compared between subgroups.
    #[arg(long, default_value = "auroc_macro")]
    pub subgroup_measure: String,
    #[command(flatten)]
    /// Where the columns come from.
    pub columns: ColumnArgs,
    /// Leaves out the calibration and the thresholds of the model's file.
    #[arg(long)]
    pub uncalibrated: bool,
    /// Test-time augmentation: probabilities are averaged over these views of each picture.
    #[arg(long, value_enum, default_value_t = ViewArg::Single)]
    pub views: ViewArg,
    /// Resamples of the bootstrap; patients are drawn where they are known.
    #[arg(long, default_value_t = 1000)]
    pub resamples: usize,
    /// Coverage of the intervals.
    #[arg(long, default_value_t = 0.95)]
    pub level: f64,
    /// Seed of the resamples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Percentile intervals instead of BCa.
    #[arg(long)]
    pub percentile: bool,
    /// Largest mistakes to show.
    #[arg(long, default_value_t = 12)]
    pub mistakes: usize,
    /// Result of a data audit, as JSON.
    #[arg(long)]
    pub audit: Option<PathBuf>,
    /// Pictures to add, such as those of `reconstruct`.
    #[arg(long)]
    pub picture: Vec<PathBuf>,
    /// Only to compare with numbers of others: `zero_then_skip` counts an undefined AUROC as 0.
    #[arg(long, default_value = "skip", value_parser = named::<AucMissing>)]
    pub auc_missing: AucMissing,
    /// Only to compare with numbers of others: `f16` rounds scores to half precision.
    #[arg(long, default_value = "f32", value_parser = named::<ScoreType>)]
    pub metric_dtype: ScoreType,
    /// Where to write report, predictions, tables and plots.
    #[arg(long, default_value = "output/evaluate")]
    pub output_dir: PathBuf,
}

/// What is reported: the predictions, and those before calibration if there is one.
struct Judged {
    before: Option<Predictions>,
    predictions: Predictions,
    decisions: Option<Decisions>,
}

impl EvaluateArgs {
    fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            resamples: self.resamples,
            level: self.level,
            seed: self.seed,
            method: if self.percentile { IntervalMethod::Percentile } else { IntervalMethod::Bca },
            ..Bootstrap::default()
        }
    }

    /// Adds the columns of the subgroups. A sample that the table does not have is unknown.
    fn with_columns(
        &self,
        part: &dyn Dataset,
        mut predictions: Predictions,
    ) -> Result<Predictions> {
        let columns = sample_columns(&self.columns, part, &self.subgroups)?;
        for (name, values) in columns {
            let known = predictions.ids().iter().filter(|id| values.contains_key(*id)).count();
            if known == 0 {
                let first = predictions.ids().first().cloned().unwrap_or_default();
                bail!(
                    "subgroups by {name}: the table has no sample of this part, such as '{first}'"
                );
            }
            let value = |id: &String| values.get(id).cloned().unwrap_or_default();
            let values = predictions.ids().iter().map(value).collect();
            predictions = predictions.with_column(&name, values)?;
        }
        Ok(predictions)
    }

    fn judged(&self, judge: &Judge, predictions: Predictions) -> Result<Judged> {
        let decisions = judge.card().decisions.clone().filter(|_| !self.uncalibrated);
        Ok(match &decisions {
            Some(fitted) => {
                let after = fitted.calibration.calibrated(&predictions)?;
                Judged { before: Some(predictions), predictions: after, decisions }
            }
            None => Judged { before: None, predictions, decisions },
        })
    }

    /// Findings are decided by the thresholds of the model's file, if it has any.
    fn conventions(&self, judged: &Judged) -> Conventions {
        let thresholds = match (&judged.decisions, judged.predictions.task()) {
            (Some(decisions), Task::MultiLabel) => {
                decisions.operating_points.iter().map(|point| point.threshold).collect()
            }
            _ => Vec::new(),
        };
        let (auc_missing, metric_dtype) = (self.auc_missing, self.metric_dtype);
        Conventions { auc_missing, metric_dtype, thresholds, ..Conventions::default() }
    }
}

/// How thresholds were chosen, for the reader.
fn rule_text(decisions: &Decisions) -> String {
    let rule = match decisions.rule {
        ThresholdRule::Youden => "greatest sensitivity + specificity".to_string(),
        ThresholdRule::FBeta(beta) => format!("greatest F{beta}"),
        ThresholdRule::AtSpecificity(least) => {
            format!("greatest sensitivity with a specificity of at least {least}")
        }
        ThresholdRule::AtSensitivity(least) => {
            format!("greatest specificity with a sensitivity of at least {least}")
        }
        other => format!("{other:?}"),
    };
    format!("{rule}, {} samples", decisions.fitted_on)
}

fn calibration_text(decisions: &Decisions) -> String {
    let method = match decisions.calibration.temperature() {
        Some(temperature) => format!("temperature {temperature:.4}"),
        None => decisions.calibration.method().to_string(),
    };
    format!("{method}, fitted on {} validation samples", decisions.fitted_on)
}

/// Evaluates, writes report, predictions, tables and plots, and gives the report.
///
/// # Errors
/// When the file is no classifier, the data are labelled otherwise, a measure or column does not
/// exist, or files cannot be read or written.
pub fn evaluate(args: &EvaluateArgs) -> Result<EvaluationReport> {
    let judge = Judge::open(&args.checkpoint, &args.device)?;
    if args.views != ViewArg::Single && judge.card().decisions.is_some() && !args.uncalibrated {
        bail!(
            "--views: calibration and thresholds in {} were fitted on single views; say \
             --uncalibrated",
            args.checkpoint.display()
        );
    }
    let data = args.data.open()?;
    data.print_left_out();
    let part = data.part(args.split)?;
    let (evaluation, predictions) =
        judge.predict(&args.data, &data, args.split, args.batch_size, args.views)?;
    let judged = args.judged(&judge, args.with_columns(part.as_ref(), predictions)?)?;
    let predictions = &judged.predictions;
    let classes = predictions.classes();
    let measure = |name: &String| Measure::parse(name, classes);
    let measures = args.measures.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    let places = facts::places(part.as_ref())?;
    let picture = |id: &str| {
        let sample = part.get(*places.get(id)?).ok()?;
        facts::thumbnail(sample.image).ok()
    };
    let name = std::path::Path::new(&args.data.data).file_name().unwrap_or_default();
    let part_name = format!("{:?}", args.split).to_lowercase();
    let title = format!("{}, {part_name} part", name.to_string_lossy());
    let mut builder = ReportBuilder::new(predictions)
        .title(args.title.as_ref().unwrap_or(&title))
        .bootstrap(args.bootstrap())
        .conventions(args.conventions(&judged))
        .measures(&measures)
        .mistakes(args.mistakes, picture);
    for column in &args.subgroups {
        builder = builder.subgroups(column, measure(&args.subgroup_measure)?);
    }
    if let (Some(before), Some(decisions)) = (&judged.before, &judged.decisions) {
        builder = builder
            .uncalibrated(&calibration_text(decisions), before)
            .operating_points(&rule_text(decisions), decisions.operating_points.clone());
    }
    let log = RunLog::beside(&args.checkpoint)?;
    for plot in log.iter().flat_map(RunLog::plots) {
        builder = builder.learning(plot);
    }
    for path in &args.picture {
        let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('_', " ");
        builder = builder.picture(&name, bytes);
    }
    builder = builder.section("Data", facts::data_card(&args.data, &data)?);
    builder = builder.section("Split", facts::split(judge.card(), &data, &args.data)?);
    if let Some(path) = &args.audit {
        builder = builder.section("Audit", facts::audit(path, &args.checkpoint)?);
    }
    builder = builder.section("Preprocessing", facts::preprocessing(&judge.card().pipeline)?);
    if args.views != ViewArg::Single {
        let views = format!("{:?}, probabilities averaged", args.views);
        builder = builder.section("Test-time augmentation", vec![("Views".to_string(), views)]);
    }
    builder = builder.section("Model", facts::model(&judge)?);
    let mut run = log.as_ref().map(RunLog::facts).unwrap_or_default();
    let loss = match args.views {
        ViewArg::Single => format!("{:.4} before calibration", evaluation.loss),
        _ => format!("{:.4}, mean over the single views", evaluation.loss),
    };
    run.push(("Loss on this part".to_string(), loss.clone()));
    builder = builder.section("Run", run);
    let report = builder.section("Versions", facts::versions(&args.device.device)).build()?;
    report.write(&args.output_dir, predictions)?;
    println!("loss {loss}; {} samples", predictions.len());
    println!("{}", report.markdown());
    println!("report -> {}", args.output_dir.join("report.html").display());
    Ok(report)
}
