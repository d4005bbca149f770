use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use vit_models::ParamStore;

use crate::Result;

/// Largest relative difference of `Σ|x|` that rounding to half precision explains.
const ROUNDING: f64 = 2e-3;

/// How many names a description lists.
const LISTED: usize = 4;

/// Which base weights an adapter belongs to: a few bytes per tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Data type of the weights, such as `f32`.
    pub dtype: String,
    /// One print per base tensor, by name.
    pub tensors: BTreeMap<String, TensorPrint>,
}

/// What is kept of one base tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorPrint {
    /// Its shape.
    pub shape: Vec<usize>,
    /// FNV-1a (64 bit) over the bits of its values as f32, one value at a time, in hexadecimal.
    pub hash: String,
    /// `Σ|x|`, for comparing across data types; absent when it is not finite.
    pub abs_sum: Option<f64>,
}

impl TensorPrint {
    fn of(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        let hash = values.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let abs_sum = values.iter().map(|value| f64::from(value.abs())).sum::<f64>();
        Ok(Self {
            shape: tensor.dims().to_vec(),
            hash: format!("{hash:016x}"),
            abs_sum: Some(abs_sum).filter(|sum| sum.is_finite()),
        })
    }

    fn close(&self, other: &Self) -> bool {
        let sums = match (self.abs_sum, other.abs_sum) {
            (Some(a), Some(b)) => (a - b).abs() <= ROUNDING * a.max(b),
            (a, b) => a == b,
        };
        self.shape == other.shape && sums
    }
}

/// Whether an adapter meets the base it was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaseCheck {
    /// Every base tensor is the same to the bit.
    Same,
    /// The data types differ, so only shapes and sums could be compared; they agree.
    Similar,
    /// The bases differ.
    Differs {
        /// The tensors that differ or that only one base has, sorted.
        tensors: Vec<String>,
        /// How many tensors were compared.
        compared: usize,
    },
}

impl Fingerprint {
    /// The fingerprint of those parameters of a store whose names `base` accepts. Reads every
    /// value once.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] when values cannot be read.
    pub fn of(store: &ParamStore, base: impl Fn(&str) -> bool) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, param) in store.iter().filter(|(name, _)| base(name)) {
            let print = TensorPrint::of(&param.var().as_detached_tensor())?;
            tensors.insert(name.to_string(), print);
        }
        Ok(Self { dtype: store.dtype().as_str().to_string(), tensors })
    }

    /// Compares with another base.
    #[must_use]
    pub fn compare(&self, other: &Self) -> BaseCheck {
        let exact = self.dtype == other.dtype;
        let equal = |a: &TensorPrint, b: &TensorPrint| if exact { a == b } else { a.close(b) };
        let mut differing: Vec<String> = Vec::new();
        for (name, print) in &self.tensors {
            if !other.tensors.get(name).is_some_and(|theirs| equal(print, theirs)) {
                differing.push(name.clone());
            }
        }
        let ours = |name: &&String| !self.tensors.contains_key(*name);
        differing.extend(other.tensors.keys().filter(ours).cloned());
        differing.sort();
        match differing.is_empty() {
            true if exact => BaseCheck::Same,
            true => BaseCheck::Similar,
            false => BaseCheck::Differs { tensors: differing, compared: self.tensors.len() },
        }
    }
}

/// Says where bases differ.
pub(crate) fn describe(tensors: &[String], compared: usize) -> String {
    let first = tensors.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = if tensors.len() > LISTED { ", …" } else { "" };
    format!("{} of {compared} tensors differ: {first}{rest}", tensors.len())
}
