//! Operators on pictures, channels last.

use candle_core::{D, Result, Tensor};

use crate::Conv2dOptions;

/// See [`crate::conv2d`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: Conv2dOptions,
) -> Result<Tensor> {
    let Conv2dOptions { stride, padding, dilation } = options;
    let planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = planes.conv2d(weight, padding, stride, dilation, 1)?;
    let y = y.permute((0, 2, 3, 1))?.contiguous()?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// See [`crate::batch_norm`], with the mean and biased variance given.
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn normalise(
    x: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    eps: f64,
) -> Result<Tensor> {
    let normed = x.broadcast_sub(mean)?.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Mean and biased variance of each channel of `[…, C]`, as differentiable tensors.
///
/// # Errors
/// Whatever candle reports, for instance for a tensor without dimensions.
pub fn channel_moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let rows = x.contiguous()?.reshape(((), x.dim(D::Minus1)?))?;
    let mean = rows.mean_keepdim(0)?;
    let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
    Ok((mean.squeeze(0)?, variance))
}

/// See [`crate::max_pool2d`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn max_pool2d(x: &Tensor, window: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let taps = windows(x, window, stride, padding, f64::NEG_INFINITY)?;
    let taps = Tensor::stack(&taps, 4)?.contiguous()?;
    // The first of equal values gets the gradient, as in PyTorch.
    let place = taps.detach().argmax_keepdim(4)?;
    taps.gather(&place, 4)?.squeeze(4)
}

/// See [`crate::avg_pool2d`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn avg_pool2d(x: &Tensor, window: usize, stride: usize) -> Result<Tensor> {
    let taps = windows(x, window, stride, 0, 0.)?;
    Tensor::stack(&taps, 0)?.mean(0)
}

/// For each place in a window, the values all windows have there: `[B, H', W', C]`.
fn windows(
    x: &Tensor,
    window: usize,
    stride: usize,
    padding: usize,
    border: f64,
) -> Result<Vec<Tensor>> {
    let mut padded = x.clone();
    for dim in [1, 2].into_iter().filter(|_| padding > 0) {
        let mut shape = padded.dims().to_vec();
        shape[dim] = padding;
        let edge = Tensor::full(border, shape, x.device())?.to_dtype(x.dtype())?;
        padded = Tensor::cat(&[&edge, &padded, &edge], dim)?;
    }
    let along = |x: &Tensor, dim: usize, offset: usize| {
        let count = (padded.dim(dim)?.saturating_sub(window)) / stride + 1;
        let ids: Vec<u32> = (0..count).map(|i| (offset + i * stride) as u32).collect();
        x.index_select(&Tensor::new(ids, x.device())?, dim)
    };
    let mut taps = Vec::with_capacity(window * window);
    for row in 0..window {
        let rows = along(&padded, 1, row)?;
        for column in 0..window {
            taps.push(along(&rows, 2, column)?);
        }
    }
    Ok(taps)
}
