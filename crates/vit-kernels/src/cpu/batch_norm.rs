//! Batch normalisation: statistics, what they make of values, and the way back.
//!
//! Rows are pixels, columns channels; rows may lie further apart than they are wide.

use rayon::prelude::*;

use super::conv::{Activation, Tile};
use super::mat::MatMut;
use super::simd::simd_fn;

/// Rows per piece of work.
const PART: usize = 256;

/// Mean and sum of squared distances from it, of each column of some rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Of the columns of a tile, in two passes, so that a large mean costs no digits.
    pub(crate) fn of(rows: MatMut<'_>) -> Self {
        let (count, width) = (rows.height(), rows.width());
        let (mut mean, mut squares) = (vec![0f32; width], vec![0f32; width]);
        column_moments(rows, &mut mean, &mut squares);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { count: count as f64, mean: wide(mean), squares: wide(squares) }
    }

    /// Adds other rows of the columns from `first` on (Chan, Golub and LeVeque 1983).
    fn add(&mut self, first: usize, other: &Self, count: f64) {
        let total = count + other.count;
        let columns = self.mean[first..].iter_mut().zip(&mut self.squares[first..]);
        for ((mean, squares), (m, s)) in columns.zip(other.mean.iter().zip(&other.squares)) {
            let distance = m - *mean;
            *mean += distance * other.count / total;
            *squares += s + distance * distance * count * other.count / total;
        }
    }

    /// Of all rows, from those of tiles in order, each with its first column.
    pub(crate) fn join(width: usize, parts: &[(usize, Self)]) -> Self {
        let mut sum = Self { count: 0., mean: vec![0.; width], squares: vec![0.; width] };
        let mut counts = vec![0.; width];
        for (first, part) in parts {
            let Some(count) = counts.get_mut(*first) else { continue };
            sum.add(*first, part, *count);
            *count += part.count;
        }
        sum.count = counts.first().copied().unwrap_or(0.);
        sum
    }

    /// Of columns `0..width` of rows `stride` apart.
    pub(crate) fn of_rows(values: &[f32], stride: usize, width: usize) -> Self {
        let parts: Vec<(usize, Self)> = values
            .par_chunks(PART * stride)
            .map(|rows| {
                let (mut mean, mut squares) = (vec![0f32; width], vec![0f32; width]);
                slice_moments(rows, stride, &mut mean, &mut squares);
                let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
                let count = (rows.len() / stride) as f64;
                (0, Self { count, mean: wide(mean), squares: wide(squares) })
            })
            .collect();
        Self::join(width, &parts)
    }

    /// Further columns of the same rows.
    pub(crate) fn extend(&mut self, other: Self) {
        self.count = other.count;
        self.mean.extend(other.mean);
        self.squares.extend(other.squares);
    }

    pub(crate) fn mean(&self) -> impl Iterator<Item = f32> {
        self.mean.iter().map(|mean| *mean as f32)
    }

    /// Mean squared distance from the mean.
    fn biased(&self) -> impl Iterator<Item = f32> {
        self.squares.iter().map(|squares| (squares / self.count) as f32)
    }

    /// An estimate of the variance of what the rows were drawn from.
    pub(crate) fn unbiased(&self) -> impl Iterator<Item = f32> {
        self.squares.iter().map(|squares| (squares / (self.count - 1.)) as f32)
    }
}

simd_fn! {
    fn column_moments<'a, S>(
        rows: MatMut<'a>,
        mean: &'a mut [f32],
        squares: &'a mut [f32],
    ) -> () {
        let mut rows = rows;
        let count = rows.height();
        for i in 0..count {
            mean.iter_mut().zip(rows.row_mut(i)).for_each(|(mean, x)| *mean += *x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count as f32);
        for i in 0..count {
            for ((squares, x), mean) in squares.iter_mut().zip(rows.row_mut(i)).zip(mean.iter()) {
                *squares += (*x - mean) * (*x - mean);
            }
        }
    }
}

