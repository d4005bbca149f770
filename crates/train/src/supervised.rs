use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use vit_metrics::{
    Metric, MultiLabel, Part, Predictions, Report, RowTarget, SingleLabel, Task as Labelling, Value,
};
use vit_models::{Classifier, Context};

use crate::{
    Error, Evaluation, Result, Task, TensorBatch, WorstGroup, bce_with_logits, cross_entropy,
    soft_cross_entropy,
};

/// What the labels of a supervised task are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Labels {
    /// One class of several: softmax and cross entropy.
    Single {
        /// Class names.
        classes: Vec<String>,
        /// Label smoothing, 0 for none.
        smoothing: f64,
        /// One weight per class, or none.
        class_weights: Option<Vec<f32>>,
    },
    /// Any number of findings, some unknown: sigmoid and binary cross entropy.
    Multi {
        /// Names of the findings.
        findings: Vec<String>,
    },
}

impl Labels {
    /// Names of the model's outputs.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Single { classes, .. } => classes,
            Self::Multi { findings } => findings,
        }
    }

    fn check(&self) -> Result<()> {
        let Self::Single { classes, smoothing, class_weights } = self else { return Ok(()) };
        if !(0. ..1.).contains(smoothing) {
            let message = format!("label smoothing is {smoothing}, must be in [0, 1)");
            return Err(Error::Config(message));
        }
        let Some(weights) = class_weights else { return Ok(()) };
        if weights.len() != classes.len() {
            let (given, needed) = (weights.len(), classes.len());
            return Err(Error::Config(format!("{given} class weights for {needed} classes")));
        }
        let bad = |weight: f32| !(weight.is_finite() && weight >= 0.);
        match classes.iter().zip(weights).find(|(_, weight)| bad(**weight)) {
            Some((class, weight)) => {
                Err(Error::Config(format!("the class weight of '{class}' is {weight}")))
            }
            None => Ok(()),
        }
    }
}

/// Learning labels from pictures.
pub struct Supervised<M> {
    train: M,
    eval: M,
    labels: Labels,
    /// Parts of parameter names whose gradient starts at zero.
    zero_gradients: Vec<String>,
    worst: Vec<WorstGroup>,
}

impl<M: Classifier> Supervised<M> {
    /// `train` is built from `ParamStore::var_builder`, `eval` from `ParamStore::frozen` of the
    /// same store: one records gradients, the other does not, both see the same weights.
    ///
    /// # Errors
    /// [`Error::Config`] when the head does not fit the labels, or smoothing or class weights make
    /// no sense.
    pub fn new(train: M, eval: M, labels: Labels) -> Result<Self> {
        let (outputs, names) = (train.num_classes(), labels.names().len());
        if outputs != names || eval.num_classes() != names {
            let outputs = if outputs == names { eval.num_classes() } else { outputs };
            return Err(Error::Config(format!("a head of {outputs} outputs for {names} labels")));
        }
        labels.check()?;
        Ok(Self { train, eval, labels, zero_gradients: Vec::new(), worst: Vec::new() })
    }

    /// Names containing one of `parts` may have a gradient of exactly zero before the first step.
    #[must_use]
    pub fn with_zero_gradients(mut self, parts: &[&str]) -> Self {
        self.zero_gradients = parts.iter().map(ToString::to_string).collect();
        self
    }

    /// Evaluations also report this measure in the subgroup where it is worst, under the name of
    /// its criterion, so that the best model can be chosen by it.
    #[must_use]
    pub fn with_worst_group(mut self, worst: WorstGroup) -> Self {
        self.worst.push(worst);
        self
    }

