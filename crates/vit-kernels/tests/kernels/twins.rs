//! Each fused operator against its composite twin, over one table of shapes: values and gradients,
//! f32 against the twin in f64, with each input alone trainable as well as all together.

use candle_core::{DType, Device, Result, Tensor, Var};
use vit_kernels::{
    BlockOptions, BlockParams, TokenAssembly, TokenRows, assemble_tokens, attention,
    bce_with_logits, block, composite, cross_attention, cross_entropy, gather_tokens, gelu,
    layer_norm, linear, mean_squared_error, residual,
};

use crate::support::{distance, flat, tensor};

type Operator<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + 'a>;

/// An operator on some inputs, fused and composite.
pub(crate) struct Case<'a> {
    name: String,
    inputs: Vec<Tensor>,
    /// How many of the inputs have gradients; constants follow.
    variables: usize,
    fused: Operator<'a>,
    twin: Operator<'a>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        name: String,
        inputs: &[Tensor],
        fused: impl Fn(&[Tensor]) -> Result<Tensor> + 'a,
        twin: impl Fn(&[Tensor]) -> Result<Tensor> + 'a,
    ) -> Self {
        let inputs = inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect::<Vec<_>>();
        let variables = inputs.len();
        Self { name, inputs, variables, fused: Box::new(fused), twin: Box::new(twin) }
    }

    fn constants(mut self, count: usize) -> Self {
        self.variables -= count;
        self
    }

    /// Output and gradients of `Σ c · y`, with the inputs in `tracked` variables.
    fn run(
        &self,
        f: &Operator<'_>,
        dtype: DType,
        tracked: &[usize],
    ) -> (Vec<f64>, Vec<Option<Vec<f64>>>) {
        let inputs: Vec<Tensor> = self.inputs.iter().map(|x| x.to_dtype(dtype).unwrap()).collect();
        let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let given: Vec<Tensor> =
            (0..inputs.len())
                .map(|i| {
                    if tracked.contains(&i) {
                        vars[i].as_tensor().clone()
                    } else {
                        inputs[i].clone()
                    }
                })
                .collect();
        let y = f(&given).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let weights = tensor(y.dims(), 2.5).to_dtype(dtype).unwrap();
        let grads = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let grad = |var: &Var| grads.get(var.as_tensor()).map(flat);
        (flat(&y), vars.iter().map(grad).collect())
    }

    /// `tolerance` is relative to the largest value, or 1. Where the twin in f32 is worse (sums
    /// that cancel), twice its error is allowed.
    pub(crate) fn check(&self, tolerance: f64) {
        let all: Vec<usize> = (0..self.variables).collect();
        let (want, want_grads) = self.run(&self.twin, DType::F64, &all);
        let (twin, twin_grads) = self.run(&self.twin, DType::F32, &all);
        let close = |what: &str, got: &[f64], twin: &[f64], want: &[f64]| {
            let scale = want.iter().fold(1f64, |max, v| max.max(v.abs()));
            let (error, usual) = (distance(got, want) / scale, distance(twin, want) / scale);
            let most = tolerance.max(2. * usual);
            assert!(error <= most, "{}: {what}: off by {error:.1e} > {most:.1e}", self.name);
        };
        let mut together = Vec::new();
        for tracked in std::iter::once(all.clone()).chain(all.iter().map(|&i| vec![i])) {
            let (got, grads) = self.run(&self.fused, DType::F32, &tracked);
            close("value", &got, &twin, &want);
            for (i, (grad, want_grad)) in grads.iter().zip(&want_grads).enumerate() {
                match (grad, want_grad) {
                    (Some(grad), Some(want_grad)) if tracked.contains(&i) => {
                        let twin = twin_grads[i].as_ref().unwrap();
                        close(&format!("gradient {i}"), grad, twin, want_grad);
                        // Frozen neighbours change nothing.
                        if tracked.len() == all.len() {
                            together.push(grad.clone());
                        } else {
                            assert_eq!(&together[i], grad, "{}: gradient {i} alone", self.name);
                        }
                    }
                    (None, _) if !tracked.contains(&i) => {}
                    // candle gives no gradient to what is broadcast over nothing; ours is zero.
                    (Some(grad), None) if want.is_empty() && tracked.contains(&i) => {
                        assert!(grad.iter().all(|&g| g == 0.), "{}: gradient {i}", self.name);
                    }
                    _ => panic!("{}: gradient {i} with {tracked:?} tracked", self.name),
                }
            }
        }
        let (got, grads) = self.run(&self.fused, DType::F32, &[]);
        close("value without gradients", &got, &twin, &want);
        assert!(grads.iter().all(Option::is_none), "{}", self.name);
    }
}

