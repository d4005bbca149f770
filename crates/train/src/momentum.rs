use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use vit_kernels::{SgdStep, lars_step, sgd_step};

use crate::optimizer::{every_gradient, restore, zeros};
use crate::{Gradients, Optimizer, ParamGroup, Result};

/// Settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// Share of the last update that is kept.
    pub momentum: f64,
    /// With a trust coefficient it is LARS (You, Gitman and Ginsburg, arXiv 1708.03888).
    pub trust: Option<f64>,
}

impl SgdConfig {
    /// Plain momentum of 0.9.
    #[must_use]
    pub fn sgd() -> Self {
        Self { momentum: 0.9, trust: None }
    }

    /// LARS as MAE's linear probe has it: momentum 0.9, trust coefficient 0.001.
    #[must_use]
    pub fn lars() -> Self {
        Self { momentum: 0.9, trust: Some(0.001) }
    }
}

/// Stochastic gradient descent with momentum, or LARS, over parameter groups.
pub struct Sgd {
    config: SgdConfig,
    groups: Vec<ParamGroup>,
    buffers: BTreeMap<String, Var>,
    steps: u64,
}

impl Sgd {
    /// An optimiser without memory yet.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when there is nothing to optimise.
    pub fn new(groups: Vec<ParamGroup>, config: SgdConfig) -> Result<Self> {
        let buffers = zeros(&groups)?;
        Ok(Self { config, groups, buffers, steps: 0 })
    }
}

impl Optimizer for Sgd {
    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn step(&mut self, mut grads: Gradients, lr: f64, grad_scale: f64) -> Result<()> {
        every_gradient(self.buffers.keys(), &grads)?;
        self.steps += 1;
        for group in &self.groups {
            let step = SgdStep {
                lr: lr * group.lr_scale,
                momentum: self.config.momentum,
                weight_decay: group.weight_decay,
                grad_scale,
            };
            for (name, var) in &group.params {
                let (Some(grad), Some(buffer)) = (grads.remove(name), self.buffers.get(name))
                else {
                    continue;
                };
                match self.config.trust {
                    Some(trust) => lars_step(var, buffer, &grad, trust, &step)?,
                    None => sgd_step(var, buffer, &grad, &step)?,
                }
            }
        }
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        let named = |(name, buffer): (&String, &Var)| {
            (format!("momentum.{name}"), buffer.as_detached_tensor())
        };
        self.buffers.iter().map(named).collect()
    }

    fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        let vars = self.buffers.iter().map(|(name, var)| (format!("momentum.{name}"), var));
        restore(vars, state)?;
        self.steps = steps;
        Ok(())
    }
}
