use candle_core::{Result, Tensor, bail};

use super::layer::{Layer, back_plain, back_through, geometry, output_of};
use super::norm::{BatchNormOptions, BatchNormParams, check_rows};
use crate::cpu::batch_norm::{self, Shortcut};
use crate::cpu::conv::{Geometry, Source, gradient};
use crate::cpu::mat::MatMut;
use crate::cpu::scratch::Scratch;
use crate::cpu::values::{Values, served, tensor};
use crate::record::{WithOutput, record};
use crate::{Conv2dOptions, composite};

/// A convolution without a bias and the batch norm behind it.
#[derive(Debug, Clone, Copy)]
pub struct ConvNorm<'a> {
    /// `[out, in, kh, kw]`.
    pub weight: &'a Tensor,
    /// Of the convolution's output.
    pub norm: BatchNormParams<'a>,
    /// Of the convolution.
    pub conv: Conv2dOptions,
}

impl<'a> ConvNorm<'a> {
    /// What has a gradient, in this order.
    pub(crate) fn tensors(&self) -> [&'a Tensor; 3] {
        [self.weight, self.norm.weight, self.norm.bias]
    }

    pub(crate) fn served(&self) -> bool {
        served(&[self.weight]) && self.norm.served()
    }

    /// Sizes on pictures of this shape, all checked.
    pub(crate) fn geometry(
        &self,
        what: &str,
        shape: [usize; 4],
        options: &BatchNormOptions,
    ) -> Result<Geometry> {
        let geometry = geometry(what, shape, self.weight, self.conv)?;
        self.norm.check(what, geometry.out_channels)?;
        check_rows(what, geometry.out_pixels(), options)?;
        Ok(geometry)
    }
}

/// A residual block (He et al., arXiv 1512.03385): convolutions with norms, each but the last cut
/// off at zero; the input, or what the shortcut makes of it, is added before the last is cut off.
#[derive(Debug, Clone)]
pub struct ResidualBlock<'a> {
    /// At least one.
    pub layers: Vec<ConvNorm<'a>>,
    /// For the input, where the block changes its shape.
    pub shortcut: Option<ConvNorm<'a>>,
}