simd_fn! {
    fn slice_moments<'a, S>(
        rows: &'a [f32],
        stride: usize,
        mean: &'a mut [f32],
        squares: &'a mut [f32],
    ) -> () {
        let count = (rows.len() / stride) as f32;
        for row in rows.chunks_exact(stride) {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        for row in rows.chunks_exact(stride) {
            for ((squares, x), mean) in squares.iter_mut().zip(row).zip(mean.iter()) {
                *squares += (x - mean) * (x - mean);
            }
        }
    }
}

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
    pub(crate) fn given([mean, variance]: [&[f32]; 2], weight: &[f32], bias: &[f32], eps: f32) -> Self {
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
            let pairs = self.scale.iter().zip(&self.root).zip(sums.plain.iter().zip(&sums.with_values));
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
    fn line(&self, mean: &[f32], first: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
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

/// What is added to a norm's output before it is cut off.
#[derive(Clone, Copy)]
pub(crate) enum Shortcut<'a> {
    None,
    Values(&'a [f32]),
    Normed(&'a [f32], &'a Normed),
}

/// `out ← max(0, scale · x + shift + shortcut)`; without `relu` not cut off.
pub(crate) fn finish(
    values: &[f32],
    normed: &Normed,
    shortcut: Shortcut<'_>,
    relu: bool,
    out: &mut [f32],
) {
    let width = normed.scale.len();
    if width == 0 {
        return;
    }
    let part = PART * width;
    out.par_chunks_mut(part).zip(values.par_chunks(part)).enumerate().for_each(|(i, (out, x))| {
        let range = i * part..i * part + x.len();
        let line = (&normed.scale[..], &normed.shift[..]);
        let low = if relu { 0. } else { f32::NEG_INFINITY };
        match shortcut {
            Shortcut::None => finish_alone(out, x, line, low),
            Shortcut::Values(y) => finish_sum(out, x, line, &y[range], low),
            Shortcut::Normed(y, other) => {
                finish_two(out, x, line, &y[range], (&other.scale[..], &other.shift[..]), low);
            }
        }
    });
}

simd_fn! {
    fn finish_alone<'a, S>(
        out: &'a mut [f32],
        values: &'a [f32],
        line: (&'a [f32], &'a [f32]),
        low: f32,
    ) -> () {
        let width = line.0.len();
        for (out, values) in out.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            for ((out, x), (scale, shift)) in out.iter_mut().zip(values).zip(line.0.iter().zip(line.1)) {
                let y = scale * x + shift;
                // Written so that NaN passes through.
                *out = if y < low { low } else { y };
            }
        }
    }
}

simd_fn! {
    fn finish_sum<'a, S>(
        out: &'a mut [f32],
        values: &'a [f32],
        line: (&'a [f32], &'a [f32]),
        other: &'a [f32],
        low: f32,
    ) -> () {
        let width = line.0.len();
        let rows = out.chunks_exact_mut(width).zip(values.chunks_exact(width));
        for ((out, values), other) in rows.zip(other.chunks_exact(width)) {
            let columns = out.iter_mut().zip(values).zip(other).zip(line.0.iter().zip(line.1));
            for (((out, x), other), (scale, shift)) in columns {
                let y = scale * x + shift + other;
                *out = if y < low { low } else { y };
            }
        }
    }
}

simd_fn! {
    fn finish_two<'a, S>(
        out: &'a mut [f32],
        values: &'a [f32],
        line: (&'a [f32], &'a [f32]),
        other: &'a [f32],
        second: (&'a [f32], &'a [f32]),
        low: f32,
    ) -> () {
        let width = line.0.len();
        let rows = out.chunks_exact_mut(width).zip(values.chunks_exact(width));
        for ((out, values), other) in rows.zip(other.chunks_exact(width)) {
            let lines = line.0.iter().zip(line.1).zip(second.0.iter().zip(second.1));
            let columns = out.iter_mut().zip(values).zip(other).zip(lines);
            for (((out, x), other), ((scale, shift), (scale2, shift2))) in columns {
                let y = (scale * x + shift) + (scale2 * other + shift2);
                *out = if y < low { low } else { y };
            }
        }
    }
}

/// `g ← grad` where `out > 0` (everywhere without `out`), else 0, and the sums of a norm whose
/// input the rows of `values` are.
pub(crate) fn start_back(
    grad: &[f32],
    out: Option<&[f32]>,
    values: &[f32],
    normed: &Normed,
    g: &mut [f32],
) -> Sums {
    let width = normed.mean.len();
    if width == 0 {
        return Sums::default();
    }
    let part = PART * width;
    let parts: Vec<(usize, Vec<f32>)> = g
        .par_chunks_mut(part)
        .zip(grad.par_chunks(part))
        .zip(values.par_chunks(part))
        .enumerate()
        .map(|(i, ((g, grad), values))| {
            let mut sums = vec![0f32; 2 * width];
            let out = out.map(|out| &out[i * part..i * part + grad.len()]);
            masked(g, grad, out, values, &normed.mean, &mut sums);
            (0, sums)
        })
        .collect();
    Sums::join(width, &parts)
}

