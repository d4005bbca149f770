use candle_core::{Result, Tensor};

/// Gaussian error linear unit in its exact form, `x · Φ(x) = x/2 · (1 + erf(x/√2))`
/// (Hendrycks and Gimpel, arXiv 1606.08415), element by element.
///
/// [`Tensor::gelu`] is the tanh approximation, which no weight file of this field was trained with.
///
/// # Errors
/// Whatever candle reports, for instance for an integer tensor.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}
