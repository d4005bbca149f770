use candle_core::{Result, Tensor, bail};

use super::layer::{Layer, back_through, convolve, geometry, output_of};
use super::norm::{BatchNormOptions, BatchNormParams, check_rows};
use crate::cpu::batch_norm::{Correction, Moments, Normed, Sums, Through};
use crate::cpu::conv::{Geometry, Source, gradient};
use crate::cpu::mat::MatMut;
use crate::cpu::scratch::Scratch;
use crate::cpu::values::{Values, served, tensor};
use crate::record::{WithOutput, record};
use crate::{Conv2dOptions, composite};

/// A layer of a dense block: norm, cut off at zero, 1×1 convolution, norm, cut off, 3×3
/// convolution with a border of one pixel.
#[derive(Debug, Clone, Copy)]
pub struct DenseLayer<'a> {
    /// Of everything before the layer.
    pub norm1: BatchNormParams<'a>,
    /// `[hidden, in, 1, 1]`.
    pub conv1: &'a Tensor,
    /// Of the hidden channels.
    pub norm2: BatchNormParams<'a>,
    /// `[growth, hidden, 3, 3]`.
    pub conv2: &'a Tensor,
}

/// The second convolution of a layer.
pub(crate) const SECOND: Conv2dOptions = Conv2dOptions { stride: 1, padding: 1, dilation: 1 };

/// Tensors with a gradient of one layer.
const EACH: usize = 6;

impl<'a> DenseLayer<'a> {
    fn tensors(&self) -> [&'a Tensor; EACH] {
        let Self { norm1, conv1, norm2, conv2 } = self;
        [norm1.weight, norm1.bias, conv1, norm2.weight, norm2.bias, conv2]
    }

    fn served(&self) -> bool {
        served(&[self.conv1, self.conv2]) && self.norm1.served() && self.norm2.served()
    }
}

