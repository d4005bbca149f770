use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use crate::cpu::math::sum;
use crate::cpu::simd::simd_fn;
use crate::cpu::values::{Values, served};

/// Values per piece of work. Pieces are summed in f32 and added up in f64, in order: the result
/// does not depend on the number of threads.
const PART: usize = 1 << 12;

simd_fn! {
    fn part<'a, S>(x: &'a [f32]) -> f32 {
        sum(x, |x| x * x)
    }
}

/// `Σ x²`, for the norm of a gradient over several tensors.
///
/// # Errors
/// Whatever candle reports, for instance for an integer tensor.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if !served(&[x]) {
        return x.sqr()?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>();
    }
    let x = x.contiguous()?;
    let values = Values::new(&x)?;
    let parts: Vec<f32> = values.par_chunks(PART).map(part).collect();
    let total: f64 = parts.iter().map(|&part| f64::from(part)).sum();
    if total.is_finite() {
        return Ok(total);
    }
    // A piece may leave the range of f32 where the values do not.
    Ok(values.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
}
