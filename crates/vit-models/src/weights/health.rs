//! Whether the numbers in a file can be those of a trained model.

use candle_core::{DType, Device};
use rayon::prelude::*;
use serde::Serialize;

use super::{StoredType, WeightFile};
use crate::Result;

/// What the numbers of one tensor are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorHealth {
    /// Name in the file.
    pub name: String,
    /// Type in the file.
    pub dtype: StoredType,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Values that are not a number.
    pub nan: usize,
    /// Values that are infinite.
    pub infinite: usize,
    /// Whether every value is zero, of numbers with fractions.
    pub all_zero: bool,
    /// Largest magnitude of the finite values.
    pub largest: f64,
    /// Mean of the finite values.
    pub mean: f64,
}

impl TensorHealth {
    /// Why a model with this tensor cannot work: it has values that are no numbers, or is a matrix
    /// of zeros.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if self.nan + self.infinite > 0 {
            let (nan, infinite) = (self.nan, self.infinite);
            return Some(format!("{nan} values are NaN, {infinite} are infinite"));
        }
        // Biases, tokens and tables may be zero; a matrix that is gives nothing and learns slowly.
        let matrix = self.shape.len() >= 2 && self.name.ends_with(".weight");
        (self.all_zero && matrix).then(|| "every value is zero".to_string())
    }
}

impl WeightFile {
    /// Looks at every number of the file, a tensor at a time on each thread.
    ///
    /// # Errors
    /// [`crate::Error::File`] naming a tensor that cannot be read.
    pub fn health(&self) -> Result<Vec<TensorHealth>> {
        let names: Vec<&String> = self.shapes().keys().collect();
        names.into_par_iter().map(|name| self.tensor_health(name)).collect()
    }

    fn tensor_health(&self, name: &str) -> Result<TensorHealth> {
        let mut health = TensorHealth {
            name: name.to_string(),
            dtype: self.stored_type(name).unwrap_or(StoredType::Other),
            shape: self.shapes().get(name).cloned().unwrap_or_default(),
            nan: 0,
            infinite: 0,
            all_zero: false,
            largest: 0.,
            mean: 0.,
        };
        if health.dtype == StoredType::Other {
            return Ok(health);
        }
        // Double precision keeps its range; all others fit into single.
        let wide = matches!(health.dtype, StoredType::F64 | StoredType::I64);
        let values: Vec<f64> = if wide {
            self.tensor_as(name, DType::F64, &Device::Cpu)?.flatten_all()?.to_vec1()?
        } else {
            let values = self.tensor_as(name, DType::F32, &Device::Cpu)?.flatten_all()?;
            values.to_vec1::<f32>()?.into_iter().map(f64::from).collect()
        };
        let mut sum = 0.;
        for value in &values {
            if value.is_nan() {
                health.nan += 1;
            } else if value.is_infinite() {
                health.infinite += 1;
            } else {
                sum += value;
                health.largest = health.largest.max(value.abs());
            }
        }
        let finite = values.len() - health.nan - health.infinite;
        health.mean = if finite == 0 { 0. } else { sum / finite as f64 };
        // Counters begin at zero.
        health.all_zero = health.dtype.is_float()
            && !values.is_empty()
            && finite == values.len()
            && health.largest == 0.;
        Ok(health)
    }
}
