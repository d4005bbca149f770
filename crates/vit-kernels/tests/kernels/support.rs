//! Numbers without a generator, and the check against finite differences.

use candle_core::{Device, Result, Tensor, Var};

/// `n` values in about ±1.4, never the same pattern for two phases.
pub(crate) fn wave(n: usize, phase: f64) -> Vec<f64> {
    (0..n)
        .map(|i| {
            let i = i as f64;
            (0.7 * i + 1.3 * phase).cos() + 0.4 * (0.113 * i * phase + phase).sin()
        })
        .collect()
}

/// An f64 tensor of [`wave`].
pub(crate) fn tensor(shape: &[usize], phase: f64) -> Tensor {
    Tensor::from_vec(wave(shape.iter().product(), phase), shape, &Device::Cpu).unwrap()
}

/// All values, row-major.
pub(crate) fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(candle_core::DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1::<f64>()
        .unwrap()
}

/// Largest absolute difference of two equally long rows.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    // `max` would swallow a NaN, `partial_cmp` by hand does not.
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0., |worst, d| if d <= worst { worst } else { d })
}

/// At most this many values of each input are moved: spread evenly, first and last included.
const PROBES: usize = 40;

/// Compares the gradient of `Σ c·f(inputs)` (fixed weights `c`) with a five-point central
/// difference, for every input.
///
/// The difference errs by `h⁴·f⁗'/30` plus rounding of about `1e-16·|f|/h`; with `h = 1e-3` both
/// are near 1e-12 here. `tolerance` is relative to the largest gradient found (at least 1).
pub(crate) fn check_gradient(
    what: &str,
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    tolerance: f64,
) {
    const STEP: f64 = 1e-3;
    let loss = |inputs: &[Tensor]| -> Result<Tensor> {
        let y = f(inputs)?;
        (&y * tensor(y.dims(), 2.5))?.sum_all()
    };
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let grads = loss(&tracked).unwrap().backward().unwrap();
    for (place, var) in vars.iter().enumerate() {
        let grad = grads.get(var).unwrap_or_else(|| panic!("{what}: input {place}: no gradient"));
        assert_eq!(grad.dims(), var.dims(), "{what}: input {place}");
        let got = flat(grad);
        let scale = got.iter().fold(1f64, |max, g| max.max(g.abs()));
        let values = flat(var);
        for probe in probes(values.len()) {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[probe] += by * STEP;
                let mut inputs = inputs.to_vec();
                inputs[place] = Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap();
                loss(&inputs).unwrap().to_scalar::<f64>().unwrap()
            };
            let want = (8. * (moved(1.) - moved(-1.)) - (moved(2.) - moved(-2.))) / (12. * STEP);
            let error = (got[probe] - want).abs() / scale;
            assert!(
                error <= tolerance,
                "{what}: input {place}, value {probe}: {} instead of {want}, off by {error:.1e}",
                got[probe]
            );
        }
    }
}

fn probes(n: usize) -> Vec<usize> {
    let count = n.min(PROBES);
    let mut probes: Vec<usize> = (0..count).map(|i| i * (n - 1) / (count - 1).max(1)).collect();
    probes.dedup();
    probes
}
