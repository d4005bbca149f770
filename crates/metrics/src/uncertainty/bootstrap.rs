//! Bootstrap intervals of any measure.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::{IntervalMethod, bca_interval, check_level, percentile_interval};
use super::resample::{Resampler, Resampling};
use crate::evaluator::{Outcome, Scratch};
use crate::{Evaluator, Measure, MetricsError, Result, Undefined, Value};

/// More jackknife values than this do not change the acceleration; larger data are left out in
/// that many blocks.
const MOST_BLOCKS: usize = 1000;
/// An interval needs this share of resamples to be defined.
const LEAST_DEFINED: f64 = 0.9;
/// Resamples per piece of work, so that buffers are made rarely.
const PIECE: usize = 16;

/// How intervals are computed. The same settings, seed and data give the same bits on any number
/// of threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bootstrap {
    /// How many times samples are drawn.
    pub resamples: usize,
    /// Nominal coverage, in (0, 1).
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// What is drawn.
    pub resampling: Resampling,
    /// How the distribution becomes an interval.
    pub method: IntervalMethod,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 1000,
            level: 0.95,
            seed: 0,
            resampling: Resampling::default(),
            method: IntervalMethod::default(),
        }
    }
}

/// A measure with its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Name of the measure.
    pub name: String,
    /// The measure of the samples.
    pub value: Value,
    /// Lower end of the interval, or why there is none.
    pub low: Value,
    /// Upper end of the interval.
    pub high: Value,
    /// Standard deviation over the resamples.
    pub standard_error: Value,
    /// Resamples in which the measure was undefined; they are left out.
    pub undefined_resamples: usize,
    /// Resamples in which a mean covered fewer classes than on the samples, because a rare class
    /// was not drawn. Stratified resampling avoids them.
    pub partial_resamples: usize,
}

/// Values of several measures in every resample.
#[derive(Debug)]
pub(super) struct Draws {
    measures: usize,
    /// Row-major resamples × measures: value (NaN if undefined) and classes covered.
    cells: Vec<(f64, usize)>,
}

impl Draws {
    /// The defined values of one measure.
    pub(super) fn of(&self, measure: usize) -> Vec<f64> {
        let cells = self.cells.iter().skip(measure).step_by(self.measures.max(1));
        cells.map(|cell| cell.0).filter(|value| !value.is_nan()).collect()
    }

    /// The values of one measure in the order of the resamples, NaN where undefined.
    pub(super) fn raw(&self, measure: usize) -> impl Iterator<Item = f64> + '_ {
        self.cells.iter().skip(measure).step_by(self.measures.max(1)).map(|cell| cell.0)
    }

    /// Resamples in which a measure covered fewer than `covers` classes but was defined.
    fn partial(&self, measure: usize, covers: usize) -> usize {
        let cells = self.cells.iter().skip(measure).step_by(self.measures.max(1));
        cells.filter(|cell| !cell.0.is_nan() && cell.1 < covers).count()
    }
}

