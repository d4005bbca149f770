use candle_core::{Result, Tensor, bail};

use super::layer::{Layer, back_plain, output_of};
use super::norm::BatchNormOptions;
use super::residual::ConvNorm;
use crate::composite;
use crate::cpu::batch_norm;
use crate::cpu::conv::{Source, gradient};
use crate::cpu::mat::MatMut;
use crate::cpu::pool::{Pool, Window};
use crate::cpu::scratch::Scratch;
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

/// The start of a convolutional network as one operator: convolution, batch norm, cut off at zero,
/// maximum over windows of `window` × `window` pixels every `stride` pixels, with `padding` rows
/// and columns on each side that are never the largest.
///
/// `x` is `[B, H, W, C]`.
///
/// # Errors
/// When shapes do not fit.
pub fn conv_norm_pool(
    x: &Tensor,
    layer: &ConvNorm<'_>,
    (window, stride, padding): (usize, usize, usize),
    options: &BatchNormOptions,
) -> Result<Tensor> {
    const WHAT: &str = "convolution, norm and pool";
    let &[batch, height, width, channels] = x.dims() else {
        bail!("{WHAT}: x is {:?} instead of [batch, height, width, channels]", x.dims())
    };
    let geometry = layer.geometry(WHAT, [batch, height, width, channels], options)?;
    let pool = Pool::new(output_of(&geometry), Window { side: window, stride, padding })?;
    if !served(&[x]) || !layer.served() || x.elem_count() == 0 {
        return composite::conv_norm_pool(x, layer, (window, stride, padding), options);
    }
    let (x, weight) = (x.contiguous()?, layer.weight.clone());
    let values = Values::new(&x)?;
    let plain = Source::plain(&values, channels);
    let done = Layer::forward(geometry, plain, layer.weight, &layer.norm, options)?;
    drop(values);
    let mut y = vec![0.; pool.elements()];
    let tracked = [&x, layer.weight, layer.norm.weight, layer.norm.bias].map(Tensor::track_op);
    let mut places = vec![0; if tracked.contains(&true) { y.len() } else { 0 }];
    pool.largest(&done.values, Some(done.normed.activation()), &mut y, &mut places);
    let inputs = [Some(&x), Some(layer.weight), Some(layer.norm.weight), Some(layer.norm.bias)];
    let kept = x.clone();
    record("conv-norm-pool", y, pool.shape(), &inputs, move |grad: &Tensor| {
        let (x, dy) = (Values::new(&kept)?, Values::new(grad)?);
        let mut g = Scratch::new(done.values.len());
        pool.largest_back(&dy, &places, &mut g);
        // A value that was cut off to zero may be the largest of its window.
        let normed = &done.normed;
        batch_norm::cut(&mut g, &done.values, normed);
        let sums = batch_norm::sums(&g, &done.values, normed);
        let (norm_weight, norm_bias) = normed.parameter_grads(&sums);
        let out = geometry.out_channels;
        let mut grads =
            vec![None, None, Some(tensor(norm_weight, out)?), Some(tensor(norm_bias, out)?)];
        if tracked[0] || tracked[1] {
            let mut dz = Scratch::new(g.len());
            let correction = normed.correction(&sums);
            batch_norm::input_grad(&g, &done.values, normed, correction.as_ref(), &mut dz);
            if tracked[1] {
                let values = gradient(&geometry, Source::plain(&x, channels), &dz);
                grads[1] = Some(tensor(values, weight.shape())?);
            }
            if tracked[0] {
                let mut dx = vec![0.; x.len()];
                let dst = MatMut::new(&mut dx, geometry.in_pixels(), channels);
                back_plain(&geometry, &weight, &dz, dst, false)?;
                grads[0] = Some(tensor(dx, kept.shape())?);
            }
        }
        Ok(grads)
    })
}