/// Residual blocks one after the other, as one operator.
///
/// `x` is `[B, H, W, C]`. Between the convolutions of a block nothing but their outputs is kept:
/// norms are applied where the next convolution reads. `options` are those of every batch norm.
///
/// # Errors
/// When there is no block or shapes do not fit.
pub fn residual_blocks(
    x: &Tensor,
    blocks: &[ResidualBlock<'_>],
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let (plans, shape) = plan(x, blocks, options)?;
    let layers = || blocks.iter().flat_map(|block| block.layers.iter().chain(&block.shortcut));
    if !served(&[x]) || !layers().all(ConvNorm::served) || x.elem_count() == 0 {
        return composite::residual_blocks(x, blocks, options);
    }
    let x = x.contiguous()?;
    let inputs: Vec<Option<&Tensor>> =
        std::iter::once(&x).chain(layers().flat_map(ConvNorm::tensors)).map(Some).collect();
    let wanted: Vec<bool> = inputs.iter().map(|x| x.is_some_and(Tensor::track_op)).collect();
    let keep = wanted.contains(&true);
    let mut stage = Stage { x: x.clone(), weights: Vec::new(), blocks: Vec::new(), wanted };
    stage.weights = layers().map(|layer| layer.weight.clone()).collect();
    let elements: usize = shape.iter().product();
    let mut y = vec![0.; elements];
    let mut before: Option<Scratch> = None;
    for (i, (block, plan)) in blocks.iter().zip(&plans).enumerate() {
        let given = Values::new(&x)?;
        let input: &[f32] = before.as_deref().unwrap_or(&given);
        let done = Block::forward(block, plan, input, options)?;
        if i + 1 == blocks.len() {
            done.finish(input, &mut y);
        } else {
            let mut out = Scratch::new(done.elements());
            done.finish(input, &mut out);
            let input = before.replace(out);
            if keep {
                stage.blocks.push((input, done));
            }
            continue;
        }
        if keep {
            stage.blocks.push((before.take(), done));
        }
    }
    record(
        "residual-blocks",
        y,
        shape,
        &inputs,
        WithOutput(move |y: &Tensor, grad: &Tensor| stage.backward(y, grad)),
    )
}

type Plan = (Vec<Geometry>, Option<Geometry>);

/// Checks every shape; gives the sizes of all convolutions and the output's shape.
fn plan(
    x: &Tensor,
    blocks: &[ResidualBlock<'_>],
    options: &BatchNormOptions,
) -> Result<(Vec<Plan>, Vec<usize>)> {
    const WHAT: &str = "residual blocks";
    let &[batch, height, width, channels] = x.dims() else {
        bail!("{WHAT}: x is {:?} instead of [batch, height, width, channels]", x.dims())
    };
    let mut shape = [batch, height, width, channels];
    let mut plans = Vec::with_capacity(blocks.len());
    for block in blocks {
        let input = shape;
        let mut layers = Vec::with_capacity(block.layers.len());
        for layer in &block.layers {
            let geometry = layer.geometry(WHAT, shape, options)?;
            shape = output_of(&geometry);
            layers.push(geometry);
        }
        let shortcut = match &block.shortcut {
            Some(layer) => Some(layer.geometry(WHAT, input, options)?),
            None => None,
        };
        let added = shortcut.as_ref().map_or(input, output_of);
        if added != shape || layers.is_empty() {
            bail!("{WHAT}: {added:?} cannot be added to {shape:?}");
        }
        plans.push((layers, shortcut));
    }
    if plans.is_empty() {
        bail!("{WHAT}: there is none");
    }
    Ok((plans, shape.to_vec()))
}

/// A block whose convolutions are done.
struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Layer>,
}

impl Block {
    fn forward(
        block: &ResidualBlock<'_>,
        (plans, shortcut): &Plan,
        input: &[f32],
        options: &BatchNormOptions,
    ) -> Result<Self> {
        let mut layers: Vec<Layer> = Vec::with_capacity(plans.len());
        for (layer, geometry) in block.layers.iter().zip(plans) {
            let plain = Source::plain(input, geometry.in_channels);
            let source = layers.last().map_or(plain, Layer::source);
            layers.push(Layer::forward(*geometry, source, layer.weight, &layer.norm, options)?);
        }
        let shortcut = match (&block.shortcut, shortcut) {
            (Some(layer), Some(geometry)) => {
                let source = Source::plain(input, geometry.in_channels);
                Some(Layer::forward(*geometry, source, layer.weight, &layer.norm, options)?)
            }
            _ => None,
        };
        Ok(Self { layers, shortcut })
    }

    fn elements(&self) -> usize {
        self.layers.last().map_or(0, |last| last.values.len())
    }

    fn finish(&self, input: &[f32], out: &mut [f32]) {
        let Some(last) = self.layers.last() else { return };
        let shortcut = match &self.shortcut {
            Some(layer) => Shortcut::Normed(&layer.values, &layer.normed),
            None => Shortcut::Values(input),
        };
        batch_norm::finish(&last.values, &last.normed, shortcut, true, out);
    }
}

/// What the backward pass needs.
struct Stage {
    x: Tensor,
    /// Of every convolution, in order, a block's shortcut behind its layers.
    weights: Vec<Tensor>,
    /// Each with its input, but for the first, whose input is `x`.
    blocks: Vec<(Option<Scratch>, Block)>,
    /// Which inputs need a gradient: `x`, then three for each convolution.
    wanted: Vec<bool>,
}

type Grads = Vec<Option<Tensor>>;

impl Stage {
    /// Whether an input before this one needs a gradient.
    fn before(&self, place: usize) -> bool {
        self.wanted[..place].contains(&true)
    }

    fn backward(&self, y: &Tensor, grad: &Tensor) -> Result<Grads> {
        let mut grads: Grads = vec![None; self.wanted.len()];
        let (out, given) = (Values::new(y)?, Values::new(grad)?);
        let x = Values::new(&self.x)?;
        let mut conv = self.weights.len();
        let mut dy: Option<Scratch> = None;
        for (i, (input, block)) in self.blocks.iter().enumerate().rev() {
            conv -= block.layers.len() + usize::from(block.shortcut.is_some());
            let input: &[f32] = input.as_deref().unwrap_or(&x);
            let next = self.blocks.get(i + 1).and_then(|(input, _)| input.as_deref());
            let dout: &[f32] = dy.as_deref().unwrap_or(&given);
            let out: &[f32] = next.unwrap_or(&out);
            dy = self.block(block, conv, input, out, dout, &mut grads)?;
            if dy.is_none() {
                return Ok(grads);
            }
        }
        if let Some(dx) = dy.filter(|_| self.wanted[0]) {
            grads[0] = Some(tensor(dx.to_vec(), self.x.shape())?);
        }
        Ok(grads)
    }

    /// Gradients of a block whose first convolution is `conv`; that of its input, if needed.
    fn block(
        &self,
        block: &Block,
        conv: usize,
        input: &[f32],
        out: &[f32],
        dout: &[f32],
        grads: &mut Grads,
    ) -> Result<Option<Scratch>> {
        let Some(last) = block.layers.last() else { return Ok(None) };
        let further = self.before(1 + 3 * conv);
        let mut g = Scratch::new(dout.len());
        let sums = batch_norm::start_back(dout, Some(out), &last.values, &last.normed, &mut g);
        let at = conv + block.layers.len() - 1;
        self.norm_grads(last, at, &sums, grads)?;
        let mut dz = Scratch::new(dout.len());
        let correction = last.normed.correction(&sums);
        batch_norm::input_grad(&g, &last.values, &last.normed, correction.as_ref(), &mut dz);
        // Through the shortcut: what the block's input gets besides.
        let mut dx = match &block.shortcut {
            None => g,
            Some(layer) => self.shortcut(layer, at + 1, input, &g, further, grads)?,
        };
        for i in (0..block.layers.len()).rev() {
            let (layer, at) = (&block.layers[i], conv + i);
            let below = i.checked_sub(1).map(|i| &block.layers[i]);
            let plain = Source::plain(input, layer.geometry.in_channels);
            let source = below.map_or(plain, Layer::source);
            self.weight_grad(layer, at, source, &dz, grads)?;
            if !self.before(1 + 3 * at) {
                return Ok(None);
            }
            let (pixels, channels) = (layer.geometry.in_pixels(), layer.geometry.in_channels);
            match below {
                None => {
                    let dst = MatMut::new(&mut dx, pixels, channels);
                    back_plain(&layer.geometry, &self.weights[at], &dz, dst, true)?;
                }
                Some(below) => {
                    let mut next = Scratch::new(pixels * channels);
                    let dst = MatMut::new(&mut next, pixels, channels);
                    let (through, weight) = (below.through(), &self.weights[at]);
                    let sums = back_through(&layer.geometry, weight, &dz, through, dst, false)?;
                    self.norm_grads(below, at - 1, &sums, grads)?;
                    if let Some(correction) = below.normed.correction(&sums) {
                        correction.apply(&mut next, &below.values, &below.normed.mean);
                    }
                    dz = next;
                }
            }
        }
        Ok(Some(dx))
    }

    fn shortcut(
        &self,
        layer: &Layer,
        at: usize,
        input: &[f32],
        g: &[f32],
        further: bool,
        grads: &mut Grads,
    ) -> Result<Scratch> {
        let sums = batch_norm::sums(g, &layer.values, &layer.normed);
        self.norm_grads(layer, at, &sums, grads)?;
        let mut dz = Scratch::new(g.len());
        let correction = layer.normed.correction(&sums);
        batch_norm::input_grad(g, &layer.values, &layer.normed, correction.as_ref(), &mut dz);
        let source = Source::plain(input, layer.geometry.in_channels);
        self.weight_grad(layer, at, source, &dz, grads)?;
        let mut dx = Scratch::new(if further { input.len() } else { 0 });
        if further {
            let (pixels, channels) = (layer.geometry.in_pixels(), layer.geometry.in_channels);
            let dst = MatMut::new(&mut dx, pixels, channels);
            back_plain(&layer.geometry, &self.weights[at], &dz, dst, false)?;
        }
        Ok(dx)
    }

    fn norm_grads(
        &self,
        layer: &Layer,
        at: usize,
        sums: &batch_norm::Sums,
        grads: &mut Grads,
    ) -> Result<()> {
        let (weight, bias) = layer.normed.parameter_grads(sums);
        let channels = weight.len();
        for (place, values) in [(2 + 3 * at, weight), (3 + 3 * at, bias)] {
            if self.wanted[place] {
                grads[place] = Some(tensor(values, channels)?);
            }
        }
        Ok(())
    }

    fn weight_grad(
        &self,
        layer: &Layer,
        at: usize,
        source: Source<'_>,
        dz: &[f32],
        grads: &mut Grads,
    ) -> Result<()> {
        let place = 1 + 3 * at;
        if self.wanted[place] {
            let values = gradient(&layer.geometry, source, dz);
            grads[place] = Some(tensor(values, self.weights[at].shape())?);
        }
        Ok(())
    }
}
