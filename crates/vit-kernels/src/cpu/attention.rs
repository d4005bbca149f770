//! Attention that holds one tile of the score matrix per worker.

use std::cell::RefCell;

use rayon::prelude::*;

use super::mat::{Into, Mat, MatMut, Threads, matmul};
use super::math::{exp, largest, sum, sum2};
use super::simd::simd_fn;

/// Scores a worker holds at once: 256 KiB, to stay in the second-level cache.
const TILE: usize = 1 << 16;

/// Sizes of a multi-head attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    /// Tokens that ask.
    pub(crate) queries: usize,
    /// Tokens that are asked.
    pub(crate) keys: usize,
}

impl Shape {
    fn scale(&self) -> f32 {
        (self.head_dim as f64).powf(-0.5) as f32
    }

    /// Rows of scores per tile.
    fn tile_rows(&self) -> usize {
        (TILE / self.keys.max(1)).max(1)
    }

    /// The view of one head of one sample.
    fn head<'a>(&self, m: Mat<'a>, tokens: usize, item: usize) -> Mat<'a> {
        let (sample, head) = (item / self.heads, item % self.heads);
        m.rows(sample * tokens..(sample + 1) * tokens)
            .cols(head * self.head_dim..(head + 1) * self.head_dim)
    }

    /// The views of every head of every sample, in the order of [`Shape::head`]'s `item`.
    fn heads_mut<'a>(&self, m: MatMut<'a>, tokens: usize) -> Vec<MatMut<'a>> {
        let samples = m.split_rows(tokens).into_iter();
        samples.flat_map(|sample| sample.split_cols(self.head_dim)).collect()
    }
}

thread_local! {
    /// Each worker's tiles. No rayon call happens while they are borrowed, so no second item can
    /// ask for them.
    static TILES: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

fn with_tiles<R>(len: usize, f: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    TILES.with_borrow_mut(|[first, second]| {
        for tile in [&mut *first, &mut *second] {
            if tile.len() < len {
                tile.resize(len, 0.);
            }
        }
        f(&mut first[..len], &mut second[..len])
    })
}

/// Largest score of a row and `1 / Σ exp(score − largest)`.
///
/// Their log-sum-exp would be one number instead of two, but its rounding would be a relative
/// error of every weight of the row in the backward pass.
pub(crate) type RowSums = [f32; 2];

simd_fn! {
    /// `row ← exp(row − largest)`.
    fn soften<'a, S>(scores: &'a mut [f32], keys: usize, sums: &'a mut [RowSums]) -> () {
        for (row, sums) in scores.chunks_exact_mut(keys).zip(sums) {
            let most = largest(row);
            for score in row.iter_mut() {
                *score = exp::<S>(*score - most);
            }
            *sums = [most, 1. / sum(row, |e| e)];
        }
    }
}

simd_fn! {
    fn scale_row<'a, S>(row: &'a mut [f32], factor: f32) -> () {
        for value in row {
            *value *= factor;
        }
    }
}

/// `softmax(q · kᵀ / √d) · v` per head, heads side by side.
///
/// `q` is `[batch · queries, heads · d]`, `k` and `v` are `[batch · keys, heads · d]`, `out` is like
/// `q`; `sums` `[batch, heads, queries]` is for the backward pass.
pub(crate) fn forward(
    shape: Shape,
    [q, k, v]: [Mat<'_>; 3],
    out: MatMut<'_>,
    sums: &mut [RowSums],
) {
    if shape.queries == 0 || shape.keys == 0 {
        return;
    }
    let outs = shape.heads_mut(out, shape.queries);
    let items = outs.into_par_iter().zip(sums.par_chunks_mut(shape.queries));
    items.enumerate().for_each(|(item, (out, sums))| {
        let q = shape.head(q, shape.queries, item);
        let [k, v] = [k, v].map(|m| shape.head(m, shape.keys, item));
        head_forward(shape, [q, k, v], out, sums);
    });
}

fn head_forward(shape: Shape, [q, k, v]: [Mat<'_>; 3], out: MatMut<'_>, sums: &mut [RowSums]) {
    let most = shape.tile_rows();
    let tiles = out.split_rows(most).into_iter().zip(sums.chunks_mut(most));
    for (i, (mut out, sums)) in tiles.enumerate() {
        let rows = sums.len();
        with_tiles(rows * shape.keys, |scores, _| {
            let q = q.rows(i * most..i * most + rows);
            let mut tile = MatMut::new(scores, rows, shape.keys);
            matmul(&mut tile, Into::Overwrite, shape.scale(), q, k.t(), Threads::One);
            soften(scores, shape.keys, sums);
            let scores = Mat::new(scores, rows, shape.keys);
            matmul(&mut out, Into::Overwrite, 1., scores, v, Threads::One);
            for (row, [_, inverse]) in sums.iter().enumerate() {
                scale_row(out.row_mut(row), *inverse);
            }
        });
    }
}

simd_fn! {
    fn soften_again<'a, S>(scores: &'a mut [f32], keys: usize, sums: &'a [RowSums]) -> () {
        for (row, [most, inverse]) in scores.chunks_exact_mut(keys).zip(sums) {
            for score in row {
                *score = exp::<S>(*score - most) * inverse;
            }
        }
    }
}

simd_fn! {
    /// `p ← p ∘ (dp − Σ p · dp)` for each row.
    ///
    /// The sum equals that of output times gradient, as flash attention has it, but taken here the
    /// rounding of both cancels: a row of the result adds up to almost exactly 0, as it should.
    fn score_grads<'a, S>(p: &'a mut [f32], dp: &'a [f32], keys: usize) -> () {
        for (p, dp) in p.chunks_exact_mut(keys).zip(dp.chunks_exact(keys)) {
            let delta = sum2(p, dp, |p, dp| p * dp);
            for (p, dp) in p.iter_mut().zip(dp) {
                *p *= dp - delta;
            }
        }
    }
}

