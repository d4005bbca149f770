//! Every operator of this crate from candle's own differentiable operators: for any device and
//! data type, and to compare the fused ones with.
//!
//! The functions at the root of the crate take these where the fused path does not serve (f32 on
//! the CPU); they check shapes, these leave that to candle.

mod pictures;

use candle_core::{D, Result, Tensor};

pub use pictures::{
    avg_pool2d, batch_norm, conv_norm_pool, conv2d, dense_block, max_pool2d, residual_blocks,
    transition,
};

use crate::{BlockOptions, BlockParams, PatchOrder, TokenAssembly, TokenRows};

/// See [`crate::layer_norm`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    // Of the centred values: a large mean costs no digits.
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.broadcast_mul(weight)?.broadcast_add(bias)
}

/// See [`crate::linear`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out_dim, in_dim) = weight.dims2()?;
    // One two-dimensional product instead of a batch of small ones.
    let rows = x.elem_count().checked_div(in_dim).unwrap_or(0);
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out_dim;
    }
    let y = x.contiguous()?.reshape((rows, in_dim))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(shape)
}

/// See [`crate::gelu`].
///
/// # Errors
/// Whatever candle reports, for instance for an integer tensor.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// Softmax over the last dimension, any shape.
///
/// The row maximum is subtracted for range only: softmax does not depend on it, so it is taken as
/// a constant in the backward pass.
///
/// # Errors
/// Whatever candle reports, for instance for a tensor without dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// Logarithm of [`softmax`] over the last dimension, without the loss of small probabilities.
///
/// # Errors
/// Whatever candle reports, for instance for a tensor without dimensions.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    shifted.broadcast_sub(&log_sum)
}

/// See [`crate::attention`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn attention(qkv: &Tensor, num_heads: usize) -> Result<Tensor> {
    let dim = qkv.dim(D::Minus1)? / 3;
    cross_attention(&qkv.narrow(2, 0, dim)?, &qkv.narrow(2, dim, 2 * dim)?, num_heads)
}

/// See [`crate::cross_attention`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn cross_attention(q: &Tensor, kv: &Tensor, num_heads: usize) -> Result<Tensor> {
    let (batch, queries, dim) = q.dims3()?;
    let head_dim = dim / num_heads;
    let heads = |x: &Tensor| {
        let tokens = x.dim(1)?;
        x.reshape((batch, tokens, num_heads, head_dim))?.transpose(1, 2)?.contiguous()
    };
    // Scaling q is the same as scaling the scores, on fewer elements and without overflow in half
    // precision.
    let q = (heads(q)? * (head_dim as f64).powf(-0.5))?;
    let k = heads(&kv.narrow(2, 0, dim)?)?;
    let v = heads(&kv.narrow(2, dim, dim)?)?;
    let scores = softmax(&q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?)?;
    scores.matmul(&v)?.transpose(1, 2)?.reshape((batch, queries, dim))
}

/// See [`crate::residual`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn residual(x: &Tensor, branch: &Tensor, factors: Option<&[f32]>) -> Result<Tensor> {
    let Some(factors) = factors else { return x + branch };
    let mut shape = vec![1; branch.rank()];
    if let Some(first) = shape.first_mut() {
        *first = factors.len();
    }
    let factors = Tensor::from_slice(factors, shape, branch.device())?.to_dtype(branch.dtype())?;
    x + branch.broadcast_mul(&factors)?
}

/// See [`crate::block`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn block(x: &Tensor, params: &BlockParams<'_>, options: &BlockOptions<'_>) -> Result<Tensor> {
    let dim = x.dim(D::Minus1)?;
    let rows = |x: &Tensor| match options.rows {
        None => Ok(x.clone()),
        Some(rows) => gather_tokens(x, rows),
    };
    let BlockParams { norm1_weight, norm1_bias, norm2_weight, norm2_bias, .. } = params;
    let qkv = layer_norm(x, norm1_weight, norm1_bias, options.eps)?;
    let qkv = linear(&qkv, params.qkv_weight, params.qkv_bias)?;
    let q = rows(&qkv.narrow(2, 0, dim)?)?;
    let mixed = cross_attention(&q, &qkv.narrow(2, dim, 2 * dim)?, options.num_heads)?;
    let mixed = linear(&mixed, params.proj_weight, Some(params.proj_bias))?;
    let x = residual(&rows(x)?, &mixed, options.drop_path[0])?;
    let hidden = layer_norm(&x, norm2_weight, norm2_bias, options.eps)?;
    let hidden = gelu(&linear(&hidden, params.fc1_weight, Some(params.fc1_bias))?)?;
    let hidden = linear(&hidden, params.fc2_weight, Some(params.fc2_bias))?;
    residual(&x, &hidden, options.drop_path[1])
}

/// See [`crate::patchify`]; `shape` is batch, channels, rows and columns of patches.
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn patchify(
    images: &Tensor,
    patch: usize,
    order: PatchOrder,
    (batch, channels, rows, columns): (usize, usize, usize, usize),
) -> Result<Tensor> {
    let split = images.reshape(&[batch, channels, rows, patch, columns, patch])?;
    let sorted = match order {
        PatchOrder::ChannelFirst => split.permute([0, 2, 4, 1, 3, 5])?,
        PatchOrder::ChannelLast => split.permute([0, 2, 4, 3, 5, 1])?,
    };
    sorted.reshape((batch, rows * columns, channels * patch * patch))
}

/// See [`crate::gather_tokens`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn gather_tokens(x: &Tensor, rows: &TokenRows) -> Result<Tensor> {
    let (batch, tokens, dim) = x.dims3()?;
    let ids = Tensor::new(rows.flat(), x.device())?;
    let picked = x.contiguous()?.reshape((batch * tokens, dim))?.index_select(&ids, 0)?;
    picked.reshape((batch, rows.per_sample(), dim))
}

/// See [`crate::assemble_tokens`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn assemble_tokens(
    tokens: &Tensor,
    extra: &Tensor,
    positions: &Tensor,
    plan: &TokenAssembly,
) -> Result<Tensor> {
    let (batch, count, dim) = tokens.dims3()?;
    let rows = Tensor::cat(
        &[&tokens.contiguous()?.reshape((batch * count, dim))?, &extra.reshape((1, dim))?],
        0,
    )?;
    let sources = plan.flat_sources((batch * count) as u32);
    let rows = rows.index_select(&Tensor::new(sources, tokens.device())?, 0)?;
    let table = positions.reshape((positions.elem_count() / dim.max(1), dim))?;
    let ids = Tensor::new(plan.positions(), tokens.device())?;
    (rows + table.index_select(&ids, 0)?)?.reshape((batch, plan.per_sample(), dim))
}

/// See [`crate::cross_entropy`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (targets * log_softmax(logits)?)?.sum_all()?.neg()
}

/// See [`crate::bce_with_logits`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let softplus = (logits.abs()?.neg()?.exp()? + 1.)?.log()?;
    let loss = ((logits.relu()? - (logits * targets)?)? + softplus)?;
    (loss * weights)?.sum_all()
}

/// See [`crate::mean_squared_error`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn mean_squared_error(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    (x - target)?.sqr()?.mean_all()
}
