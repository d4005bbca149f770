//! The block's gradients, each computed only if somebody needs it.

use super::forward::Projected;
use super::{Plan, Saved, Weights, gather, place, scatter_add};
use crate::cpu::columns::{column_sums, scaled};
use crate::cpu::mat::{Into, Mat, MatMut, Threads, matmul, product};
use crate::cpu::scratch::Scratch;
use crate::cpu::{attention, gelu, norm};

/// Which inputs need a gradient, in the order of [`place`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted(pub(crate) [bool; place::COUNT]);

impl Wanted {
    /// Whether any input before `place` needs one: whether the gradient must go further back.
    fn before(&self, place: usize) -> bool {
        self.0[..place].contains(&true)
    }
}

type Grads = [Option<Vec<f32>>; place::COUNT];

/// Gradients of weight and bias of `y = x · weightᵀ + bias`, where needed.
fn linear_grads(
    grads: &mut Grads,
    wanted: Wanted,
    place: usize,
    dy: Mat<'_>,
    rows: &[f32],
    x: Mat<'_>,
) {
    if wanted.0[place] {
        grads[place] = Some(product(dy.t(), x));
    }
    if wanted.0[place + 1] {
        grads[place + 1] = Some(column_sums(rows, rows.len() / dy.height().max(1)));
    }
}

/// `dy · weight`: the gradient of a linear layer's input.
fn input_grad(dy: Mat<'_>, weight: Mat<'_>, out: &mut [f32], into: Into) {
    let (rows, cols) = (dy.height(), weight.width());
    matmul(&mut MatMut::new(out, rows, cols), into, 1., dy, weight, Threads::All);
}

/// `dy` times the branch's scale of each sample.
fn branch_grad(dy: &[f32], per_sample: usize, scales: Option<&[f32]>) -> Option<Scratch> {
    let scales = scales?;
    let mut out = Scratch::new(dy.len());
    scaled(&mut out, dy, per_sample, scales);
    Some(out)
}

pub(crate) fn backward(
    plan: &Plan,
    x: &[f32],
    weights: &Weights<'_>,
    saved: Saved,
    dy: &[f32],
    wanted: Wanted,
) -> Grads {
    let mut grads = [const { None }; place::COUNT];
    let Saved { stats1, projected, mixed, sums, middle, stats2, hidden } = saved;
    let Some(dmiddle) = mlp(plan, weights, &middle, &stats2, hidden, dy, wanted, &mut grads) else {
        return grads;
    };
    drop(middle);
    let saved = Attention { projected, mixed, sums };
    let Some(dprojected) = mix(plan, weights, &saved, &dmiddle, wanted, &mut grads) else {
        return grads;
    };
    drop(saved);
    project(plan, x, weights, &stats1, &dprojected, &dmiddle, wanted, &mut grads);
    grads
}

/// Through the MLP branch and its norm: gradient at the block's middle, if needed further back.
#[allow(clippy::too_many_arguments)] // the parts of one step of a chain
fn mlp(
    plan: &Plan,
    weights: &Weights<'_>,
    middle: &[f32],
    stats: &[norm::RowStats],
    mut hidden: Scratch,
    dy: &[f32],
    wanted: Wanted,
    grads: &mut Grads,
) -> Option<Scratch> {
    let (dim, asked, width) = (plan.dim, plan.asked(), plan.hidden);
    let per_sample = plan.asked_per_sample() * dim;
    let branch = branch_grad(dy, per_sample, plan.scales[1].as_deref());
    let dbranch = branch.as_deref().unwrap_or(dy);
    let dout = Mat::new(dbranch, asked, dim);

    let mut active = Scratch::new(hidden.len());
    gelu::value_and_slope(&mut hidden, &mut active);
    linear_grads(grads, wanted, place::FC2, dout, dbranch, Mat::new(&active, asked, width));
    if !wanted.before(place::FC2) {
        return None;
    }
    input_grad(dout, Mat::new(&weights.fc2[0], dim, width), &mut active, Into::Overwrite);
    drop(branch);
    gelu::multiply(&mut active, &hidden);
    drop(hidden);

    let dhidden = Mat::new(&active, asked, width);
    let mut normed = Scratch::new(asked * dim);
    norm::again(middle, &weights.norm2[0], &weights.norm2[1], stats, &mut normed);
    linear_grads(grads, wanted, place::FC1, dhidden, &active, Mat::new(&normed, asked, dim));
    if !wanted.before(place::FC1) {
        return None;
    }
    let dnormed = &mut normed;
    input_grad(dhidden, Mat::new(&weights.fc1[0], width, dim), dnormed, Into::Overwrite);
    drop(active);
    norm_grads(grads, wanted, place::NORM2, middle, stats, &normed, dim);
    if !wanted.before(place::NORM2) {
        return None;
    }
    let mut dmiddle = Scratch::new(asked * dim);
    norm::backward_input(middle, &weights.norm2[0], stats, &normed, Some(dy), &mut dmiddle);
    Some(dmiddle)
}

fn norm_grads(
    grads: &mut Grads,
    wanted: Wanted,
    place: usize,
    x: &[f32],
    stats: &[norm::RowStats],
    dy: &[f32],
    dim: usize,
) {
    if wanted.0[place] || wanted.0[place + 1] {
        let (weight, bias) = norm::backward_weight(x, stats, dy, dim);
        grads[place] = wanted.0[place].then_some(weight);
        grads[place + 1] = wanted.0[place + 1].then_some(bias);
    }
}

