//! Every kernel's gradient against finite differences in f64.

use candle_core::Tensor;
use vit_kernels::{
    BlockOptions, PatchOrder, TokenAssembly, TokenRows, assemble_tokens, attention,
    bce_with_logits, block, cross_attention, cross_entropy, gather_tokens, gelu, layer_norm,
    linear, log_softmax, mean_squared_error, patchify, softmax, unpatchify,
};

use crate::support::{check_gradient, tensor};
use crate::twins::{block_inputs, params};

/// The difference itself is good to about 2e-10 at 197 tokens, see `support::check_gradient`.
const TIGHT: f64 = 1e-9;

/// candle's backward of `gelu_erf` has constants of six digits (`0.398942`, `0.707107`), so its
/// gradient is right to about 2e-7: enough for f32 training, whose own rounding is
/// 6e-8 per operation, but the limit of this check.
const SIX_DIGITS: f64 = 3e-7;

#[test]
fn layer_norm_of_every_input() {
    for shape in [&[7][..], &[1, 1, 8], &[3, 5, 7], &[2, 197, 6], &[1, 197, 16], &[2, 2, 3, 4]] {
        let dim = *shape.last().unwrap();
        let inputs = [tensor(shape, 1.), tensor(&[dim], 2.), tensor(&[dim], 3.)];
        let norm = |t: &[Tensor]| layer_norm(&t[0], &t[1], &t[2], 1e-6);
        check_gradient(&format!("layer_norm {shape:?}"), &inputs, norm, TIGHT);
    }
}

#[test]
fn layer_norm_with_an_eps_that_matters() {
    let inputs = [tensor(&[4, 5], 1.), tensor(&[5], 2.), tensor(&[5], 3.)];
    check_gradient("eps", &inputs, |t| layer_norm(&t[0], &t[1], &t[2], 0.5), TIGHT);
}

#[test]
fn layer_norm_of_views() {
    let inputs = [tensor(&[6, 3, 4], 1.), tensor(&[6], 2.), tensor(&[6], 3.)];
    let transposed = |t: &[Tensor]| layer_norm(&t[0].transpose(0, 2)?, &t[1], &t[2], 1e-6);
    check_gradient("layer_norm of a transposed tensor", &inputs, transposed, TIGHT);
    let inputs = [tensor(&[2, 7, 9], 1.), tensor(&[5], 2.), tensor(&[5], 3.)];
    let narrowed =
        |t: &[Tensor]| layer_norm(&t[0].narrow(2, 3, 5)?.narrow(1, 1, 4)?, &t[1], &t[2], 1e-6);
    check_gradient("layer_norm of a narrowed tensor", &inputs, narrowed, TIGHT);
}

#[test]
fn softmax_and_its_logarithm() {
    for shape in [&[1][..], &[6], &[1, 1, 1], &[4, 3], &[2, 3, 5, 5], &[1, 2, 3, 197]] {
        let input = [tensor(shape, 1.)];
        check_gradient(&format!("softmax {shape:?}"), &input, |t| softmax(&t[0]), TIGHT);
        check_gradient(&format!("log_softmax {shape:?}"), &input, |t| log_softmax(&t[0]), TIGHT);
    }
    let input = [tensor(&[5, 4, 3], 1.)];
    check_gradient("softmax of a view", &input, |t| softmax(&t[0].transpose(0, 1)?), TIGHT);
    check_gradient("log_softmax of a view", &input, |t| log_softmax(&t[0].narrow(2, 1, 2)?), TIGHT);
}

/// The row maximum is a constant in the backward pass; with ties candle's `max` would give every
/// one of them the full gradient.
#[test]
fn softmax_of_equal_values() {
    let input = [Tensor::full(2.5f64, (3, 4), &candle_core::Device::Cpu).unwrap()];
    check_gradient("softmax of ties", &input, |t| softmax(&t[0]), TIGHT);
    check_gradient("log_softmax of ties", &input, |t| log_softmax(&t[0]), TIGHT);
}

#[test]
fn gelu_to_candles_six_digits() {
    for shape in [&[1][..], &[2, 197, 3], &[3, 5, 7]] {
        let wide = (tensor(shape, 1.) * 3.).unwrap();
        check_gradient(&format!("gelu {shape:?}"), &[wide], |t| gelu(&t[0]), SIX_DIGITS);
    }
    let input = [tensor(&[4, 6], 1.)];
    check_gradient("gelu of a view", &input, |t| gelu(&t[0].t()?.narrow(0, 1, 3)?), SIX_DIGITS);
}

#[test]
fn attention_of_the_fused_projection() {
    for (batch, tokens, heads, head_dim) in
        [(1, 1, 1, 4), (1, 1, 3, 2), (2, 5, 3, 2), (1, 197, 2, 4), (3, 2, 1, 1)]
    {
        let input = [tensor(&[batch, tokens, 3 * heads * head_dim], 1.)];
        let what = format!("attention {batch}x{tokens}, {heads} heads of {head_dim}");
        check_gradient(&what, &input, |t| attention(&t[0], heads), TIGHT);
    }
    let input = [tensor(&[12, 5, 3], 1.)];
    let transposed = |t: &[Tensor]| attention(&t[0].transpose(0, 2)?, 2);
    check_gradient("attention of a transposed tensor", &input, transposed, TIGHT);
    let input = [tensor(&[2, 7, 14], 1.)];
    let narrowed = |t: &[Tensor]| attention(&t[0].narrow(2, 1, 12)?.narrow(1, 2, 4)?, 2);
    check_gradient("attention of a narrowed tensor", &input, narrowed, TIGHT);
}