simd_fn! {
    fn masked<'a, S>(
        g: &'a mut [f32],
        grad: &'a [f32],
        out: Option<&'a [f32]>,
        values: &'a [f32],
        mean: &'a [f32],
        sums: &'a mut [f32],
    ) -> () {
        match out {
            Some(out) => for ((g, grad), out) in g.iter_mut().zip(grad).zip(out) {
                *g = if *out > 0. { *grad } else { 0. };
            },
            None => g.copy_from_slice(grad),
        }
        let (plain, with) = sums.split_at_mut(mean.len());
        for (g, values) in g.chunks_exact(mean.len()).zip(values.chunks_exact(mean.len())) {
            let sums = plain.iter_mut().zip(with.iter_mut()).zip(mean);
            for ((g, x), ((plain, with), mean)) in g.iter().zip(values).zip(sums) {
                *plain += g;
                *with += g * (x - mean);
            }
        }
    }
}

/// `Σ g` and `Σ g · (x − mean)` of rows that are there.
pub(crate) fn sums(g: &[f32], values: &[f32], normed: &Normed) -> Sums {
    let width = normed.mean.len();
    if width == 0 {
        return Sums::default();
    }
    let part = PART * width;
    let one = |(g, values): (&[f32], &[f32])| {
        let mut sums = vec![0f32; 2 * width];
        let (plain, with) = sums.split_at_mut(width);
        add_sums(g, values, &normed.mean, plain, with);
        (0, sums)
    };
    let parts: Vec<_> = g.par_chunks(part).zip(values.par_chunks(part)).map(one).collect();
    Sums::join(width, &parts)
}

simd_fn! {
    fn add_sums<'a, S>(
        g: &'a [f32],
        values: &'a [f32],
        mean: &'a [f32],
        plain: &'a mut [f32],
        with: &'a mut [f32],
    ) -> () {
        for (g, values) in g.chunks_exact(mean.len()).zip(values.chunks_exact(mean.len())) {
            let sums = plain.iter_mut().zip(with.iter_mut()).zip(mean);
            for ((g, x), ((plain, with), mean)) in g.iter().zip(values).zip(sums) {
                *plain += g;
                *with += g * (x - mean);
            }
        }
    }
}

/// `out ← scale · g + correction`: the gradient of a norm's input.
pub(crate) fn input_grad(
    g: &[f32],
    values: &[f32],
    normed: &Normed,
    correction: Option<&Correction>,
    out: &mut [f32],
) {
    let width = normed.mean.len();
    if width == 0 {
        return;
    }
    let zero = Correction::zero(width);
    let (slope, constant) = correction.unwrap_or(&zero).line(&normed.mean, 0, width);
    let part = PART * width;
    out.par_chunks_mut(part).zip(g.par_chunks(part)).zip(values.par_chunks(part)).for_each(
        |((out, g), values)| input_rows(out, g, values, &normed.scale, (&slope, &constant)),
    );
}

simd_fn! {
    fn input_rows<'a, S>(
        out: &'a mut [f32],
        g: &'a [f32],
        values: &'a [f32],
        scale: &'a [f32],
        line: (&'a [f32], &'a [f32]),
    ) -> () {
        let width = scale.len();
        let rows = out.chunks_exact_mut(width).zip(g.chunks_exact(width));
        for ((out, g), values) in rows.zip(values.chunks_exact(width)) {
            let lines = scale.iter().zip(line.0.iter().zip(line.1));
            for (((out, g), x), (scale, (slope, constant))) in
                out.iter_mut().zip(g).zip(values).zip(lines)
            {
                *out = scale * g + (slope * x + constant);
            }
        }
    }
}

/// `g ← 0` where `max(0, norm(x))` is cut off.
pub(crate) fn cut(g: &mut [f32], values: &[f32], normed: &Normed) {
    let width = normed.mean.len();
    if width == 0 {
        return;
    }
    let part = PART * width;
    g.par_chunks_mut(part)
        .zip(values.par_chunks(part))
        .for_each(|(g, values)| cut_rows(g, values, &normed.scale, &normed.shift));
}

simd_fn! {
    fn cut_rows<'a, S>(
        g: &'a mut [f32],
        values: &'a [f32],
        scale: &'a [f32],
        shift: &'a [f32],
    ) -> () {
        let width = scale.len();
        for (g, values) in g.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            for ((g, x), (scale, shift)) in g.iter_mut().zip(values).zip(scale.iter().zip(shift)) {
                *g = if scale * x + shift > 0. { *g } else { 0. };
            }
        }
    }
}
