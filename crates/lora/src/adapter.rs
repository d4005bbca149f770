use candle_core::{DType, Device, Tensor};
use vit_models::candle_nn::VarBuilder;
use vit_models::{Adapter, Context};

use crate::sites::Site;
use crate::{LoraConfig, Result};

/// The low-rank update of one layer.
#[derive(Debug)]
pub(crate) struct LowRank {
    site: Site,
    /// `A` `[rank, in]` of each slice.
    downs: Vec<Tensor>,
    /// `B` `[rows, rank]` of each slice.
    ups: Vec<Tensor>,
    rank: usize,
    scaling: f64,
    dropout: f64,
    /// Names the random stream of the dropout mask.
    purpose: String,
}

impl LowRank {
    /// Reads the parameters of a site; `vb` stands at the model's root.
    pub(crate) fn new(site: &Site, config: &LoraConfig, vb: &VarBuilder) -> Result<Self> {
        let (rank, in_dim) = (config.rank, site.layer.in_dim);
        let mut downs = Vec::with_capacity(site.slices.len());
        let mut ups = Vec::with_capacity(site.slices.len());
        for slice in &site.slices {
            downs.push(vb.get((rank, in_dim), &site.a_name(slice))?);
            ups.push(vb.get((slice.rows, rank), &site.b_name(slice))?);
        }
        Ok(Self {
            purpose: format!("lora_dropout/{}", site.layer.name),
            site: site.clone(),
            downs,
            ups,
            rank,
            scaling: config.scaling(),
            dropout: config.dropout,
        })
    }

    /// All `A` one above the other: `[slices · rank, in]`.
    pub(crate) fn down(&self) -> candle_core::Result<Tensor> {
        match self.downs.as_slice() {
            [one] => Ok(one.clone()),
            many => Tensor::cat(many, 0),
        }
    }

    /// The `B`, each in its own rows and columns, zeros elsewhere: `[out, slices · rank]`.
    ///
    /// So one product makes the update of all slices, already padded to the layer's width. The
    /// zeros cost `slices` times the arithmetic of the second product, which is small beside the
    /// copy of the output that putting slices together would need.
    pub(crate) fn up(&self) -> candle_core::Result<Tensor> {
        let width = self.rank * self.ups.len();
        let mut parts = Vec::with_capacity(2 * self.ups.len() + 1);
        let mut row = 0;
        for (i, (slice, up)) in self.site.slices.iter().zip(&self.ups).enumerate() {
            if slice.first > row {
                parts.push(Tensor::zeros((slice.first - row, width), up.dtype(), up.device())?);
            }
            let left = i * self.rank;
            parts.push(up.pad_with_zeros(1, left, width - left - self.rank)?);
            row = slice.first + slice.rows;
        }
        if let Some(up) = self.ups.first().filter(|_| row < self.site.layer.out_dim) {
            let rest = (self.site.layer.out_dim - row, width);
            parts.push(Tensor::zeros(rest, up.dtype(), up.device())?);
        }
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            many => Tensor::cat(many, 0),
        }
    }

    /// The dense update `alpha / rank · B · A`, `[out, in]`, in f32, or f64 for f64 parameters.
    pub(crate) fn delta(&self) -> candle_core::Result<Tensor> {
        let (up, down) = (self.up()?, self.down()?);
        let dtype = if up.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        up.to_dtype(dtype)?.matmul(&down.to_dtype(dtype)?)? * self.scaling
    }

    /// `alpha / rank · B · A · x`, `[…, in]` to `[…, out]`.
    fn update(&self, x: &Tensor, shape: &[usize]) -> candle_core::Result<Tensor> {
        let rows = x.contiguous()?.reshape(((), self.site.layer.in_dim))?;
        // Scaling the small matrix is cheaper than scaling the output.
        let up = (self.up()? * self.scaling)?;
        rows.matmul(&self.down()?.t()?)?.matmul(&up.t()?)?.reshape(shape)
    }
}

impl Adapter for LowRank {
    fn adapt(&self, x: &Tensor, y: Tensor, ctx: &Context) -> vit_models::Result<Tensor> {
        let x = ctx.dropout(x, self.dropout, &self.purpose)?;
        let update = self.update(&x, y.dims())?;
        Ok((y + update)?)
    }

    fn parameters(&self) -> Vec<Tensor> {
        self.downs.iter().chain(&self.ups).cloned().collect()
    }
}

/// Values of a tensor as f64 on the CPU, row-major.
pub(crate) fn values(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
