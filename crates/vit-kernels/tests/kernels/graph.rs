//! How fused operators sit in candle's graph: second passes, accumulation, threads.

use candle_core::{DType, Device, Tensor, Var};
use vit_kernels::{
    BlockOptions, GradAccumulator, TokenRows, block, checkpoint, gelu, layer_norm, linear,
    mean_squared_error,
};

use crate::support::{flat, tensor};
use crate::twins::{block_inputs, params};

const OPTIONS: BlockOptions<'static> =
    BlockOptions { num_heads: 3, eps: 1e-6, rows: None, drop_path: [None, None], recompute: false };

fn variables(batch: usize, tokens: usize, dim: usize) -> Vec<Var> {
    let inputs = block_inputs(batch, tokens, dim, 2 * dim);
    inputs.iter().map(|x| Var::from_tensor(&x.to_dtype(DType::F32).unwrap()).unwrap()).collect()
}

/// Two blocks that share their parameters, and a loss that uses the input twice.
fn loss(vars: &[Var], options: &BlockOptions<'_>) -> Tensor {
    let t: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = block(&t[0], &params(&t, true), options).unwrap();
    let y = block(&y, &params(&t, true), options).unwrap();
    mean_squared_error(&y, &(&t[0] * 0.5).unwrap()).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.iter().map(|v| v.to_bits()).collect()
}

fn all_grads(vars: &[Var], options: &BlockOptions<'_>) -> Vec<Vec<u32>> {
    let grads = loss(vars, options).backward().unwrap();
    vars.iter().map(|var| bits(grads.get(var.as_tensor()).unwrap())).collect()
}

#[test]
fn checkpointing_and_second_passes_give_the_same_bits() {
    let vars = variables(2, 37, 24);
    let want = all_grads(&vars, &OPTIONS);
    assert_eq!(all_grads(&vars, &BlockOptions { recompute: true, ..OPTIONS }), want);
    let loss = loss(&vars, &OPTIONS);
    for _ in 0..2 {
        let grads = loss.backward().unwrap();
        for (var, want) in vars.iter().zip(&want) {
            assert_eq!(&bits(grads.get(var.as_tensor()).unwrap()), want);
        }
    }
}

/// On any device and data type: here in f64, where blocks are composite.
#[test]
fn composite_blocks_are_checkpointed_too() {
    let vars: Vec<Var> =
        block_inputs(2, 7, 12, 24).iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let rows = TokenRows::new(&[0, 3, 6, 5], 2, 7).unwrap();
    let factors = [1.25f32, 0.];
    let grads = |bias: bool, recompute: bool| -> Vec<Option<Vec<f64>>> {
        // One parameter is computed from a variable, not one itself.
        let mut t: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        t[5] = (&t[5] * 0.5).unwrap();
        let options = BlockOptions {
            rows: Some(&rows),
            drop_path: [None, Some(&factors)],
            recompute,
            ..OPTIONS
        };
        let y = block(&t[0], &params(&t, bias), &options).unwrap();
        let grads = (y.sqr().unwrap() * 0.5).unwrap().sum_all().unwrap().backward().unwrap();
        vars.iter().map(|var| grads.get(var.as_tensor()).map(flat)).collect()
    };
    for bias in [true, false] {
        let (want, got) = (grads(bias, false), grads(bias, true));
        assert_eq!(want.iter().flatten().count(), if bias { 13 } else { 12 });
        for (want, got) in want.iter().zip(&got) {
            match (want, got) {
                (Some(want), Some(got)) => assert!(crate::support::distance(want, got) < 1e-12),
                (want, got) => assert!(want.is_none() && got.is_none()),
            }
        }
    }
}

/// A checkpoint inside a pass that collects: every gradient arrives once.
#[test]
fn an_accumulator_reaches_into_checkpoints() {
    let vars = variables(1, 5, 12);
    let y = || {
        let t: Vec<&Tensor> = vars.iter().map(Var::as_tensor).collect();
        let inner = |t: &[Tensor]| block(&t[0], &params(t, true), &OPTIONS);
        checkpoint(&t, inner).unwrap().sqr().unwrap().sum_all().unwrap()
    };
    let want = y().backward().unwrap();
    let mut accumulator = GradAccumulator::new();
    accumulator.backward(&y(), &vars).unwrap();
    for var in &vars {
        assert_eq!(bits(accumulator.get(var).unwrap()), bits(want.get(var.as_tensor()).unwrap()));
    }
}

