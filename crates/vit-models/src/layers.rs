use std::fmt::Debug;
use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;

use crate::{Context, ParamInit, ParamSpec, Result};

/// What a [`Linear`] calls if one is attached: a change of its output that can be trained alone.
pub trait Adapter: Debug + Send + Sync {
    /// From the layer's input `x` (`[…, in]`) and its own output `y` (`[…, out]`) to the adapted
    /// output.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn adapt(&self, x: &Tensor, y: Tensor, ctx: &Context) -> Result<Tensor>;

    /// The tensors that training may change.
    fn parameters(&self) -> Vec<Tensor>;
}

/// An affine map, `x · weightᵀ + bias`, with a slot for an [`Adapter`].
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    adapter: Option<Arc<dyn Adapter>>,
}

impl Linear {
    /// Parameters under `name`: `weight` `[out, in]` and, if any, `bias` `[out]`, which is zero.
    #[must_use]
    pub fn specs(
        name: &str,
        in_dim: usize,
        out_dim: usize,
        bias: bool,
        weight: ParamInit,
    ) -> Vec<ParamSpec> {
        let mut specs = vec![ParamSpec::new(format!("{name}.weight"), &[out_dim, in_dim], weight)];
        if bias {
            specs.push(ParamSpec::new(format!("{name}.bias"), &[out_dim], ParamInit::Constant(0.)));
        }
        specs
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    pub fn new(in_dim: usize, out_dim: usize, bias: bool, vb: &VarBuilder) -> Result<Self> {
        let weight = vb.get((out_dim, in_dim), "weight")?;
        let bias = if bias { Some(vb.get(out_dim, "bias")?) } else { None };
        Ok(Self { weight, bias, adapter: None })
    }

    /// Width of the input.
    #[must_use]
    pub fn in_dim(&self) -> usize {
        self.weight.dims().get(1).copied().unwrap_or(0)
    }

    /// Width of the output.
    #[must_use]
    pub fn out_dim(&self) -> usize {
        self.weight.dims().first().copied().unwrap_or(0)
    }

    /// Weight and bias, unless an adapter changes what they do.
    pub(crate) fn plain(&self) -> Option<(&Tensor, Option<&Tensor>)> {
        self.adapter.is_none().then_some((&self.weight, self.bias.as_ref()))
    }

    /// Another weight and bias of the same shapes.
    pub(crate) fn set_plain(&mut self, weight: Tensor, bias: Tensor) {
        self.weight = weight;
        self.bias = Some(bias);
    }

    /// Weight, bias and the adapter's parameters.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Tensor> {
        let adapter = self.adapter.iter().flat_map(|adapter| adapter.parameters());
        std::iter::once(self.weight.clone()).chain(self.bias.clone()).chain(adapter)
    }

    /// Attaches an adapter, or with `None` takes it off; gives back the one before.
    pub fn set_adapter(&mut self, adapter: Option<Arc<dyn Adapter>>) -> Option<Arc<dyn Adapter>> {
        std::mem::replace(&mut self.adapter, adapter)
    }

    /// `[…, in]` to `[…, out]`.
    ///
    /// # Errors
    /// When the width of `x` does not fit.
    pub fn forward(&self, x: &Tensor, ctx: &Context) -> Result<Tensor> {
        let y = vit_kernels::linear(x, &self.weight, self.bias.as_ref())?;
        match &self.adapter {
            Some(adapter) => adapter.adapt(x, y, ctx),
            None => Ok(y),
        }
    }
}

/// Layer normalisation of the last dimension, with weight and bias.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Parameters under `name`: `weight` `[dim]`, one, and `bias` `[dim]`, zero.
    #[must_use]
    pub fn specs(name: &str, dim: usize) -> Vec<ParamSpec> {
        vec![
            ParamSpec::new(format!("{name}.weight"), &[dim], ParamInit::Constant(1.)),
            ParamSpec::new(format!("{name}.bias"), &[dim], ParamInit::Constant(0.)),
        ]
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    pub fn new(dim: usize, eps: f64, vb: &VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get(dim, "weight")?, bias: vb.get(dim, "bias")?, eps })
    }

    /// Weight and bias.
    pub(crate) fn params(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// `[…, dim]` to the same shape.
    ///
    /// # Errors
    /// When the width of `x` does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(vit_kernels::layer_norm(x, &self.weight, &self.bias, self.eps)?)
    }
}