#[test]
fn layer_norms() {
    for (shape, scale) in [
        (&[1usize, 1][..], 1.),
        (&[1, 1, 8], 1.),
        (&[3, 197, 33], 5.),
        (&[1, 257, 80], 1.),
        (&[70, 768], 2.),
        (&[0, 5, 16], 1.),
        (&[2, 0, 16], 1.),
        (&[3, 0], 1.),
    ] {
        let dim = *shape.last().unwrap();
        let inputs = [(tensor(shape, 1.) * scale).unwrap(), tensor(&[dim], 2.), tensor(&[dim], 3.)];
        let case = Case::new(
            format!("layer norm {shape:?}"),
            &inputs,
            |t| layer_norm(&t[0], &t[1], &t[2], 1e-6),
            |t| composite::layer_norm(&t[0], &t[1], &t[2], 1e-6),
        );
        case.check(3e-6);
    }
    let case = Case::new(
        "layer norm of a view".into(),
        &[tensor(&[6, 3, 4], 1.), tensor(&[6], 2.), tensor(&[6], 3.)],
        |t| layer_norm(&t[0].transpose(0, 2)?, &t[1], &t[2], 1e-6),
        |t| composite::layer_norm(&t[0].transpose(0, 2)?, &t[1], &t[2], 1e-6),
    );
    case.check(3e-6);
}

#[test]
fn linears() {
    for (shape, out) in [
        (&[1usize, 1][..], 1),
        (&[7], 5),
        (&[1, 197, 80], 33),
        (&[2, 257, 48], 144),
        (&[0, 4, 3], 2),
        (&[4, 3], 0),
        (&[3, 64, 17], 1),
    ] {
        let dim = *shape.last().unwrap();
        let inputs = [tensor(shape, 1.), tensor(&[out, dim], 2.), tensor(&[out], 3.)];
        let case = Case::new(
            format!("linear {shape:?} to {out}"),
            &inputs,
            |t| linear(&t[0], &t[1], Some(&t[2])),
            |t| composite::linear(&t[0], &t[1], Some(&t[2])),
        );
        case.check(3e-6);
        let case = Case::new(
            format!("linear {shape:?} to {out}, no bias"),
            &inputs[..2],
            |t| linear(&t[0], &t[1], None),
            |t| composite::linear(&t[0], &t[1], None),
        );
        case.check(3e-6);
    }
    let case = Case::new(
        "linear of views".into(),
        &[tensor(&[2, 6, 5], 1.), tensor(&[5, 4], 2.), tensor(&[8], 3.)],
        |t| linear(&t[0].narrow(1, 2, 3)?, &t[1].t()?, Some(&t[2].narrow(0, 2, 4)?)),
        |t| composite::linear(&t[0].narrow(1, 2, 3)?, &t[1].t()?, Some(&t[2].narrow(0, 2, 4)?)),
    );
    case.check(3e-6);
}

#[test]
fn gelus() {
    for shape in [&[1usize][..], &[2, 197, 3], &[0, 3], &[20_000]] {
        let wide = (tensor(shape, 1.) * 4.).unwrap();
        // candle's gradient is good to six digits.
        Case::new(format!("gelu {shape:?}"), &[wide], |t| gelu(&t[0]), |t| composite::gelu(&t[0]))
            .check(1e-6);
    }
    let view = |t: &[Tensor]| gelu(&t[0].t()?.narrow(0, 1, 3)?);
    let twin = |t: &[Tensor]| composite::gelu(&t[0].t()?.narrow(0, 1, 3)?);
    Case::new("gelu of a view".into(), &[tensor(&[4, 6], 1.)], view, twin).check(1e-6);
}

#[test]
fn attentions() {
    for (batch, tokens, heads, head_dim) in [
        (1, 1, 1, 4),
        (2, 5, 3, 2),
        (1, 197, 2, 64),
        (2, 257, 2, 80),
        (3, 17, 1, 1),
        // More than one tile of scores.
        (1, 600, 1, 8),
        (0, 5, 2, 4),
        (2, 0, 2, 4),
    ] {
        let input = [(tensor(&[batch, tokens, 3 * heads * head_dim], 1.) * 1.5).unwrap()];
        let case = Case::new(
            format!("attention {batch}x{tokens}, {heads} heads of {head_dim}"),
            &input,
            |t| attention(&t[0], heads),
            |t| composite::attention(&t[0], heads),
        );
        if batch * tokens > 0 {
            case.check(4e-6);
        } else {
            // candle cannot reduce nothing.
            let y = attention(&case.inputs[0], heads).unwrap();
            assert_eq!(y.dims(), [batch, tokens, heads * head_dim]);
        }
    }
    for (queries, keys) in [(1, 197), (147, 197), (5, 1), (700, 300)] {
        let inputs = [tensor(&[2, queries, 24], 1.), tensor(&[2, keys, 48], 2.)];
        let case = Case::new(
            format!("attention of {queries} to {keys}"),
            &inputs,
            |t| cross_attention(&t[0], &t[1], 3),
            |t| composite::cross_attention(&t[0], &t[1], 3),
        );
        case.check(4e-6);
    }
    let view = |t: &[Tensor]| attention(&t[0].transpose(0, 2)?, 2);
    let twin = |t: &[Tensor]| composite::attention(&t[0].transpose(0, 2)?, 2);
    Case::new("attention of a view".into(), &[tensor(&[12, 5, 3], 1.)], view, twin).check(4e-6);
}

