//! The optimiser's step against PyTorch's rule, and the fused path against the composite one.

use candle_core::{DType, Device, Tensor, Var};
use vit_kernels::{AdamWStep, adamw_step};

use crate::support::{distance, flat, tensor, wave};

const STEP: AdamWStep = AdamWStep {
    lr: 0.1,
    betas: (0.9, 0.999),
    eps: 1e-8,
    weight_decay: 0.01,
    step: 1,
    grad_scale: 1.,
};

struct State {
    parameter: Var,
    first: Var,
    second: Var,
}

impl State {
    fn new(values: &Tensor, dtype: DType) -> Self {
        let values = values.to_dtype(dtype).unwrap();
        let zeros = values.zeros_like().unwrap();
        Self {
            parameter: Var::from_tensor(&values).unwrap(),
            first: Var::from_tensor(&zeros).unwrap(),
            second: Var::from_tensor(&zeros).unwrap(),
        }
    }

    fn step(&self, grad: &Tensor, step: &AdamWStep) -> candle_core::Result<()> {
        let grad = grad.to_dtype(self.parameter.dtype())?;
        adamw_step(&self.parameter, &self.first, &self.second, &grad, step)
    }

    fn values(&self) -> [Vec<f64>; 3] {
        [flat(&self.parameter), flat(&self.first), flat(&self.second)]
    }
}

/// `torch.optim.AdamW([1.], lr=.1, betas=(.9, .999), eps=1e-8, weight_decay=.01)` with the
/// gradients 0.5 and −0.25, by hand: step 1 has m̂ = g and v̂ = g², so θ = 0.999 − 0.1·0.5/0.50000001.
#[test]
fn two_steps_of_pytorchs_rule() {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 2e-7)] {
        let state = State::new(&Tensor::new(&[1f64], &Device::Cpu).unwrap(), dtype);
        state.step(&Tensor::new(&[0.5f64], &Device::Cpu).unwrap(), &STEP).unwrap();
        let first = 0.999 - 0.1 * 0.5 / 0.500_000_01;
        let want = [vec![first], vec![0.05], vec![0.000_25]];
        for (got, want) in state.values().iter().zip(&want) {
            assert!(distance(got, want) < tolerance, "{dtype:?}: {got:?} {want:?}");
        }
        let second = AdamWStep { step: 2, ..STEP };
        state.step(&Tensor::new(&[-0.25f64], &Device::Cpu).unwrap(), &second).unwrap();
        let (m, v) = (0.9 * 0.05 - 0.1 * 0.25, 0.999 * 0.000_25 + 0.001 * 0.0625);
        let root = (v / (1. - 0.998_001f64)).sqrt() + 1e-8;
        let want = [vec![first * 0.999 - 0.1 * (m / 0.19) / root], vec![m], vec![v]];
        for (got, want) in state.values().iter().zip(&want) {
            assert!(distance(got, want) < tolerance, "{dtype:?}: {got:?} {want:?}");
        }
    }
}

/// The fused loops in f32 against candle's operators in f64, over more values than one chunk of
/// the threaded loops, not a multiple of it.
#[test]
fn the_fused_path_is_the_composite_path() {
    let shape = [173, 211];
    let (fused, composite) = (
        State::new(&tensor(&shape, 1.), DType::F32),
        State::new(&tensor(&shape, 1.).to_dtype(DType::F32).unwrap(), DType::F64),
    );
    for step in 1..=6 {
        // Gradients of very different sizes, as a real model has them.
        let size: Vec<f64> = (0..173 * 211).map(|i| 10f64.powi(-(i % 6))).collect();
        let size = Tensor::from_vec(size, &shape, &Device::Cpu).unwrap();
        let grad = (tensor(&shape, f64::from(step)) * size).unwrap();
        let grad = grad.to_dtype(DType::F32).unwrap();
        let step = AdamWStep {
            lr: 1e-2,
            betas: (0.9, 0.95),
            weight_decay: 0.05,
            step: u64::try_from(step).unwrap(),
            grad_scale: 0.25,
            ..STEP
        };
        fused.step(&grad, &step).unwrap();
        composite.step(&grad, &step).unwrap();
    }
    // Six roundings of a value near 1.5, then of moments near 0.3.
    for ((got, want), tolerance) in
        fused.values().iter().zip(&composite.values()).zip([1e-6, 1e-7, 1e-7])
    {
        let off = distance(got, want);
        assert!(off < tolerance, "off by {off:.1e}");
    }
    let moved = distance(&fused.values()[0], &flat(&tensor(&shape, 1.)));
    assert!(moved > 1e-2, "six steps moved the parameter by {moved} only");
}

