//! The jobs, built from the library's public interface.

use anyhow::{Context as _, Result, bail};
use mae_pretrain::{Mae, MaeConfig, MaeTask};
use vit_datasets::Target;
use vit_kernels::GradAccumulator;
use vit_lora::{LoraConfig, attach, mark_only_lora_trainable};
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Classifier, Context, ParamStore, Pooling, Preset, Vit, VitConfig};
use vit_random::Streams;
use vit_train::{
    AdamW, AdamWConfig, Gradients, Labels, Optimizer, Supervised, Task, TensorBatch, cross_entropy,
    global_norm, layer_decay_groups, pretrain_groups,
};

use super::cnn::Network;
use super::{Job, Setting};

/// Classes of the classifiers.
pub(crate) const CLASSES: usize = 1000;
/// Rank of the adapters; their alpha is twice that.
pub(crate) const LORA_RANK: usize = 8;
const LEARNING_RATE: f64 = 1e-4;
const WEIGHT_DECAY: f64 = 0.05;
const LAYER_DECAY: f64 = 0.75;
const SEED: u64 = 0;

/// The classifier of a setting: `vit_base_patch16` is preset `vit_base` with patches of 16.
pub(crate) fn vit_config(setting: &Setting) -> Result<VitConfig> {
    Ok(encoder(setting)?.classifier(CLASSES, Pooling::ClassToken))
}

/// The masked auto-encoder of a setting, with the published decoder.
pub(crate) fn mae_config(setting: &Setting) -> Result<MaeConfig> {
    Ok(MaeConfig { norm_pix_loss: true, ..MaeConfig::new(encoder(setting)?) })
}

fn encoder(setting: &Setting) -> Result<VitConfig> {
    let mut config = Preset::by_name(&setting.model)?.config;
    config.img_size = setting.img_size.into();
    config.check()?;
    Ok(config)
}

/// A job that is ready to run.
pub(crate) enum Work {
    Infer { model: Box<dyn Classifier>, parameters: (usize, usize), batch: TensorBatch },
    Train(Box<Training>),
    Update { optimizer: AdamW, gradients: Gradients, parameters: (usize, usize) },
}

/// Everything a training step needs.
pub(crate) struct Training {
    task: Box<dyn Task>,
    store: ParamStore,
    optimizer: AdamW,
    batch: TensorBatch,
    checkpointing: bool,
}

impl Training {
    /// Number of values of all parameters and of trained ones. Running statistics are no
    /// parameters.
    fn parameters(&self) -> (usize, usize) {
        let values = |(_, param): (&str, &vit_models::Param)| param.var().elem_count();
        let running = self.store.iter().filter(|(name, _)| name.contains(".running_"));
        let running: usize = running.map(values).sum();
        let (all, trained) = self.store.elements();
        (all - running, trained)
    }
}

/// What a step leaves behind.
pub(crate) enum Output {
    Logits(Tensor),
    Loss(f64),
    Nothing,
}

impl Work {
    pub(crate) fn new(setting: &Setting) -> Result<Self> {
        if let Some(network) = Network::of(setting)? {
            return Self::of_network(setting, &network);
        }
        match setting.job {
            Job::Infer => {
                let config = vit_config(setting)?;
                let store = init(&Vit::specs(&config)?)?;
                let model = Box::new(Vit::new(&config, &store.frozen())?);
                Ok(Self::Infer {
                    model,
                    parameters: (store.elements().0, 0),
                    batch: batch(setting)?,
                })
            }
            Job::Train => Ok(Self::Train(Box::new(classifier(setting, None)?))),
            Job::Lora => {
                let lora = LoraConfig {
                    alpha: 2. * LORA_RANK as f64,
                    dropout: 0.,
                    ..LoraConfig::with_rank(LORA_RANK)
                };
                Ok(Self::Train(Box::new(classifier(setting, Some(&lora))?)))
            }
            Job::Mae => Ok(Self::Train(Box::new(mae(setting)?))),
            Job::Adamw => Self::update(classifier(setting, None)?),
        }
    }

    fn of_network(setting: &Setting, network: &Network) -> Result<Self> {
        match setting.job {
            Job::Infer => {
                let store = init(&network.specs()?)?;
                let model = network.model(&store.frozen())?;
                // Running statistics are no parameters.
                let parameters = (store.elements().1, 0);
                Ok(Self::Infer { model, parameters, batch: batch(setting)? })
            }
            Job::Adamw => Self::update(network_classifier(setting, network)?),
            _ => Ok(Self::Train(Box::new(network_classifier(setting, network)?))),
        }
    }

    fn update(training: Training) -> Result<Self> {
        let mut gradients = Gradients::new();
        for (name, var) in training.store.trainable() {
            gradients.insert(name.to_string(), (var.as_tensor() * 1e-2)?.detach());
        }
        let parameters = training.parameters();
        Ok(Self::Update { optimizer: training.optimizer, gradients, parameters })
    }

    /// Number of values of all parameters and of trained ones.
    pub(crate) fn parameters(&self) -> (usize, usize) {
        match self {
            Self::Infer { parameters, .. } | Self::Update { parameters, .. } => *parameters,
            Self::Train(training) => training.parameters(),
        }
    }