/// Scores far apart, and far from zero: no overflow, no loss.
#[test]
fn attention_with_large_scores() {
    let input = [(tensor(&[1, 50, 24], 1.) * 40.).unwrap()];
    let case = Case::new(
        "attention, large scores".into(),
        &input,
        |t| attention(&t[0], 2),
        |t| composite::attention(&t[0], 2),
    );
    case.check(1e-3);
}

/// Inputs of a block: x, then its parameters.
pub(crate) fn block_inputs(batch: usize, tokens: usize, dim: usize, hidden: usize) -> Vec<Tensor> {
    let shapes: [&[usize]; 13] = [
        &[batch, tokens, dim],
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
    let value = |(i, shape): (usize, &&[usize])| {
        let scale = if shape.len() == 2 { 1. / (shape[1] as f64).sqrt() } else { 1. };
        (tensor(shape, 1. + i as f64) * scale).unwrap()
    };
    shapes.iter().enumerate().map(value).collect()
}

pub(crate) fn params(t: &[Tensor], bias: bool) -> BlockParams<'_> {
    BlockParams {
        norm1_weight: &t[1],
        norm1_bias: &t[2],
        qkv_weight: &t[3],
        qkv_bias: bias.then_some(&t[4]),
        proj_weight: &t[5],
        proj_bias: &t[6],
        norm2_weight: &t[7],
        norm2_bias: &t[8],
        fc1_weight: &t[9],
        fc1_bias: &t[10],
        fc2_weight: &t[11],
        fc2_bias: &t[12],
    }
}

#[test]
fn blocks() {
    for (batch, tokens, heads, head_dim, hidden) in
        [(1, 1, 1, 4, 8), (2, 5, 3, 2, 7), (1, 197, 2, 16, 64), (2, 33, 1, 80, 90)]
    {
        let dim = heads * head_dim;
        let inputs = block_inputs(batch, tokens, dim, hidden);
        let picks: Vec<u32> = (0..batch)
            .flat_map(|b| (0..tokens as u32).filter(move |t| (t + b as u32) % 3 != 1 || tokens < 3))
            .collect();
        let per_sample = picks.len() / batch;
        let rows = TokenRows::new(&picks[..per_sample * batch], batch, tokens).unwrap();
        let scales: Vec<f32> = (0..batch).map(|b| [1.25, 0.][b % 2]).collect();
        let other: Vec<f32> = (0..batch).map(|b| [0.5, 2.][b % 2]).collect();
        let plain = BlockOptions {
            num_heads: heads,
            eps: 1e-6,
            rows: None,
            drop_path: [None, None],
            recompute: false,
        };
        for (what, options) in [
            ("plain", plain),
            ("recomputed", BlockOptions { recompute: true, ..plain }),
            ("rows", BlockOptions { rows: Some(&rows), ..plain }),
            ("drop path", BlockOptions { drop_path: [Some(&scales), Some(&other)], ..plain }),
            (
                "everything",
                BlockOptions {
                    rows: Some(&rows),
                    drop_path: [None, Some(&other)],
                    recompute: true,
                    ..plain
                },
            ),
        ] {
            let case = Case::new(
                format!("block {batch}x{tokens}, {heads} heads of {head_dim}, {what}"),
                &inputs,
                move |t| block(&t[0], &params(t, true), &options),
                move |t| composite::block(&t[0], &params(t, true), &options),
            );
            case.check(1e-5);
        }
        let mut without = inputs.clone();
        let constant = without.remove(4);
        without.push(constant);
        let order = |t: &[Tensor]| {
            let mut t = t.to_vec();
            let bias = t.remove(12);
            t.insert(4, bias);
            t
        };
        let case = Case::new(
            format!("block {batch}x{tokens} without a bias of qkv"),
            &without,
            move |t| block(&t[0], &params(&order(t), false), &plain),
            move |t| composite::block(&t[0], &params(&order(t), false), &plain),
        );
        case.constants(1).check(1e-5);
    }
}