/// What the backward pass reads beside q, k and v: the output's gradient and what the forward pass kept of
/// each row of scores.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) grad: Mat<'a>,
    pub(crate) sums: &'a [RowSums],
}

/// Gradients of q, k and v, with the scores computed anew tile by tile (Dao et al., arXiv
/// 2205.14135): with `P` the softmax and `dP = dO Vᵀ`, `dV = Pᵀ dO`, `dS = P ∘ (dP − Σ P ∘ dP)`
/// with the sum over each row, `dQ = dS K / √d`, `dK = dSᵀ Q / √d`.
pub(crate) fn backward(
    shape: Shape,
    [q, k, v]: [Mat<'_>; 3],
    saved: Saved<'_>,
    [dq, dk, dv]: [MatMut<'_>; 3],
) {
    if shape.queries == 0 || shape.keys == 0 {
        return;
    }
    let dq = shape.heads_mut(dq, shape.queries);
    let [dk, dv] = [dk, dv].map(|m| shape.heads_mut(m, shape.keys));
    let grads = dq.into_par_iter().zip(dk).zip(dv);
    grads.enumerate().for_each(|(item, ((dq, dk), dv))| {
        let [q, grad] = [q, saved.grad].map(|m| shape.head(m, shape.queries, item));
        let [k, v] = [k, v].map(|m| shape.head(m, shape.keys, item));
        let sums = &saved.sums[item * shape.queries..][..shape.queries];
        head_backward(shape, [q, k, v], Saved { grad, sums }, [dq, dk, dv]);
    });
}

fn head_backward(
    shape: Shape,
    [q, k, v]: [Mat<'_>; 3],
    saved: Saved<'_>,
    [dq, mut dk, mut dv]: [MatMut<'_>; 3],
) {
    let most = shape.tile_rows();
    for (i, mut dq) in dq.split_rows(most).into_iter().enumerate() {
        let rows = i * most..i * most + dq.height();
        let (count, into) = (rows.len(), if i == 0 { Into::Overwrite } else { Into::Add });
        let [q, grad] = [q, saved.grad].map(|m| m.rows(rows.clone()));
        with_tiles(count * shape.keys, |p, dp| {
            let mut tile = MatMut::new(p, count, shape.keys);
            matmul(&mut tile, Into::Overwrite, shape.scale(), q, k.t(), Threads::One);
            soften_again(p, shape.keys, &saved.sums[rows.clone()]);
            let weights = Mat::new(p, count, shape.keys);
            matmul(&mut dv, into, 1., weights.t(), grad, Threads::One);
            let mut tile = MatMut::new(dp, count, shape.keys);
            matmul(&mut tile, Into::Overwrite, 1., grad, v.t(), Threads::One);
            score_grads(p, dp, shape.keys);
            let scores = Mat::new(p, count, shape.keys);
            matmul(&mut dq, Into::Overwrite, shape.scale(), scores, k, Threads::One);
            matmul(&mut dk, into, shape.scale(), scores.t(), q, Threads::One);
        });
    }
}
