use candle_core::{Result, Tensor};

/// Affine map of the last dimension, `x · weightᵀ + bias`.
///
/// `x` is `[…, in]`, `weight` is `[out, in]` (PyTorch's layout), `bias` is `[out]`; the result is
/// `[…, out]`.
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out_dim, in_dim) = weight.dims2()?;
    // One two-dimensional product instead of a batch of small ones.
    let rows = x.contiguous()?.reshape(((), in_dim))?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out_dim;
    }
    let y = rows.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(shape)
}
