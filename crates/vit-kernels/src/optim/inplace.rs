//! Several tensors changed at once: candle's in-place operators have one that may be written, so
//! they are nested.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var, bail};

use crate::cpu::values::served;

/// Whether all these are served by the fused loops: f32 on the CPU, contiguous.
pub(super) fn fused(tensors: &[&Tensor]) -> bool {
    served(tensors) && tensors.iter().all(|tensor| tensor.is_contiguous())
}

/// An error unless `others` have shape, data type and device of the parameter.
pub(super) fn check(what: &str, parameter: &Var, others: &[(&str, &Tensor)]) -> Result<()> {
    for (name, other) in others {
        let agree = other.shape() == parameter.shape()
            && other.dtype() == parameter.dtype()
            && other.device().same_device(parameter.device());
        if !agree {
            bail!(
                "{what}: the parameter is {:?} {:?}, the {name} {:?} {:?}",
                parameter.dims(),
                parameter.dtype(),
                other.dims(),
                other.dtype()
            );
        }
    }
    Ok(())
}

/// Calls `f` with the values of a contiguous f32 tensor on the CPU.
pub(crate) fn with_values<F: FnOnce(&mut [f32]) -> Result<()>>(
    tensor: &Tensor,
    f: F,
) -> Result<()> {
    tensor.inplace_op1(&Once(Cell::new(Some(f))))
}

/// An operator that runs once.
struct Once<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Once<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (storage, layout.contiguous_offsets(), self.0.take()) {
            (CpuStorage::F32(values), Some((start, end)), Some(f)) => f(&mut values[start..end]),
            _ => bail!("an update in place needs a contiguous f32 tensor on the CPU"),
        }
    }
}
