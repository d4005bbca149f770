use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, TensorId, Var, bail};

use crate::cpu::columns;
use crate::cpu::values::served;

/// Gradients of variables over one or more backward passes.
///
/// [`Tensor::backward`] makes every gradient by clearing a new tensor and adding to it, and keeps
/// all of them. Here the fused operators hand over the gradients of variables directly, without
/// either, and further passes add to what is there in place. [`GradAccumulator::take`] gives a
/// gradient away, so that its memory can be freed as soon as an optimiser has used it.
#[derive(Debug, Default)]
pub struct GradAccumulator {
    grads: HashMap<TensorId, Tensor>,
}

thread_local! {
    /// The pass that runs on this thread.
    static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
}

struct Pass {
    wanted: HashSet<TensorId>,
    grads: HashMap<TensorId, Tensor>,
}

/// Takes a variable's gradient, if the pass on this thread wants it; otherwise gives it back.
pub(crate) fn collect(input: &Tensor, grad: Tensor) -> Result<Option<Tensor>> {
    if !input.is_variable() {
        return Ok(Some(grad));
    }
    PASS.with_borrow_mut(|pass| match pass {
        Some(pass) if pass.wanted.contains(&input.id()) => {
            add(&mut pass.grads, input.id(), grad)?;
            Ok(None)
        }
        _ => Ok(Some(grad)),
    })
}

/// Runs a backward pass within another one: its gradients are its caller's.
pub(crate) fn suspended<R>(f: impl FnOnce() -> R) -> R {
    let outer = PASS.take();
    let result = f();
    PASS.set(outer);
    result
}

fn add(grads: &mut HashMap<TensorId, Tensor>, id: TensorId, grad: Tensor) -> Result<()> {
    let sum = match grads.remove(&id) {
        None => grad,
        Some(sum) if served(&[&sum, &grad]) && sum.is_contiguous() => {
            sum.inplace_op2(&grad.contiguous()?, &Add)?;
            sum
        }
        Some(sum) => (sum + grad)?,
    };
    grads.insert(id, sum);
    Ok(())
}

impl GradAccumulator {
    /// Without gradients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the backward pass of `loss` and adds the gradients of `variables` to those there.
    /// Gradients of other variables are dropped.
    ///
    /// # Errors
    /// Whatever an operator reports; all gradients, those of earlier passes too, are gone then.
    pub fn backward<'a>(
        &mut self,
        loss: &Tensor,
        variables: impl IntoIterator<Item = &'a Var>,
    ) -> Result<()> {
        let variables: Vec<&Var> = variables.into_iter().collect();
        let wanted = variables.iter().map(|var| var.as_tensor().id()).collect();
        let pass = Pass { wanted, grads: std::mem::take(&mut self.grads) };
        PASS.set(Some(pass));
        let store = loss.backward();
        let mut grads = PASS.take().map(|pass| pass.grads).unwrap_or_default();
        // What other operators than ours reached.
        let mut store = store?;
        for var in variables {
            if let Some(grad) = store.remove(var.as_tensor()) {
                add(&mut grads, var.as_tensor().id(), grad)?;
            }
        }
        self.grads = grads;
        Ok(())
    }

    /// The gradient of a variable.
    #[must_use]
    pub fn get(&self, variable: &Var) -> Option<&Tensor> {
        self.grads.get(&variable.as_tensor().id())
    }

    /// The gradient of a variable, taken out.
    pub fn take(&mut self, variable: &Var) -> Option<Tensor> {
        self.grads.remove(&variable.as_tensor().id())
    }

    /// Whether no variable has a gradient.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grads.is_empty()
    }
}

/// `a += b`.
struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add-gradient"
    }

    fn cpu_fwd(&self, a: &mut CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<()> {
        match (a, al.contiguous_offsets(), b, bl.contiguous_offsets()) {
            (CpuStorage::F32(a), Some((a0, a1)), CpuStorage::F32(b), Some((b0, b1)))
                if a1 - a0 == b1 - b0 =>
            {
                columns::add(&mut a[a0..a1], &b[b0..b1]);
                Ok(())
            }
            _ => bail!("gradients of {:?} and {:?} cannot be added", al.shape(), bl.shape()),
        }
    }
}
