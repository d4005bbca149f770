use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor, bail};

use crate::cpu::block::{self, Plan, Saved, Wanted, Weights, place};
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;
use crate::{TokenRows, checkpoint, composite};

/// The parameters of a pre-norm transformer block. Matrices are `[out, in]`; `D` is the width of
/// the tokens, `H` that of the MLP.
#[derive(Debug, Clone, Copy)]
pub struct BlockParams<'a> {
    /// `[D]`
    pub norm1_weight: &'a Tensor,
    /// `[D]`
    pub norm1_bias: &'a Tensor,
    /// `[3·D, D]`
    pub qkv_weight: &'a Tensor,
    /// `[3·D]`
    pub qkv_bias: Option<&'a Tensor>,
    /// `[D, D]`
    pub proj_weight: &'a Tensor,
    /// `[D]`
    pub proj_bias: &'a Tensor,
    /// `[D]`
    pub norm2_weight: &'a Tensor,
    /// `[D]`
    pub norm2_bias: &'a Tensor,
    /// `[H, D]`
    pub fc1_weight: &'a Tensor,
    /// `[H]`
    pub fc1_bias: &'a Tensor,
    /// `[D, H]`
    pub fc2_weight: &'a Tensor,
    /// `[D]`
    pub fc2_bias: &'a Tensor,
}

/// How a block is computed.
#[derive(Debug, Clone, Copy)]
pub struct BlockOptions<'a> {
    /// Attention heads; divides `D`.
    pub num_heads: usize,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// The tokens whose output is needed, `None` for all: keys and values are made of every token,
    /// everything else of these only.
    pub rows: Option<&'a TokenRows>,
    /// Drop path: one factor per sample on the attention branch and on the MLP branch; `None` for
    /// 1.
    pub drop_path: [Option<&'a [f32]>; 2],
    /// Activation checkpointing (Chen et al., arXiv 1604.06174): the backward pass computes the
    /// block again instead of keeping what it needs. The gradients are the same to the bit.
    pub recompute: bool,
}

/// A pre-norm transformer block: `h = x + s₁ · proj(attention(qkv(norm₁(x))))`, then
/// `h + s₂ · fc2(gelu(fc1(norm₂(h))))`.
///
/// `x` is `[B, N, D]`; the result is `[B, N, D]`, or `[B, Q, D]` with [`BlockOptions::rows`].
///
/// # Errors
/// When shapes do not fit.
pub fn block(x: &Tensor, params: &BlockParams<'_>, options: &BlockOptions<'_>) -> Result<Tensor> {
    let plan = plan(x, params, options)?;
    let parameters = params.in_order();
    let serves = parameters.iter().flatten().all(|parameter| served(&[parameter]));
    if !serves || !served(&[x]) {
        return match options.recompute {
            true => checkpointed(x, params, options),
            false => composite::block(x, params, options),
        };
    }
    let mut inputs = [const { None }; place::COUNT];
    for (input, given) in inputs.iter_mut().zip(std::iter::once(Some(x)).chain(parameters)) {
        *input = given.map(Tensor::contiguous).transpose()?;
    }
    let wanted =
        Wanted(inputs.each_ref().map(|input| input.as_ref().is_some_and(Tensor::track_op)));
    let (batch, per_sample, dim) = (plan.batch, plan.asked_per_sample(), plan.dim);
    let keep = wanted.0.contains(&true) && !options.recompute;
    let (out, saved) = run(&plan, &inputs, keep)?;
    let nodes = inputs.each_ref().map(Option::as_ref);
    let kept = inputs.clone();
    // Taken by the first backward pass, which so frees them as it goes.
    let saved = Mutex::new(saved);
    record("block", out, (batch, per_sample, dim), &nodes, move |grad: &Tensor| {
        let saved = saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let saved = match saved {
            Some(saved) => saved,
            None => match run(&plan, &kept, true)?.1 {
                Some(saved) => saved,
                None => bail!("block: nothing to go back through"),
            },
        };
        let weights = Weights::new(&kept)?;
        let x = input(&kept)?;
        let grads = block::backward(&plan, &x, &weights, saved, &Values::new(grad)?, wanted);
        let shaped = |(grad, input): (Option<Vec<f32>>, &Option<Tensor>)| match (grad, input) {
            (Some(grad), Some(input)) => tensor(grad, input.shape()).map(Some),
            _ => Ok(None),
        };
        grads.into_iter().zip(&kept).map(shaped).collect()
    })
}

