//! Layer normalisation of rows.

use rayon::prelude::*;

use super::ROWS;
use super::columns::sum_pieces;
use super::math::{fma, sum, sum2, sum3};
use super::simd::simd_fn;

/// What the backward pass needs of a row: its mean and `1 / √(variance + eps)`.
pub(crate) type RowStats = [f32; 2];

#[inline(always)]
fn row_stats(x: &[f32], eps: f32) -> RowStats {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    // Of the centred values: a large mean costs no digits.
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    [mean, 1. / (variance + eps).sqrt()]
}

simd_fn! {
    fn forward_rows<'a, S>(
        x: &'a [f32],
        weight: &'a [f32],
        bias: &'a [f32],
        eps: f32,
        y: &'a mut [f32],
        stats: &'a mut [RowStats],
    ) -> () {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
        for ((x, y), stats) in rows.zip(stats) {
            *stats = row_stats(x, eps);
            let [mean, root] = *stats;
            for (((y, x), w), b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = fma::<S>((x - mean) * root, *w, *b);
            }
        }
    }
}

/// `y ← (x − mean) / √(var + eps) · weight + bias` for each row; keeps what backward needs.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [f32],
    stats: &mut [RowStats],
) {
    let part = ROWS * weight.len();
    if part == 0 {
        return;
    }
    x.par_chunks(part)
        .zip(y.par_chunks_mut(part))
        .zip(stats.par_chunks_mut(ROWS))
        .for_each(|((x, y), stats)| forward_rows(x, weight, bias, eps, y, stats));
}

simd_fn! {
    fn again_rows<'a, S>(
        x: &'a [f32],
        weight: &'a [f32],
        bias: &'a [f32],
        stats: &'a [RowStats],
        y: &'a mut [f32],
    ) -> () {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
        for ((x, y), [mean, root]) in rows.zip(stats) {
            for (((y, x), w), b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = fma::<S>((x - mean) * root, *w, *b);
            }
        }
    }
}

/// [`forward`] once more, from the kept statistics: the same bits.
pub(crate) fn again(x: &[f32], weight: &[f32], bias: &[f32], stats: &[RowStats], y: &mut [f32]) {
    let part = ROWS * weight.len();
    if part == 0 {
        return;
    }
    x.par_chunks(part)
        .zip(y.par_chunks_mut(part))
        .zip(stats.par_chunks(ROWS))
        .for_each(|((x, y), stats)| again_rows(x, weight, bias, stats, y));
}

simd_fn! {
    fn input_rows<'a, S>(
        x: &'a [f32],
        weight: &'a [f32],
        stats: &'a [RowStats],
        dy: &'a [f32],
        base: Option<&'a [f32]>,
        dx: &'a mut [f32],
    ) -> () {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
        let rows = rows.zip(dx.chunks_exact_mut(width)).zip(stats);
        for (i, (((x, dy), dx), &[mean, root])) in rows.enumerate() {
            let n = width as f32;
            let first = sum2(dy, weight, |dy, w| dy * w) / n;
            let second = sum3(dy, weight, x, |dy, w, x| dy * w * ((x - mean) * root)) / n;
            for (((dx, x), dy), w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                let normed = (x - mean) * root;
                *dx = root * (dy * w - first - normed * second);
            }
            if let Some(base) = base {
                for (dx, base) in dx.iter_mut().zip(&base[i * width..]) {
                    *dx += base;
                }
            }
        }
    }
}

/// Gradient of the input: with `g = dy · weight` and `n = (x − mean)/σ`,
/// `dx = base + (g − mean(g) − n · mean(g · n)) / σ`.
pub(crate) fn backward_input(
    x: &[f32],
    weight: &[f32],
    stats: &[RowStats],
    dy: &[f32],
    base: Option<&[f32]>,
    dx: &mut [f32],
) {
    let part = ROWS * weight.len();
    if part == 0 {
        return;
    }
    x.par_chunks(part)
        .zip(dy.par_chunks(part))
        .zip(dx.par_chunks_mut(part))
        .zip(stats.par_chunks(ROWS))
        .enumerate()
        .for_each(|(i, (((x, dy), dx), stats))| {
            let base = base.map(|base| &base[i * part..]);
            input_rows(x, weight, stats, dy, base, dx);
        });
}

simd_fn! {
    fn weight_rows<'a, S>(
        x: &'a [f32],
        stats: &'a [RowStats],
        dy: &'a [f32],
        totals: &'a mut [f32],
    ) -> () {
        let width = totals.len() / 2;
        let (weight, bias) = totals.split_at_mut(width);
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
        for ((x, dy), &[mean, root]) in rows.zip(stats) {
            for (((x, dy), w), b) in x.iter().zip(dy).zip(weight.iter_mut()).zip(bias.iter_mut()) {
                *w = fma::<S>(*dy, (x - mean) * root, *w);
                *b += dy;
            }
        }
    }
}

/// Gradients of weight and bias: `Σ dy · n` and `Σ dy` over rows.
pub(crate) fn backward_weight(
    x: &[f32],
    stats: &[RowStats],
    dy: &[f32],
    width: usize,
) -> (Vec<f32>, Vec<f32>) {
    let mut sums = sum_pieces(stats.len(), 2 * width, |range, totals| {
        let values = range.start * width..range.end * width;
        weight_rows(&x[values.clone()], &stats[range], &dy[values], totals);
    });
    let bias = sums.split_off(width);
    (sums, bias)
}