#[test]
fn the_same_threads_give_the_same_bits_and_others_the_same_numbers() {
    let vars = variables(3, 50, 48);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| all_grads(&vars, &OPTIONS))
    };
    let two = with(2);
    assert_eq!(with(2), two);
    for threads in [1, 3] {
        for (got, want) in with(threads).iter().zip(&two) {
            let value = |bits: &u32| f32::from_bits(*bits);
            let scale = want.iter().map(|w| value(w).abs()).fold(1e-6, f32::max);
            for (got, want) in got.iter().zip(want) {
                assert!((value(got) - value(want)).abs() <= 1e-5 * scale, "{threads} threads");
            }
        }
    }
}

#[test]
fn an_accumulator_adds_up_what_backward_gives() {
    let vars = variables(2, 9, 12);
    // One variable that only candle's own operators reach, one that both do.
    let own = Var::from_tensor(&Tensor::full(0.5f32, (), &Device::Cpu).unwrap()).unwrap();
    let loss = || {
        let both = vars[12].as_tensor().sum_all().unwrap();
        let extra = (own.as_tensor() * both).unwrap();
        (loss(&vars, &OPTIONS) + extra).unwrap()
    };
    let want = loss().backward().unwrap();
    let all: Vec<&Var> = vars.iter().chain([&own]).collect();
    let mut accumulator = GradAccumulator::new();
    for pass in 1..=3 {
        accumulator.backward(&loss(), all.iter().copied()).unwrap();
        for var in &all {
            let want = flat(want.get(var.as_tensor()).unwrap());
            let got = flat(accumulator.get(var).unwrap());
            for (got, want) in got.iter().zip(want) {
                let want = want * f64::from(pass);
                assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-3), "{got} {want}");
            }
        }
    }
    let taken = accumulator.take(all[0]).unwrap();
    assert_eq!(taken.dims(), all[0].dims());
    assert!(accumulator.get(all[0]).is_none() && !accumulator.is_empty());
}

#[test]
fn an_accumulator_keeps_only_what_it_was_asked_for() {
    let vars = variables(1, 4, 6);
    let mut accumulator = GradAccumulator::new();
    accumulator.backward(&loss(&vars, &OPTIONS), &vars[3..4]).unwrap();
    let held: Vec<bool> = vars.iter().map(|var| accumulator.get(var).is_some()).collect();
    assert_eq!(held.iter().filter(|held| **held).count(), 1);
    assert!(held[3]);
    // The next pass on this thread is an ordinary one again.
    let grads = loss(&vars, &OPTIONS).backward().unwrap();
    assert!(vars.iter().all(|var| grads.get(var.as_tensor()).is_some()));
}

/// A frozen stack between trainable layers: gradients pass through it and none is kept for it.
#[test]
fn frozen_weights_get_no_gradient() {
    let f32s = |shape: &[usize], phase| tensor(shape, phase).to_dtype(DType::F32).unwrap();
    let first = Var::from_tensor(&f32s(&[6, 6], 1.)).unwrap();
    let last = Var::from_tensor(&f32s(&[6, 6], 2.)).unwrap();
    let (frozen, scale, x) = (f32s(&[6, 6], 3.), f32s(&[6], 4.), f32s(&[5, 6], 5.));
    let y = linear(&x, first.as_tensor(), None).unwrap();
    let y = layer_norm(&y, &scale, &scale, 1e-6).unwrap();
    let y = gelu(&linear(&y, &frozen, Some(&scale)).unwrap()).unwrap();
    let y = linear(&y, last.as_tensor(), None).unwrap();
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    assert!(grads.get(first.as_tensor()).is_some() && grads.get(last.as_tensor()).is_some());
    for frozen in [&frozen, &scale, &x] {
        assert!(grads.get(frozen).is_none());
    }
}
