use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use vit_kernels::{AdamWStep, adamw_step};

use crate::{Error, ParamGroup, Result};

/// Gradients by parameter name.
pub type Gradients = BTreeMap<String, Tensor>;

/// Changes parameters by their gradients.
pub trait Optimizer {
    /// The parameters and their groups.
    fn groups(&self) -> &[ParamGroup];

    /// One update. `lr` is the schedule's rate, before each group's scale; `grad_scale` multiplies
    /// every gradient (clipping, mean over micro-batches). Each gradient is freed once used.
    ///
    /// # Errors
    /// When a parameter of a group has no gradient; nothing has changed then.
    fn step(&mut self, grads: Gradients, lr: f64, grad_scale: f64) -> Result<()>;

    /// Number of updates so far.
    fn steps(&self) -> u64;

    /// The optimiser's memory as named tensors, for a checkpoint.
    fn state(&self) -> BTreeMap<String, Tensor>;

    /// Takes the memory back, exactly.
    ///
    /// # Errors
    /// [`Error::Config`] when a tensor is missing or of another shape; nothing has changed then.
    fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()>;
}

/// Settings of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the moments: (0.9, 0.95) in pre-training, (0.9, 0.999) in fine-tuning.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl AdamWConfig {
    /// MAE's pre-training: betas 0.9 and 0.95.
    #[must_use]
    pub fn pretrain() -> Self {
        Self { betas: (0.9, 0.95), eps: 1e-8 }
    }

    /// Fine-tuning: betas 0.9 and 0.999.
    #[must_use]
    pub fn finetune() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8 }
    }
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) over parameter groups, with its memory in the
/// open.
pub struct AdamW {
    config: AdamWConfig,
    groups: Vec<ParamGroup>,
    moments: BTreeMap<String, Moments>,
    steps: u64,
}

struct Moments {
    first: Var,
    second: Var,
}

impl AdamW {
    /// An optimiser without memory yet.
    ///
    /// # Errors
    /// [`Error::Config`] when there is nothing to optimise.
    pub fn new(groups: Vec<ParamGroup>, config: AdamWConfig) -> Result<Self> {
        let pairs = zeros(&groups)?.into_iter().zip(zeros(&groups)?.into_values());
        let pair = |((name, first), second)| (name, Moments { first, second });
        let moments = pairs.map(pair).collect();
        Ok(Self { config, groups, moments, steps: 0 })
    }
}

impl Optimizer for AdamW {
    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn step(&mut self, mut grads: Gradients, lr: f64, grad_scale: f64) -> Result<()> {
        every_gradient(self.moments.keys(), &grads)?;
        self.steps += 1;
        for group in &self.groups {
            let step = AdamWStep {
                lr: lr * group.lr_scale,
                betas: self.config.betas,
                eps: self.config.eps,
                weight_decay: group.weight_decay,
                step: self.steps,
                grad_scale,
            };
            for (name, var) in &group.params {
                let (Some(grad), Some(moments)) = (grads.remove(name), self.moments.get(name))
                else {
                    continue;
                };
                adamw_step(var, &moments.first, &moments.second, &grad, &step)?;
            }
        }
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        let named = |(name, moments): (&String, &Moments)| {
            [
                (format!("first.{name}"), moments.first.as_detached_tensor()),
                (format!("second.{name}"), moments.second.as_detached_tensor()),
            ]
        };
        self.moments.iter().flat_map(named).collect()
    }

    fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        let vars = self.moments.iter().flat_map(|(name, moments)| {
            [(format!("first.{name}"), &moments.first), (format!("second.{name}"), &moments.second)]
        });
        restore(vars, state)?;
        self.steps = steps;
        Ok(())
    }
}

/// An error, before anything moves, unless every parameter has a gradient.
pub(crate) fn every_gradient<'a>(
    mut names: impl Iterator<Item = &'a String>,
    grads: &Gradients,
) -> Result<()> {
    match names.find(|name| !grads.contains_key(*name)) {
        Some(name) => Err(Error::Config(format!("parameter '{name}' has no gradient"))),
        None => Ok(()),
    }
}

/// Gives an optimiser's tensors their saved values. Everything is looked at before anything is
/// changed.
pub(crate) fn restore<'a>(
    vars: impl Iterator<Item = (String, &'a Var)>,
    state: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let mut taken = Vec::new();
    for (key, var) in vars {
        let Some(saved) = state.get(&key).filter(|saved| saved.shape() == var.shape()) else {
            return Err(Error::Config(format!(
                "the optimiser's memory '{key}' is missing or of another shape"
            )));
        };
        taken.push((var, saved.contiguous()?));
    }
    for (var, saved) in taken {
        var.set(&saved)?;
    }
    Ok(())
}

/// A zero tensor for each parameter of the groups, by name.
///
/// # Errors
/// [`Error::Config`] when there is no parameter.
pub(crate) fn zeros(groups: &[ParamGroup]) -> Result<BTreeMap<String, Var>> {
    let zero =
        |(name, var): (&String, &Var)| Ok((name.clone(), Var::from_tensor(&var.zeros_like()?)?));
    let zeros: BTreeMap<String, Var> =
        groups.iter().flat_map(|group| &group.params).map(zero).collect::<Result<_>>()?;
    if zeros.is_empty() {
        return Err(Error::Config("no parameter is trainable".to_string()));
    }
    Ok(zeros)
}

/// The L2 norm over all gradients together.
///
/// # Errors
/// Whatever candle reports.
pub fn global_norm(grads: &Gradients) -> Result<f64> {
    let mut sum = 0.;
    for grad in grads.values() {
        sum += vit_kernels::sum_of_squares(grad)?;
    }
    Ok(sum.sqrt())
}
