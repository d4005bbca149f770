//! Smooth changes of brightness across the picture.

use serde::{Deserialize, Serialize};
use vit_random::Stream;

use crate::image::map_pixels;
use crate::ops::affine::Sample;
use crate::parameters::{chance, check_probability, check_within, uniform};
use crate::{Image, Result, Transform};

/// Multiplies the picture by exp(Σ c x^i y^j) over i + j ≤ `order`, with x and y from −1 to 1 and
/// each c drawn from −`strength` to `strength`: uneven lighting, or the bias field of magnetic
/// resonance (Van Leemput et al. 1999), as TorchIO's `RandomBiasField` in two dimensions.
/// Integers are rounded and cut off at full scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasField {
    /// How often, 0 to 1.
    pub probability: f64,
    /// Largest coefficient; TorchIO's default is 0.5.
    pub strength: f64,
    /// Largest degree of the polynomial, 0 to 8; TorchIO's default is 3.
    pub order: u32,
}

impl BiasField {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] when the probability is outside 0 to 1, the strength outside 0
    /// to 10, or the order above 8.
    pub fn validate(&self) -> Result<()> {
        check_probability("BiasField", self.probability)?;
        check_within("BiasField", "strength", self.strength, (0.0, 10.0))?;
        check_within("BiasField", "order", self.order.into(), (0.0, 8.0))
    }

    pub(crate) fn is_random(&self) -> bool {
        self.probability > 0.0
    }
}

impl Transform for BiasField {
    fn apply(&self, image: Image, rng: &mut Stream) -> Result<Image> {
        self.validate()?;
        if !chance(self.probability, rng) {
            return Ok(image);
        }
        let mut terms = Vec::new();
        for i in 0..=self.order as i32 {
            for j in 0..=self.order as i32 - i {
                terms.push((i, j, uniform((-self.strength, self.strength), rng)));
            }
        }
        multiply(&image, &terms)
    }
}

/// Multiplies by the field of these terms (power of x, power of y, coefficient).
fn multiply(image: &Image, terms: &[(i32, i32, f64)]) -> Result<Image> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let place = |at: usize, side: usize| {
        if side > 1 { 2.0 * at as f64 / (side - 1) as f64 - 1.0 } else { 0.0 }
    };
    let mut field = Vec::with_capacity(width * height);
    for y in 0..height {
        let y = place(y, height);
        for x in 0..width {
            let x = place(x, width);
            let exponent: f64 = terms.iter().map(|&(i, j, c)| c * x.powi(i) * y.powi(j)).sum();
            field.push(exponent.exp());
        }
    }
    let pixels = map_pixels!(image.pixels(), values => {
        let pixels = values.chunks_exact(channels).zip(&field);
        pixels
            .flat_map(|(pixel, &factor)| pixel.iter().map(move |&v| Sample::near(v.real() * factor)))
            .collect()
    });
    Image::new(width, height, channels, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pixels;

    /// The formula by hand at three points of a row: x = -1, 0, 1.
    #[test]
    fn the_field_is_the_exponential_of_the_polynomial() {
        let image = Image::new(3, 1, 1, Pixels::U8(vec![100; 3])).unwrap();
        let got = multiply(&image, &[(0, 0, 0.1), (1, 0, 0.5), (2, 0, -0.2)]).unwrap();
        let expected: Vec<u8> = [-1.0f64, 0.0, 1.0]
            .iter()
            .map(|x| (100.0 * (0.1 + 0.5 * x - 0.2 * x * x).exp()).round() as u8)
            .collect();
        assert_eq!(got.pixels(), &Pixels::U8(expected));
        let bright = Image::new(1, 1, 1, Pixels::U16(vec![60000])).unwrap();
        let got = multiply(&bright, &[(0, 0, 1.0)]).unwrap();
        assert_eq!(got.pixels(), &Pixels::U16(vec![65535]));
    }
}