/// What the attention's backward pass reads.
struct Attention {
    projected: Projected,
    mixed: Scratch,
    sums: Vec<attention::RowSums>,
}

/// Through output projection and attention: gradient of queries, keys and values, if needed.
fn mix(
    plan: &Plan,
    weights: &Weights<'_>,
    saved: &Attention,
    dmiddle: &[f32],
    wanted: Wanted,
    grads: &mut Grads,
) -> Option<Projected> {
    let (dim, asked, all) = (plan.dim, plan.asked(), plan.all());
    let per_sample = plan.asked_per_sample() * dim;
    let branch = branch_grad(dmiddle, per_sample, plan.scales[0].as_deref());
    let dbranch = branch.as_deref().unwrap_or(dmiddle);
    let dout = Mat::new(dbranch, asked, dim);
    let mixed = Mat::new(&saved.mixed, asked, dim);
    linear_grads(grads, wanted, place::PROJ, dout, dbranch, mixed);
    if !wanted.before(place::PROJ) {
        return None;
    }
    let mut dmixed = Scratch::new(asked * dim);
    input_grad(dout, Mat::new(&weights.proj[0], dim, dim), &mut dmixed, Into::Overwrite);
    let read = attention::Saved { grad: Mat::new(&dmixed, asked, dim), sums: &saved.sums };
    let views = saved.projected.views(plan);
    let mut grads = match &plan.rows {
        None => Projected::Fused(Scratch::new(all * 3 * dim)),
        Some(_) => Projected::Split(Scratch::new(asked * dim), Scratch::new(all * 2 * dim)),
    };
    attention::backward(plan.attention(), views, read, grads.views_mut(plan));
    Some(grads)
}

/// Through the fused projection and its norm, to the block's input.
#[allow(clippy::too_many_arguments)] // the parts of one step of a chain
fn project(
    plan: &Plan,
    x: &[f32],
    weights: &Weights<'_>,
    stats: &[norm::RowStats],
    dprojected: &Projected,
    dmiddle: &[f32],
    wanted: Wanted,
    grads: &mut Grads,
) {
    let (dim, all) = (plan.dim, plan.all());
    let mut normed = Scratch::new(all * dim);
    norm::again(x, &weights.norm1[0], &weights.norm1[1], stats, &mut normed);
    projection_grads(plan, dprojected, &normed, wanted, grads);
    if !wanted.before(place::QKV) {
        return;
    }
    let dnormed = &mut normed;
    let weight = Mat::new(&weights.qkv.0, 3 * dim, dim);
    match (dprojected, &plan.rows) {
        (Projected::Split(dq, dkv), Some(rows)) => {
            let dkv = Mat::new(dkv, all, 2 * dim);
            input_grad(dkv, weight.rows(dim..3 * dim), dnormed, Into::Overwrite);
            let mut dasking = Scratch::new(dq.len());
            let dq = Mat::new(dq, rows.len(), dim);
            input_grad(dq, weight.rows(0..dim), &mut dasking, Into::Overwrite);
            scatter_add(&dasking, dim, rows, dnormed);
        }
        (Projected::Fused(dqkv) | Projected::Split(dqkv, _), _) => {
            input_grad(Mat::new(dqkv, all, 3 * dim), weight, dnormed, Into::Overwrite);
        }
    }
    norm_grads(grads, wanted, place::NORM1, x, stats, &normed, dim);
    if !wanted.before(place::NORM1) {
        return;
    }
    let mut dx = vec![0.; all * dim];
    match &plan.rows {
        None => {
            let weight = &weights.norm1[0];
            norm::backward_input(x, weight, stats, &normed, Some(dmiddle), &mut dx);
        }
        Some(rows) => {
            norm::backward_input(x, &weights.norm1[0], stats, &normed, None, &mut dx);
            scatter_add(dmiddle, dim, rows, &mut dx);
        }
    }
    grads[place::X] = Some(dx);
}

/// Gradients of the fused projection's weight and bias.
fn projection_grads(
    plan: &Plan,
    dprojected: &Projected,
    normed: &[f32],
    wanted: Wanted,
    grads: &mut Grads,
) {
    let (dim, all) = (plan.dim, plan.all());
    let normed_rows = Mat::new(normed, all, dim);
    let (dq, dkv, rows) = match (dprojected, &plan.rows) {
        (Projected::Split(dq, dkv), Some(rows)) => (dq, dkv, rows),
        (Projected::Fused(dqkv) | Projected::Split(dqkv, _), _) => {
            let rows = Mat::new(dqkv, all, 3 * dim);
            return linear_grads(grads, wanted, place::QKV, rows, dqkv, normed_rows);
        }
    };
    if wanted.0[place::QKV] {
        let mut asking = Scratch::new(rows.len() * dim);
        gather(normed, dim, rows, &mut asking);
        let mut weight = vec![0.; 3 * dim * dim];
        let (first, rest) = weight.split_at_mut(dim * dim);
        let asking = Mat::new(&asking, rows.len(), dim);
        input_grad(Mat::new(dq, rows.len(), dim).t(), asking, first, Into::Overwrite);
        input_grad(Mat::new(dkv, all, 2 * dim).t(), normed_rows, rest, Into::Overwrite);
        grads[place::QKV] = Some(weight);
    }
    if wanted.0[place::QKV + 1] {
        let sums = [column_sums(dq, dim), column_sums(dkv, 2 * dim)];
        grads[place::QKV + 1] = Some(sums.concat());
    }
}
