use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use super::inplace::{check, fused, with_values};
use crate::cpu::math::fma;
use crate::cpu::simd::simd_fn;
use crate::cpu::values::Values;

/// Values per piece of work: large against the cost of handing it out, small enough that a small
/// tensor still uses all cores.
const PART: usize = 1 << 14;

/// The numbers of one AdamW update of one tensor (Loshchilov and Hutter, arXiv 1711.05101, as
/// PyTorch arranges it).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this tensor, its scale included.
    pub lr: f64,
    /// Decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this update, from 1: corrects the bias of the moments.
    pub step: u64,
    /// Factor on the gradient: clipping, or the mean over accumulated micro-batches.
    pub grad_scale: f64,
}

impl AdamWStep {
    /// `lr / (1 − β₁ᵗ)` and `√(1 − β₂ᵗ)`.
    fn corrections(&self) -> (f64, f64) {
        let t = self.step as f64;
        (self.lr / (1. - self.betas.0.powf(t)), (1. - self.betas.1.powf(t)).sqrt())
    }

    /// What the fused loop multiplies with.
    fn factors(&self) -> Factors {
        let (size, root) = self.corrections();
        let (beta1, beta2) = self.betas;
        Factors {
            grad: self.grad_scale as f32,
            // The complements in f64: near 1 they have few digits left in f32.
            first: [beta1 as f32, (1. - beta1) as f32],
            second: [beta2 as f32, (1. - beta2) as f32],
            keep: (1. - self.lr * self.weight_decay) as f32,
            size: size as f32,
            inverse_root: (1. / root) as f32,
            eps: self.eps as f32,
        }
    }
}

#[derive(Clone, Copy)]
struct Factors {
    grad: f32,
    first: [f32; 2],
    second: [f32; 2],
    keep: f32,
    size: f32,
    inverse_root: f32,
    eps: f32,
}

simd_fn! {
    fn update<'a, S>(
        p: &'a mut [f32],
        m: &'a mut [f32],
        v: &'a mut [f32],
        g: &'a [f32],
        by: Factors,
    ) -> () {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * by.grad;
            *m = fma::<S>(by.first[0], *m, by.first[1] * g);
            *v = fma::<S>(by.second[0], *v, by.second[1] * (g * g));
            let root = fma::<S>(v.sqrt(), by.inverse_root, by.eps);
            *p = *p * by.keep - by.size * *m / root;
        }
    }
}

/// One AdamW update in place:
/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
/// `θ ← θ·(1 − lr·wd) − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps)`.
///
/// All four have the shape of `parameter`, and no two share memory. On the CPU in f32 it is one
/// threaded pass over them; elsewhere candle's own operators do it.
///
/// # Errors
/// When shapes, devices or data types do not agree; nothing has changed then.
pub fn adamw_step(
    parameter: &Var,
    first: &Var,
    second: &Var,
    grad: &Tensor,
    step: &AdamWStep,
) -> Result<()> {
    let others = [("first moment", &**first), ("second moment", &**second), ("gradient", grad)];
    check("adamw", parameter, &others)?;
    if !fused(&[parameter, first, second]) {
        return composite(parameter, first, second, grad, step);
    }
    let grad = grad.contiguous()?;
    let (g, by) = (Values::new(&grad)?, step.factors());
    with_values(parameter, |p| {
        with_values(first, |m| {
            with_values(second, |v| {
                let parts = p.par_chunks_mut(PART).zip(m.par_chunks_mut(PART));
                parts
                    .zip(v.par_chunks_mut(PART))
                    .zip(g.par_chunks(PART))
                    .for_each(|(((p, m), v), g)| update(p, m, v, g, by));
                Ok(())
            })
        })
    })
}

fn composite(
    parameter: &Var,
    first: &Var,
    second: &Var,
    grad: &Tensor,
    step: &AdamWStep,
) -> Result<()> {
    let grad = (grad * step.grad_scale)?;
    let (beta1, beta2) = step.betas;
    let m = ((first.as_tensor() * beta1)? + (&grad * (1. - beta1))?)?;
    let v = ((second.as_tensor() * beta2)? + (grad.sqr()? * (1. - beta2))?)?;
    let (size, root) = step.corrections();
    let update = (&m * size)?.div(&((v.sqrt()? / root)? + step.eps)?)?;
    let decayed = (parameter.as_tensor() * (1. - step.lr * step.weight_decay))?;
    parameter.set(&(decayed - update)?)?;
    first.set(&m)?;
    second.set(&v)
}
