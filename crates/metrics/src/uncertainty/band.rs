//! Curves with bands.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bootstrap::Bootstrap;
use super::interval::percentile_interval;
use super::resample::Resampler;
use crate::{Evaluator, MetricsError, Result};

/// Which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// True-positive rate over false-positive rate, straight between points.
    Roc,
    /// Precision over recall: the precision of the highest threshold that reaches the recall.
    PrecisionRecall,
}

/// A curve at equally spaced places with a pointwise bootstrap band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Places, from 0 to 1.
    pub x: Vec<f64>,
    /// The curve of the samples.
    pub value: Vec<f64>,
    /// Lower end of the band, place by place.
    pub low: Vec<f64>,
    /// Upper end.
    pub high: Vec<f64>,
}

impl Bootstrap {
    /// The curve of one class against the rest, or with `None` the plain mean of the curves of all
    /// classes that have one, at `places` + 1 places. `None` where there is no curve. The band is
    /// by percentiles and holds point by point, not for the curve as a whole.
    ///
    /// # Errors
    /// The settings are out of range; `places` is 0; there is no such class.
    pub fn band(
        &self,
        evaluator: &Evaluator,
        curve: Curve,
        class: Option<usize>,
        places: usize,
    ) -> Result<Option<Band>> {
        self.check()?;
        if places == 0 {
            return Err(MetricsError::setting("the number of places", places, "at least 1"));
        }
        let classes = match class {
            None => 0..evaluator.classes().len(),
            Some(class) if class < evaluator.classes().len() => class..class + 1,
            Some(class) => {
                return Err(MetricsError::setting("the class", class, "one of the classes"));
            }
        };
        let resampler = Resampler::new(evaluator, self.resampling, None, self.seed)?;
        let width = places + 1;
        let mean = |weights: &[u32], one: &mut Vec<f64>, into: &mut [f64]| {
            into.fill(0.0);
            let mut curves = 0_u32;
            for class in classes.clone() {
                let ranking = evaluator.ranking(class);
                let weight = |row: usize| u64::from(weights.get(row).copied().unwrap_or(0));
                if ranking.is_some_and(|ranking| ranking.curve_at(curve, places, weight, one)) {
                    curves += 1;
                    into.iter_mut().zip(one.iter()).for_each(|(sum, value)| *sum += value);
                }
            }
            into.iter_mut().for_each(|sum| *sum /= f64::from(curves));
        };
        let mut value = vec![0.0; width];
        mean(&resampler.all(), &mut Vec::new(), &mut value);
        if value.iter().any(|value| value.is_nan()) {
            return Ok(None);
        }
        let mut cells = vec![f64::NAN; self.resamples * width];
        cells.par_chunks_mut(width).enumerate().for_each_init(
            || (Vec::new(), Vec::new(), Vec::new()),
            |(times, weights, one), (number, cells)| {
                resampler.draw(number, times, weights);
                mean(weights, one, cells);
            },
        );
        let (mut low, mut high) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for (place, centre) in value.iter().enumerate() {
            let column = cells.iter().skip(place).step_by(width).copied();
            let column: Vec<f64> = column.filter(|value| !value.is_nan()).collect();
            let ends = percentile_interval(&column, self.level)?;
            low.push(ends.map_or(*centre, |ends| ends.low));
            high.push(ends.map_or(*centre, |ends| ends.high));
        }
        let x = (0..width).map(|place| place as f64 / places as f64).collect();
        Ok(Some(Band { x, value, low, high }))
    }
}
