//! Small data, a small model, and things that watch a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use vit_datasets::{
    Dataset, Loader, LoaderConfig, Phantom, PhantomConfig, PhantomFinding, Record, Sample, Target,
};
use vit_models::{Context, ParamStore, Pooling, Vit, VitConfig};
use vit_train::{
    EpochInfo, Evaluation, Gradients, LOG_FILE, Labels, Observer, Optimizer, ParamGroup, Result,
    Schedule, SkipInfo, StepInfo, Supervised, Task, TensorBatch, TrainerConfig,
};
use vit_transforms::{Image, Pipeline, Pixels};

pub(crate) const MEAN: [f32; 1] = [0.5];
pub(crate) const STD: [f32; 1] = [0.25];

pub(crate) fn phantom(len: usize) -> Arc<dyn Dataset> {
    let findings = vec![PhantomFinding::Disc];
    let config = PhantomConfig { len, findings, ..PhantomConfig::default() };
    Arc::new(Phantom::new(config).unwrap())
}

/// Batches in the order of the data set, without augmentation.
pub(crate) fn plain(data: Arc<dyn Dataset>, batch_size: usize) -> Loader {
    let pipeline = Pipeline::evaluation(32, 1, &MEAN, &STD).unwrap();
    let config = LoaderConfig { batch_size, workers: 0, ..LoaderConfig::default() };
    Loader::new(data, Arc::new(pipeline), config).unwrap()
}

/// Shuffled batches of augmented pictures.
pub(crate) fn shuffled(data: Arc<dyn Dataset>, batch_size: usize, workers: usize) -> Loader {
    let pipeline = Pipeline::finetune_train(32, 1, &MEAN, &STD).unwrap();
    let config =
        LoaderConfig { batch_size, workers, shuffle: true, seed: 3, ..LoaderConfig::default() };
    Loader::new(data, Arc::new(pipeline), config).unwrap()
}

pub(crate) fn vit(classes: usize) -> VitConfig {
    VitConfig {
        in_chans: 1,
        embed_dim: 16,
        depth: 2,
        num_heads: 2,
        mlp_ratio: 2.,
        ..VitConfig::vit_tiny(8, 32)
    }
    .classifier(classes, Pooling::GlobalPool)
}

pub(crate) fn store(config: &VitConfig) -> ParamStore {
    ParamStore::init(&Vit::specs(config).unwrap(), 1, DType::F32, &Device::Cpu).unwrap()
}

pub(crate) fn single(classes: &[&str]) -> Labels {
    let classes = classes.iter().map(ToString::to_string).collect();
    Labels::Single { classes, smoothing: 0., class_weights: None }
}

pub(crate) fn supervised(
    config: &VitConfig,
    store: &ParamStore,
    labels: Labels,
) -> Supervised<Vit> {
    let train = Vit::new(config, &store.var_builder()).unwrap();
    let eval = Vit::new(config, &store.frozen()).unwrap();
    Supervised::new(train, eval, labels).unwrap()
}

/// A task with two classes, as [`phantom`] has them.
pub(crate) fn two_classes(config: &VitConfig, store: &ParamStore) -> Supervised<Vit> {
    supervised(config, store, single(&["normal", "disc"]))
}

/// A constant rate, so that runs with other numbers of updates can be compared.
pub(crate) fn config(epochs: u64) -> TrainerConfig {
    TrainerConfig {
        epochs,
        schedule: Schedule { lr: 1e-2, min_lr: 1e-2, warmup_epochs: 0., epochs: epochs as f64 },
        accum_iter: 1,
        clip_grad: None,
        seed: 5,
        max_skipped_in_row: 3,
        checkpoint_every: 0,
        grad_checkpointing: false,
        selection: None,
    }
}

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// All values of named tensors, as bits: equal only if equal to the last digit, NaN included.
pub(crate) type Bits = BTreeMap<String, Vec<u32>>;

