//! Temperature and Platt scaling.

use serde::{Deserialize, Serialize};

use super::fit::{log, logit, sigmoid};
use crate::{Predictions, Task};

/// Temperatures are looked for between 1/100 and 100.
const WIDEST: f64 = 4.605_170_185_988_092;
/// Steps of the golden-section search: the bracket shrinks by 0.618 each.
const STEPS: usize = 60;
/// Newton steps of Platt scaling.
const NEWTON: usize = 100;

/// logit(p) → slope · logit(p) + intercept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Affine {
    slope: f64,
    intercept: f64,
}

impl Affine {
    pub(super) fn apply(&self, p: f64) -> f64 {
        sigmoid(self.slope * logit(p) + self.intercept)
    }

    pub(super) fn is_valid(&self) -> bool {
        self.slope.is_finite() && self.intercept.is_finite()
    }
}

/// The temperature of all logits that makes the truth most likely. The negative log likelihood is
/// convex in 1/T, so a search by sections finds its one minimum.
pub(super) fn fit_temperature(predictions: &Predictions) -> f64 {
    let width = predictions.classes().len();
    match predictions.task() {
        Task::SingleLabel => {
            let logs: Vec<f64> = predictions.scores().iter().map(|p| log(f64::from(*p))).collect();
            let rows: Vec<(&[f64], usize)> = logs
                .chunks_exact(width)
                .enumerate()
                .filter_map(|(row, logs)| Some((logs, predictions.class_of(row)?)))
                .collect();
            search(|inverse| {
                rows.iter()
                    .map(|(logs, class)| {
                        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let sum: f64 = logs.iter().map(|x| (inverse * (x - most)).exp()).sum();
                        sum.ln() - inverse * (logs.get(*class).copied().unwrap_or(most) - most)
                    })
                    .sum()
            })
        }
        Task::MultiLabel => {
            let columns = (0..width).flat_map(|class| {
                let (scores, truth) = predictions.one_vs_rest(class);
                scores.into_iter().zip(truth)
            });
            let cells: Vec<(f64, bool)> = columns.map(|(p, y)| (logit(f64::from(p)), y)).collect();
            search(|inverse| binary_loss(&cells, inverse))
        }
    }
}

/// The temperature of one finding; 1 where it has only one kind of sample.
pub(super) fn of_finding(scores: &[f32], positive: &[bool]) -> f64 {
    if positive.iter().all(|y| *y) || !positive.iter().any(|y| *y) {
        return 1.0;
    }
    let cells: Vec<(f64, bool)> =
        scores.iter().zip(positive).map(|(p, y)| (logit(f64::from(*p)), *y)).collect();
    search(|inverse| binary_loss(&cells, inverse))
}

fn binary_loss(cells: &[(f64, bool)], inverse: f64) -> f64 {
    cells.iter().map(|(x, y)| soft_plus(if *y { -inverse * x } else { inverse * x })).sum()
}

/// ln(1 + eˣ) without overflow.
fn soft_plus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The temperature T at which `loss(1/T)` is least, by golden sections of ln T.
fn search(loss: impl Fn(f64) -> f64) -> f64 {
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let at = |log_temperature: f64| loss((-log_temperature).exp());
    let (mut low, mut high) = (-WIDEST, WIDEST);
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_a, mut at_b) = (at(a), at(b));
    for _ in 0..STEPS {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - golden * (high - low);
            at_a = at(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + golden * (high - low);
            at_b = at(b);
        }
    }
    f64::midpoint(low, high).exp()
}

/// Slope and intercept by Newton's method with Platt's targets (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2),
/// which keep separable classes finite (Platt 1999; Lin, Lin and Weng 2007). The identity where
/// there is only one kind of sample.
pub(super) fn fit_platt(scores: &[f32], positive: &[bool]) -> Affine {
    let positives = positive.iter().filter(|y| **y).count() as f64;
    let negatives = positive.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return Affine { slope: 1.0, intercept: 0.0 };
    }
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    let cells: Vec<(f64, f64)> = scores
        .iter()
        .zip(positive)
        .map(|(p, y)| (logit(f64::from(*p)), if *y { high } else { low }))
        .collect();
    let loss = |map: Affine| -> f64 {
        cells
            .iter()
            .map(|(x, t)| {
                let z = map.slope * x + map.intercept;
                soft_plus(z) - t * z
            })
            .sum()
    };
    let mut map = Affine { slope: 0.0, intercept: (positives / negatives).ln() };
    let mut current = loss(map);
    for _ in 0..NEWTON {
        let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 1e-12, 0.0, 1e-12);
        for (x, t) in &cells {
            let p = sigmoid(map.slope * x + map.intercept);
            let curvature = p * (1.0 - p);
            g0 += (p - t) * x;
            g1 += p - t;
            h00 += curvature * x * x;
            h01 += curvature * x;
            h11 += curvature;
        }
        let determinant = h00 * h11 - h01 * h01;
        let (step0, step1) =
            ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant);
        if !(step0.is_finite() && step1.is_finite()) {
            break;
        }
        // Halved until the loss falls.
        let improved = (0..40).map(|halvings| 0.5_f64.powi(halvings)).find_map(|share| {
            let next = Affine {
                slope: map.slope - share * step0,
                intercept: map.intercept - share * step1,
            };
            let value = loss(next);
            (value < current).then_some((next, value))
        });
        let Some((next, value)) = improved else { break };
        (map, current) = (next, value);
    }
    map
}
