use candle_core::{Result, Tensor, Var};

use crate::gradients::suspended;
use crate::record::record_tensor;

/// Activation checkpointing (Chen et al., arXiv 1604.06174): the value of `f(inputs)`, computed
/// again in the backward pass instead of kept with all that leads to it.
///
/// `f` must be a pure function of its argument and of constants: a variable that it captures
/// instead of taking from its argument gets no gradient. Works on any device and data type; the
/// gradients are those of `f` without checkpointing, to the bit where its operators are
/// deterministic.
///
/// # Errors
/// What `f` reports.
pub fn checkpoint(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let detached: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let output = f(&detached)?;
    drop(detached);
    let kept: Vec<Tensor> = inputs.iter().map(|&input| input.clone()).collect();
    let nodes: Vec<Option<&Tensor>> = inputs.iter().map(|&input| Some(input)).collect();
    record_tensor("checkpoint", &output, &nodes, move |grad: &Tensor| {
        // Variables stand for themselves; what was computed starts a graph of its own here.
        let leaf = |input: &Tensor| match input.track_op() && !input.is_variable() {
            true => Ok(Var::from_tensor(&input.detach())?.into_inner()),
            false => Ok(input.clone()),
        };
        let leaves = kept.iter().map(leaf).collect::<Result<Vec<_>>>()?;
        let target = (f(&leaves)? * grad)?.sum_all()?;
        let mut grads = suspended(|| target.backward())?;
        let grad = |leaf: &Tensor| match leaf.is_variable() {
            true => grads.remove(leaf).map_or_else(|| leaf.zeros_like(), Ok).map(Some),
            false => Ok(None),
        };
        leaves.iter().map(grad).collect()
    })
}
