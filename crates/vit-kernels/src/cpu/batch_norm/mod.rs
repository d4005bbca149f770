//! Batch normalisation: statistics, what they make of values, and the way back.
//!
//! Rows are pixels, columns channels; rows may lie further apart than they are wide.

mod moments;
mod passes;

use rayon::prelude::*;

pub(crate) use moments::Moments;
pub(crate) use passes::{Shortcut, cut, finish, input_grad, start_back, sums};

use super::conv::{Activation, Tile};
use super::mat::MatMut;
use super::simd::simd_fn;

/// Rows per piece of work.
const PART: usize = 256;

/// What a norm does to each channel: `scale · x + shift`, and what its way back needs.
#[derive(Debug, Clone)]
pub(crate) struct Normed {
    pub(crate) mean: Vec<f32>,
    /// `1 / √(variance + eps)`.
    root: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    /// Rows whose statistics these are; 0 for statistics that do not depend on the values.
    count: f32,
}

impl Normed {
    /// With statistics of the values themselves, of the first columns of `moments`.
    pub(crate) fn by_batch(moments: &Moments, weight: &[f32], bias: &[f32], eps: f32) -> Self {
        let pairs = moments.mean().zip(moments.biased());
        Self::new(pairs, weight, bias, eps, moments.count as f32)
    }

    /// With statistics from elsewhere.
    pub(crate) fn given(
        [mean, variance]: [&[f32]; 2],
        weight: &[f32],
        bias: &[f32],
        eps: f32,
    ) -> Self {
        let pairs = mean.iter().copied().zip(variance.iter().copied());
        Self::new(pairs, weight, bias, eps, 0.)
    }

    fn new(
        pairs: impl Iterator<Item = (f32, f32)>,
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        count: f32,
    ) -> Self {
        let mut normed = Self {
            mean: Vec::with_capacity(weight.len()),
            root: Vec::with_capacity(weight.len()),
            scale: Vec::with_capacity(weight.len()),
            shift: Vec::with_capacity(weight.len()),
            count,
        };
        for (((mean, variance), weight), bias) in pairs.zip(weight).zip(bias) {
            let root = 1. / (variance + eps).sqrt();
            normed.mean.push(mean);
            normed.root.push(root);
            normed.scale.push(weight * root);
            normed.shift.push(bias - mean * weight * root);
        }
        normed
    }

    pub(crate) fn activation(&self) -> Activation<'_> {
        Activation { scale: &self.scale, shift: &self.shift }
    }

    /// Gradients of weight and bias.
    pub(crate) fn parameter_grads(&self, sums: &Sums) -> (Vec<f32>, Vec<f32>) {
        let weight = sums.with_values.iter().zip(&self.root).map(|(sum, root)| *sum as f32 * root);
        (weight.collect(), sums.plain.iter().map(|sum| *sum as f32).collect())
    }

    /// What the statistics' dependence on the values adds to `scale · g`, see [`Correction`];
    /// `None` where they depend on nothing.
    pub(crate) fn correction(&self, sums: &Sums) -> Option<Correction> {
        (self.count > 0.).then(|| {
            let pairs =
                self.scale.iter().zip(&self.root).zip(sums.plain.iter().zip(&sums.with_values));
            let pair = |((scale, root), (plain, values)): ((&f32, &f32), (&f64, &f64))| {
                let factor = f64::from(*scale) / f64::from(self.count);
                let root = f64::from(*root);
                (-factor * plain, -factor * root * root * values)
            };
            let (constant, slope) = pairs.map(pair).unzip();
            Correction { constant, slope }
        })
    }
}

/// `Σ g` and `Σ g · (x − mean)` of each channel, where `g` is the gradient of a norm's output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    plain: Vec<f64>,
    with_values: Vec<f64>,
}

impl Sums {
    /// From those of tiles in order, each with its first column: `Σ g`, then `Σ g · (x − mean)`.
    pub(crate) fn join(width: usize, parts: &[(usize, Vec<f32>)]) -> Self {
        let mut sums = Self { plain: vec![0.; width], with_values: vec![0.; width] };
        for (first, part) in parts {
            let (plain, values) = part.split_at(part.len() / 2);
            for (sum, part) in [(&mut sums.plain, plain), (&mut sums.with_values, values)] {
                sum[*first..].iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        sums
    }
}

/// `constant + slope · (x − mean)` for each channel: with statistics of the batch, the gradient of
/// a norm's input is `scale · (g − mean(g) − n · mean(g · n))` with `n = (x − mean) / σ`. Several
/// norms of the same values share their statistics, so their corrections can be added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Correction {
    constant: Vec<f64>,
    slope: Vec<f64>,
}

impl Correction {
    pub(crate) fn zero(width: usize) -> Self {
        Self { constant: vec![0.; width], slope: vec![0.; width] }
    }

    /// Adds one of the first channels.
    pub(crate) fn add(&mut self, other: &Self) {
        self.constant.iter_mut().zip(&other.constant).for_each(|(sum, x)| *sum += x);
        self.slope.iter_mut().zip(&other.slope).for_each(|(sum, x)| *sum += x);
    }

