use std::fmt;

use candle_core::backprop::GradStore;
use vit_models::ParamStore;

use crate::{Error, Result};

/// What the gradient-reach audit saw before the first step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Trainable, but no gradient arrives: the forward pass does not use it, or an operator
    /// without a backward pass is in the way.
    pub unreached: Vec<String>,
    /// Trainable, but its gradient holds NaN or infinity.
    pub non_finite: Vec<String>,
    /// Trainable, but its gradient is exactly zero, and nothing in the construction says so.
    pub zero: Vec<String>,
    /// Gradient exactly zero as the construction has it (LoRA's A while B is zero).
    pub zero_by_construction: Vec<String>,
    /// Frozen, but a gradient arrives.
    pub leaking: Vec<String>,
    /// Number of trainable parameters reached by a finite gradient.
    pub reached: usize,
}

impl AuditReport {
    /// Whether every tensor is treated as meant.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.unreached.is_empty()
            && self.non_finite.is_empty()
            && self.zero.is_empty()
            && self.leaking.is_empty()
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trainable tensors reached", self.reached)?;
        for (what, names) in [
            ("trainable but not reached by a gradient", &self.unreached),
            ("with NaN or infinity in the gradient", &self.non_finite),
            ("trainable with a gradient of exactly zero", &self.zero),
            ("frozen but reached by a gradient", &self.leaking),
            ("zero by construction", &self.zero_by_construction),
        ] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Compares the gradients of one backward pass with what the store says is trainable.
/// `zero_allowed` tells which gradients are exactly zero by construction.
///
/// # Errors
/// [`Error::Audit`] with the report when a tensor is not treated as meant.
pub fn audit_gradients(
    store: &ParamStore,
    grads: &GradStore,
    zero_allowed: impl Fn(&str) -> bool,
) -> Result<AuditReport> {
    let mut report = AuditReport::default();
    for (name, param) in store.iter() {
        let grad = grads.get(param.var().as_tensor());
        let list = match (param.trainable(), grad) {
            (false, None) => continue,
            (false, Some(_)) => &mut report.leaking,
            (true, None) => &mut report.unreached,
            (true, Some(grad)) => {
                let largest =
                    grad.abs()?.flatten_all()?.max(0)?.to_dtype(candle_core::DType::F64)?;
                // `max` may skip NaN, a sum does not.
                let sum = grad.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
                let largest = largest.to_scalar::<f64>()?;
                if !(largest.is_finite() && sum.is_finite()) {
                    &mut report.non_finite
                } else if largest > 0. {
                    report.reached += 1;
                    continue;
                } else if zero_allowed(name) {
                    &mut report.zero_by_construction
                } else {
                    &mut report.zero
                }
            }
        };
        list.push(name.to_string());
    }
    if report.passed() { Ok(report) } else { Err(Error::Audit(Box::new(report))) }
}
