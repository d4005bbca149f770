use candle_core::{D, Result, Tensor};

/// Layer normalisation over the last dimension (Ba, Kiros and Hinton, arXiv 1607.06450):
/// `(x − mean) / √(var + eps) · weight + bias` with the biased variance and `eps` inside the root.
///
/// `x` is `[…, D]`, `weight` and `bias` are `[D]`. The variance is taken of the centred values, so
/// a large mean costs no digits.
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.broadcast_mul(weight)?.broadcast_add(bias)
}
