use candle_core::{Result, Tensor, bail};

use super::norm::{BatchNormOptions, BatchNormParams, check_rows};
use crate::composite;
use crate::cpu::batch_norm::{self, Moments};
use crate::cpu::pool::{Pool, Window};
use crate::cpu::scratch::Scratch;
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

fn pool(what: &str, x: &Tensor, window: Window) -> Result<Pool> {
    match x.dims() {
        &[batch, height, width, channels] => Pool::new([batch, height, width, channels], window),
        dims => bail!("{what}: x is {dims:?} instead of [batch, height, width, channels]"),
    }
}

/// The largest value of each channel in windows of `window` × `window` pixels, every `stride`
/// pixels, with `padding` rows and columns on each side that are never the largest.
///
/// `x` is `[B, H, W, C]`, the result `[B, H', W', C]` with
/// `H' = ⌊(H + 2·padding − window) / stride⌋ + 1`. The first of equal values gets the gradient, as
/// in PyTorch.
///
/// # Errors
/// When the windows do not fit, or the border is wider than half a window.
pub fn max_pool2d(x: &Tensor, window: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let pool = pool("max pool", x, Window { side: window, stride, padding })?;
    if !served(&[x]) || x.elem_count() == 0 {
        return composite::max_pool2d(x, window, stride, padding);
    }
    let x = x.contiguous()?;
    let mut y = vec![0.; pool.elements()];
    let mut places = vec![0; if x.track_op() { y.len() } else { 0 }];
    pool.largest(&Values::new(&x)?, None, &mut y, &mut places);
    let shape = x.shape().clone();
    record("max-pool", y, pool.shape(), &[Some(&x)], move |grad: &Tensor| {
        let mut dx = vec![0.; shape.elem_count()];
        pool.largest_back(&Values::new(grad)?, &places, &mut dx);
        Ok(vec![Some(tensor(dx, &shape)?)])
    })
}

/// The mean of each channel in windows of `window` × `window` pixels, every `stride` pixels; rows
/// and columns that fill no window are left out.
///
/// `x` is `[B, H, W, C]`, the result `[B, H', W', C]` with `H' = ⌊(H − window) / stride⌋ + 1`.
///
/// # Errors
/// When the windows do not fit.
pub fn avg_pool2d(x: &Tensor, window: usize, stride: usize) -> Result<Tensor> {
    let pool = pool("average pool", x, Window { side: window, stride, padding: 0 })?;
    if !served(&[x]) || x.elem_count() == 0 {
        return composite::avg_pool2d(x, window, stride);
    }
    let x = x.contiguous()?;
    let mut y = vec![0.; pool.elements()];
    pool.mean(&Values::new(&x)?, None, &mut y);
    let shape = x.shape().clone();
    record("average-pool", y, pool.shape(), &[Some(&x)], move |grad: &Tensor| {
        let mut dx = vec![0.; shape.elem_count()];
        pool.mean_back(&Values::new(grad)?, &mut dx);
        Ok(vec![Some(tensor(dx, &shape)?)])
    })
}

/// The mean of each channel over the whole picture, `[B, H, W, C]` to `[B, C]`.
///
/// # Errors
/// When `x` has not four dimensions.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    if height == width && height > 0 {
        return avg_pool2d(x, height, height)?.squeeze(1)?.squeeze(1);
    }
    x.mean((1, 2))
}

/// Norm, cut off at zero, mean over windows of 2×2 pixels.
pub(super) fn norm_mean_pool(
    x: &Tensor,
    norm: &BatchNormParams<'_>,
    options: &BatchNormOptions,
) -> Result<Tensor> {
    const WHAT: &str = "transition";
    let pool = pool(WHAT, x, Window { side: 2, stride: 2, padding: 0 })?;
    let channels = x.dims()[3];
    norm.check(WHAT, channels)?;
    let rows = x.elem_count().checked_div(channels).unwrap_or(0);
    check_rows(WHAT, rows, options)?;
    if !served(&[x]) || !norm.served() || x.elem_count() == 0 {
        return avg_pool2d(&composite::batch_norm(x, norm, options, true)?, 2, 2);
    }
    let x = x.contiguous()?;
    let values = Values::new(&x)?;
    let moments = options.train.then(|| Moments::of_rows(&values, channels, channels));
    let normed = norm.normed(moments.as_ref(), options)?;
    let mut y = vec![0.; pool.elements()];
    pool.mean(&values, Some(normed.activation()), &mut y);
    drop(values);
    let kept = x.clone();
    let inputs = [Some(&x), Some(norm.weight), Some(norm.bias)];
    record("norm-mean-pool", y, pool.shape(), &inputs, move |grad: &Tensor| {
        let (x, dy) = (Values::new(&kept)?, Values::new(grad)?);
        let mut g = Scratch::new(x.len());
        pool.mean_back(&dy, &mut g);
        batch_norm::cut(&mut g, &x, &normed);
        let sums = batch_norm::sums(&g, &x, &normed);
        let (weight, bias) = normed.parameter_grads(&sums);
        let mut grads = vec![None, Some(tensor(weight, channels)?), Some(tensor(bias, channels)?)];
        if kept.track_op() {
            let mut dx = vec![0.; x.len()];
            let correction = normed.correction(&sums);
            batch_norm::input_grad(&g, &x, &normed, correction.as_ref(), &mut dx);
            grads[0] = Some(tensor(dx, kept.shape())?);
        }
        Ok(grads)
    })
}
