//! How close a reconstruction is to its original.

use crate::{MetricsError, Result, Undefined, Value};

/// Side of the window of [`ssim`], in pixels.
const WINDOW: usize = 11;
/// Standard deviation of its Gaussian, in pixels.
const SIGMA: f64 = 1.5;

/// A grey picture or one channel, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane<'a> {
    /// `width × height` values.
    pub pixels: &'a [f32],
    /// Pixels per row.
    pub width: usize,
}

impl Plane<'_> {
    /// Rows.
    fn height(&self) -> usize {
        self.pixels.len() / self.width.max(1)
    }

    fn check(&self) -> Result<()> {
        if self.width == 0 || !self.pixels.len().is_multiple_of(self.width) {
            let got = format!("{} pixels in rows of {}", self.pixels.len(), self.width);
            return Err(MetricsError::setting("the picture", got, "whole rows"));
        }
        match self.pixels.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((row, &value)) => {
                Err(MetricsError::NotFinite { row, what: "pixel", value: f64::from(value) })
            }
            None => Ok(()),
        }
    }
}

/// Refuses pictures that cannot be compared.
fn check_planes(a: Plane<'_>, b: Plane<'_>, range: f64) -> Result<()> {
    a.check()?;
    b.check()?;
    MetricsError::check_length("pixels per row", a.width, b.width)?;
    MetricsError::check_length("pixels", a.pixels.len(), b.pixels.len())?;
    if range.is_finite() && range > 0.0 {
        Ok(())
    } else {
        Err(MetricsError::setting("the range of pixel values", range, "finite and positive"))
    }
}

/// Peak signal-to-noise ratio in dB, 10·log₁₀(range² / mean squared error); `range` is the
/// greatest possible difference of two pixels (255, or 1). Undefined with
/// [`Undefined::ZeroDenominator`] for identical pictures.
///
/// # Errors
/// The pictures differ in size; a pixel is not finite; `range` is not positive.
pub fn psnr(a: Plane<'_>, b: Plane<'_>, range: f64) -> Result<Value> {
    check_planes(a, b, range)?;
    if a.pixels.is_empty() {
        return Ok(Value::Undefined(Undefined::NoSamples));
    }
    let squares = a.pixels.iter().zip(b.pixels).map(|(x, y)| {
        let difference = f64::from(*x) - f64::from(*y);
        difference * difference
    });
    let error = squares.sum::<f64>() / a.pixels.len() as f64;
    let ratio = Value::quotient(range * range, error, Undefined::ZeroDenominator);
    Ok(ratio.map(|ratio| 10.0 * ratio.log10()))
}

/// Structural similarity (Wang et al. 2004), the mean over the picture, at most 1: Gaussian window
/// of 11 × 11 pixels with σ 1.5, K₁ = 0.01, K₂ = 0.03, population variances, windows inside the
/// picture only (scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False)` does the same). Undefined with
/// [`Undefined::TooFewSamples`] for pictures smaller than the window.
///
/// # Errors
/// As [`psnr`].
pub fn ssim(a: Plane<'_>, b: Plane<'_>, range: f64) -> Result<Value> {
    check_planes(a, b, range)?;
    let (width, height) = (a.width, a.height());
    if width < WINDOW || height < WINDOW {
        return Ok(Value::Undefined(Undefined::TooFewSamples));
    }
    let blur = |value: &dyn Fn(f64, f64) -> f64| {
        let cells = a.pixels.iter().zip(b.pixels);
        let plane: Vec<f64> = cells.map(|(x, y)| value(f64::from(*x), f64::from(*y))).collect();
        filtered(&plane, width)
    };
    let (mean_a, mean_b) = (blur(&|x, _| x), blur(&|_, y| y));
    let (square_a, square_b, product) =
        (blur(&|x, _| x * x), blur(&|_, y| y * y), blur(&|x, y| x * y));
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let moments = mean_a.iter().zip(&mean_b).zip(square_a.iter().zip(&square_b)).zip(&product);
    let values = moments.map(|(((ma, mb), (sa, sb)), p)| {
        let (va, vb, covariance) = (sa - ma * ma, sb - mb * mb, p - ma * mb);
        ((2.0 * ma * mb + c1) * (2.0 * covariance + c2))
            / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    });
    Ok(Value::Defined(values.sum::<f64>() / mean_a.len() as f64))
}

/// The plane under the Gaussian window, where the window is inside: rows, then columns.
fn filtered(plane: &[f64], width: usize) -> Vec<f64> {
    let kernel = gaussian();
    let inner = width + 1 - WINDOW;
    let dot = |values: &mut dyn Iterator<Item = &f64>| -> f64 {
        values.zip(&kernel).map(|(value, weight)| value * weight).sum()
    };
    let rows: Vec<f64> = plane
        .chunks_exact(width)
        .flat_map(|row| {
            row.windows(WINDOW).map(|window| dot(&mut window.iter())).collect::<Vec<_>>()
        })
        .collect();
    let height = rows.len() / inner;
    (0..=height - WINDOW)
        .flat_map(|y| (0..inner).map(move |x| y * inner + x))
        .map(|start| dot(&mut rows.iter().skip(start).step_by(inner)))
        .collect()
}

/// The window's weights along one axis; they add up to 1.
fn gaussian() -> [f64; WINDOW] {
    let centre = (WINDOW / 2) as f64;
    let mut weights = [0.0; WINDOW];
    for (place, weight) in weights.iter_mut().enumerate() {
        let distance = (place as f64 - centre) / SIGMA;
        *weight = (-0.5 * distance * distance).exp();
    }
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}
