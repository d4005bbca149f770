//! The block's output, with or without what its backward pass needs.

use super::{Plan, Weights, gather};
use crate::cpu::attention::RowSums;
use crate::cpu::columns::{add_bias, residual};
use crate::cpu::mat::{Into, Mat, MatMut, Threads, matmul, product};
use crate::cpu::norm::RowStats;
use crate::cpu::scratch::Scratch;
use crate::cpu::{attention, gelu, norm};

/// What the backward pass needs beside input and weights. Both normalised inputs and the GELU's
/// output are computed again there: cheap, and a third of the memory.
pub(crate) struct Saved {
    pub(super) stats1: Vec<RowStats>,
    pub(super) projected: Projected,
    /// Merged heads, `[asked, dim]`.
    pub(super) mixed: Scratch,
    pub(super) sums: Vec<RowSums>,
    /// After the attention's residual, `[asked, dim]`.
    pub(super) middle: Scratch,
    pub(super) stats2: Vec<RowStats>,
    /// Input of the GELU, `[asked, hidden]`.
    pub(super) hidden: Scratch,
}

/// Queries, keys and values.
pub(super) enum Projected {
    /// `[rows, 3 · dim]`.
    Fused(Scratch),
    /// `[asked, dim]` and `[rows, 2 · dim]`.
    Split(Scratch, Scratch),
}

impl Projected {
    pub(super) fn views(&self, plan: &Plan) -> [Mat<'_>; 3] {
        let dim = plan.dim;
        match self {
            Self::Fused(qkv) => {
                let all = Mat::new(qkv, plan.all(), 3 * dim);
                [0, 1, 2].map(|part| all.cols(part * dim..(part + 1) * dim))
            }
            Self::Split(q, kv) => {
                let kv = Mat::new(kv, plan.all(), 2 * dim);
                [Mat::new(q, plan.asked(), dim), kv.cols(0..dim), kv.cols(dim..2 * dim)]
            }
        }
    }

    pub(super) fn views_mut(&mut self, plan: &Plan) -> [MatMut<'_>; 3] {
        let dim = plan.dim;
        match self {
            Self::Fused(qkv) => {
                let (q, rest) = MatMut::new(qkv, plan.all(), 3 * dim).split_at_col(dim);
                let (k, v) = rest.split_at_col(dim);
                [q, k, v]
            }
            Self::Split(q, kv) => {
                let (k, v) = MatMut::new(kv, plan.all(), 2 * dim).split_at_col(dim);
                [MatMut::new(q, plan.asked(), dim), k, v]
            }
        }
    }
}

/// `x · weightᵀ` with `x` `[rows, in]` and `weight` `[out, in]`.
fn project(x: &[f32], weight: &[f32], rows: usize, in_dim: usize) -> Scratch {
    let out_dim = weight.len().checked_div(in_dim).unwrap_or(0);
    let mut y = Scratch::new(rows * out_dim);
    matmul(
        &mut MatMut::new(&mut y, rows, out_dim),
        Into::Overwrite,
        1.,
        Mat::new(x, rows, in_dim),
        Mat::new(weight, out_dim, in_dim).t(),
        Threads::All,
    );
    y
}

fn projected(plan: &Plan, normed: &[f32], weights: &Weights<'_>) -> Projected {
    let dim = plan.dim;
    let (weight, bias) = &weights.qkv;
    let add = |y: &mut Scratch, part: std::ops::Range<usize>| {
        if let Some(bias) = bias {
            add_bias(y, &bias[part]);
        }
    };
    let Some(rows) = &plan.rows else {
        let mut qkv = project(normed, weight, plan.all(), dim);
        add(&mut qkv, 0..3 * dim);
        return Projected::Fused(qkv);
    };
    let mut asking = Scratch::new(rows.len() * dim);
    gather(normed, dim, rows, &mut asking);
    let mut q = project(&asking, &weight[..dim * dim], rows.len(), dim);
    add(&mut q, 0..dim);
    let mut kv = project(normed, &weight[dim * dim..], plan.all(), dim);
    add(&mut kv, dim..3 * dim);
    Projected::Split(q, kv)
}

/// The output `[asked, dim]` and what the backward pass needs; for inference without `keep`,
/// nothing of it outlives the call.
pub(crate) fn forward(
    plan: &Plan,
    x: &[f32],
    weights: &Weights<'_>,
    keep: bool,
) -> (Vec<f32>, Option<Saved>) {
    let (dim, asked, per_sample) = (plan.dim, plan.asked(), plan.asked_per_sample());

    let mut normed = Scratch::new(x.len());
    let mut stats1 = vec![RowStats::default(); plan.all()];
    let [weight, bias] = &weights.norm1;
    norm::forward(x, weight, bias, plan.eps, &mut normed, &mut stats1);
    let projected = projected(plan, &normed, weights);

    let mut mixed = Scratch::new(asked * dim);
    let mut sums = vec![RowSums::default(); asked * plan.heads];
    let views = projected.views(plan);
    attention::forward(plan.attention(), views, MatMut::new(&mut mixed, asked, dim), &mut sums);
    let [weight, bias] = &weights.proj;
    let mut middle = project(&mixed, weight, asked, dim);
    match &plan.rows {
        None => residual(&mut middle, x, bias, per_sample, plan.scales[0].as_deref()),
        Some(rows) => {
            gather(x, dim, rows, &mut normed[..asked * dim]);
            let x = &normed[..asked * dim];
            residual(&mut middle, x, bias, per_sample, plan.scales[0].as_deref());
        }
    }

    let mut stats2 = vec![RowStats::default(); asked];
    let [weight, bias] = &weights.norm2;
    let normed = &mut normed[..asked * dim];
    norm::forward(&middle, weight, bias, plan.eps, normed, &mut stats2);
    let [weight, bias] = &weights.fc1;
    let mut hidden = project(normed, weight, asked, dim);
    let [out_weight, out_bias] = &weights.fc2;
    let out_weight = Mat::new(out_weight, dim, plan.hidden).t();
    let mut out = if keep {
        let mut active = Scratch::new(hidden.len());
        gelu::with_bias(&mut hidden, bias, &mut active);
        product(Mat::new(&active, asked, plan.hidden), out_weight)
    } else {
        gelu::bias_in_place(&mut hidden, bias);
        product(Mat::new(&hidden, asked, plan.hidden), out_weight)
    };
    residual(&mut out, &middle, out_bias, per_sample, plan.scales[1].as_deref());
    let saved = Saved { stats1, projected, mixed, sums, middle, stats2, hidden };
    (out, keep.then_some(saved))
}
