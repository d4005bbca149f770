//! GELU of slices.

use rayon::prelude::*;

use super::math::{fma, normal};
use super::simd::simd_fn;

/// Values per piece of work.
const PART: usize = 1 << 13;

simd_fn! {
    fn forward_part<'a, S>(x: &'a [f32], y: &'a mut [f32]) -> () {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * normal::<S>(*x).0;
        }
    }
}

/// `y ← x · Φ(x)`.
pub(crate) fn forward(x: &[f32], y: &mut [f32]) {
    x.par_chunks(PART).zip(y.par_chunks_mut(PART)).for_each(|(x, y)| forward_part(x, y));
}

simd_fn! {
    fn bias_in_place_rows<'a, S>(x: &'a mut [f32], bias: &'a [f32]) -> () {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let with_bias = *x + b;
                *x = with_bias * normal::<S>(with_bias).0;
            }
        }
    }
}

/// `x ← gelu(x + bias)`, for rows as wide as the bias.
pub(crate) fn bias_in_place(x: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        let part = bias.len() * (PART / bias.len()).max(1);
        x.par_chunks_mut(part).for_each(|x| bias_in_place_rows(x, bias));
    }
}

simd_fn! {
    fn bias_rows<'a, S>(x: &'a mut [f32], bias: &'a [f32], y: &'a mut [f32]) -> () {
        let width = bias.len();
        for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)) {
            for ((x, y), b) in x.iter_mut().zip(y).zip(bias) {
                *x += b;
                *y = *x * normal::<S>(*x).0;
            }
        }
    }
}

/// `x ← x + bias`, `y ← gelu(x)`, for rows as wide as the bias.
pub(crate) fn with_bias(x: &mut [f32], bias: &[f32], y: &mut [f32]) {
    if !bias.is_empty() {
        let part = bias.len() * (PART / bias.len()).max(1);
        x.par_chunks_mut(part).zip(y.par_chunks_mut(part)).for_each(|(x, y)| bias_rows(x, bias, y));
    }
}

simd_fn! {
    fn split_part<'a, S>(x: &'a mut [f32], y: &'a mut [f32]) -> () {
        for (x, y) in x.iter_mut().zip(y) {
            let (distribution, density) = normal::<S>(*x);
            *y = *x * distribution;
            *x = fma::<S>(*x, density, distribution);
        }
    }
}

/// `y ← gelu(x)` and `x ← gelu'(x) = Φ(x) + x · φ(x)` in one pass.
pub(crate) fn value_and_slope(x: &mut [f32], y: &mut [f32]) {
    x.par_chunks_mut(PART).zip(y.par_chunks_mut(PART)).for_each(|(x, y)| split_part(x, y));
}

simd_fn! {
    fn backward_part<'a, S>(x: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) -> () {
        for ((x, dy), dx) in x.iter().zip(dy).zip(dx) {
            let (distribution, density) = normal::<S>(*x);
            *dx = dy * fma::<S>(*x, density, distribution);
        }
    }
}

/// `dx ← dy · gelu'(x)`.
pub(crate) fn backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    x.par_chunks(PART)
        .zip(dy.par_chunks(PART))
        .zip(dx.par_chunks_mut(PART))
        .for_each(|((x, dy), dx)| backward_part(x, dy, dx));
}

simd_fn! {
    fn multiply_part<'a, S>(y: &'a mut [f32], x: &'a [f32]) -> () {
        for (y, x) in y.iter_mut().zip(x) {
            *y *= x;
        }
    }
}

/// `y ← y · x`.
pub(crate) fn multiply(y: &mut [f32], x: &[f32]) {
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| multiply_part(y, x));
}
