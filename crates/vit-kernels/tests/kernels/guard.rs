//! Why this crate exists: candle-nn's fused operators run backward without a word and give no
//! gradient. If one of these tests fails after an update, candle has mended the operator.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "shows what is wrong")]

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::support::tensor;

fn var(shape: &[usize], phase: f64) -> Var {
    Var::from_tensor(&tensor(shape, phase).to_dtype(DType::F32).unwrap()).unwrap()
}

/// Which of the variables get a gradient that is finite and not zero.
fn reached(vars: &[&Var], y: Result<Tensor>) -> Vec<bool> {
    let y = y.unwrap();
    let weights = tensor(y.dims(), 2.5).to_dtype(DType::F32).unwrap();
    let grads = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let live = |var: &&Var| match grads.get(var) {
        None => false,
        Some(grad) => {
            let size: f32 = grad
                .sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_device(&Device::Cpu)
                .unwrap()
                .to_scalar()
                .unwrap();
            size.is_finite() && size > 0.
        }
    };
    vars.iter().map(live).collect()
}

#[test]
fn stock_layer_norm_drops_the_gradient_and_ours_does_not() {
    let (x, weight, bias) = (var(&[2, 3, 8], 1.), var(&[8], 2.), var(&[8], 3.));
    let vars = [&x, &weight, &bias];
    assert_eq!(reached(&vars, candle_nn::ops::layer_norm(&x, &weight, &bias, 1e-6)), [false; 3]);
    assert_eq!(reached(&vars, vit_kernels::layer_norm(&x, &weight, &bias, 1e-6)), [true; 3]);
    let module =
        candle_nn::LayerNorm::new(weight.as_tensor().clone(), bias.as_tensor().clone(), 1e-6);
    assert_eq!(reached(&vars, candle_core::Module::forward(&module, &x)), [false; 3]);
}

#[test]
fn stock_softmax_drops_the_gradient_and_ours_does_not() {
    let x = var(&[2, 3, 8], 1.);
    assert_eq!(reached(&[&x], candle_nn::ops::softmax_last_dim(&x)), [false]);
    assert_eq!(reached(&[&x], vit_kernels::softmax(&x)), [true]);
    assert_eq!(reached(&[&x], vit_kernels::log_softmax(&x)), [true]);
}

#[test]
fn every_kernel_passes_a_gradient_in_single_precision() {
    let (x, weight, bias) = (var(&[2, 4, 12], 1.), var(&[5, 12], 2.), var(&[5], 3.));
    assert_eq!(
        reached(&[&x, &weight, &bias], vit_kernels::linear(&x, &weight, Some(&bias))),
        [true; 3]
    );
    assert_eq!(reached(&[&x], vit_kernels::attention(&x, 2)), [true]);
    assert_eq!(reached(&[&x], vit_kernels::gelu(&x)), [true]);
    let order = vit_kernels::PatchOrder::ChannelLast;
    assert_eq!(reached(&[&x], vit_kernels::unpatchify(&x, 2, (2, 2), order)), [true]);
}