    /// The model without recorded gradients.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.eval
    }

    /// Scores between 0 and 1: softmax over classes or a sigmoid per finding, `[B, K]` row-major.
    ///
    /// # Errors
    /// When the pictures do not fit the model.
    pub fn scores(&self, images: &Tensor) -> Result<Vec<f32>> {
        self.probabilities(&self.eval.logits(images, &Context::eval())?)
    }

    /// [`Task::evaluate`] that also hands out each batch with its [`Supervised::scores`].
    ///
    /// # Errors
    /// As [`Task::evaluate`].
    pub fn evaluate_with(
        &self,
        batches: &mut dyn Iterator<Item = Result<TensorBatch>>,
        mut on_scores: impl FnMut(&TensorBatch, &[f32]),
    ) -> Result<Evaluation> {
        let mut collector = self.collector()?;
        let mut predictions = self.predictions()?;
        let (mut loss, mut weight, mut samples) = (0f64, 0f64, 0usize);
        for batch in batches {
            let batch = batch?;
            let logits = self.eval.logits(&batch.images, &Context::eval())?;
            let batch_weight = self.weight_of(&batch)?;
            if batch_weight > 0. {
                let batch_loss = self.loss_of(&logits, &batch)?.to_dtype(DType::F64)?;
                loss += batch_loss.to_scalar::<f64>()? * batch_weight;
                weight += batch_weight;
            }
            samples += batch.len();
            let scores = self.probabilities(&logits)?;
            collector.update(&scores, &batch, self.labels.names().len())?;
            if let Some(predictions) = &mut predictions {
                self.collect(predictions, &batch, &scores)?;
            }
            on_scores(&batch, &scores);
        }
        if samples == 0 {
            return Err(Error::Config("there is nothing to evaluate on".to_string()));
        }
        if weight == 0. {
            let message = "no sample to evaluate on counts: every label is unknown, or of a class \
                           of weight 0";
            return Err(Error::Config(message.to_string()));
        }
        let report = Some(collector.compute()?);
        let extra = self.worst_groups(predictions)?;
        Ok(Evaluation { loss: loss / weight, samples, report, extra })
    }

    /// What a batch's mean loss is a mean over: the sum of its samples' class weights, or the
    /// number of its known findings. With it, batches add up to the mean over all samples.
    fn weight_of(&self, batch: &TensorBatch) -> Result<f64> {
        Ok(match &self.labels {
            Labels::Single { classes, class_weights: None, .. } => {
                batch.classes(classes.len())?.len() as f64
            }
            Labels::Single { classes, class_weights: Some(weights), .. } => {
                let classes = batch.classes(classes.len())?;
                classes
                    .into_iter()
                    .filter_map(|class| weights.get(class))
                    .copied()
                    .map(f64::from)
                    .sum()
            }
            Labels::Multi { findings } => {
                let findings = batch.findings(findings.len())?;
                findings.iter().filter(|label| label.is_some()).count() as f64
            }
        })
    }

    /// Where samples are collected that subgroups are formed of.
    fn predictions(&self) -> Result<Option<Predictions>> {
        if self.worst.is_empty() {
            return Ok(None);
        }
        let task = match &self.labels {
            Labels::Single { .. } => Labelling::SingleLabel,
            Labels::Multi { .. } => Labelling::MultiLabel,
        };
        Ok(Some(Predictions::new(task, self.labels.names().to_vec(), Part::Validation)?))
    }

    fn collect(
        &self,
        predictions: &mut Predictions,
        batch: &TensorBatch,
        scores: &[f32],
    ) -> Result<()> {
        let names = self.labels.names().len();
        let rows = batch.ids.iter().zip(scores.chunks(names.max(1)));
        match &self.labels {
            Labels::Single { .. } => {
                for ((id, scores), class) in rows.zip(batch.classes(names)?) {
                    predictions.push(id, None, scores, RowTarget::Class(Some(class)))?;
                }
            }
            Labels::Multi { .. } => {
                let findings = batch.findings(names)?;
                for ((id, scores), labels) in rows.zip(findings.chunks(names.max(1))) {
                    predictions.push(id, None, scores, RowTarget::Findings(labels))?;
                }
            }
        }
        Ok(())
    }

    fn worst_groups(&self, predictions: Option<Predictions>) -> Result<BTreeMap<String, Value>> {
        let Some(predictions) = predictions else { return Ok(BTreeMap::new()) };
        let value = |worst: &WorstGroup| {
            Ok((worst.criterion().to_string(), worst.value(predictions.clone())?))
        };
        self.worst.iter().map(value).collect()
    }

    fn probabilities(&self, logits: &Tensor) -> Result<Vec<f32>> {
        let logits = logits.to_dtype(DType::F32)?;
        let scores = match &self.labels {
            Labels::Single { .. } => vit_kernels::softmax(&logits)?,
            Labels::Multi { .. } => ((logits.neg()?.exp()? + 1.)?).recip()?,
        };
        Ok(scores.flatten_all()?.to_vec1()?)
    }

    fn loss_of(&self, logits: &Tensor, batch: &TensorBatch) -> Result<Tensor> {
        Ok(match &self.labels {
            Labels::Single { classes, smoothing, class_weights } => {
                let targets = batch.classes(classes.len())?;
                cross_entropy(logits, &targets, *smoothing, class_weights.as_deref())?
            }
            Labels::Multi { findings } => {
                bce_with_logits(logits, &batch.findings(findings.len())?)?
            }
        })
    }

    /// The loss of mixed labels. Their smoothing is in them.
    fn mixed_loss(&self, logits: &Tensor, mixed: &[f32]) -> Result<Tensor> {
        Ok(match &self.labels {
            Labels::Single { class_weights: Some(_), .. } => {
                let message = "mixed labels have no class that a class weight could be of";
                return Err(Error::Config(message.to_string()));
            }
            Labels::Single { .. } => soft_cross_entropy(logits, mixed)?,
            Labels::Multi { .. } => {
                let known = |&label: &f32| (!label.is_nan()).then_some(label);
                bce_with_logits(logits, &mixed.iter().map(known).collect::<Vec<_>>())?
            }
        })
    }

    fn collector(&self) -> Result<Collector> {
        Ok(match &self.labels {
            Labels::Single { classes, .. } => Collector::Single(SingleLabel::new(classes.clone())?),
            Labels::Multi { findings } => Collector::Multi(MultiLabel::new(findings.clone())?),
        })
    }
}

