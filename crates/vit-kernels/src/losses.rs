use candle_core::{Result, Tensor, bail};

use crate::composite;
use crate::cpu::losses;
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

/// Cross entropy with soft targets, `−Σ t · log softmax(x)` over the whole batch.
///
/// `logits` and `targets` are `[B, K]`; the result is a scalar. Targets are constants: they carry
/// label smoothing, mixing, class weights and the division by the batch size alike, so they need
/// not sum to 1.
///
/// # Errors
/// When shapes do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (batch, classes) = same_dims2("cross entropy", logits, &[targets])?;
    if !served(&[logits, targets]) || classes == 0 {
        return composite::cross_entropy(logits, targets);
    }
    let (x, targets) = (logits.contiguous()?, targets.contiguous()?.detach());
    let loss = losses::cross_entropy(&Values::new(&x)?, &Values::new(&targets)?, classes);
    let kept = x.clone();
    record("cross-entropy", vec![loss], (), &[Some(&x)], move |grad: &Tensor| {
        let (x, targets) = (Values::new(&kept)?, Values::new(&targets)?);
        let factor = grad.to_scalar::<f32>()?;
        let dx = losses::cross_entropy_grad(&x, &targets, classes, factor);
        Ok(vec![Some(tensor(dx, (batch, classes))?)])
    })
}

/// Weighted binary cross entropy from logits, `Σ w · (max(x, 0) − x·t + log(1 + exp(−|x|)))`.
///
/// All are `[B, K]`; the result is a scalar. A missing label has weight 0; the weights carry the
/// division by the number of labels too.
///
/// # Errors
/// When shapes do not fit.
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<Tensor> {
    same_dims2("binary cross entropy", logits, &[targets, weights])?;
    if !served(&[logits, targets, weights]) {
        return composite::bce_with_logits(logits, targets, weights);
    }
    let x = logits.contiguous()?;
    let (targets, weights) = (targets.contiguous()?.detach(), weights.contiguous()?.detach());
    let loss = losses::bce(&Values::new(&x)?, &Values::new(&targets)?, &Values::new(&weights)?);
    let kept = x.clone();
    record("bce-with-logits", vec![loss], (), &[Some(&x)], move |grad: &Tensor| {
        let (targets, weights) = (Values::new(&targets)?, Values::new(&weights)?);
        let factor = grad.to_scalar::<f32>()?;
        let dx = losses::bce_grad(&Values::new(&kept)?, &targets, &weights, factor);
        Ok(vec![Some(tensor(dx, kept.shape())?)])
    })
}

/// Mean of `(x − target)²` over all values, a scalar; the target is a constant.
///
/// # Errors
/// When shapes differ or there are no values.
pub fn mean_squared_error(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    if x.dims() != target.dims() || x.elem_count() == 0 {
        bail!("mean squared error: {:?} and {:?}", x.dims(), target.dims());
    }
    if !served(&[x, target]) {
        return composite::mean_squared_error(x, target);
    }
    let (x, target) = (x.contiguous()?, target.contiguous()?.detach());
    let loss = losses::squares(&Values::new(&x)?, &Values::new(&target)?);
    let kept = x.clone();
    record("mean-squared-error", vec![loss], (), &[Some(&x)], move |grad: &Tensor| {
        let factor = grad.to_scalar::<f32>()?;
        let dx = losses::squares_grad(&Values::new(&kept)?, &Values::new(&target)?, factor);
        Ok(vec![Some(tensor(dx, kept.shape())?)])
    })
}

fn same_dims2(what: &str, logits: &Tensor, others: &[&Tensor]) -> Result<(usize, usize)> {
    let dims = logits.dims2()?;
    if let Some(other) = others.iter().find(|other| other.dims() != logits.dims()) {
        bail!("{what}: logits {:?} with {:?}", logits.dims(), other.dims());
    }
    Ok(dims)
}
