//! Single operators at the sizes of a ViT-B/16 with a batch of 8: fused against composite, forward
//! and with the backward pass.
//!
//! `CANDLE_NUM_THREADS=1 cargo bench -p vit-kernels`
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use candle_core::{DType, Device, Result, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use vit_kernels::{
    AdamWStep, BlockOptions, BlockParams, adamw_step, attention, block, composite, gelu,
    layer_norm, linear,
};

const BATCH: usize = 8;
const TOKENS: usize = 197;
const DIM: usize = 768;
const HEADS: usize = 12;

fn var(shape: &[usize]) -> Var {
    let count: usize = shape.iter().product();
    let scale = if shape.len() == 2 { (shape[1] as f32).powf(-0.5) } else { 1. };
    let values: Vec<f32> = (0..count).map(|i| scale * (0.7 * i as f32).sin()).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// `f` once, and with the backward pass of the sum of its squares.
fn pair(c: &mut Criterion, name: &str, vars: &[Var], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let plain: Vec<Tensor> = vars.iter().map(Var::as_detached_tensor).collect();
    c.bench_function(&format!("{name}/forward"), |b| b.iter(|| black_box(f(&plain).unwrap())));
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let grad = f(&plain).unwrap();
    c.bench_function(&format!("{name}/forward and backward"), |b| {
        b.iter(|| {
            let y = f(&tracked).unwrap();
            black_box((y * &grad).unwrap().sum_all().unwrap().backward().unwrap())
        });
    });
}

fn operators(c: &mut Criterion) {
    let x = var(&[BATCH, TOKENS, DIM]);
    let norm = [x.clone(), var(&[DIM]), var(&[DIM])];
    pair(c, "layer norm/fused", &norm, |t| layer_norm(&t[0], &t[1], &t[2], 1e-6));
    pair(c, "layer norm/composite", &norm, |t| composite::layer_norm(&t[0], &t[1], &t[2], 1e-6));
    let map = [x, var(&[4 * DIM, DIM]), var(&[4 * DIM])];
    pair(c, "linear/fused", &map, |t| linear(&t[0], &t[1], Some(&t[2])));
    pair(c, "linear/composite", &map, |t| composite::linear(&t[0], &t[1], Some(&t[2])));
    let wide = [var(&[BATCH, TOKENS, 4 * DIM])];
    pair(c, "gelu/fused", &wide, |t| gelu(&t[0]));
    pair(c, "gelu/composite", &wide, |t| composite::gelu(&t[0]));
    let qkv = [var(&[BATCH, TOKENS, 3 * DIM])];
    pair(c, "attention/fused", &qkv, |t| attention(&t[0], HEADS));
    pair(c, "attention/composite", &qkv, |t| composite::attention(&t[0], HEADS));
}

fn blocks(c: &mut Criterion) {
    let shapes: [&[usize]; 13] = [
        &[BATCH, TOKENS, DIM],
        &[DIM],
        &[DIM],
        &[3 * DIM, DIM],
        &[3 * DIM],
        &[DIM, DIM],
        &[DIM],
        &[DIM],
        &[DIM],
        &[4 * DIM, DIM],
        &[4 * DIM],
        &[DIM, 4 * DIM],
        &[DIM],
    ];
    let vars: Vec<Var> = shapes.iter().map(|shape| var(shape)).collect();
    let options = |recompute| BlockOptions {
        num_heads: HEADS,
        eps: 1e-6,
        rows: None,
        drop_path: [None, None],
        recompute,
    };
    pair(c, "block/fused", &vars, |t| block(&t[0], &params(t), &options(false)));
    pair(c, "block/checkpointed", &vars, |t| block(&t[0], &params(t), &options(true)));
    pair(c, "block/composite", &vars, |t| composite::block(&t[0], &params(t), &options(false)));
}

fn params(t: &[Tensor]) -> BlockParams<'_> {
    BlockParams {
        norm1_weight: &t[1],
        norm1_bias: &t[2],
        qkv_weight: &t[3],
        qkv_bias: Some(&t[4]),
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

/// One matrix of a ViT-B; elsewhere 146 of all sizes make 86 million values.
fn optimisers(c: &mut Criterion) {
    let shape = [4 * DIM, DIM];
    let (parameter, first, second, grad) = (var(&shape), var(&shape), var(&shape), var(&shape));
    second.set(&second.sqr().unwrap()).unwrap();
    let step = AdamWStep {
        lr: 1e-4,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.05,
        step: 10,
        grad_scale: 1.,
    };
    c.bench_function("adamw/fused", |b| {
        b.iter(|| adamw_step(&parameter, &first, &second, &grad, &step).unwrap());
    });
    let double = |v: &Var| Var::from_tensor(&v.to_dtype(DType::F64).unwrap()).unwrap();
    let [p, m, v, g] = [&parameter, &first, &second, &grad].map(double);
    c.bench_function("adamw/composite in f64", |b| {
        b.iter(|| adamw_step(&p, &m, &v, &g, &step).unwrap());
    });
}

criterion_group!(
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = operators, blocks, optimisers
);
criterion_main!(benches);
