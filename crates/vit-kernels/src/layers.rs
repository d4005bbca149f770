use candle_core::{Result, Tensor, bail};

use crate::composite;
use crate::cpu::mat::{Mat, product};
use crate::cpu::norm::{self, RowStats};
use crate::cpu::values::{Values, rows_of, served, tensor};
use crate::cpu::{columns, gelu as gelu_cpu};
use crate::record::record;

/// Layer normalisation over the last dimension (Ba, Kiros and Hinton, arXiv 1607.06450):
/// `(x − mean) / √(var + eps) · weight + bias` with the biased variance and `eps` inside the root.
///
/// `x` is `[…, D]`, `weight` and `bias` are `[D]`. The variance is taken of the centred values, so
/// a large mean costs no digits.
///
/// # Errors
/// When shapes do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (rows, width) = rows_of(x)?;
    if weight.dims() != [width] || bias.dims() != [width] {
        let dims = (x.dims(), weight.dims(), bias.dims());
        bail!("layer norm: x {:?}, weight {:?}, bias {:?}", dims.0, dims.1, dims.2);
    }
    if !served(&[x, weight, bias]) {
        return composite::layer_norm(x, weight, bias, eps);
    }
    let [x, weight, bias] = [x.contiguous()?, weight.contiguous()?, bias.contiguous()?];
    let mut y = vec![0.; rows * width];
    let mut stats = vec![RowStats::default(); rows];
    let (values, scale) = (Values::new(&x)?, Values::new(&weight)?);
    norm::forward(&values, &scale, &Values::new(&bias)?, eps as f32, &mut y, &mut stats);
    drop((values, scale));
    let kept = (x.clone(), weight.clone(), bias.track_op());
    record(
        "layer-norm",
        y,
        x.shape(),
        &[Some(&x), Some(&weight), Some(&bias)],
        move |grad: &Tensor| {
            let (x, weight, bias_tracked) = &kept;
            let (values, scale, dy) = (Values::new(x)?, Values::new(weight)?, Values::new(grad)?);
            let mut grads = vec![None, None, None];
            if x.track_op() {
                let mut dx = vec![0.; dy.len()];
                norm::backward_input(&values, &scale, &stats, &dy, None, &mut dx);
                grads[0] = Some(tensor(dx, x.shape())?);
            }
            if weight.track_op() || *bias_tracked {
                let (dweight, dbias) = norm::backward_weight(&values, &stats, &dy, width);
                grads[1] = Some(tensor(dweight, width)?);
                grads[2] = Some(tensor(dbias, width)?);
            }
            Ok(grads)
        },
    )
}

/// Affine map of the last dimension, `x · weightᵀ + bias`.
///
/// `x` is `[…, in]`, `weight` is `[out, in]` (PyTorch's layout), `bias` is `[out]`; the result is
/// `[…, out]`. A frozen weight, bias or input costs nothing in the backward pass.
///
/// # Errors
/// When shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, width) = rows_of(x)?;
    let (out_dim, in_dim) = weight.dims2()?;
    let bias_fits = bias.is_none_or(|bias| bias.dims() == [out_dim]);
    if width != in_dim || !bias_fits {
        let bias = bias.map(Tensor::dims);
        bail!("linear: x {:?}, weight {:?}, bias {bias:?}", x.dims(), weight.dims());
    }
    if !served(&[x, weight]) || !bias.is_none_or(|bias| served(&[bias])) {
        return composite::linear(x, weight, bias);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let values = (Values::new(&x)?, Values::new(&weight)?);
    let weight_rows = Mat::new(&values.1, out_dim, in_dim);
    let mut y = product(Mat::new(&values.0, rows, in_dim), weight_rows.t());
    drop(values);
    if let Some(bias) = bias {
        columns::add_bias(&mut y, &Values::new(&bias.contiguous()?)?);
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out_dim;
    }
    let (kept, bias_tracked) = ((x.clone(), weight.clone()), bias.is_some_and(Tensor::track_op));
    record("linear", y, shape, &[Some(&x), Some(&weight), bias], move |grad: &Tensor| {
        let (x, weight) = &kept;
        let dy = Values::new(grad)?;
        let dy_rows = Mat::new(&dy, rows, out_dim);
        let mut grads = vec![None, None, None];
        if x.track_op() {
            let weight = Values::new(weight)?;
            let dx = product(dy_rows, Mat::new(&weight, out_dim, in_dim));
            grads[0] = Some(tensor(dx, x.shape())?);
        }
        if weight.track_op() {
            let x = Values::new(x)?;
            let dweight = product(dy_rows.t(), Mat::new(&x, rows, in_dim));
            grads[1] = Some(tensor(dweight, (out_dim, in_dim))?);
        }
        if bias_tracked {
            grads[2] = Some(tensor(columns::column_sums(&dy, out_dim), out_dim)?);
        }
        Ok(grads)
    })
}

