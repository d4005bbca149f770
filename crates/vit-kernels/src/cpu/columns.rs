//! Passes over the rows of matrices: bias, residual, column sums.

use rayon::prelude::*;

use super::ROWS;
use super::simd::simd_fn;

simd_fn! {
    fn add_rows<'a, S>(y: &'a mut [f32], bias: &'a [f32]) -> () {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}

/// `y[r, c] += bias[c]`.
pub(crate) fn add_bias(y: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        y.par_chunks_mut(ROWS * bias.len()).for_each(|rows| add_rows(rows, bias));
    }
}

simd_fn! {
    fn residual_rows<'a, S>(
        y: &'a mut [f32],
        x: &'a [f32],
        bias: &'a [f32],
        scale: f32,
    ) -> () {
        let width = bias.len();
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            for ((y, x), b) in y.iter_mut().zip(x).zip(bias) {
                *y = x + scale * (*y + b);
            }
        }
    }
}

/// `y[r, c] ← x[r, c] + scale · (y[r, c] + bias[c])`, one scale per sample of `rows_per_sample`
/// rows; `None` for 1.
pub(crate) fn residual(
    y: &mut [f32],
    x: &[f32],
    bias: &[f32],
    rows_per_sample: usize,
    scales: Option<&[f32]>,
) {
    let sample = rows_per_sample * bias.len();
    if sample == 0 {
        return;
    }
    let part = ROWS * bias.len();
    y.par_chunks_mut(sample).zip(x.par_chunks(sample)).enumerate().for_each(|(i, (y, x))| {
        let scale = scales.and_then(|scales| scales.get(i)).copied().unwrap_or(1.);
        y.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .for_each(|(y, x)| residual_rows(y, x, bias, scale));
    });
}

simd_fn! {
    fn sum_rows<'a, S>(y: &'a mut [f32], x: &'a [f32], branch: &'a [f32], scale: f32) -> () {
        for ((y, x), branch) in y.iter_mut().zip(x).zip(branch) {
            *y = x + scale * branch;
        }
    }
}

/// `y ← x + scale · branch`, one scale per sample of `values_per_sample` values; `None` for 1.
pub(crate) fn sum_scaled(
    y: &mut [f32],
    x: &[f32],
    branch: &[f32],
    values_per_sample: usize,
    scales: Option<&[f32]>,
) {
    if values_per_sample == 0 {
        return;
    }
    let samples = y.par_chunks_mut(values_per_sample).zip(x.par_chunks(values_per_sample));
    let samples = samples.zip(branch.par_chunks(values_per_sample)).enumerate();
    samples.for_each(|(i, ((y, x), branch))| {
        let scale = scales.and_then(|scales| scales.get(i)).copied().unwrap_or(1.);
        sum_rows(y, x, branch, scale);
    });
}

simd_fn! {
    fn scale_rows<'a, S>(y: &'a mut [f32], x: &'a [f32], scale: f32) -> () {
        for (y, x) in y.iter_mut().zip(x) {
            *y = scale * x;
        }
    }
}

/// `y ← scale · x`, one scale per sample of `values_per_sample` values.
pub(crate) fn scaled(y: &mut [f32], x: &[f32], values_per_sample: usize, scales: &[f32]) {
    if values_per_sample > 0 {
        y.par_chunks_mut(values_per_sample)
            .zip(x.par_chunks(values_per_sample))
            .zip(scales)
            .for_each(|((y, x), &scale)| scale_rows(y, x, scale));
    }
}

simd_fn! {
    fn add_into<'a, S>(y: &'a mut [f32], x: &'a [f32]) -> () {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

/// `y += x`.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    const PART: usize = 1 << 14;
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| add_into(y, x));
}

/// Sums over rows made piece by piece: `f` adds its rows' share to the totals it gets; the pieces'
/// totals are added in order, so the result does not depend on the number of threads.
pub(crate) fn sum_pieces(
    rows: usize,
    width: usize,
    f: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let pieces: Vec<Vec<f32>> = (0..rows.div_ceil(ROWS))
        .into_par_iter()
        .map(|piece| {
            let mut totals = vec![0.; width];
            f(piece * ROWS..rows.min((piece + 1) * ROWS), &mut totals);
            totals
        })
        .collect();
    let mut sum = vec![0.; width];
    for piece in &pieces {
        add_into(&mut sum, piece);
    }
    sum
}

/// Sum of each column.
pub(crate) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let rows = x.len().checked_div(width).unwrap_or(0);
    sum_pieces(rows, width, |range, totals| {
        for row in x[range.start * width..range.end * width].chunks_exact(width) {
            add_into(totals, row);
        }
    })
}
