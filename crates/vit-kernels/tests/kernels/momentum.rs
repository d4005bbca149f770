//! SGD with momentum and LARS against published numbers, and fused against composite.

use candle_core::{DType, Device, Tensor, Var};
use vit_kernels::{SgdStep, lars_step, sgd_step, sum_of_squares};

use crate::support::{distance, flat, tensor};

const STEP: SgdStep = SgdStep { lr: 6.4, momentum: 0.9, weight_decay: 0., grad_scale: 1. };

fn var(values: &[f64], shape: &[usize], dtype: DType) -> (Var, Var) {
    let values = Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let zeros = values.zeros_like().unwrap();
    (Var::from_tensor(&values).unwrap(), Var::from_tensor(&zeros).unwrap())
}

/// Two steps of MAE's linear probe, from its published description (momentum 0.9, trust 0.001).
#[test]
fn lars_has_the_published_values() {
    for dtype in [DType::F32, DType::F64] {
        let (w, u) = var(&[1., -2., 0.5, 3.], &[2, 2], dtype);
        let (b, ub) = var(&[0.1, -0.2], &[2], dtype);
        let want = [
            ([0.99558908, -2.0088217, 0.51323271, 2.9823563], [-0.22, -0.136]),
            ([0.98721856, -2.0255628, 0.53834432, 2.9488742], [-0.828, -0.0144]),
        ];
        for (s, (want_w, want_b)) in [1., 2.].into_iter().zip(want) {
            let g = Tensor::new(&[[0.1f64, 0.2], [-0.3, 0.4]], &Device::Cpu).unwrap();
            let g = (g * s).unwrap().to_dtype(dtype).unwrap();
            lars_step(&w, &u, &g, 0.001, &STEP).unwrap();
            let g = Tensor::new(&[0.05f64, -0.01], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            lars_step(&b, &ub, &g, 0.001, &STEP).unwrap();
            assert!(distance(&flat(&w), &want_w) < 1e-6, "{dtype:?}: {:?}", flat(&w));
            assert!(distance(&flat(&b), &want_b) < 1e-6, "{dtype:?}: {:?}", flat(&b));
        }
    }
}

/// `torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01)` on 1 with gradients 0.5 and −0.25:
/// u₁ = 0.51, θ₁ = 0.949; u₂ = 0.459 − 0.25 + 0.00949, θ₂ = 0.949 − 0.021849.
#[test]
fn sgd_is_pytorchs_rule() {
    for dtype in [DType::F32, DType::F64] {
        let (p, u) = var(&[1.], &[1], dtype);
        let step = SgdStep { lr: 0.1, weight_decay: 0.01, grad_scale: 0.5, ..STEP };
        for g in [1f64, -0.5] {
            let g = Tensor::new(&[g], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            sgd_step(&p, &u, &g, &step).unwrap();
        }
        assert!(distance(&flat(&p), &[0.949 - 0.021849]) < 1e-7, "{:?}", flat(&p));
        assert!(distance(&flat(&u), &[0.21849]) < 1e-7);
    }
}

#[test]
fn fused_is_composite() {
    let shape = [173, 211];
    let start = tensor(&shape, 1.).to_dtype(DType::F32).unwrap();
    let pair = |dtype| var(&flat(&start), &shape, dtype);
    let ((p, u), (q, w)) = (pair(DType::F32), pair(DType::F64));
    for step in 1..=4 {
        let g = tensor(&shape, f64::from(step)).to_dtype(DType::F32).unwrap();
        let by = SgdStep { lr: 0.01, weight_decay: 0.05, grad_scale: 0.25, ..STEP };
        sgd_step(&p, &u, &g, &by).unwrap();
        sgd_step(&q, &w, &g.to_dtype(DType::F64).unwrap(), &by).unwrap();
        assert!(distance(&flat(&p), &flat(&q)) < 1e-6);
        lars_step(&p, &u, &g, 0.001, &by).unwrap();
        lars_step(&q, &w, &g.to_dtype(DType::F64).unwrap(), 0.001, &by).unwrap();
        assert!(distance(&flat(&p), &flat(&q)) < 1e-6);
    }
}

#[test]
fn shapes_that_do_not_agree_change_nothing() {
    let (p, u) = var(&[1., 2.], &[2], DType::F32);
    let g = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let error = sgd_step(&p, &u, &g, &STEP).unwrap_err().to_string();
    assert!(error.contains("gradient [3]"), "{error}");
    assert!(lars_step(&p, &u, &g, 0.1, &STEP).is_err());
    assert_eq!(flat(&p), [1., 2.]);
}

#[test]
fn norms_keep_digits_and_range() {
    let x = tensor(&[300, 41], 1.).to_dtype(DType::F32).unwrap();
    let want: f64 = flat(&x).iter().map(|x| x * x).sum();
    assert!((sum_of_squares(&x).unwrap() / want - 1.).abs() < 1e-6);
    let double = x.to_dtype(DType::F64).unwrap();
    assert!((sum_of_squares(&double).unwrap() / want - 1.).abs() < 1e-12);
    let large = (x * 1e25).unwrap();
    assert!((sum_of_squares(&large).unwrap() / (want * 1e50) - 1.).abs() < 1e-5);
    let nan = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap();
    assert!(sum_of_squares(&nan).unwrap().is_nan());
}