/// Gaussian error linear unit in its exact form, `x · Φ(x) = x/2 · (1 + erf(x/√2))`
/// (Hendrycks and Gimpel, arXiv 1606.08415), element by element.
///
/// [`Tensor::gelu`] is the tanh approximation, which no weight file of this field was trained
/// with. The fused path's error function is within 2 units of the last place of single precision.
///
/// # Errors
/// Whatever candle reports, for instance for an integer tensor.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !served(&[x]) {
        return composite::gelu(x);
    }
    let x = x.contiguous()?;
    let mut y = vec![0.; x.elem_count()];
    gelu_cpu::forward(&Values::new(&x)?, &mut y);
    let kept = x.clone();
    record("gelu", y, x.shape(), &[Some(&x)], move |grad: &Tensor| {
        let (values, dy) = (Values::new(&kept)?, Values::new(grad)?);
        let mut dx = vec![0.; dy.len()];
        gelu_cpu::backward(&values, &dy, &mut dx);
        Ok(vec![Some(tensor(dx, kept.shape())?)])
    })
}

/// A residual connection with drop path (Huang et al., arXiv 1603.09382): `x + factor · branch`,
/// one factor per sample, `None` for 1.
///
/// `x` and `branch` are `[B, …]`.
///
/// # Errors
/// When shapes do not fit.
pub fn residual(x: &Tensor, branch: &Tensor, factors: Option<&[f32]>) -> Result<Tensor> {
    let batch = x.dims().first().copied().unwrap_or(1);
    let factors_fit = factors.is_none_or(|factors| x.rank() > 0 && factors.len() == batch);
    if x.dims() != branch.dims() || !factors_fit {
        let factors = factors.map(<[f32]>::len);
        bail!("residual: x {:?}, branch {:?}, {factors:?} factors", x.dims(), branch.dims());
    }
    if !served(&[x, branch]) {
        return composite::residual(x, branch, factors);
    }
    let (x, branch) = (x.contiguous()?, branch.contiguous()?);
    let sample = x.elem_count() / batch.max(1);
    let mut y = vec![0.; x.elem_count()];
    columns::sum_scaled(&mut y, &Values::new(&x)?, &Values::new(&branch)?, sample, factors);
    let kept = (factors.map(<[f32]>::to_vec), x.track_op(), branch.track_op());
    let shape = x.shape().clone();
    record("residual", y, x.shape(), &[Some(&x), Some(&branch)], move |grad: &Tensor| {
        let (factors, for_x, for_branch) = &kept;
        let dy = Values::new(grad)?;
        let dbranch = || {
            let Some(factors) = factors else { return dy.to_vec() };
            let mut dbranch = vec![0.; dy.len()];
            columns::scaled(&mut dbranch, &dy, sample, factors);
            dbranch
        };
        let dx = for_x.then(|| tensor(dy.to_vec(), &shape)).transpose()?;
        Ok(vec![dx, for_branch.then(|| tensor(dbranch(), &shape)).transpose()?])
    })
}

/// Softmax over the last dimension, any shape.
///
/// # Errors
/// Whatever candle reports, for instance for a tensor without dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    composite::softmax(x)
}

/// Logarithm of [`softmax`] over the last dimension, without the loss of small probabilities.
///
/// # Errors
/// Whatever candle reports, for instance for a tensor without dimensions.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    composite::log_softmax(x)
}
