use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vit_metrics::{
    Calibration, CalibrationError, CalibrationMethod, Evaluator, Measure, OperatingPoint,
    Predictions, ThresholdRule,
};

use crate::data::Split3;
use crate::predict::Judge;
use crate::{Card, DataArgs, Decisions, DeviceArgs, ViewArg};

/// Calibration and operating points, fitted on validation data and stored in the model's file.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    /// The data.
    pub data: DataArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    /// Model file written by fine-tuning.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// How probabilities are mended.
    #[arg(long, value_enum, default_value_t = Method::Temperature)]
    pub method: Method,
    /// What decision thresholds are chosen for: `youden`, `f1` (any beta), `sensitivity:0.9`,
    /// `specificity:0.95`.
    #[arg(long, default_value = "youden")]
    pub operating_point: Rule,
    /// Part to fit on; the test part is refused.
    #[arg(long, default_value = "val")]
    pub split: Split3,
    /// Pictures per batch.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Where to write the model (default: in place of the old file).
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Methods of calibration by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// One temperature for all outputs.
    Temperature,
    /// Slope and intercept per output.
    Platt,
    /// A rising step function per output; needs some hundred positives each.
    Isotonic,
    /// One temperature per output.
    PerClass,
}

impl From<Method> for CalibrationMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Temperature => Self::Temperature,
            Method::Platt => Self::Platt,
            Method::Isotonic => Self::Isotonic,
            Method::PerClass => Self::TemperaturePerClass,
        }
    }
}

/// A rule for decision thresholds as a user writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule(pub ThresholdRule);

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!("'{text}': there are youden, f1 (any beta), sensitivity:0.9, specificity:0.95")
        };
        let share = |number: &str| {
            let share = number.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| format!("'{text}': the share must be in [0, 1]"))
        };
        Ok(Self(match text.split_once(':') {
            None if text == "youden" => ThresholdRule::Youden,
            Some(("sensitivity", least)) => ThresholdRule::AtSensitivity(share(least)?),
            Some(("specificity", least)) => ThresholdRule::AtSpecificity(share(least)?),
            _ => {
                let beta = text.strip_prefix('f').and_then(|beta| beta.parse::<f64>().ok());
                let beta = beta.filter(|beta| beta.is_finite() && *beta > 0.);
                ThresholdRule::FBeta(beta.ok_or_else(unknown)?)
            }
        }))
    }
}

/// Fits a calibration and, on calibrated scores, one threshold per output.
///
/// # Errors
/// When the predictions are on the test part or hold nothing to fit on.
pub(crate) fn fit(
    predictions: &Predictions,
    method: Method,
    rule: ThresholdRule,
) -> Result<Decisions> {
    let calibration = Calibration::fit(predictions, method.into())?;
    let calibrated = calibration.calibrated(predictions)?;
    let operating_points = OperatingPoint::per_class(&calibrated, rule, 0.5)?;
    let fitted_on = predictions.len();
    Ok(Decisions { calibration, operating_points, rule, fitted_on })
}

/// Fits, stores and gives the file.
///
/// # Errors
/// When the file is no classifier, the part is the test part, or files cannot be read or written.
pub fn calibrate(args: &CalibrateArgs) -> Result<PathBuf> {
    if args.split == Split3::Test {
        bail!("calibration and thresholds are fitted on validation data, never on the test part");
    }
    let judge = Judge::open(&args.checkpoint, &args.device)?;
    let data = args.data.open()?;
    data.print_left_out();
    let (_, predictions) =
        judge.predict(&args.data, &data, args.split, args.batch_size, ViewArg::Single)?;
    let decisions = fit(&predictions, args.method, args.operating_point.0)
        .with_context(|| format!("{:?} part of {}", args.split, args.data.data))?;
    let calibrated = decisions.calibration.calibrated(&predictions)?;
    let error = |predictions: &Predictions| {
        let measures = [Measure::Calibration(CalibrationError::ECE), Measure::LogLoss];
        Evaluator::new(predictions)?.values(&measures)
    };
    for (when, predictions) in [("before", &predictions), ("after", &calibrated)] {
        if let [ece, loss] = error(predictions)?.as_slice() {
            println!("{when:>6}: ECE {ece}, log loss {loss} (on the samples it was fitted to)");
        }
    }
    for (class, point) in predictions.classes().iter().zip(&decisions.operating_points) {
        println!("{class}: predicted above {:.4}", point.threshold);
    }
    let out = args.out.clone().unwrap_or_else(|| args.checkpoint.clone());
    let card = Card { decisions: Some(decisions), ..judge.card().clone() };
    judge.save(&card, &out)?;
    println!("calibrated model -> {}", out.display());
    Ok(out)
}
