use candle_core::{Result, Tensor, bail};

use crate::composite;
use crate::cpu::attention::{self, RowSums, Saved, Shape};
use crate::cpu::mat::{Mat, MatMut};
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

/// Multi-head self-attention (Vaswani et al., arXiv 1706.03762) from the fused projection:
/// `softmax(q · kᵀ / √d) · v` per head, heads concatenated.
///
/// `qkv` is `[B, N, 3·D]`: all of q, then all of k, then all of v, each head-major, as the fused
/// weight of timm and MAE gives it. The result is `[B, N, D]`; `num_heads` must divide `D`.
///
/// The fused path copies no q, k or v and holds one tile of the scores per thread; its backward
/// pass computes them again from two numbers per row (Dao et al., arXiv 2205.14135).
///
/// # Errors
/// When `3 · num_heads` does not divide the last dimension.
pub fn attention(qkv: &Tensor, num_heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    if num_heads == 0 || width == 0 || width % (3 * num_heads) != 0 {
        bail!("attention: {width} is not 3 x {num_heads} heads x head dimension");
    }
    if !served(&[qkv]) {
        return composite::attention(qkv, num_heads);
    }
    let dim = width / 3;
    let shape = shape(batch, num_heads, dim, tokens, tokens);
    let qkv = qkv.contiguous()?;
    let rows = batch * tokens;
    let mut out = vec![0.; rows * dim];
    let mut sums = vec![RowSums::default(); rows * num_heads];
    let values = Values::new(&qkv)?;
    let views = thirds(Mat::new(&values, rows, width), dim);
    attention::forward(shape, views, MatMut::new(&mut out, rows, dim), &mut sums);
    drop(values);
    let kept = qkv.clone();
    record("attention", out, (batch, tokens, dim), &[Some(&qkv)], move |grad: &Tensor| {
        let (values, dy) = (Values::new(&kept)?, Values::new(grad)?);
        let views = thirds(Mat::new(&values, rows, width), dim);
        let grad = Mat::new(&dy, rows, dim);
        let mut dqkv = vec![0.; rows * width];
        let (dq, rest) = MatMut::new(&mut dqkv, rows, width).split_at_col(dim);
        let (dk, dv) = rest.split_at_col(dim);
        let saved = Saved { grad, sums: &sums };
        attention::backward(shape, views, saved, [dq, dk, dv]);
        Ok(vec![Some(tensor(dqkv, kept.shape())?)])
    })
}

/// [`attention`] of some tokens to all: `q` `[B, Q, D]`, `kv` `[B, N, 2·D]` with all of k, then all
/// of v; the result is `[B, Q, D]`.
///
/// # Errors
/// When shapes do not fit or `num_heads` does not divide `D`.
pub fn cross_attention(q: &Tensor, kv: &Tensor, num_heads: usize) -> Result<Tensor> {
    let (batch, queries, dim) = q.dims3()?;
    let (other, keys, width) = kv.dims3()?;
    if num_heads == 0 || dim == 0 || dim % num_heads != 0 || width != 2 * dim || other != batch {
        let dims = (q.dims(), kv.dims());
        bail!("cross attention: q {:?}, kv {:?}, {num_heads} heads", dims.0, dims.1);
    }
    if !served(&[q, kv]) {
        return composite::cross_attention(q, kv, num_heads);
    }
    let shape = shape(batch, num_heads, dim, queries, keys);
    let (q, kv) = (q.contiguous()?, kv.contiguous()?);
    let mut out = vec![0.; batch * queries * dim];
    let mut sums = vec![RowSums::default(); batch * queries * num_heads];
    let values = (Values::new(&q)?, Values::new(&kv)?);
    let q_view = Mat::new(&values.0, batch * queries, dim);
    let [k, v] = halves(Mat::new(&values.1, batch * keys, width), dim);
    let out_view = MatMut::new(&mut out, batch * queries, dim);
    attention::forward(shape, [q_view, k, v], out_view, &mut sums);
    drop(values);
    let kept = (q.clone(), kv.clone());
    record(
        "cross-attention",
        out,
        (batch, queries, dim),
        &[Some(&q), Some(&kv)],
        move |grad: &Tensor| {
            let (q, kv) = &kept;
            let (q_values, kv_values, dy) = (Values::new(q)?, Values::new(kv)?, Values::new(grad)?);
            let rows = batch * queries;
            let q_view = Mat::new(&q_values, rows, dim);
            let [k, v] = halves(Mat::new(&kv_values, batch * keys, width), dim);
            let grad = Mat::new(&dy, rows, dim);
            let (mut dq, mut dkv) = (vec![0.; rows * dim], vec![0.; batch * keys * width]);
            let (dk, dv) = MatMut::new(&mut dkv, batch * keys, width).split_at_col(dim);
            let saved = Saved { grad, sums: &sums };
            attention::backward(
                shape,
                [q_view, k, v],
                saved,
                [MatMut::new(&mut dq, rows, dim), dk, dv],
            );
            Ok(vec![Some(tensor(dq, q.shape())?), Some(tensor(dkv, kv.shape())?)])
        },
    )
}

fn shape(batch: usize, heads: usize, dim: usize, queries: usize, keys: usize) -> Shape {
    Shape { batch, heads, head_dim: dim / heads, queries, keys }
}

fn thirds(m: Mat<'_>, dim: usize) -> [Mat<'_>; 3] {
    [0, 1, 2].map(|part| m.cols(part * dim..(part + 1) * dim))
}

fn halves(m: Mat<'_>, dim: usize) -> [Mat<'_>; 2] {
    [0, 1].map(|part| m.cols(part * dim..(part + 1) * dim))
}