#[test]
fn attention_of_some_tokens_to_all() {
    for (queries, keys, heads) in [(1, 5, 2), (7, 3, 1), (4, 33, 3)] {
        let inputs = [tensor(&[2, queries, 6 * heads], 1.), tensor(&[2, keys, 12 * heads], 2.)];
        let what = format!("attention of {queries} to {keys}");
        check_gradient(&what, &inputs, |t| cross_attention(&t[0], &t[1], heads), TIGHT);
    }
}

#[test]
fn blocks() {
    let rows = TokenRows::new(&[4, 1, 0, 2], 2, 5).unwrap();
    let (first, second) = ([1.25f32, 0.], [0.5f32, 2.]);
    for (rows, drop_path) in
        [(None, [None, None]), (Some(&rows), [Some(&first[..]), Some(&second[..])])]
    {
        let options = BlockOptions { num_heads: 2, eps: 1e-6, rows, drop_path, recompute: false };
        let run = |t: &[Tensor]| block(&t[0], &params(t, true), &options);
        check_gradient("block", &block_inputs(2, 5, 8, 12), run, SIX_DIGITS);
    }
}

#[test]
fn tokens_picked_and_put_together() {
    let rows = TokenRows::new(&[3, 0, 3, 1, 2, 0], 2, 4).unwrap();
    let pick = |t: &[Tensor]| gather_tokens(&t[0], &rows);
    check_gradient("gather", &[tensor(&[2, 4, 3], 1.)], pick, TIGHT);
    let sources = [None, Some(2), Some(0), Some(1), None, None];
    let plan = TokenAssembly::new(&sources, &[0, 3, 1, 0, 2, 2], 2, 3).unwrap();
    let inputs = [tensor(&[2, 3, 5], 1.), tensor(&[1, 1, 5], 2.), tensor(&[1, 4, 5], 3.)];
    let put = |t: &[Tensor]| assemble_tokens(&t[0], &t[1], &t[2], &plan);
    check_gradient("assemble", &inputs, put, TIGHT);
}

#[test]
fn losses_of_their_predictions() {
    let (targets, weights) = (tensor(&[3, 4], 2.).sqr().unwrap(), tensor(&[3, 4], 3.));
    let x = [tensor(&[3, 4], 1.)];
    check_gradient("cross entropy", &x, |t| cross_entropy(&t[0], &targets), TIGHT);
    let bce = |t: &[Tensor]| bce_with_logits(&t[0], &targets, &weights);
    check_gradient("binary cross entropy", &x, bce, TIGHT);
    check_gradient("squares", &x, |t| mean_squared_error(&t[0], &targets), TIGHT);
}

#[test]
fn linear_with_and_without_bias() {
    for shape in [&[3][..], &[1, 3], &[2, 5, 3], &[1, 197, 3], &[2, 2, 2, 3]] {
        let inputs = [tensor(shape, 1.), tensor(&[4, 3], 2.), tensor(&[4], 3.)];
        let what = format!("linear {shape:?}");
        check_gradient(&what, &inputs, |t| linear(&t[0], &t[1], Some(&t[2])), TIGHT);
        check_gradient(&what, &inputs[..2], |t| linear(&t[0], &t[1], None), TIGHT);
    }
}

#[test]
fn linear_of_views() {
    let inputs = [tensor(&[3, 5, 2], 1.), tensor(&[4, 3], 2.)];
    let transposed = |t: &[Tensor]| linear(&t[0].transpose(0, 2)?, &t[1], None);
    check_gradient("linear of a transposed tensor", &inputs, transposed, TIGHT);
    let inputs = [tensor(&[2, 6, 5], 1.), tensor(&[5, 4], 2.)];
    let narrowed = |t: &[Tensor]| linear(&t[0].narrow(1, 2, 3)?, &t[1].t()?, None);
    check_gradient("linear of narrow and transposed tensors", &inputs, narrowed, TIGHT);
}

#[test]
fn patches_there_and_back() {
    for order in [PatchOrder::ChannelFirst, PatchOrder::ChannelLast] {
        for (shape, patch) in [([1, 1, 2, 2], 2), ([2, 3, 4, 6], 2), ([1, 2, 9, 3], 3)] {
            let cut = |t: &[Tensor]| patchify(&t[0], patch, order);
            let what = format!("patchify {shape:?} {order:?}");
            check_gradient(&what, &[tensor(&shape, 1.)], cut, TIGHT);
        }
        let view = |t: &[Tensor]| patchify(&t[0].transpose(2, 3)?.narrow(1, 1, 2)?, 2, order);
        check_gradient("patchify of a view", &[tensor(&[2, 3, 4, 6], 1.)], view, TIGHT);
        let join = |t: &[Tensor]| unpatchify(&t[0], 2, (2, 3), order);
        check_gradient("unpatchify", &[tensor(&[2, 6, 12], 1.)], join, TIGHT);
        let view = |t: &[Tensor]| unpatchify(&t[0].transpose(1, 2)?, 2, (2, 3), order);
        check_gradient("unpatchify of a view", &[tensor(&[2, 12, 6], 1.)], view, TIGHT);
    }
}