    /// What is timed.
    pub(crate) fn step(&mut self) -> Result<Output> {
        match self {
            Self::Infer { model, batch, .. } => {
                Ok(Output::Logits(model.logits(&batch.images, &Context::eval())?))
            }
            Self::Train(training) => Ok(Output::Loss(step(training)?)),
            Self::Update { optimizer, gradients, .. } => {
                optimizer.step(gradients.clone(), LEARNING_RATE, 1.)?;
                Ok(Output::Nothing)
            }
        }
    }

    /// The loss after a step, to see that something sensible was computed.
    pub(crate) fn loss(&self, output: Output) -> Result<Option<f64>> {
        Ok(match (self, output) {
            (Self::Infer { batch, .. }, Output::Logits(logits)) => {
                let loss = cross_entropy(&logits, &batch.classes(CLASSES)?, 0., None)?;
                Some(loss.to_dtype(DType::F64)?.to_scalar()?)
            }
            (_, Output::Loss(loss)) => Some(loss),
            _ => None,
        })
    }
}

/// One training step, as `vit_train::Trainer` takes it with one batch per update: forward, loss
/// read and checked, backward, norm of the gradient read and checked, update. Nothing else in the
/// benchmarks takes gradients.
fn step(training: &mut Training) -> Result<f64> {
    let Training { task, store, optimizer, batch, .. } = training;
    let ctx = Context::train(Streams::new(SEED), batch.epoch, &batch.samples)
        .with_grad_checkpointing(training.checkpointing);
    let loss = task.loss(batch, &ctx)?;
    let value: f64 = loss.to_dtype(DType::F64)?.to_scalar()?;
    let mut grads = GradAccumulator::new();
    grads.backward(&loss, store.trainable().map(|(_, var)| var))?;
    drop(loss);
    let mut gradients = Gradients::new();
    for (name, var) in store.trainable() {
        let grad = grads.take(var);
        let grad = grad.with_context(|| format!("no gradient reaches '{name}'"))?;
        gradients.insert(name.to_string(), grad);
    }
    let norm = global_norm(&gradients)?;
    if !value.is_finite() || !norm.is_finite() {
        bail!("loss {value}, norm of the gradient {norm}");
    }
    optimizer.step(gradients, LEARNING_RATE, 1.)?;
    // Another epoch, another mask.
    batch.epoch += 1;
    Ok(value)
}

fn init(specs: &[vit_models::ParamSpec]) -> Result<ParamStore> {
    Ok(ParamStore::init(specs, SEED, DType::F32, &Device::Cpu)?)
}

fn classifier(setting: &Setting, lora: Option<&LoraConfig>) -> Result<Training> {
    let config = vit_config(setting)?;
    let specs = Vit::specs(&config)?;
    let mut store = init(&specs)?;
    if let Some(lora) = lora {
        store.add(&vit_lora::specs(&specs, lora)?, SEED)?;
        mark_only_lora_trainable(&mut store, &[])?;
    }
    let build = |vb| -> Result<Vit> {
        let mut model = Vit::new(&config, &vb)?;
        if let Some(lora) = lora {
            attach(model.linears_mut(), lora, &vb)?;
        }
        Ok(model)
    };
    let task = Supervised::new(build(store.var_builder())?, build(store.frozen())?, labels())?;
    let groups = layer_decay_groups(&store, config.depth, LAYER_DECAY, WEIGHT_DECAY);
    let optimizer = AdamW::new(groups, AdamWConfig::finetune())?;
    Ok(Training {
        task: Box::new(task),
        store,
        optimizer,
        batch: batch(setting)?,
        checkpointing: setting.checkpointing,
    })
}

fn labels() -> Labels {
    Labels::Single {
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        smoothing: 0.,
        class_weights: None,
    }
}

fn network_classifier(setting: &Setting, network: &Network) -> Result<Training> {
    let store = init(&network.specs()?)?;
    let task = network.task(&store, labels())?;
    let optimizer = AdamW::new(pretrain_groups(&store, WEIGHT_DECAY), AdamWConfig::finetune())?;
    let (batch, checkpointing) = (batch(setting)?, setting.checkpointing);
    Ok(Training { task, store, optimizer, batch, checkpointing })
}

fn mae(setting: &Setting) -> Result<Training> {
    let config = mae_config(setting)?;
    let store = init(&Mae::specs(&config)?)?;
    let (train, eval) =
        (Mae::new(&config, &store.var_builder())?, Mae::new(&config, &store.frozen())?);
    let groups = pretrain_groups(&store, WEIGHT_DECAY);
    let optimizer = AdamW::new(groups, AdamWConfig::pretrain())?;
    let task = Box::new(MaeTask::new(train, eval, SEED));
    Ok(Training {
        task,
        store,
        optimizer,
        batch: batch(setting)?,
        checkpointing: setting.checkpointing,
    })
}

/// Pictures of a fixed formula, the same in every system, and classes `0, 1, 2, …`.
fn batch(setting: &Setting) -> Result<TensorBatch> {
    let (batch, side) = (setting.batch_size, setting.img_size);
    let value = |i: usize| (0.013 * i as f64 + 0.5 * (0.37 * i as f64).cos()).sin() as f32;
    let pixels: Vec<f32> = (0..batch * 3 * side * side).map(value).collect();
    Ok(TensorBatch {
        images: Tensor::from_vec(pixels, (batch, 3, side, side), &Device::Cpu)?,
        targets: (0..batch).map(|i| Target::Class(i % CLASSES)).collect(),
        mixed: None,
        ids: (0..batch).map(|i| i.to_string()).collect(),
        samples: (0u64..).take(batch).collect(),
        epoch: 0,
        number: 0,
    })
}
