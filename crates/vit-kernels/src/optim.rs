use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var};
use rayon::prelude::*;

/// Values per piece of work of the threaded loops: large against the cost of handing it out,
/// small enough that a small tensor still uses both cores.
const CHUNK: usize = 16 * 1024;

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
}

/// One AdamW update in place:
/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
/// `θ ← θ·(1 − lr·wd) − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps)`.
///
/// All four have the shape of `parameter`. On the CPU in f32 the loops are fused and threaded;
/// elsewhere candle's own operators do it.
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
    for (what, other) in
        [("first moment", &**first), ("second moment", &**second), ("gradient", grad)]
    {
        let agree = other.shape() == parameter.shape()
            && other.dtype() == parameter.dtype()
            && other.device().same_device(parameter.device());
        if !agree {
            candle_core::bail!(
                "adamw: the parameter is {:?} {:?}, the {what} {:?} {:?}",
                parameter.dims(),
                parameter.dtype(),
                other.dims(),
                other.dtype()
            );
        }
    }
    let fused = parameter.device().is_cpu() && parameter.dtype() == candle_core::DType::F32;
    if fused {
        let grad = grad.contiguous()?;
        first.inplace_op2(&grad, &FirstMoment(*step))?;
        second.inplace_op2(&grad, &SecondMoment(*step))?;
        return parameter.inplace_op3(first, second, &Apply(*step));
    }
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

struct FirstMoment(AdamWStep);
struct SecondMoment(AdamWStep);
struct Apply(AdamWStep);

impl InplaceOp2 for FirstMoment {
    fn name(&self) -> &'static str {
        "adamw-first-moment"
    }

    fn cpu_fwd(&self, m: &mut CpuStorage, ml: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let (beta, scale) = (self.0.betas.0, self.0.grad_scale as f32);
        // The complement in f64: near 1 it has few digits left in f32.
        let (beta, rest) = (beta as f32, (1. - beta) as f32);
        zip_mut(values_mut(m, ml)?, values(g, gl)?, |m, g| {
            *m = beta * *m + rest * (g * scale);
        })
    }
}

impl InplaceOp2 for SecondMoment {
    fn name(&self) -> &'static str {
        "adamw-second-moment"
    }

    fn cpu_fwd(&self, v: &mut CpuStorage, vl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let (beta, scale) = (self.0.betas.1, self.0.grad_scale as f32);
        let (beta, rest) = (beta as f32, (1. - beta) as f32);
        zip_mut(values_mut(v, vl)?, values(g, gl)?, |v, g| {
            let g = g * scale;
            *v = beta * *v + rest * (g * g);
        })
    }
}

impl InplaceOp3 for Apply {
    fn name(&self) -> &'static str {
        "adamw-apply"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        pl: &Layout,
        m: &CpuStorage,
        ml: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<()> {
        let (size, root) = self.0.corrections();
        let (size, inverse_root) = (size as f32, (1. / root) as f32);
        let keep = (1. - self.0.lr * self.0.weight_decay) as f32;
        let eps = self.0.eps as f32;
        let (p, m, v) = (values_mut(p, pl)?, values(m, ml)?, values(v, vl)?);
        same_len(p.len(), m.len())?;
        same_len(p.len(), v.len())?;
        p.par_chunks_mut(CHUNK).zip(m.par_chunks(CHUNK)).zip(v.par_chunks(CHUNK)).for_each(
            |((p, m), v)| {
                for ((p, m), v) in p.iter_mut().zip(m).zip(v) {
                    *p = *p * keep - size * m / (v.sqrt() * inverse_root + eps);
                }
            },
        );
        Ok(())
    }
}

fn zip_mut(a: &mut [f32], b: &[f32], f: impl Fn(&mut f32, f32) + Sync) -> Result<()> {
    same_len(a.len(), b.len())?;
    a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| {
        for (a, b) in a.iter_mut().zip(b) {
            f(a, *b);
        }
    });
    Ok(())
}

fn same_len(a: usize, b: usize) -> Result<()> {
    if a != b {
        candle_core::bail!("adamw: {a} values against {b}");
    }
    Ok(())
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("adamw: contiguous f32 tensors are needed"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => candle_core::bail!("adamw: contiguous f32 tensors are needed"),
    }
}
