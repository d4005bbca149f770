//! Single-precision functions made to be vectorised: no branch, no table.
//!
//! The polynomials are fitted by `scripts/fit_math.py`; `tests` below measure their errors over
//! every hundredth float of the range.

use pulp::Simd;

/// `a · b + c`, in one rounding where the processor can.
#[inline(always)]
pub(crate) fn fma<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction, `mul_add` is a slow library call.
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// Adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

const EXP: [f32; 5] = [0.5, 0.166_665_18, 4.166_620_6e-2, 8.368_903e-3, 1.395_051_5e-3];

/// `eˣ` for `x ≤ 88`, within 1 ulp; 0 below −87.3, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: f32) -> f32 {
    // Written so that NaN passes through.
    let clamped = if x < -87.3 { -87.3 } else { x };
    let shifted = fma::<S>(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<S>(n, -LN2_LOW, fma::<S>(n, -LN2_HIGH, clamped));
    let p = EXP.iter().rev().fold(0., |p, &c| fma::<S>(p, r, c));
    let e = fma::<S>(p, r * r, r) + 1.;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.3 { 0. } else { e * power }
}

/// Where the two polynomials of [`erf`] meet.
const ERF_EDGE: f32 = 0.93;
const ERF_NEAR: [f32; 7] = [
    0.128_379_17,
    -0.376_126_32,
    0.112_836_875,
    -2.685_894e-2,
    5.199_907e-3,
    -8.130_013e-4,
    8.316_775e-5,
];
const ERF_FAR: [f32; 8] = [
    0.128_560_36,
    0.635_585_25,
    0.105_340_555,
    -2.275_640_1e-2,
    2.981_099e-3,
    -6.806_593e-5,
    -4.194_654e-5,
    4.639_255e-6,
];

/// The error function, within 2 ulp.
#[inline(always)]
pub(crate) fn erf<S: Simd>(x: f32) -> f32 {
    let t = x.abs();
    let square = x * x;
    let near = fma::<S>(ERF_NEAR.iter().rev().fold(0., |p, &c| fma::<S>(p, square, c)), x, x);
    // From 4 on it is 1 in single precision.
    let t = if t > 4. { 4. } else { t };
    let q = ERF_FAR.iter().rev().fold(0., |p, &c| fma::<S>(p, t, c));
    let far = (1. - exp::<S>(-fma::<S>(q, t, t))).copysign(x);
    if t < ERF_EDGE { near } else { far }
}

/// `Φ(x)` and `φ(x)`, the standard normal's distribution and density.
#[inline(always)]
pub(crate) fn normal<S: Simd>(x: f32) -> (f32, f32) {
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let distribution = fma::<S>(0.5, erf::<S>(x * std::f32::consts::FRAC_1_SQRT_2), 0.5);
    (distribution, DENSITY_AT_0 * exp::<S>(-0.5 * x * x))
}

/// Lanes of the sums below: fast, the same on every instruction set but for fused rounding, and
/// closer to the true sum than one running total.
const LANES: usize = 16;

#[inline(always)]
fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `f(aᵢ)`.
#[inline(always)]
pub(crate) fn sum(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for a in whole {
        for (lane, a) in lanes.iter_mut().zip(a) {
            *lane += f(*a);
        }
    }
    for (lane, a) in lanes.iter_mut().zip(rest) {
        *lane += f(*a);
    }
    add_lanes(lanes)
}

/// Sum of `f(aᵢ, bᵢ)`.
#[inline(always)]
pub(crate) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in whole_a.iter().zip(whole_b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(rest_a).zip(rest_b) {
        *lane += f(*a, *b);
    }
    add_lanes(lanes)
}

/// Sum of `f(aᵢ, bᵢ, cᵢ)`.
#[inline(always)]
pub(crate) fn sum3(a: &[f32], b: &[f32], c: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    let (whole_c, rest_c) = c.as_chunks::<LANES>();
    for ((a, b), c) in whole_a.iter().zip(whole_b).zip(whole_c) {
        for (((lane, a), b), c) in lanes.iter_mut().zip(a).zip(b).zip(c) {
            *lane += f(*a, *b, *c);
        }
    }
    for (((lane, a), b), c) in lanes.iter_mut().zip(rest_a).zip(rest_b).zip(rest_c) {
        *lane += f(*a, *b, *c);
    }
    add_lanes(lanes)
}

/// The largest value; −∞ of none. NaN is passed over.
#[inline(always)]
pub(crate) fn largest(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for a in whole {
        for (lane, a) in lanes.iter_mut().zip(a) {
            *lane = if *a > *lane { *a } else { *lane };
        }
    }
    for (lane, a) in lanes.iter_mut().zip(rest) {
        *lane = if *a > *lane { *a } else { *lane };
    }
    lanes.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::simd_fn;

    simd_fn! {
        fn exp_all<'a, S>(x: &'a mut [f32]) -> () {
            for x in x.iter_mut() {
                *x = exp::<S>(*x);
            }
        }
    }
    simd_fn! {
        fn erf_all<'a, S>(x: &'a mut [f32]) -> () {
            for x in x.iter_mut() {
                *x = erf::<S>(*x);
            }
        }
    }

    /// Largest error in units of the last place of the true value.
    fn worst(f: fn(&mut [f32]), truth: fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let count = 400_000;
        let x: Vec<f32> = (0..=count)
            .map(|i| low + (high - low) * (i as f32 / count as f32))
            .filter(|&x| truth(f64::from(x)).abs() > f64::from(f32::MIN_POSITIVE))
            .collect();
        let mut y = x.clone();
        f(&mut y);
        let ulp = |v: f64| {
            let v = v.abs() as f32;
            f64::from(f32::from_bits(v.to_bits() + 1)) - f64::from(v)
        };
        x.iter()
            .zip(&y)
            .map(|(&x, &y)| {
                let want = truth(f64::from(x));
                (f64::from(y) - want).abs() / ulp(want)
            })
            .fold(0., f64::max)
    }

    #[test]
    fn exp_is_within_one_ulp() {
        let error = worst(exp_all, f64::exp, -87., 88.);
        assert!(error < 1.01, "{error} ulp");
        let mut edge = [-200f32, f32::NEG_INFINITY, 0., f32::NAN];
        exp_all(&mut edge);
        assert_eq!(edge[..3], [0., 0., 1.]);
        assert!(edge[3].is_nan());
    }

    #[test]
    fn erf_is_within_two_ulp() {
        for (low, high) in [(-6., 6.), (-1e-3, 1e-3), (0.92, 0.94)] {
            let error = worst(erf_all, libm::erf, low, high);
            assert!(error < 2., "{error} ulp in {low}..{high}");
        }
        let mut edge = [f32::INFINITY, f32::NEG_INFINITY, 0., f32::NAN];
        erf_all(&mut edge);
        assert_eq!(edge[..3], [1., -1., 0.]);
        assert!(edge[3].is_nan());
    }

    #[test]
    fn lanes_add_up() {
        for n in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let total = (0..n).sum::<usize>() as f32;
            assert_eq!(sum(&x, |x| x), total);
            assert_eq!(sum2(&x, &x, |a, b| a + b), 2. * total);
            assert_eq!(sum3(&x, &x, &x, |a, b, c| a + b - c), total);
            assert_eq!(largest(&x), x.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
