//! Fused operators as nodes of candle's graph.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape,
    Storage, Tensor, bail,
};

use crate::cpu::values::tensor;
use crate::gradients::collect;

/// From the gradient of an operator's output, which is contiguous, to those of its inputs: one for
/// each input given to [`record`]; `None` for an input that is missing or not tracked.
///
/// A gradient must be a new tensor, not one that shares memory with another.
pub(crate) trait Backward: Send + Sync {
    /// `output` is what the operator gave.
    fn backward(&self, output: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>>;
}

impl<F: Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync> Backward for F {
    fn backward(&self, _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        self(grad)
    }
}

/// A [`Backward`] that reads the operator's output, which so needs no copy.
pub(crate) struct WithOutput<F>(pub(crate) F);

impl<F> Backward for WithOutput<F>
where
    F: Fn(&Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync,
{
    fn backward(&self, output: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        self.0(output, grad)
    }
}

/// Puts values that were computed outside of candle into its graph; `None` stands for an optional
/// input that is not there.
///
/// candle knows operators of up to three inputs. Of more, the first two hang on the operator's
/// node, the rest on a chain of empty nodes behind it, which hand over the gradients that the
/// operator's backward pass computed. So `Tensor::backward` gives every gradient, as ever.
pub(crate) fn record(
    name: &'static str,
    values: Vec<f32>,
    shape: impl Into<Shape>,
    inputs: &[Option<&Tensor>],
    backward: impl Backward + 'static,
) -> Result<Tensor> {
    put(name, Output::Values(values, shape.into()), inputs, backward)
}

/// [`record`] of a tensor without a graph, on any device and of any data type; its values are
/// copied.
pub(crate) fn record_tensor(
    name: &'static str,
    output: &Tensor,
    inputs: &[Option<&Tensor>],
    backward: impl Backward + 'static,
) -> Result<Tensor> {
    put(name, Output::Tensor(output.contiguous()?.detach()), inputs, backward)
}

fn put(
    name: &'static str,
    output: Output,
    inputs: &[Option<&Tensor>],
    backward: impl Backward + 'static,
) -> Result<Tensor> {
    let tracked: Vec<(usize, Tensor)> = inputs
        .iter()
        .enumerate()
        .filter_map(|(place, input)| Some((place, (*input)?.clone())))
        .filter(|(_, input)| input.track_op())
        .collect();
    let shared = Arc::new(Shared { name, backward: Box::new(backward), grads: Mutex::default() });
    let node = Node {
        shared: shared.clone(),
        output: Mutex::new(Some(output)),
        first: true,
        places: Vec::new(),
    };
    apply(node, &tracked)
}

/// What the nodes of one operator have in common.
struct Shared {
    name: &'static str,
    backward: Box<dyn Backward>,
    /// Gradients computed but not handed over yet.
    grads: Mutex<Vec<Option<Tensor>>>,
}

/// What the forward pass hands to candle.
enum Output {
    Values(Vec<f32>, Shape),
    Tensor(Tensor),
}

struct Node {
    shared: Arc<Shared>,
    output: Mutex<Option<Output>>,
    /// Whether this is the operator's own node and not one of the chain behind.
    first: bool,
    /// Which inputs of the operator this node's inputs are; the chain's next node has none.
    places: Vec<Option<usize>>,
}

fn apply(mut node: Node, inputs: &[(usize, Tensor)]) -> Result<Tensor> {
    node.places = inputs.iter().map(|(place, _)| Some(*place)).collect();
    match inputs {
        [] => match node.take()? {
            Output::Values(values, shape) => tensor(values, shape),
            Output::Tensor(tensor) => Ok(tensor),
        },
        [(_, a)] => a.apply_op1(node),
        [(_, a), (_, b)] => a.apply_op2(b, node),
        [(_, a), (_, b), (_, c)] => a.apply_op3(b, c, node),
        [(_, a), (_, b), rest @ ..] => {
            let next = Node {
                shared: node.shared.clone(),
                output: Mutex::new(Some(link(&rest[0].1)?)),
                first: false,
                places: Vec::new(),
            };
            let next = apply(next, rest)?;
            node.places.truncate(2);
            node.places.push(None);
            a.apply_op3(b, &next, node)
        }
    }
}

/// The value of a node of the chain, of which only the place in the graph counts.
fn link(like: &Tensor) -> Result<Output> {
    Ok(Output::Tensor(Tensor::zeros(1, like.dtype(), like.device())?))
}

impl Node {
    fn take(&self) -> Result<Output> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        match output.take() {
            Some(output) => Ok(output),
            None => bail!("{}: its node was applied twice", self.shared.name),
        }
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Output::Values(values, shape)) =
            output.take_if(|output| matches!(output, Output::Values(..)))
        {
            return Ok((CpuStorage::F32(values), shape));
        }
        drop(output);
        self.on_device(|storage| match storage {
            Storage::Cpu(storage) => Some(storage),
            _ => None,
        })
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.on_device(|storage| match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        })
    }

    fn on_metal(&self) -> Result<(MetalStorage, Shape)> {
        self.on_device(|storage| match storage {
            Storage::Metal(storage) => Some(storage),
            _ => None,
        })
    }

    /// A copy of the output, which must be a tensor on the device that `kind` is of.
    fn on_device<S: BackendStorage>(
        &self,
        kind: impl Fn(&Storage) -> Option<&S>,
    ) -> Result<(S, Shape)> {
        let Output::Tensor(tensor) = self.take()? else {
            bail!("{}: its output is on the CPU", self.shared.name)
        };
        let (storage, layout) = tensor.storage_and_layout();
        match kind(&storage) {
            Some(storage) => Ok((storage.try_clone(layout)?, tensor.shape().clone())),
            None => bail!("{}: its output is on another device", self.shared.name),
        }
    }

    /// The gradients of this node's inputs, less those the collector takes.
    fn grads<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let mut waiting = self.shared.grads.lock().unwrap_or_else(PoisonError::into_inner);
        if self.first {
            *waiting = self.shared.backward.backward(output, &grad.contiguous()?)?;
        }
        let mut out = [const { None }; N];
        for ((slot, input), place) in out.iter_mut().zip(inputs).zip(&self.places) {
            *slot = match place {
                // candle insists on a gradient for every node it walks through.
                None => Some(input.zeros_like()?),
                Some(place) => {
                    let grad = waiting.get_mut(*place).and_then(Option::take);
                    let Some(grad) = grad else {
                        bail!("{}: no gradient for its input {place}", self.shared.name)
                    };
                    collect(input, grad)?
                }
            };
        }
        Ok(out)
    }
}

impl CustomOp1 for Node {
    fn name(&self) -> &'static str {
        self.shared.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, a: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.grads([a], y, grad)?;
        Ok(a)
    }
}

impl CustomOp2 for Node {
    fn name(&self) -> &'static str {
        self.shared.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.grads([a, b], y, grad)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Node {
    fn name(&self) -> &'static str {
        self.shared.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.grads([a, b, c], y, grad)?;
        Ok((a, b, c))
    }
}