#[test]
fn residuals() {
    for shape in [&[3usize][..], &[3, 5], &[3, 197, 7], &[3, 0, 2]] {
        for factors in [None, Some(&[1.25f32, 0., 2.][..])] {
            Case::new(
                format!("residual {shape:?} {factors:?}"),
                &[tensor(shape, 1.), tensor(shape, 2.)],
                |t| residual(&t[0], &t[1], factors),
                |t| composite::residual(&t[0], &t[1], factors),
            )
            .check(1e-6);
        }
    }
}

#[test]
fn tokens() {
    let rows = TokenRows::new(&[3, 0, 3, 1, 2, 0], 2, 4).unwrap();
    Case::new(
        "gather".into(),
        &[tensor(&[2, 4, 5], 1.)],
        |t| gather_tokens(&t[0], &rows),
        |t| composite::gather_tokens(&t[0], &rows),
    )
    .check(1e-6);
    let sources = [None, Some(2), Some(0), Some(1), None, None];
    let plan = TokenAssembly::new(&sources, &[0, 3, 1, 0, 2, 2], 2, 3).unwrap();
    Case::new(
        "assemble".into(),
        &[tensor(&[2, 3, 5], 1.), tensor(&[1, 1, 5], 2.), tensor(&[1, 4, 5], 3.)],
        |t| assemble_tokens(&t[0], &t[1], &t[2], &plan),
        |t| composite::assemble_tokens(&t[0], &t[1], &t[2], &plan),
    )
    .check(1e-6);
}

#[test]
fn losses() {
    for shape in [[1usize, 1], [3, 5], [4, 1000]] {
        let wide = (tensor(&shape, 1.) * 8.).unwrap();
        let targets = tensor(&shape, 2.).sqr().unwrap();
        let weights = tensor(&shape, 3.).relu().unwrap();
        let inputs = [wide.clone(), targets.clone(), weights];
        Case::new(
            format!("cross entropy {shape:?}"),
            &inputs[..2],
            |t| cross_entropy(&t[0], &t[1]),
            |t| composite::cross_entropy(&t[0], &t[1]),
        )
        .constants(1)
        .check(2e-6);
        Case::new(
            format!("binary cross entropy {shape:?}"),
            &inputs,
            |t| bce_with_logits(&t[0], &t[1], &t[2]),
            |t| composite::bce_with_logits(&t[0], &t[1], &t[2]),
        )
        .constants(2)
        .check(2e-6);
    }
    let inputs = [tensor(&[3, 70, 90], 1.), tensor(&[3, 70, 90], 2.)];
    Case::new(
        "mean squared error".into(),
        &inputs,
        |t| mean_squared_error(&t[0], &t[1]),
        |t| composite::mean_squared_error(&t[0], &t[1]),
    )
    .constants(1)
    .check(1e-6);
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let t = |shape: &[usize]| tensor(shape, 1.).to_dtype(DType::F32).unwrap();
    let (x, wide) = (t(&[2, 3, 8]), t(&[4, 9]));
    for (error, part) in [
        (attention(&t(&[1, 2, 0]), 2), "0 is not 3 x 2 heads"),
        (linear(&x, &wide, None), "[2, 3, 8], weight [4, 9]"),
        (linear(&x, &t(&[4, 8]), Some(&t(&[1]))), "bias Some([1])"),
        (layer_norm(&x, &t(&[1]), &t(&[8]), 1e-6), "weight [1]"),
        (attention(&x, 3), "8 is not 3 x 3 heads"),
        (cross_attention(&x, &x, 2), "cross attention"),
        (gather_tokens(&x, &TokenRows::one(0, 2, 4).unwrap()), "(2, 4)"),
        (mean_squared_error(&x, &wide), "[4, 9]"),
        (cross_entropy(&wide, &t(&[4, 8])), "[4, 8]"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(TokenRows::new(&[0, 4], 2, 4).unwrap_err().to_string().contains("token 4 of 4"));
    assert!(TokenRows::new(&[0, 1, 2], 2, 4).is_err());
    assert!(TokenAssembly::new(&[Some(3)], &[0], 1, 3).is_err());
    let inputs: Vec<Tensor> =
        block_inputs(1, 3, 8, 16).iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let bad = BlockParams { fc1_bias: &x, ..params(&inputs, true) };
    let options = BlockOptions {
        num_heads: 2,
        eps: 1e-6,
        rows: None,
        drop_path: [None, None],
        recompute: false,
    };
    let error = block(&inputs[0], &bad, &options).unwrap_err().to_string();
    assert!(error.contains("[2, 3, 8] instead of [16]"), "{error}");
    let device = Device::Cpu;
    let rows = TokenRows::one(1, 2, 3).unwrap();
    let options = BlockOptions { rows: Some(&rows), ..options };
    let x = Tensor::zeros((1, 3, 8), DType::F32, &device).unwrap();
    assert!(block(&x, &params(&inputs, true), &options).is_err());
}