/// A dense block (Huang et al., arXiv 1608.06993) as one operator: each layer reads all channels
/// before it and adds its own behind them.
///
/// `x` is `[B, H, W, C]`; the result has `growth` channels more for each layer. Everything lives in
/// the result: nothing is concatenated, statistics of a channel are taken once, and its gradient is
/// added up in one place. `options` are those of every batch norm.
///
/// # Errors
/// When there is no layer or shapes do not fit.
pub fn dense_block(
    x: &Tensor,
    layers: &[DenseLayer<'_>],
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let (plans, shape) = plan(x, layers, options)?;
    if !served(&[x]) || !layers.iter().all(DenseLayer::served) || x.elem_count() == 0 {
        return composite::dense_block(x, layers, options);
    }
    let x = x.contiguous()?;
    let inputs: Vec<Option<&Tensor>> =
        std::iter::once(&x).chain(layers.iter().flat_map(DenseLayer::tensors)).map(Some).collect();
    let wanted: Vec<bool> = inputs.iter().map(|x| x.is_some_and(Tensor::track_op)).collect();
    let keep = wanted.contains(&true);
    let (channels, total) = (x.dims()[3], shape[3]);
    let mut y = vec![0.; shape.iter().product()];
    let mut moments = {
        let values = Values::new(&x)?;
        for (y, x) in y.chunks_exact_mut(total).zip(values.chunks_exact(channels)) {
            y[..channels].copy_from_slice(x);
        }
        options.train.then(|| Moments::of_rows(&values, channels, channels))
    };
    let mut kept = Vec::new();
    for (layer, plan) in layers.iter().zip(&plans) {
        let (first, second) = plan;
        let normed = layer.norm1.normed(moments.as_ref(), options)?;
        let source = Source {
            values: &y,
            stride: total,
            channels: first.in_channels,
            activation: Some(normed.activation()),
        };
        let hidden = Layer::forward(*first, source, layer.conv1, &layer.norm2, options)?;
        let rows = MatMut::new(&mut y, second.out_pixels(), total);
        let (_, own) = rows.split_at_col(first.in_channels);
        let (own, _) = own.split_at_col(second.out_channels);
        let added = convolve(second, hidden.source(), layer.conv2, own, options.train)?;
        if let (Some(moments), Some(added)) = (&mut moments, added) {
            moments.extend(added);
        }
        if keep {
            let weights = [layer.conv1.clone(), layer.conv2.clone()];
            kept.push(Kept { plan: *plan, normed, hidden, weights });
        }
    }
    let mean = moments.map(|moments| moments.mean().collect());
    let block = Block { channels, total, layers: kept, mean, wanted };
    let x_shape = x.shape().clone();
    record(
        "dense-block",
        y,
        shape.to_vec(),
        &inputs,
        WithOutput(move |y: &Tensor, grad: &Tensor| {
            let (mut grads, dx) = block.backward(&Values::new(y)?, &Values::new(grad)?)?;
            if block.wanted[0] {
                grads[0] = Some(tensor(dx, &x_shape)?);
            }
            Ok(grads)
        }),
    )
}

type Plan = (Geometry, Geometry);

fn plan(
    x: &Tensor,
    layers: &[DenseLayer<'_>],
    options: &BatchNormOptions,
) -> Result<(Vec<Plan>, [usize; 4])> {
    const WHAT: &str = "dense block";
    let &[batch, height, width, channels] = x.dims() else {
        bail!("{WHAT}: x is {:?} instead of [batch, height, width, channels]", x.dims())
    };
    check_rows(WHAT, batch * height * width, options)?;
    let mut shape = [batch, height, width, channels];
    let mut plans = Vec::with_capacity(layers.len());
    for layer in layers {
        layer.norm1.check(WHAT, shape[3])?;
        let first = geometry(WHAT, shape, layer.conv1, Conv2dOptions::default())?;
        layer.norm2.check(WHAT, first.out_channels)?;
        let second = geometry(WHAT, output_of(&first), layer.conv2, SECOND)?;
        if output_of(&second)[..3] != shape[..3] {
            bail!("{WHAT}: weights of {:?} and {:?}", layer.conv1.dims(), layer.conv2.dims());
        }
        shape[3] += second.out_channels;
        plans.push((first, second));
    }
    if plans.is_empty() {
        bail!("{WHAT}: there is no layer");
    }
    Ok((plans, shape))
}

/// What the backward pass needs of one layer.
struct Kept {
    plan: Plan,
    /// The first norm.
    normed: Normed,
    hidden: Layer,
    weights: [Tensor; 2],
}

struct Block {
    /// Of the input.
    channels: usize,
    /// Of the output.
    total: usize,
    layers: Vec<Kept>,
    /// Of every channel, in training.
    mean: Option<Vec<f32>>,
    /// Which inputs need a gradient: `x`, then [`EACH`] for each layer.
    wanted: Vec<bool>,
}

impl Block {
    /// Whether an input before this one needs a gradient.
    fn before(&self, place: usize) -> bool {
        self.wanted[..place].contains(&true)
    }

    /// Gradients of the parameters, and of the block's input.
    ///
    /// In training every norm's gradient has a part that is the same line of the values for all
    /// rows ([`Correction`]). Those of a channel are added up over layers and applied once, when
    /// the channel's gradient is needed.
    fn backward(&self, y: &[f32], dy: &[f32]) -> Result<(Vec<Option<Tensor>>, Vec<f32>)> {
        let mut grads = vec![None; self.wanted.len()];
        let zero = vec![0.; self.total];
        let mean = self.mean.as_deref().unwrap_or(&zero);
        let mut sum = Scratch::new(dy.len());
        sum.copy_from_slice(dy);
        let mut correction = Correction::zero(self.total);
        let rows = dy.len() / self.total;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (first, second) = &layer.plan;
            let at = 1 + EACH * i;
            let mut dz = Scratch::new(rows * second.out_channels);
            let from = (&*sum, y, self.total);
            correction.apply_columns(from, mean, first.in_channels, &mut dz, second.out_channels);
            let hidden = &layer.hidden;
            self.put(&mut grads, at + 5, &layer.weights[1], || {
                gradient(second, hidden.source(), &dz)
            })?;
            if !self.before(at + 5) {
                break;
            }
            let mut dhidden = Scratch::new(hidden.values.len());
            let dst = MatMut::new(&mut dhidden, rows, first.out_channels);
            let sums = back_through(second, &layer.weights[1], &dz, hidden.through(), dst, false)?;
            self.norm_grads(&mut grads, at + 3, &hidden.normed, &sums)?;
            if let Some(line) = hidden.normed.correction(&sums) {
                line.apply(&mut dhidden, &hidden.values, &hidden.normed.mean);
            }
            let source = Source {
                values: y,
                stride: self.total,
                channels: first.in_channels,
                activation: Some(layer.normed.activation()),
            };
            self.put(&mut grads, at + 2, &layer.weights[0], || gradient(first, source, &dhidden))?;
            if !self.before(at + 2) {
                break;
            }
            let through = Through { values: y, stride: self.total, normed: &layer.normed };
            let (dst, _) = MatMut::new(&mut sum, rows, self.total).split_at_col(first.in_channels);
            let sums = back_through(first, &layer.weights[0], &dhidden, through, dst, true)?;
            self.norm_grads(&mut grads, at, &layer.normed, &sums)?;
            if let Some(line) = layer.normed.correction(&sums) {
                correction.add(&line);
            }
        }
        let mut dx = vec![0.; if self.wanted[0] { rows * self.channels } else { 0 }];
        if self.wanted[0] {
            correction.apply_columns((&sum, y, self.total), mean, 0, &mut dx, self.channels);
        }
        Ok((grads, dx))
    }

    fn put(
        &self,
        grads: &mut [Option<Tensor>],
        place: usize,
        like: &Tensor,
        values: impl FnOnce() -> Vec<f32>,
    ) -> Result<()> {
        if self.wanted[place] {
            grads[place] = Some(tensor(values(), like.shape())?);
        }
        Ok(())
    }

    fn norm_grads(
        &self,
        grads: &mut [Option<Tensor>],
        place: usize,
        normed: &Normed,
        sums: &Sums,
    ) -> Result<()> {
        let (weight, bias) = normed.parameter_grads(sums);
        let channels = weight.len();
        for (place, values) in [(place, weight), (place + 1, bias)] {
            if self.wanted[place] {
                grads[place] = Some(tensor(values, channels)?);
            }
        }
        Ok(())
    }
}

/// What lies between dense blocks, as one operator: norm, cut off at zero, 1×1 convolution, mean
/// over windows of 2×2 pixels. The mean is taken before the convolution, which is the same but for
/// rounding and a quarter of the work.
///
/// `x` is `[B, H, W, C]`, `weight` `[out, C, 1, 1]`; the result is `[B, ⌊H/2⌋, ⌊W/2⌋, out]`.
///
/// # Errors
/// When shapes do not fit.
pub fn transition(
    x: &Tensor,
    norm: &BatchNormParams<'_>,
    weight: &Tensor,
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let pooled = super::pool::norm_mean_pool(x, norm, options)?;
    if weight.dims().get(2..) != Some(&[1, 1]) {
        bail!("transition: a weight of {:?} is not 1x1", weight.dims());
    }
    crate::conv2d(&pooled, weight, None, Conv2dOptions::default())
}
