use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use super::inplace::{check, fused, with_values};
use super::norm::sum_of_squares;
use crate::cpu::math::fma;
use crate::cpu::simd::simd_fn;
use crate::cpu::values::Values;

/// Values per piece of work.
const PART: usize = 1 << 14;

/// The numbers of one update with momentum of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate of this tensor, its scale included.
    pub lr: f64,
    /// Share of the last update that is kept.
    pub momentum: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Factor on the gradient: clipping, or the mean over accumulated micro-batches.
    pub grad_scale: f64,
}

simd_fn! {
    fn update<'a, S>(
        p: &'a mut [f32],
        u: &'a mut [f32],
        g: &'a [f32],
        by: [f32; 4],
    ) -> () {
        let [momentum, grad, decay, lr] = by;
        for ((p, u), g) in p.iter_mut().zip(u).zip(g) {
            let g = fma::<S>(grad, *g, decay * *p);
            *u = fma::<S>(momentum, *u, g);
            *p = fma::<S>(-lr, *u, *p);
        }
    }
}

/// One step of stochastic gradient descent with momentum in place, as PyTorch has it without
/// dampening: `u ← μu + g + wd·θ`, `θ ← θ − lr·u`. The buffer starts as zeros.
///
/// # Errors
/// When shapes, devices or data types do not agree; nothing has changed then.
pub fn sgd_step(parameter: &Var, buffer: &Var, grad: &Tensor, step: &SgdStep) -> Result<()> {
    check("sgd", parameter, &[("buffer", &**buffer), ("gradient", grad)])?;
    if !fused(&[parameter, buffer]) {
        let decay = (parameter.as_tensor() * step.weight_decay)?;
        let grad = ((grad * step.grad_scale)? + decay)?;
        let update = ((buffer.as_tensor() * step.momentum)? + grad)?;
        parameter.set(&(parameter.as_tensor() - (&update * step.lr)?)?)?;
        return buffer.set(&update);
    }
    let grad = grad.contiguous()?;
    let g = Values::new(&grad)?;
    let by = [step.momentum, step.grad_scale, step.weight_decay, step.lr].map(|v| v as f32);
    with_values(parameter, |p| {
        with_values(buffer, |u| {
            let parts = p.par_chunks_mut(PART).zip(u.par_chunks_mut(PART));
            parts.zip(g.par_chunks(PART)).for_each(|((p, u), g)| update(p, u, g, by));
            Ok(())
        })
    })
}

/// One step of LARS (You, Gitman and Ginsburg, arXiv 1708.03888) in place, as MAE's linear probe
/// has it: for tensors of two or more dimensions `g ← trust · ‖θ‖/‖g‖ · g` with the weight decay
/// in `g`, and 1 for the ratio where a norm is 0; others are plain [`sgd_step`] without decay.
///
/// # Errors
/// As [`sgd_step`].
pub fn lars_step(
    parameter: &Var,
    buffer: &Var,
    grad: &Tensor,
    trust: f64,
    step: &SgdStep,
) -> Result<()> {
    check("lars", parameter, &[("buffer", &**buffer), ("gradient", grad)])?;
    if parameter.rank() < 2 {
        return sgd_step(parameter, buffer, grad, &SgdStep { weight_decay: 0., ..*step });
    }
    let decay = (parameter.as_tensor() * step.weight_decay)?;
    let grad = ((grad * step.grad_scale)? + decay)?;
    let (size, slope) = (sum_of_squares(parameter)?.sqrt(), sum_of_squares(&grad)?.sqrt());
    let ratio = if size > 0. && slope > 0. { trust * size / slope } else { 1. };
    let step = SgdStep { weight_decay: 0., grad_scale: ratio, ..*step };
    sgd_step(parameter, buffer, &grad, &step)
}
