//! Minimising a smooth convex function by Newton's method, with conjugate gradients for the step
//! (Nocedal and Wright, Numerical Optimization, algorithm 7.1).

/// A smooth convex function.
pub(super) trait Convex {
    /// Value and gradient; what [`Convex::curvature`] needs of this point is kept.
    fn at(&mut self, point: &[f64]) -> (f64, Vec<f64>);

    /// Value alone.
    fn value(&self, point: &[f64]) -> f64;

    /// The second derivative at the last point of [`Convex::at`], times a direction.
    fn curvature(&self, direction: &[f64]) -> Vec<f64>;
}

/// Where the search ended.
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) iterations: usize,
    /// Largest entry of the gradient.
    pub(super) gradient: f64,
}

/// Share of the slope that a step must gain.
const LEAST_GAIN: f64 = 1e-4;
/// Relative error of a value, a sum over all rows.
const ROUNDING: f64 = 1e-14;
/// Halvings of a step before it is given up.
const MOST_HALVINGS: usize = 40;
/// Conjugate-gradient steps per Newton step.
const MOST_INNER: usize = 500;

/// Searches until no entry of the gradient is above `tolerance`, the iterations are used up, or no
/// step gains anything (the limit of the arithmetic).
pub(super) fn minimise(
    function: &mut impl Convex,
    start: Vec<f64>,
    tolerance: f64,
    iterations: usize,
) -> Minimum {
    let mut point = start;
    let (mut value, mut gradient) = function.at(&point);
    for iteration in 0..iterations {
        if largest(&gradient) <= tolerance {
            return Minimum { point, iterations: iteration, gradient: largest(&gradient) };
        }
        let step = newton_step(function, &gradient);
        let slope = dot(&gradient, &step);
        let mut length = 1.;
        let found = (0..MOST_HALVINGS).find_map(|_| {
            let next: Vec<f64> = point.iter().zip(&step).map(|(x, s)| x + length * s).collect();
            // Near the minimum what a step gains is below the rounding of the value.
            let most = value + LEAST_GAIN * length * slope + ROUNDING * value.abs();
            let gains = function.value(&next) <= most;
            length /= 2.;
            gains.then_some(next)
        });
        let Some(next) = found else {
            return Minimum { point, iterations: iteration, gradient: largest(&gradient) };
        };
        point = next;
        (value, gradient) = function.at(&point);
    }
    let gradient = largest(&gradient);
    Minimum { point, iterations, gradient }
}

/// Solves `curvature · step = −gradient`, the closer the nearer the minimum is.
fn newton_step(function: &impl Convex, gradient: &[f64]) -> Vec<f64> {
    let norm = dot(gradient, gradient).sqrt();
    let enough = norm * norm.sqrt().min(0.1);
    let mut step = vec![0.; gradient.len()];
    let mut rest: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut direction = rest.clone();
    let mut squares = dot(&rest, &rest);
    for _ in 0..MOST_INNER {
        let curved = function.curvature(&direction);
        let bend = dot(&direction, &curved);
        if bend <= 0. {
            break;
        }
        let length = squares / bend;
        add(&mut step, length, &direction);
        add(&mut rest, -length, &curved);
        let next = dot(&rest, &rest);
        if next.sqrt() <= enough {
            break;
        }
        let keep = next / squares;
        direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + keep * *d);
        squares = next;
    }
    step
}

fn add(to: &mut [f64], scale: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += scale * value);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0., |most, value| f64::max(most, value.abs()))
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