    /// `(slope, constant − slope · mean)` of channels from `first` on, as factors of the values.
    pub(super) fn line(&self, mean: &[f32], first: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
        let slope: Vec<f32> = self.slope[first..first + width].iter().map(|x| *x as f32).collect();
        let parts = self.constant[first..].iter().zip(&self.slope[first..]).zip(mean);
        let constant =
            parts.map(|((constant, slope), mean)| (constant - slope * f64::from(*mean)) as f32);
        (slope, constant.take(width).collect())
    }

    /// `out[i] ← grad[i] + correction`, of the columns from `first` on; rows of `grad` and `values`
    /// are `stride` apart and begin with column 0, those of `out` lie side by side.
    pub(crate) fn apply_columns(
        &self,
        (grad, values, stride): (&[f32], &[f32], usize),
        mean: &[f32],
        first: usize,
        out: &mut [f32],
        width: usize,
    ) {
        let (slope, constant) = self.line(&mean[first..], first, width);
        let rows = out.par_chunks_mut(PART * width).zip(grad.par_chunks(PART * stride));
        rows.zip(values.par_chunks(PART * stride)).for_each(|((out, grad), values)| {
            corrected(out, &grad[first..], &values[first..], stride, &slope, &constant);
        });
    }

    /// `grad[i] ← grad[i] + correction` for rows that lie side by side.
    pub(crate) fn apply(&self, grad: &mut [f32], values: &[f32], mean: &[f32]) {
        let width = mean.len();
        let (slope, constant) = self.line(mean, 0, width);
        let rows = grad.par_chunks_mut(PART * width).zip(values.par_chunks(PART * width));
        rows.for_each(|(grad, values)| correct(grad, values, &slope, &constant));
    }
}

simd_fn! {
    fn corrected<'a, S>(
        out: &'a mut [f32],
        grad: &'a [f32],
        values: &'a [f32],
        stride: usize,
        slope: &'a [f32],
        constant: &'a [f32],
    ) -> () {
        let rows = out.chunks_exact_mut(slope.len()).zip(grad.chunks(stride));
        for ((out, grad), values) in rows.zip(values.chunks(stride)) {
            let columns = out.iter_mut().zip(grad).zip(values).zip(slope.iter().zip(constant));
            for (((out, grad), x), (slope, constant)) in columns {
                *out = grad + (slope * x + constant);
            }
        }
    }
}

simd_fn! {
    fn correct<'a, S>(
        grad: &'a mut [f32],
        values: &'a [f32],
        slope: &'a [f32],
        constant: &'a [f32],
    ) -> () {
        let width = slope.len();
        for (grad, values) in grad.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            let columns = grad.iter_mut().zip(values).zip(slope.iter().zip(constant));
            for ((grad, x), (slope, constant)) in columns {
                *grad += slope * x + constant;
            }
        }
    }
}

/// The values that a gradient goes back to, through `max(0, norm(x))`: rows `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Through<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) normed: &'a Normed,
}

impl Through<'_> {
    /// Of the gradients of activations in a tile: `dst ← scale · g`, or added to it, where `g` is
    /// zero for values that were cut off; returns `Σ g` and `Σ g · (x − mean)` for [`Sums::join`].
    pub(crate) fn back(&self, tile: Tile<'_>, dst: MatMut<'_>, add: bool) -> Vec<f32> {
        let columns = tile.columns.clone();
        let mut sums = vec![0f32; 2 * columns.len()];
        let (plain, with_values) = sums.split_at_mut(columns.len());
        let normed = [
            &self.normed.scale[columns.clone()],
            &self.normed.shift[columns.clone()],
            &self.normed.mean[columns.clone()],
        ];
        let values = &self.values[tile.pixels.start * self.stride + columns.start..];
        back_rows(tile.values, dst, values, self.stride, normed, [plain, with_values], add);
        sums
    }
}

simd_fn! {
    fn back_rows<'a, S>(
        grad: MatMut<'a>,
        dst: MatMut<'a>,
        values: &'a [f32],
        stride: usize,
        normed: [&'a [f32]; 3],
        sums: [&'a mut [f32]; 2],
        add: bool,
    ) -> () {
        let (mut grad, mut dst) = (grad, dst);
        let ([scale, shift, mean], [plain, with_values]) = (normed, sums);
        for i in 0..grad.height() {
            let values = &values[i * stride..];
            let row = grad.row_mut(i).iter().zip(values).zip(dst.row_mut(i));
            let channel = scale.iter().zip(shift).zip(mean);
            let sums = plain.iter_mut().zip(with_values.iter_mut());
            for ((((g, x), dst), ((scale, shift), mean)), (plain, with)) in
                row.zip(channel).zip(sums)
            {
                let g = if scale * x + shift > 0. { *g } else { 0. };
                *plain += g;
                *with += g * (x - mean);
                *dst = if add { *dst + scale * g } else { scale * g };
            }
        }
    }
}