#[test]
fn a_gradient_that_is_a_view_gives_the_same_step() {
    for dtype in [DType::F32, DType::F64] {
        let (plain, viewed) =
            (State::new(&tensor(&[3, 5], 1.), dtype), State::new(&tensor(&[3, 5], 1.), dtype));
        let wide = tensor(&[7, 3], 2.).to_dtype(dtype).unwrap();
        let view = wide.narrow(0, 1, 5).unwrap().t().unwrap();
        assert!(!view.is_contiguous());
        viewed.step(&view, &STEP).unwrap();
        plain.step(&view.contiguous().unwrap(), &STEP).unwrap();
        assert_eq!(plain.values(), viewed.values());
        assert_ne!(plain.values()[0], flat(&tensor(&[3, 5], 1.).to_dtype(dtype).unwrap()));
    }
}

#[test]
fn the_scale_multiplies_the_gradient() {
    let grad = tensor(&[4, 4], 2.);
    let (scaled, plain) = (
        State::new(&tensor(&[4, 4], 1.), DType::F32),
        State::new(&tensor(&[4, 4], 1.), DType::F32),
    );
    scaled.step(&grad, &AdamWStep { grad_scale: 0.5, ..STEP }).unwrap();
    plain.step(&(grad * 0.5).unwrap(), &STEP).unwrap();
    assert_eq!(scaled.values(), plain.values());
}

/// What does not fit is an error, and nothing has moved then.
#[test]
fn shapes_that_do_not_fit_change_nothing() {
    for dtype in [DType::F32, DType::F64] {
        let vars = |shapes: [[usize; 2]; 3]| {
            shapes.map(|shape| {
                let n = shape.iter().product();
                let values = Tensor::from_vec(wave(n, 1.), &shape, &Device::Cpu).unwrap();
                Var::from_tensor(&values.to_dtype(dtype).unwrap().abs().unwrap()).unwrap()
            })
        };
        // Of another length, or of the same length and another shape, each in turn.
        for (odd, shape) in (0..4).flat_map(|odd| [(odd, [2, 4]), (odd, [3, 2]), (odd, [1, 3])]) {
            let mut shapes = [[2, 3]; 4];
            shapes[odd] = shape;
            let [p, m, v, g] = shapes;
            let state = vars([p, m, v]);
            let before = state.each_ref().map(|var| flat(var));
            let grad = tensor(&g, 3.).to_dtype(dtype).unwrap();
            let done = adamw_step(&state[0], &state[1], &state[2], &grad, &STEP);
            assert!(done.is_err(), "{dtype:?}: tensor {odd} of {shape:?}");
            assert_eq!(state.each_ref().map(|var| flat(var)), before, "{dtype:?}: {odd} {shape:?}");
        }
    }
}

#[test]
fn data_types_that_do_not_agree_are_refused() {
    let state = State::new(&tensor(&[2, 3], 1.), DType::F32);
    let grad = tensor(&[2, 3], 2.);
    let before = state.values();
    assert!(adamw_step(&state.parameter, &state.first, &state.second, &grad, &STEP).is_err());
    let double = State::new(&tensor(&[2, 3], 1.), DType::F64);
    let grad = grad.to_dtype(DType::F32).unwrap();
    assert!(adamw_step(&state.parameter, &state.first, &double.second, &grad, &STEP).is_err());
    assert_eq!(state.values(), before);
}
