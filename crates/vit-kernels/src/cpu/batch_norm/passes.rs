//! Passes over rows that lie side by side.

use rayon::prelude::*;

use super::{Correction, Normed, PART, Sums};
use crate::cpu::simd::simd_fn;

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