pub(crate) fn bits(tensors: &BTreeMap<String, Tensor>) -> Bits {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

pub(crate) fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The lines of a run's log.
pub(crate) fn log(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(read(folder, LOG_FILE)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Plain gradient descent that keeps what it was given.
pub(crate) struct Recorder {
    groups: Vec<ParamGroup>,
    pub(crate) seen: Vec<(Gradients, f64)>,
}

impl Recorder {
    pub(crate) fn new(store: &ParamStore) -> Self {
        Self { groups: vit_train::pretrain_groups(store, 0.), seen: Vec::new() }
    }

    /// The gradient of one update, scale included.
    pub(crate) fn gradient(&self, update: usize) -> BTreeMap<String, Vec<f32>> {
        let (gradients, scale) = &self.seen[update];
        let values = |grad: &Tensor| (grad * *scale).unwrap().flatten_all().unwrap().to_vec1();
        gradients.iter().map(|(name, grad)| (name.clone(), values(grad).unwrap())).collect()
    }
}

impl Optimizer for Recorder {
    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn step(&mut self, grads: Gradients, lr: f64, grad_scale: f64) -> Result<()> {
        for (name, var) in self.groups.iter().flat_map(|group| &group.params) {
            var.set(&(var.as_tensor() - (&grads[name] * (lr * grad_scale))?)?)?;
        }
        self.seen.push((grads.clone(), grad_scale));
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.seen.len() as u64
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::new()
    }

    fn load_state(&mut self, _: &BTreeMap<String, Tensor>, _: u64) -> Result<()> {
        panic!("these runs are not resumed")
    }
}

/// Keeps what it was told; looks at the parameters as it is told it.
#[derive(Default)]
pub(crate) struct Watch {
    /// Shares its memory with the model.
    pub(crate) store: Option<ParamStore>,
    pub(crate) steps: Vec<StepInfo>,
    pub(crate) skips: Vec<SkipInfo>,
    pub(crate) epochs: Vec<EpochInfo>,
    /// Parameters at the end of each epoch.
    pub(crate) at_epochs: Vec<Bits>,
    /// Parameters after every update and every skipped batch, `true` for the skipped.
    pub(crate) trace: Vec<(bool, Bits)>,
}

impl Watch {
    pub(crate) fn of(store: &ParamStore) -> Self {
        Self { store: Some(store.clone()), ..Self::default() }
    }

    fn look(&self) -> Bits {
        self.store.as_ref().map(|store| bits(&store.tensors())).unwrap_or_default()
    }
}

impl Observer for Watch {
    fn step(&mut self, info: &StepInfo) -> ControlFlow<()> {
        self.steps.push(info.clone());
        self.trace.push((false, self.look()));
        ControlFlow::Continue(())
    }

    fn skipped(&mut self, info: &SkipInfo) {
        self.skips.push(info.clone());
        self.trace.push((true, self.look()));
    }

    fn epoch(&mut self, info: &EpochInfo) {
        self.epochs.push(info.clone());
        self.at_epochs.push(self.look());
    }
}

/// What a [`Scripted`] task does to its loss.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The loss is NaN.
    Loss,
    /// The loss is as it was, the gradient of the head's bias is infinite.
    Gradient,
}

/// A task whose loss goes wrong and whose evaluation says what the test wants.
pub(crate) struct Scripted<'a> {
    pub(crate) inner: &'a dyn Task,
    pub(crate) store: &'a ParamStore,
    /// From (epoch, batch), in training only: the audit sees a sound loss.
    pub(crate) fault: fn(u64, usize) -> Fault,
    /// One result per evaluation, in order; what the inner task says where the list is empty.
    pub(crate) evaluations: Rc<RefCell<Vec<Evaluation>>>,
}

impl<'a> Scripted<'a> {
    pub(crate) fn faulty(
        inner: &'a dyn Task,
        store: &'a ParamStore,
        fault: fn(u64, usize) -> Fault,
    ) -> Self {
        Self { inner, store, fault, evaluations: Rc::default() }
    }

    pub(crate) fn judged(
        inner: &'a dyn Task,
        store: &'a ParamStore,
        evaluations: Vec<Evaluation>,
    ) -> Self {
        let evaluations = Rc::new(RefCell::new(evaluations));
        Self { inner, store, fault: |_, _| Fault::None, evaluations }
    }
}

impl Task for Scripted<'_> {
    fn loss(&self, batch: &TensorBatch, ctx: &Context) -> Result<Tensor> {
        let loss = self.inner.loss(batch, ctx)?;
        let fault =
            if ctx.is_train() { (self.fault)(batch.epoch, batch.number) } else { Fault::None };
        Ok(match fault {
            Fault::None => loss,
            Fault::Loss => (loss * f64::NAN)?,
            Fault::Gradient => {
                // The root of a zero that depends on the bias: 0, with an infinite slope.
                let bias = self.store.get("head.bias").unwrap().var().as_tensor();
                let zero = (bias.sum_all()? - bias.detach().sum_all()?)?;
                (loss + zero.sqrt()?)?
            }
        })
    }

    fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = Result<TensorBatch>>,
    ) -> Result<Evaluation> {
        let mut script = self.evaluations.borrow_mut();
        if script.is_empty() {
            return self.inner.evaluate(batches);
        }
        Ok(script.remove(0))
    }
}

/// Grey pictures of 32 pixels with targets of the test's choice.
pub(crate) struct Toy {
    task: vit_datasets::Task,
    targets: Vec<Target>,
}

impl Toy {
    pub(crate) fn shared(targets: Vec<Target>) -> Arc<dyn Dataset> {
        Arc::new(Self { task: vit_datasets::Task::Unlabelled, targets })
    }
}

impl Dataset for Toy {
    fn len(&self) -> usize {
        self.targets.len()
    }

    fn task(&self) -> &vit_datasets::Task {
        &self.task
    }

    fn record(&self, index: usize) -> vit_datasets::Result<Record> {
        let target = self.targets[index].clone();
        Ok(Record { id: format!("toy/{index}"), group: format!("g{index}"), target })
    }

    fn get(&self, index: usize) -> vit_datasets::Result<Sample> {
        let pixels = (0..32 * 32).map(|i| ((i * (index + 3)) % 251) as u8).collect();
        let image = Image::new(32, 32, 1, Pixels::U8(pixels)).unwrap();
        Ok(Sample { record: self.record(index)?, image })
    }
}
