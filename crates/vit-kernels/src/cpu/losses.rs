//! Losses and their gradients; sums in f64, in an order that does not depend on threads.

use rayon::prelude::*;

use super::math::{exp, largest, sum};
use super::simd::simd_fn;

/// Values per piece of work.
const PART: usize = 1 << 14;

simd_fn! {
    /// Largest logit and log of `Σ exp(x − largest)`.
    fn log_sum_exp<'a, S>(row: &'a [f32]) -> (f32, f32) {
        let most = largest(row);
        (most, sum(row, |x| exp::<S>(x - most)).ln())
    }
}

/// `−Σ t · log softmax(x)`.
pub(crate) fn cross_entropy(x: &[f32], targets: &[f32], classes: usize) -> f32 {
    let rows = x.chunks_exact(classes).zip(targets.chunks_exact(classes));
    let row = |(x, targets): (&[f32], &[f32])| {
        let (most, log_sum) = log_sum_exp(x);
        let terms = x.iter().zip(targets);
        terms.map(|(x, t)| f64::from(*t) * f64::from((x - most) - log_sum)).sum::<f64>()
    };
    -(rows.map(row).sum::<f64>()) as f32
}

/// `factor · (softmax(x) · Σt − t)`.
pub(crate) fn cross_entropy_grad(
    x: &[f32],
    targets: &[f32],
    classes: usize,
    factor: f32,
) -> Vec<f32> {
    let mut dx = Vec::with_capacity(x.len());
    for (x, targets) in x.chunks_exact(classes).zip(targets.chunks_exact(classes)) {
        let (most, log_sum) = log_sum_exp(x);
        let total: f32 = targets.iter().sum();
        dx.extend(
            x.iter().zip(targets).map(|(x, t)| factor * ((x - most - log_sum).exp() * total - t)),
        );
    }
    dx
}

/// `Σ w · (max(x, 0) − x·t + log(1 + exp(−|x|)))`.
pub(crate) fn bce(x: &[f32], targets: &[f32], weights: &[f32]) -> f32 {
    let terms = x.iter().zip(targets).zip(weights);
    let term = |((x, t), w): ((&f32, &f32), &f32)| {
        f64::from(*w) * f64::from(x.max(0.) - x * t + (-x.abs()).exp().ln_1p())
    };
    terms.map(term).sum::<f64>() as f32
}

/// `factor · w · (sigmoid(x) − t)`.
pub(crate) fn bce_grad(x: &[f32], targets: &[f32], weights: &[f32], factor: f32) -> Vec<f32> {
    let terms = x.iter().zip(targets).zip(weights);
    terms.map(|((x, t), w)| factor * w * (1. / (1. + (-x).exp()) - t)).collect()
}

/// Mean of `(x − target)²`.
pub(crate) fn squares(x: &[f32], target: &[f32]) -> f32 {
    let parts: Vec<f64> = x
        .par_chunks(PART)
        .zip(target.par_chunks(PART))
        .map(|(x, target)| {
            x.iter().zip(target).map(|(x, t)| f64::from(x - t) * f64::from(x - t)).sum()
        })
        .collect();
    (parts.iter().sum::<f64>() / x.len() as f64) as f32
}

simd_fn! {
    fn difference<'a, S>(
        x: &'a [f32],
        target: &'a [f32],
        factor: f32,
        dx: &'a mut [f32],
    ) -> () {
        for ((dx, x), t) in dx.iter_mut().zip(x).zip(target) {
            *dx = factor * (x - t);
        }
    }
}

/// `2 · factor / n · (x − target)`.
pub(crate) fn squares_grad(x: &[f32], target: &[f32], factor: f32) -> Vec<f32> {
    let mut dx = vec![0.; x.len()];
    let factor = (2. * f64::from(factor) / x.len() as f64) as f32;
    dx.par_chunks_mut(PART)
        .zip(x.par_chunks(PART))
        .zip(target.par_chunks(PART))
        .for_each(|((dx, x), target)| difference(x, target, factor, dx));
    dx
}
