use candle_core::{D, Result, Tensor};

use crate::softmax;

/// Multi-head self-attention (Vaswani et al., arXiv 1706.03762) from the fused projection:
/// `softmax(q · kᵀ / √d) · v` per head, heads concatenated.
///
/// `qkv` is `[B, N, 3·D]`: all of q, then all of k, then all of v, each head-major, as the fused
/// weight of timm and MAE gives it. The result is `[B, N, D]`; `num_heads` must divide `D`.
///
/// The scale is applied to q before the product: the same value as scaling the scores, on fewer
/// elements and without overflow in half precision.
///
/// # Errors
/// Whatever candle reports, for instance when `3 · num_heads` does not divide the last dimension.
pub fn attention(qkv: &Tensor, num_heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    if num_heads == 0 || width % (3 * num_heads) != 0 {
        candle_core::bail!("attention: {width} is not 3 x {num_heads} heads x head dimension");
    }
    let head_dim = width / (3 * num_heads);
    let parts = qkv.reshape((batch, tokens, 3, num_heads, head_dim))?.permute((2, 0, 3, 1, 4))?;
    let q = (parts.get(0)?.contiguous()? * (head_dim as f64).powf(-0.5))?;
    let k = parts.get(1)?.contiguous()?;
    let v = parts.get(2)?.contiguous()?;
    let scores = softmax(&q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?)?;
    scores.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, num_heads * head_dim))
}