impl Bootstrap {
    /// Refuses settings that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        check_level(self.level)?;
        if self.resamples < 2 {
            return Err(MetricsError::setting(
                "the number of resamples",
                self.resamples,
                "at least 2",
            ));
        }
        Ok(())
    }

    /// Measures of all samples with their intervals.
    ///
    /// # Errors
    /// The settings are out of range; a measure does not exist for these predictions.
    pub fn estimate(&self, evaluator: &Evaluator, measures: &[Measure]) -> Result<Vec<Estimate>> {
        self.estimate_of(evaluator, measures, None)
    }

    /// Measures of some samples (one flag per row of [`Evaluator::rows`]) with their intervals.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate); there is not one flag per row.
    pub fn estimate_of(
        &self,
        evaluator: &Evaluator,
        measures: &[Measure],
        included: Option<&[bool]>,
    ) -> Result<Vec<Estimate>> {
        self.check()?;
        evaluator.check(measures)?;
        let resampler = Resampler::new(evaluator, self.resampling, included, self.seed)?;
        let mut scratch = Scratch::new(evaluator);
        let on_samples = evaluator.compute(measures, &resampler.all(), &mut scratch).to_vec();
        let draws = self.draws(evaluator, measures, &resampler);
        let jackknife = match self.method {
            IntervalMethod::Percentile => None,
            IntervalMethod::Bca => Some(jackknife(evaluator, measures, &resampler)),
        };
        let estimates = measures.iter().zip(&on_samples).enumerate();
        estimates
            .map(|(place, (measure, outcome))| {
                let left_out = jackknife.as_ref().map(|draws| draws.of(place));
                let name = measure.name(evaluator.classes());
                self.summary(name, outcome, &draws, place, left_out.as_deref())
            })
            .collect()
    }

    /// The measures in every resample.
    pub(super) fn draws(
        &self,
        evaluator: &Evaluator,
        measures: &[Measure],
        resampler: &Resampler,
    ) -> Draws {
        evaluate_all(evaluator, measures, self.resamples, |number, times, weights| {
            resampler.draw(number, times, weights);
        })
    }

    /// Value, interval and what happened to the resamples.
    fn summary(
        &self,
        name: String,
        outcome: &Outcome,
        draws: &Draws,
        place: usize,
        jackknife: Option<&[f64]>,
    ) -> Result<Estimate> {
        let values = draws.of(place);
        let (low, high, standard_error) = self.ends(outcome.value, &values, jackknife)?;
        Ok(Estimate {
            name,
            value: outcome.value,
            low,
            high,
            standard_error,
            undefined_resamples: self.resamples - values.len(),
            partial_resamples: draws.partial(place, outcome.covers),
        })
    }

    /// The interval (or why there is none), and the standard error.
    pub(super) fn ends(
        &self,
        value: Value,
        values: &[f64],
        jackknife: Option<&[f64]>,
    ) -> Result<(Value, Value, Value)> {
        let nothing = |reason| Value::Undefined(reason);
        let estimate = match value {
            Value::Defined(estimate) => estimate,
            Value::Undefined(reason) => {
                return Ok((nothing(reason), nothing(reason), nothing(reason)));
            }
        };
        if (values.len() as f64) < LEAST_DEFINED * self.resamples as f64 {
            let reason = Undefined::TooFewResamples;
            return Ok((nothing(reason), nothing(reason), nothing(reason)));
        }
        if values.iter().all(|value| *value == estimate) {
            let reason = Undefined::NoSpread;
            return Ok((nothing(reason), nothing(reason), Value::Defined(0.0)));
        }
        let interval = match jackknife {
            Some(jackknife) => bca_interval(estimate, values, jackknife, self.level)?,
            None => percentile_interval(values, self.level)?,
        };
        let error = Value::Defined(standard_deviation(values));
        Ok(match interval {
            Ok(interval) => (Value::Defined(interval.low), Value::Defined(interval.high), error),
            Err(reason) => (nothing(reason), nothing(reason), error),
        })
    }
}

/// Standard deviation with n − 1.
pub(super) fn standard_deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// The measures with each unit (or block of units) left out in turn.
pub(super) fn jackknife(
    evaluator: &Evaluator,
    measures: &[Measure],
    resampler: &Resampler,
) -> Draws {
    let blocks = resampler.units().min(MOST_BLOCKS);
    evaluate_all(evaluator, measures, blocks, |block, times, weights| {
        resampler.leave_out(block, blocks, times, weights);
    })
}

/// Evaluates the measures under `count` weightings, on all threads of the current pool.
pub(super) fn evaluate_all(
    evaluator: &Evaluator,
    measures: &[Measure],
    count: usize,
    weigh: impl Fn(usize, &mut Vec<u32>, &mut Vec<u32>) + Sync,
) -> Draws {
    let width = measures.len();
    let mut cells = vec![(f64::NAN, 0); count * width];
    let buffers = || (Scratch::new(evaluator), Vec::new(), Vec::new());
    cells.par_chunks_mut(width.max(1)).enumerate().with_min_len(PIECE).for_each_init(
        buffers,
        |(scratch, times, weights), (number, cells)| {
            weigh(number, times, weights);
            let outcomes = evaluator.compute(measures, weights, scratch);
            for (cell, outcome) in cells.iter_mut().zip(outcomes) {
                *cell = (outcome.value.defined().unwrap_or(f64::NAN), outcome.covers);
            }
        },
    );
    Draws { measures: width, cells }
}
