use candle_core::{D, Result, Tensor};

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
