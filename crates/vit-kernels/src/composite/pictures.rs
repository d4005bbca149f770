//! Operators on pictures, channels last.

use candle_core::{D, DType, Result, Tensor};

use crate::pictures::SECOND;
use crate::{
    BatchNormOptions, BatchNormParams, Conv2dOptions, ConvNorm, DenseLayer, ResidualBlock,
};

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
    let mut planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    // candle's backward pass guesses from one side what rows and columns a step leaves over on
    // both, so nothing is left over.
    for dim in [2, 3] {
        planes = planes.pad_with_zeros(dim, padding, padding)?;
        let reach = dilation * weight.dim(dim)?.saturating_sub(1) + 1;
        let steps = planes.dim(dim)?.saturating_sub(reach) / stride;
        planes = planes.narrow(dim, 0, steps * stride + reach)?;
    }
    let y = planes.contiguous()?.conv2d(weight, 0, stride, dilation, 1)?;
    let y = y.permute((0, 2, 3, 1))?.contiguous()?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// See [`crate::batch_norm`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn batch_norm(
    x: &Tensor,
    params: &BatchNormParams<'_>,
    options: &BatchNormOptions,
    relu: bool,
) -> Result<Tensor> {
    let channels = x.dim(D::Minus1)?;
    let rows = x.contiguous()?.reshape(((), channels))?;
    let (mean, variance) = if options.train {
        let mean = rows.mean_keepdim(0)?;
        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
        let mean = mean.squeeze(0)?;
        let count = rows.dim(0)? as f64;
        let unbiased = (variance.detach() * (count / (count - 1.)))?;
        if is_finite(&mean)? && is_finite(&unbiased)? {
            update(params.running_mean, &mean, options)?;
            update(params.running_var, &unbiased, options)?;
        }
        (mean, variance)
    } else {
        (params.running_mean.detach(), params.running_var.detach())
    };
    let normed = x.broadcast_sub(&mean)?.broadcast_div(&(variance + options.eps)?.sqrt()?)?;
    let y = normed.broadcast_mul(params.weight)?.broadcast_add(params.bias)?;
    if relu { y.relu() } else { Ok(y) }
}

/// Running statistics, in place and without a gradient.
fn update(running: &Tensor, batch: &Tensor, options: &BatchNormOptions) -> Result<()> {
    let share = options.momentum;
    let batch = batch.detach().to_dtype(running.dtype())?;
    let value = ((running.detach() * (1. - share))? + (batch * share)?)?;
    running.slice_set(&value, 0, 0)
}

/// Whether every value is finite: what is finite times zero is zero, everything else NaN.
fn is_finite(values: &Tensor) -> Result<bool> {
    let sum = (values.detach().to_dtype(DType::F64)? * 0.)?.sum_all()?;
    Ok(sum.to_scalar::<f64>()? == 0.)
}

/// See [`crate::residual_blocks`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn residual_blocks(
    x: &Tensor,
    blocks: &[ResidualBlock<'_>],
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let mut x = x.clone();
    for block in blocks {
        let mut y = x.clone();
        for (i, layer) in block.layers.iter().enumerate() {
            y = conv_norm(&y, layer, options, i + 1 < block.layers.len())?;
        }
        let added = match &block.shortcut {
            Some(layer) => conv_norm(&x, layer, options, false)?,
            None => x,
        };
        x = (y + added)?.relu()?;
    }
    Ok(x)
}

fn conv_norm(
    x: &Tensor,
    layer: &ConvNorm<'_>,
    options: &BatchNormOptions,
    relu: bool,
) -> Result<Tensor> {
    batch_norm(&conv2d(x, layer.weight, None, layer.conv)?, &layer.norm, options, relu)
}

/// See [`crate::conv_norm_pool`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn conv_norm_pool(
    x: &Tensor,
    layer: &ConvNorm<'_>,
    (window, stride, padding): (usize, usize, usize),
    options: &BatchNormOptions,
) -> Result<Tensor> {
    max_pool2d(&conv_norm(x, layer, options, true)?, window, stride, padding)
}

/// See [`crate::dense_block`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn dense_block(
    x: &Tensor,
    layers: &[DenseLayer<'_>],
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let mut x = x.clone();
    for layer in layers {
        let y = batch_norm(&x, &layer.norm1, options, true)?;
        let y = conv2d(&y, layer.conv1, None, Conv2dOptions::default())?;
        let y = batch_norm(&y, &layer.norm2, options, true)?;
        let y = conv2d(&y, layer.conv2, None, SECOND)?;
        x = Tensor::cat(&[&x, &y], 3)?;
    }
    Ok(x)
}

/// See [`crate::transition`].
///
/// # Errors
/// Whatever candle reports, for instance for shapes that do not fit.
pub fn transition(
    x: &Tensor,
    norm: &BatchNormParams<'_>,
    weight: &Tensor,
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let y = batch_norm(x, norm, options, true)?;
    avg_pool2d(&conv2d(&y, weight, None, Conv2dOptions::default())?, 2, 2)
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