/// [`composite::block`] with activation checkpointing.
fn checkpointed(
    x: &Tensor,
    params: &BlockParams<'_>,
    options: &BlockOptions<'_>,
) -> Result<Tensor> {
    let inputs: Vec<&Tensor> =
        std::iter::once(x).chain(params.in_order().into_iter().flatten()).collect();
    let (num_heads, eps, rows) = (options.num_heads, options.eps, options.rows.cloned());
    let scales = options.drop_path.map(|scales| scales.map(<[f32]>::to_vec));
    checkpoint(&inputs, move |inputs| {
        let options = BlockOptions {
            num_heads,
            eps,
            rows: rows.as_ref(),
            drop_path: scales.each_ref().map(Option::as_deref),
            recompute: false,
        };
        let (params, x) = BlockParams::from_order(inputs)?;
        composite::block(x, &params, &options)
    })
}

type Inputs = [Option<Tensor>; place::COUNT];

fn input(inputs: &Inputs) -> Result<Values<'_>> {
    match &inputs[place::X] {
        Some(x) => Values::new(x),
        None => bail!("block: no input"),
    }
}

fn run(plan: &Plan, inputs: &Inputs, keep: bool) -> Result<(Vec<f32>, Option<Saved>)> {
    Ok(block::forward(plan, &input(inputs)?, &Weights::new(inputs)?, keep))
}

impl<'a> BlockParams<'a> {
    /// The reverse of input and [`BlockParams::in_order`] without what is missing.
    fn from_order(inputs: &'a [Tensor]) -> Result<(Self, &'a Tensor)> {
        let (head, qkv_bias, rest) = match inputs {
            [head @ .., a, b, c, d, e, f, g, h] if head.len() == place::QKV + 1 => {
                (head, None, [a, b, c, d, e, f, g, h])
            }
            [head @ .., bias, a, b, c, d, e, f, g, h] if head.len() == place::QKV + 1 => {
                (head, Some(bias), [a, b, c, d, e, f, g, h])
            }
            _ => bail!("block: {} inputs", inputs.len()),
        };
        let [x, norm1_weight, norm1_bias, qkv_weight] = head else {
            bail!("block: {} inputs", inputs.len())
        };
        let [
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        ] = rest;
        let params = Self {
            norm1_weight,
            norm1_bias,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        };
        Ok((params, x))
    }

    /// In the order of [`place`], from [`place::NORM1`] on.
    fn in_order(&self) -> [Option<&'a Tensor>; place::COUNT - 1] {
        [
            Some(self.norm1_weight),
            Some(self.norm1_bias),
            Some(self.qkv_weight),
            self.qkv_bias,
            Some(self.proj_weight),
            Some(self.proj_bias),
            Some(self.norm2_weight),
            Some(self.norm2_bias),
            Some(self.fc1_weight),
            Some(self.fc1_bias),
            Some(self.fc2_weight),
            Some(self.fc2_bias),
        ]
    }
}

/// Checks every shape, so that nothing behind can fail on one.
fn plan(x: &Tensor, params: &BlockParams<'_>, options: &BlockOptions<'_>) -> Result<Plan> {
    let (batch, tokens, dim) = x.dims3()?;
    let hidden = params.fc1_weight.dim(0)?;
    let shapes: [&[usize]; place::COUNT - 1] = [
        &[dim],
        &[dim],
        &[3 * dim, dim],
        &[3 * dim],
        &[dim, dim],
        &[dim],
        &[dim],
        &[dim],
        &[hidden, dim],
        &[hidden],
        &[dim, hidden],
        &[dim],
    ];
    for (i, (parameter, shape)) in params.in_order().iter().zip(shapes).enumerate() {
        if let Some(parameter) = parameter.filter(|parameter| parameter.dims() != shape) {
            bail!("block: parameter {i} is {:?} instead of {shape:?}", parameter.dims());
        }
    }
    if dim == 0 || hidden == 0 {
        bail!("block: tokens of width {dim}, an MLP of width {hidden}");
    }
    if options.num_heads == 0 || dim % options.num_heads != 0 {
        bail!("block: {} heads for a width of {dim}", options.num_heads);
    }
    if let Some(rows) = options.rows.filter(|rows| rows.source() != (batch, tokens)) {
        bail!("block: rows of {:?} (batch, tokens) for x {:?}", rows.source(), x.dims());
    }
    let scales = options.drop_path.map(|scales| scales.map(<[f32]>::to_vec));
    if let Some(scales) = scales.iter().flatten().find(|scales| scales.len() != batch) {
        bail!("block: {} drop-path factors for {batch} samples", scales.len());
    }
    Ok(Plan {
        batch,
        tokens,
        dim,
        hidden,
        heads: options.num_heads,
        eps: options.eps as f32,
        rows: options.rows.map(|rows| rows.flat().to_vec()),
        scales,
    })
}
