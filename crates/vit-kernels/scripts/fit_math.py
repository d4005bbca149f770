"""Fits the polynomials of src/cpu/math.rs and prints them as Rust constants.

Weighted least squares on Chebyshev nodes, re-weighted towards the largest error (Lawson's
iteration), which ends near the minimax polynomial. Needs numpy and mpmath:

    python3 fit_math.py
"""

import mpmath
import numpy as np

mpmath.mp.dps = 40


def fit(target, weight, low, high, powers, nodes=4000, rounds=400):
    """Coefficients of sum c_i x^powers[i] ~ target(x), relative to weight(x)."""
    k = np.arange(nodes)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (2 * k + 1) / (2 * nodes))
    y = np.array([float(target(mpmath.mpf(v))) for v in x])
    w = np.array([float(weight(mpmath.mpf(v))) for v in x])
    basis = np.stack([x**p for p in powers], axis=1) / w[:, None]
    goal = y / w
    lawson = np.ones(nodes)
    for _ in range(rounds):
        root = np.sqrt(lawson)[:, None]
        c, *_ = np.linalg.lstsq(basis * root, goal * root[:, 0], rcond=None)
        error = np.abs(basis @ c - goal)
        lawson *= error
        lawson /= lawson.sum()
    return c, error.max()


def show(name, coefficients, error):
    values = ", ".join(f"{np.float32(c):.9e}" for c in coefficients)
    print(f"// largest weighted error {error:.2e}\nconst {name}: [f32; {len(coefficients)}] = [{values}];")


# exp(r) = 1 + r + r^2 * p(r) for |r| <= ln(2)/2.
half = float(mpmath.log(2)) / 2 + 1e-4
c, e = fit(
    lambda r: (mpmath.exp(r) - 1 - r) / r**2 if r != 0 else mpmath.mpf(0.5),
    lambda r: 1 / max(r**2, mpmath.mpf(1e-6)),
    -half, half, range(5),
)
show("EXP", c, e)

# erf(x) = x + x * p(x^2) for |x| <= EDGE.
EDGE = 0.93
c, e = fit(
    lambda x: mpmath.erf(mpmath.sqrt(x)) / mpmath.sqrt(x) - 1,
    lambda x: mpmath.erf(mpmath.sqrt(x)) / mpmath.sqrt(x),
    1e-12, EDGE**2, range(7),
)
show("ERF_NEAR", c, e)

# erf(t) = 1 - exp(-t - t * p(t)) for EDGE <= t <= 4. What matters is the error in erf itself:
# d(erf) = erfc * d(exponent).
c, e = fit(
    lambda t: -mpmath.log(mpmath.erfc(t)) / t - 1,
    lambda t: 1 / (mpmath.erfc(t) * t),
    EDGE, 4.0, range(8),
)
show("ERF_FAR", c, e)
