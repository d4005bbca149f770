use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand_distr::{Distribution, Normal, Uniform};
use vit_random::Streams;

use crate::{Error, Result};

/// What a model needs to know of one parameter before it exists: name, shape, first value.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Name in the files, such as `blocks.0.attn.qkv.weight`.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// First value.
    pub init: ParamInit,
    /// Whether training changes it. A sin-cos position table does not.
    pub trainable: bool,
}

impl ParamSpec {
    /// A trainable parameter.
    #[must_use]
    pub fn new(name: String, shape: &[usize], init: ParamInit) -> Self {
        Self { name, shape: shape.to_vec(), init, trainable: true }
    }

    /// Number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// First value of a parameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ParamInit {
    /// The same value everywhere.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// These values, row-major.
    Values(Arc<Vec<f32>>),
}

impl ParamInit {
    /// Xavier-uniform of a `[out, in]` matrix: bound `√(6 / (in + out))` (Glorot and Bengio 2010).
    #[must_use]
    pub fn xavier_uniform(in_dim: usize, out_dim: usize) -> Self {
        Self::Uniform((6. / (in_dim + out_dim) as f64).sqrt())
    }

    /// What PyTorch gives linear and convolution layers by default: bound `1 / √fan_in`
    /// (Kaiming-uniform with `a = √5`).
    #[must_use]
    pub fn fan_in_uniform(fan_in: usize) -> Self {
        Self::Uniform((fan_in as f64).powf(-0.5))
    }

    /// The values for a shape, drawn from the stream that belongs to the parameter's name, so they
    /// depend neither on the order of construction nor on other parameters.
    fn values(&self, name: &str, elements: usize, streams: Streams) -> Result<Vec<f32>> {
        let fail = |reason: String| Error::Parameter { name: name.to_string(), reason };
        let mut stream = streams.stream(&format!("init/{name}"), 0, 0);
        match self {
            Self::Constant(value) => Ok(vec![*value as f32; elements]),
            Self::Normal(std) => {
                let normal = Normal::new(0., *std).map_err(|e| fail(e.to_string()))?;
                Ok((0..elements).map(|_| normal.sample(&mut stream) as f32).collect())
            }
            Self::Uniform(bound) => {
                let uniform = Uniform::new(-bound, *bound).map_err(|e| fail(e.to_string()))?;
                Ok((0..elements).map(|_| uniform.sample(&mut stream) as f32).collect())
            }
            Self::Values(values) if values.len() == elements => Ok(values.to_vec()),
            Self::Values(values) => {
                Err(fail(format!("{} values for {elements} elements", values.len())))
            }
        }
    }
}

/// One parameter: its variable and whether training changes it.
#[derive(Debug, Clone)]
pub struct Param {
    var: Var,
    trainable: bool,
}

impl Param {
    /// The variable. It shares its memory with every model built from the store.
    #[must_use]
    pub fn var(&self) -> &Var {
        &self.var
    }

    /// Whether training changes it.
    #[must_use]
    pub fn trainable(&self) -> bool {
        self.trainable
    }
}

/// All parameters of a model, by name, in a fixed order (sorted by name).
///
/// A model built from [`ParamStore::var_builder`] sees trainable parameters as variables and
/// frozen ones as plain tensors; one built from [`ParamStore::frozen`] sees plain tensors only, so
/// that its forward pass records nothing. All share the store's memory: an optimiser step is seen
/// by every one of them.
#[derive(Debug, Clone)]
pub struct ParamStore {
    params: BTreeMap<String, Param>,
    dtype: DType,
    device: Device,
}

impl ParamStore {
    /// Parameters with their first values, drawn from `seed`.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a name occurs twice or an initialisation cannot be drawn.
    pub fn init(specs: &[ParamSpec], seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let mut store = Self { params: BTreeMap::new(), dtype, device: device.clone() };
        store.add(specs, seed)?;
        Ok(store)
    }

    /// Adds parameters, for instance those of adapters.
    ///
    /// # Errors
    /// As [`ParamStore::init`].
    pub fn add(&mut self, specs: &[ParamSpec], seed: u64) -> Result<()> {
        let streams = Streams::new(seed);
        for spec in specs {
            if self.params.contains_key(&spec.name) {
                let reason = "is in the store already".to_string();
                return Err(Error::Parameter { name: spec.name.clone(), reason });
            }
            let values = spec.init.values(&spec.name, spec.elements(), streams)?;
            let tensor = Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu)?;
            let tensor = tensor.to_device(&self.device)?.to_dtype(self.dtype)?;
            let param = Param { var: Var::from_tensor(&tensor)?, trainable: spec.trainable };
            self.params.insert(spec.name.clone(), param);
        }
        Ok(())
    }

    /// Decides anew what training changes: `rule` gets each name and its present state.
    ///
    /// Models built before keep the old state; build them again.
    pub fn set_trainable(&mut self, mut rule: impl FnMut(&str, bool) -> bool) {
        for (name, param) in &mut self.params {
            param.trainable = rule(name, param.trainable);
        }
    }

    /// Every parameter, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.params.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// The parameters training changes, sorted by name.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.iter().filter(|(_, param)| param.trainable).map(|(name, param)| (name, &param.var))
    }

    /// One parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.get(name)
    }

    /// Number of parameters (tensors).
    #[must_use]
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Number of values, of all parameters and of those training changes.
    #[must_use]
    pub fn elements(&self) -> (usize, usize) {
        self.iter().fold((0, 0), |(all, trained), (_, param)| {
            let count = param.var.elem_count();
            (all + count, trained + if param.trainable { count } else { 0 })
        })
    }

    /// Where the parameters live.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Their data type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Gives one parameter new values.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the name is unknown or the shape differs.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let fail = |reason: String| Error::Parameter { name: name.to_string(), reason };
        let param = self.get(name).ok_or_else(|| fail("is not in the store".to_string()))?;
        if param.var.shape() != value.shape() {
            return Err(fail(format!(
                "has shape {:?}, the new value {:?}",
                param.var.dims(),
                value.dims()
            )));
        }
        let value = value.to_device(&self.device)?.to_dtype(self.dtype)?.contiguous()?;
        Ok(param.var.set(&value)?)
    }

    /// Every parameter as a plain tensor sharing the store's memory, by name.
    #[must_use]
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let plain =
            |(name, param): (&String, &Param)| (name.clone(), param.var.as_detached_tensor());
        self.params.iter().map(plain).collect()
    }

    /// For building a model to train: trainable parameters are variables, frozen ones are not.
    #[must_use]
    pub fn var_builder(&self) -> VarBuilder<'static> {
        self.builder(|param| {
            if param.trainable {
                param.var.as_tensor().clone()
            } else {
                param.var.as_detached_tensor()
            }
        })
    }

    /// For building a model to evaluate: no variable, so nothing is recorded for a backward pass.
    #[must_use]
    pub fn frozen(&self) -> VarBuilder<'static> {
        self.builder(|param| param.var.as_detached_tensor())
    }

    fn builder(&self, view: impl Fn(&Param) -> Tensor) -> VarBuilder<'static> {
        let tensors = self.params.iter().map(|(name, param)| (name.clone(), view(param))).collect();
        VarBuilder::from_backend(Box::new(Backend { tensors }), self.dtype, self.device.clone())
    }
}

/// A store seen by `VarBuilder`. It never makes a parameter up: what is missing is an error.
struct Backend {
    tensors: BTreeMap<String, Tensor>,
}

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!(
                "parameter '{name}' has shape {:?}, the model needs {shape:?}",
                tensor.shape()
            );
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => candle_core::bail!("parameter '{name}' is not in the store"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
