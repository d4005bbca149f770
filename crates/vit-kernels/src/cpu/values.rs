//! Reading candle tensors as slices.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, StorageRef, Tensor, bail};

/// Whether the fused path serves these tensors.
pub(crate) fn served(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// The values of a contiguous f32 tensor on the CPU, row-major.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// # Errors
    /// For any other tensor: callers make them contiguous and check [`served`] first.
    pub(crate) fn new(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => {
                Ok(Self { storage, range: start..end })
            }
            _ => bail!("a contiguous f32 tensor on the CPU is needed, not {tensor:?}"),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            // Refused by `new`.
            _ => &[],
        }
    }
}

/// A tensor from values, without a copy.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Number of rows of a tensor's last dimension, and its width.
pub(crate) fn rows_of(tensor: &Tensor) -> Result<(usize, usize)> {
    let Some((&width, outer)) = tensor.dims().split_last() else {
        bail!("a tensor with dimensions is needed");
    };
    Ok((outer.iter().product(), width))
}