impl<M: Classifier> Task for Supervised<M> {
    fn loss(&self, batch: &TensorBatch, ctx: &Context) -> Result<Tensor> {
        let logits = self.train.logits(&batch.images, ctx)?;
        match &batch.mixed {
            Some(mixed) => self.mixed_loss(&logits, mixed),
            None => self.loss_of(&logits, batch),
        }
    }

    fn evaluate(
        &self,
        batches: &mut dyn Iterator<Item = Result<TensorBatch>>,
    ) -> Result<Evaluation> {
        self.evaluate_with(batches, |_, _| ())
    }

    fn reports(&self, metric: &str) -> bool {
        metric == "loss"
            || Report::NAMES.contains(&metric)
            || self.worst.iter().any(|worst| worst.criterion() == metric)
    }

    fn zero_gradient_allowed(&self, name: &str) -> bool {
        self.zero_gradients.iter().any(|part| name.contains(part.as_str()))
    }
}

enum Collector {
    Single(SingleLabel),
    Multi(MultiLabel),
}

impl Collector {
    fn update(&mut self, scores: &[f32], batch: &TensorBatch, names: usize) -> Result<()> {
        match self {
            Self::Single(metric) => metric.update(scores, &batch.classes(names)?)?,
            Self::Multi(metric) => metric.update(scores, &batch.findings(names)?)?,
        }
        Ok(())
    }

    fn compute(&self) -> Result<Report> {
        Ok(match self {
            Self::Single(metric) => metric.compute()?,
            Self::Multi(metric) => metric.compute()?,
        })
    }
}
