//! Values against the formulas written out as loops, and f32 against f64.

use candle_core::{DType, Device, Tensor};
use vit_kernels::{attention, gelu, layer_norm, linear, log_softmax, softmax};

use crate::support::{distance, flat, tensor};

fn softmax_row(row: &[f64]) -> Vec<f64> {
    let exp: Vec<f64> = row.iter().map(|x| x.exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

#[test]
fn layer_norm_is_its_formula() {
    for (rows, dim, eps) in [(1, 8, 1e-6), (197, 6, 1e-6), (15, 7, 0.3), (3, 1, 1e-5)] {
        let (x, weight, bias) = (tensor(&[rows, dim], 1.), tensor(&[dim], 2.), tensor(&[dim], 3.));
        let (w, b) = (flat(&weight), flat(&bias));
        let want: Vec<f64> = flat(&x)
            .chunks(dim)
            .flat_map(|row| {
                let n = dim as f64;
                let mean = row.iter().sum::<f64>() / n;
                let var = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let norm = |(i, x): (usize, &f64)| (x - mean) / (var + eps).sqrt() * w[i] + b[i];
                row.iter().enumerate().map(norm).collect::<Vec<_>>()
            })
            .collect();
        let got = layer_norm(&x, &weight, &bias, eps).unwrap();
        assert!(distance(&flat(&got), &want) < 1e-12, "{rows} {dim}");
    }
}

/// candle's fused norm takes the variance as `E[x²] − E[x]²` and loses it here.
#[test]
#[allow(clippy::disallowed_methods, reason = "shows what is wrong with it")]
fn layer_norm_keeps_its_digits_beside_a_large_mean() {
    let x = (tensor(&[2, 16], 1.) + 5_000.).unwrap().to_dtype(DType::F32).unwrap();
    let (one, zero) = (Tensor::ones(16, DType::F32, &Device::Cpu).unwrap(), x.get(0).unwrap());
    let zero = zero.zeros_like().unwrap();
    let got = layer_norm(&x, &one, &zero, 1e-6).unwrap();
    let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let want = layer_norm(&double(&x), &double(&one), &double(&zero), 1e-6).unwrap();
    assert!(distance(&flat(&got), &flat(&want)) < 1e-3);
    let stock = candle_nn::ops::layer_norm(&x, &one, &zero, 1e-6).unwrap();
    let off = distance(&flat(&stock), &flat(&want));
    assert!(off > 1e-3 || off.is_nan(), "candle's norm is exact now: off by {off:.1e}");
}

#[test]
fn softmax_is_its_formula() {
    for shape in [&[1][..], &[5], &[3, 197], &[2, 3, 4, 7]] {
        let x = tensor(shape, 1.);
        let last = *shape.last().unwrap();
        let want: Vec<f64> = flat(&x).chunks(last).flat_map(softmax_row).collect();
        assert!(distance(&flat(&softmax(&x).unwrap()), &want) < 1e-14, "{shape:?}");
        let want: Vec<f64> = want.iter().map(|p| p.ln()).collect();
        assert!(distance(&flat(&log_softmax(&x).unwrap()), &want) < 1e-13, "{shape:?}");
    }
}

#[test]
fn softmax_survives_large_scores() {
    let x = Tensor::new(&[[1e4f32, 1e4 - 1., -1e4], [-1e4, -1e4, -1e4]], &Device::Cpu).unwrap();
    let e = std::f64::consts::E;
    let (first, second) = (e / (1. + e), 1. / (1. + e));
    let third = 1. / 3.;
    let got = flat(&softmax(&x).unwrap());
    assert!(distance(&got, &[first, second, 0., third, third, third]) < 1e-6, "{got:?}");
    let got = flat(&log_softmax(&x).unwrap());
    let log3 = -(3f64.ln());
    let want = [first.ln(), second.ln(), -2e4 + first.ln(), log3, log3, log3];
    assert!(distance(&got, &want) < 1e-2, "{got:?}");
}

/// `x·Φ(x)` with Φ from tables; the tanh form differs from the fourth digit on.
#[test]
#[allow(clippy::disallowed_methods, reason = "shows what is wrong with it")]
fn gelu_is_the_exact_form() {
    let x = Tensor::new(&[-10f64, -3., -1., 0., 0.5, 1., 3., 10.], &Device::Cpu).unwrap();
    let phi = [
        7.619853024160527e-24,
        0.0013498980316300946,
        0.15865525393145707,
        0.5,
        0.6914624612740131,
        0.8413447460685429,
        0.9986501019683699,
        1.,
    ];
    let want: Vec<f64> = flat(&x).iter().zip(phi).map(|(x, phi)| x * phi).collect();
    assert!(distance(&flat(&gelu(&x).unwrap()), &want) < 1e-14);
    let single = gelu(&x.to_dtype(DType::F32).unwrap()).unwrap();
    assert!(distance(&flat(&single), &want) < 1e-6);
    assert!(distance(&flat(&x.gelu().unwrap()), &want) > 1e-4, "candle's gelu was the tanh form");
}

#[test]
fn linear_is_its_formula() {
    let (x, weight, bias) = (tensor(&[2, 3, 5], 1.), tensor(&[4, 5], 2.), tensor(&[4], 3.));
    let (w, b) = (flat(&weight), flat(&bias));
    let product = |bias: bool| -> Vec<f64> {
        flat(&x)
            .chunks(5)
            .flat_map(|row| {
                let out = |o: usize| {
                    let sum: f64 = row.iter().zip(&w[5 * o..]).map(|(x, w)| x * w).sum();
                    sum + if bias { b[o] } else { 0. }
                };
                (0..4).map(out).collect::<Vec<_>>()
            })
            .collect()
    };
    let got = linear(&x, &weight, Some(&bias)).unwrap();
    assert_eq!(got.dims(), [2, 3, 4]);
    assert!(distance(&flat(&got), &product(true)) < 1e-13);
    assert!(distance(&flat(&linear(&x, &weight, None).unwrap()), &product(false)) < 1e-13);
    assert!(linear(&x, &tensor(&[4, 6], 1.), None).is_err());
    assert!(linear(&x, &tensor(&[4, 15], 1.), None).is_err(), "rows must not be glued together");
    assert!(linear(&x, &weight, Some(&tensor(&[3], 1.))).is_err());
}

/// Rows: all of q, all of k, all of v; inside each, head by head (spec/mae.md 1.3, 2.3).
#[test]
fn attention_is_its_formula() {
    for (batch, n, heads, d) in [(1, 1, 1, 3), (2, 5, 3, 2), (1, 197, 2, 4)] {
        let dim = heads * d;
        let qkv = tensor(&[batch, n, 3 * dim], 1.);
        let values = flat(&qkv);
        let at = |b: usize, t: usize, part: usize, h: usize, i: usize| {
            values[((b * n + t) * 3 + part) * dim + h * d + i]
        };
        let mut want = vec![0.; batch * n * dim];
        for (b, h, t) in
            (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..n).map(move |t| (b, h, t))))
        {
            let score = |s: usize| {
                let dot: f64 = (0..d).map(|i| at(b, t, 0, h, i) * at(b, s, 1, h, i)).sum();
                dot / (d as f64).sqrt()
            };
            let weights = softmax_row(&(0..n).map(score).collect::<Vec<_>>());
            for i in 0..d {
                want[(b * n + t) * dim + h * d + i] =
                    weights.iter().enumerate().map(|(s, w)| w * at(b, s, 2, h, i)).sum();
            }
        }
        let got = attention(&qkv, heads).unwrap();
        assert_eq!(got.dims(), [batch, n, dim]);
        assert!(distance(&flat(&got), &want) < 1e-12, "{batch} {n} {heads}");
    }
    for heads in [0, 5, 12] {
        assert!(attention(&tensor(&[1, 2, 18], 1.), heads).is_err(), "{heads} heads");
    }
}

/// What training runs in: f32 is the f64 result to f32's rounding.
#[test]
fn single_precision_is_double_precision_rounded() {
    let (x, weight, bias) = (tensor(&[2, 197, 12], 1.), tensor(&[12], 2.), tensor(&[12], 3.));
    let matrix = tensor(&[7, 12], 4.);
    let single = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let pairs = [
        (
            layer_norm(&x, &weight, &bias, 1e-6),
            layer_norm(&single(&x), &single(&weight), &single(&bias), 1e-6),
        ),
        (softmax(&x), softmax(&single(&x))),
        (log_softmax(&x), log_softmax(&single(&x))),
        (gelu(&x), gelu(&single(&x))),
        (attention(&x, 2), attention(&single(&x), 2)),
        (linear(&x, &matrix, None), linear(&single(&x), &single(&matrix), None)),
    ];
    for (i, (double, single)) in pairs.into_iter().enumerate() {
        let (double, single) = (double.unwrap(), single.unwrap());
        assert_eq!(single.dtype(), DType::F32);
        let off = distance(&flat(&double), &flat(&single));
        assert!(off < 5e-6, "kernel {i}: {off:.1e}");
    }
}
