//! Many steps, many sizes: does the cost grow where it must not, and as it should elsewhere?

use anyhow::{Result, bail};
use serde::Serialize;

use super::flops::Products;
use super::job::Work;
use super::{BenchArgs, Setting, StepCost, median, process, timed_step};

/// Steps at either end that are compared.
const ENDS: usize = 50;

/// Time and memory at the beginning and at the end of many steps.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    mode: &'static str,
    #[serde(flatten)]
    setting: Setting,
    steps: usize,
    /// Steps at either end over which medians are taken.
    ends: usize,
    seconds_first: f64,
    seconds_last: f64,
    /// Last over first.
    seconds_ratio: f64,
    resident_first_bytes: Option<f64>,
    resident_last_bytes: Option<f64>,
    resident_ratio: Option<f64>,
    page_faults_first: Option<f64>,
    page_faults_last: Option<f64>,
    first_loss: Option<f64>,
    last_loss: Option<f64>,
}

/// Runs `steps` steps and compares both ends.
pub(crate) fn growth(setting: &Setting, steps: usize) -> Result<Growth> {
    if steps < 2 * ENDS {
        bail!("--growth {steps}: two ends of {ENDS} steps are compared");
    }
    let mut work = Work::new(setting)?;
    let mut costs: Vec<StepCost> = Vec::with_capacity(steps);
    let mut resident = Vec::with_capacity(steps);
    for _ in 0..steps {
        costs.push(timed_step(&mut work)?);
        resident.push(process::resident_bytes().map(|bytes| bytes as f64));
    }
    let seconds: Vec<_> = costs.iter().map(|cost| Some(cost.seconds)).collect();
    let faults: Vec<_> = costs.iter().map(|cost| cost.page_faults.map(|n| n as f64)).collect();
    let (seconds_first, seconds_last) = ends(&seconds);
    let (seconds_first, seconds_last) =
        (seconds_first.unwrap_or(f64::NAN), seconds_last.unwrap_or(f64::NAN));
    let (resident_first, resident_last) = ends(&resident);
    let (page_faults_first, page_faults_last) = ends(&faults);
    Ok(Growth {
        mode: "growth",
        setting: setting.clone(),
        steps,
        ends: ENDS,
        seconds_first,
        seconds_last,
        seconds_ratio: seconds_last / seconds_first,
        resident_first_bytes: resident_first,
        resident_last_bytes: resident_last,
        resident_ratio: resident_first.zip(resident_last).map(|(first, last)| last / first),
        page_faults_first,
        page_faults_last,
        first_loss: costs.first().and_then(|cost| cost.loss),
        last_loss: costs.last().and_then(|cost| cost.loss),
    })
}

/// Medians of the first and of the last steps, where all are known.
fn ends(values: &[Option<f64>]) -> (Option<f64>, Option<f64>) {
    let middle = |part: &[Option<f64>]| {
        part.iter().copied().collect::<Option<Vec<f64>>>().map(|part| median(&part))
    };
    let last = values.len().saturating_sub(ENDS);
    (middle(values.get(..ENDS).unwrap_or(values)), middle(values.get(last..).unwrap_or(values)))
}

/// Cost over sizes. With an exponent of `p` twice the size costs `2^p` as much.
#[derive(Debug, Serialize)]
pub(crate) struct Scaling {
    mode: &'static str,
    #[serde(flatten)]
    setting: Setting,
    /// Over the batch sizes: of the measured time, and of the operations (1).
    batch_exponent: f64,
    batch_exponent_expected: f64,
    /// Over the numbers of tokens: of the measured time, and of the operations.
    token_exponent: f64,
    token_exponent_expected: f64,
    batches: Vec<Point>,
    tokens: Vec<Point>,
}

/// One size.
#[derive(Debug, Serialize)]
struct Point {
    batch_size: usize,
    img_size: usize,
    tokens: usize,
    seconds_median: f64,
    gflop_per_step: Option<f64>,
}

/// Measures all batch sizes at the setting's picture size and all picture sizes at its batch size.
pub(crate) fn scaling(
    setting: &Setting,
    args: &BenchArgs,
    mut started: impl FnMut(usize, usize),
) -> Result<Scaling> {
    let mut point = |batch_size, img_size| -> Result<Point> {
        started(batch_size, img_size);
        let setting = Setting { batch_size, img_size, ..setting.clone() };
        let mut work = Work::new(&setting)?;
        for _ in 0..args.warmup {
            timed_step(&mut work)?;
        }
        let seconds = (0..args.steps)
            .map(|_| Ok(timed_step(&mut work)?.seconds))
            .collect::<Result<Vec<f64>>>()?;
        Ok(Point {
            batch_size,
            img_size,
            tokens: super::job::vit_config(&setting)?.num_patches() + 1,
            seconds_median: median(&seconds),
            gflop_per_step: Products::of(&setting)?.map(|products| products.flops() / 1e9),
        })
    };
    let batches = args
        .batch_sizes
        .iter()
        .map(|&batch| point(batch, setting.img_size))
        .collect::<Result<Vec<_>>>()?;
    let tokens = args
        .img_sizes
        .iter()
        .map(|&side| point(setting.batch_size, side))
        .collect::<Result<Vec<_>>>()?;
    let time = |point: &Point| point.seconds_median;
    let work = |point: &Point| point.gflop_per_step.unwrap_or(f64::NAN);
    Ok(Scaling {
        mode: "scaling",
        setting: setting.clone(),
        batch_exponent: exponent(&batches, |point| point.batch_size, time),
        batch_exponent_expected: exponent(&batches, |point| point.batch_size, work),
        token_exponent: exponent(&tokens, |point| point.tokens, time),
        token_exponent_expected: exponent(&tokens, |point| point.tokens, work),
        batches,
        tokens,
    })
}

/// Slope of the least-squares line through (ln size, ln cost).
fn exponent(points: &[Point], size: impl Fn(&Point) -> usize, cost: impl Fn(&Point) -> f64) -> f64 {
    let logs: Vec<(f64, f64)> =
        points.iter().map(|point| ((size(point) as f64).ln(), cost(point).ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_of_a_power_law() {
        let point = |tokens: usize| Point {
            batch_size: 1,
            img_size: 0,
            tokens,
            seconds_median: 0.3 * (tokens as f64).powf(1.5),
            gflop_per_step: None,
        };
        let points = [point(50), point(101), point(197)];
        let slope = exponent(&points, |point| point.tokens, |point| point.seconds_median);
        assert!((slope - 1.5).abs() < 1e-12, "{slope}");
    }

    #[test]
    fn ends_do_not_see_the_middle() {
        let values: Vec<_> = (0..120).map(|i| Some(if i < 60 { 1. } else { 2. })).collect();
        assert_eq!(ends(&values), (Some(1.), Some(2.)));
        assert_eq!(ends(&[Some(1.), None]), (None, None));
    }
}
