//! Two models on the same samples.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, evaluate_all, jackknife};
use super::interval::IntervalMethod;
use super::resample::Resampler;
use crate::evaluator::Scratch;
use crate::{Conventions, Evaluator, Measure, MetricsError, Predictions, Result, Undefined, Value};

/// The difference of a measure between two models on the same samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the measure.
    pub name: String,
    /// The measure of the first model.
    pub first: Value,
    /// The measure of the second model.
    pub second: Value,
    /// First − second.
    pub difference: Value,
    /// Lower end of the interval of the difference, from resamples drawn for both models alike.
    pub low: Value,
    /// Upper end.
    pub high: Value,
    /// Two-sided p-value of the paired permutation test: how often the difference is at least as
    /// large when the two models swap their predictions on random units (patients). The smallest
    /// possible value is 1 / (resamples + 1).
    pub p_value: Value,
}

impl Bootstrap {
    /// Compares two models that predicted the same samples; rows are matched by id.
    ///
    /// # Errors
    /// The ids, truths or classes differ; the settings are out of range; a measure does not exist
    /// for these predictions.
    pub fn compare(
        &self,
        first: &Predictions,
        second: &Predictions,
        conventions: &Conventions,
        measures: &[Measure],
    ) -> Result<Vec<Comparison>> {
        self.check()?;
        let second = first.align(second)?;
        let evaluators = [
            Evaluator::with_conventions(first, conventions.clone())?,
            Evaluator::with_conventions(&second, conventions.clone())?,
        ];
        let [a, b] = &evaluators;
        a.check(measures)?;
        b.check(measures)?;
        let resampler = Resampler::new(a, self.resampling, None, self.seed)?;
        let all = resampler.all();
        let values = |evaluator: &Evaluator| -> Vec<Value> {
            let mut scratch = Scratch::new(evaluator);
            evaluator.compute(measures, &all, &mut scratch).iter().map(|o| o.value).collect()
        };
        let (of_a, of_b) = (values(a), values(b));
        let draws = [self.draws(a, measures, &resampler), self.draws(b, measures, &resampler)];
        let left_out = match self.method {
            IntervalMethod::Percentile => None,
            IntervalMethod::Bca => {
                Some([jackknife(a, measures, &resampler), jackknife(b, measures, &resampler)])
            }
        };
        let p_values = self.permutation(first, &second, conventions, measures)?;
        let rows = measures.iter().zip(of_a.iter().zip(&of_b)).zip(p_values).enumerate();
        rows.map(|(place, ((measure, (&x, &y)), p_value))| {
            let difference = subtract(x, y);
            let paired = |draws: &[super::bootstrap::Draws; 2]| -> Vec<f64> {
                let [a, b] = draws;
                let pairs = a.raw(place).zip(b.raw(place)).map(|(a, b)| a - b);
                pairs.filter(|difference| !difference.is_nan()).collect()
            };
            let left_out = left_out.as_ref().map(paired);
            let (low, high, _) = self.ends(difference, &paired(&draws), left_out.as_deref())?;
            let name = measure.name(a.classes());
            Ok(Comparison { name, first: x, second: y, difference, low, high, p_value })
        })
        .collect()
    }

    /// p-values of the paired permutation test. Both models' rows lie in one evaluator; a weight
    /// of 0 or 1 says which half of a pair counts for the first side, and its complement for the
    /// second.
    fn permutation(
        &self,
        first: &Predictions,
        second: &Predictions,
        conventions: &Conventions,
        measures: &[Measure],
    ) -> Result<Vec<Value>> {
        // The two may have been given different columns; none is needed here.
        let mut both = first.clone().without_columns();
        both.merge(&second.clone().without_columns())?;
        let joint = Evaluator::with_conventions(&both, conventions.clone())?;
        let half = joint.rows().len() / 2;
        let alone = Evaluator::with_conventions(first, conventions.clone())?;
        let resampler = Resampler::new(&alone, self.resampling, None, self.seed)?;
        if half == 0 {
            return Ok(vec![Value::Undefined(Undefined::NoSamples); measures.len()]);
        }
        let complete = |weights: &mut Vec<u32>| {
            let others: Vec<u32> = weights.iter().map(|weight| 1 - weight.min(&1)).collect();
            weights.extend(others);
        };
        // The observed side is number 0: the first model's rows only.
        let side = |number: usize, other: bool, times: &mut Vec<u32>, weights: &mut Vec<u32>| {
            if number == 0 {
                weights.clear();
                weights.resize(half, 1);
            } else {
                resampler.split(number, times, weights);
            }
            complete(weights);
            if other {
                weights.rotate_left(half);
            }
        };
        let count = self.resamples + 1;
        let one = evaluate_all(&joint, measures, count, |n, t, w| side(n, false, t, w));
        let two = evaluate_all(&joint, measures, count, |n, t, w| side(n, true, t, w));
        Ok((0..measures.len())
            .map(|place| p_value(one.raw(place).zip(two.raw(place)).map(|(a, b)| a - b)))
            .collect())
    }
}

/// The share of differences at least as large as the first, which counts itself.
fn p_value(mut differences: impl Iterator<Item = f64>) -> Value {
    let Some(observed) = differences.next().filter(|observed| !observed.is_nan()) else {
        return Value::Undefined(Undefined::NoDefinedClass);
    };
    // Sums in another order may differ in the last bits.
    let threshold = observed.abs() * (1.0 - 1e-12) - 1e-15;
    let (mut extreme, mut defined) = (1_u64, 1_u64);
    for difference in differences.filter(|difference| !difference.is_nan()) {
        defined += 1;
        extreme += u64::from(difference.abs() >= threshold);
    }
    Value::ratio(extreme, defined, Undefined::NoSamples)
}

/// The difference of two values.
fn subtract(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Defined(a), Value::Defined(b)) => Value::Defined(a - b),
        (Value::Undefined(reason), _) | (_, Value::Undefined(reason)) => Value::Undefined(reason),
    }
}

impl MetricsError {
    /// Refuses slices of two models that are not of one length.
    pub(super) fn check_paired(first: usize, second: usize) -> Result<()> {
        Self::check_length("samples of the second model", first, second)
    }
}
