use std::collections::HashMap;

use candle_core::Tensor;
use vit_models::candle_nn::VarBuilder;
use vit_models::{Backbone, Classifier, Context, ParamStore, Vit, VitConfig};

use crate::adapter::values;
use crate::{Error, LoraConfig, Result, attach, merge};

/// How much merging changed a model's output, which in exact arithmetic it would not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MergeReport {
    /// `max |merged − adapted|`; NaN if either output has a NaN.
    pub max_difference: f64,
    /// `max |adapted|`, to judge the difference by.
    pub max_output: f64,
}

/// Compares adapted and merged model in evaluation on `images` `[B, C, H, W]`: the logits, or the
/// embeddings of a model without head. The store is not changed.
///
/// # Errors
/// As [`crate::attach`] and [`crate::merge`]; [`Error::Model`] when parameters of `vit` are
/// missing in the store or the pictures do not fit.
pub fn merge_report(
    vit: &VitConfig,
    store: &ParamStore,
    config: &LoraConfig,
    images: &Tensor,
) -> Result<MergeReport> {
    let vb = store.frozen();
    let mut adapted = Vit::new(vit, &vb)?;
    attach(adapted.linears_mut(), config, &vb)?;
    let tensors: HashMap<_, _> = merge(store, config)?.into_iter().collect();
    let merged = Vit::new(vit, &VarBuilder::from_tensors(tensors, store.dtype(), store.device()))?;
    let expected = output(&adapted, images)?;
    Ok(MergeReport {
        max_difference: max_difference(&output(&merged, images)?, &expected)?,
        max_output: max_difference(&expected, &expected.zeros_like()?)?,
    })
}

fn output(model: &Vit, images: &Tensor) -> Result<Tensor> {
    let ctx = Context::eval();
    Ok(match model.config().num_classes {
        0 => model.embed(images, &ctx)?,
        _ => model.logits(images, &ctx)?,
    })
}

/// `max |a − b|` over two tensors of one shape: 0 for empty ones, NaN as soon as one difference
/// is.
///
/// # Errors
/// [`Error::Config`] for different shapes, [`Error::Candle`] when values cannot be read.
pub fn max_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    if a.dims() != b.dims() {
        let message = format!("cannot compare shape {:?} with {:?}", a.dims(), b.dims());
        return Err(Error::Config(message));
    }
    let larger = |max: f64, (a, b): (&f64, &f64)| {
        let difference = (a - b).abs();
        // `f64::max` would skip NaN.
        if difference.is_nan() || max.is_nan() { f64::NAN } else { max.max(difference) }
    };
    Ok(values(a)?.iter().zip(&values(b)?).fold(0., larger))
}
