use vit_models::{ParamSpec, ParamStore};

use crate::sites::MARK;
use crate::{Error, Result};

/// Prefixes of what is trained beside adapters: parts a pre-trained encoder does not bring.
pub(crate) const NEW_PARTS: [&str; 2] = ["head.", "fc_norm."];

/// Extra for [`mark_only_lora_trainable`]: the final norm of a model that pools the class token.
pub const CLASS_TOKEN_NORM: &str = "norm.";

/// How much of a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Trained tensors.
    pub tensors: usize,
    /// Values of all tensors.
    pub total: usize,
    /// Values of trained tensors.
    pub trainable: usize,
    /// Values of adapters.
    pub lora: usize,
}

impl Counts {
    /// Trained values over all values; 0 for an empty model.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0. } else { self.trainable as f64 / self.total as f64 }
    }

    fn add(mut self, name: &str, elements: usize, trainable: bool) -> Self {
        self.total += elements;
        if name.contains(MARK) {
            self.lora += elements;
        }
        if trainable {
            self.trainable += elements;
            self.tensors += 1;
        }
        self
    }
}

/// Freezes everything but adapters, the head (`head.`), the pooled norm (`fc_norm.`) and whatever
/// starts with one of `extra`; models built before keep their old state.
///
/// This is MED-PEFT's rule: the final norm of a model that pools the class token (`norm.`) comes
/// with the pre-trained encoder and stays frozen, while `fc_norm` is new and must be trained. Pass
/// [`CLASS_TOKEN_NORM`] as extra to train it too.
///
/// # Errors
/// [`Error::Config`] when there is no adapter, or an extra prefix matches nothing; the store then
/// is as it was.
pub fn mark_only_lora_trainable(store: &mut ParamStore, extra: &[&str]) -> Result<Counts> {
    check(|| store.iter().map(|(name, _)| name), extra)?;
    store.set_trainable(|name, _| is_trainable(name, extra));
    let add = |counts: Counts, (name, param): (&str, &vit_models::Param)| {
        counts.add(name, param.var().elem_count(), param.trainable())
    };
    Ok(store.iter().fold(Counts::default(), add))
}

/// What [`mark_only_lora_trainable`] would count, from a description of base and adapters, without
/// allocating the model.
///
/// # Errors
/// As [`mark_only_lora_trainable`].
pub fn count_trainable(specs: &[ParamSpec], extra: &[&str]) -> Result<Counts> {
    check(|| specs.iter().map(|spec| spec.name.as_str()), extra)?;
    let add = |counts: Counts, spec: &ParamSpec| {
        counts.add(&spec.name, spec.elements(), is_trainable(&spec.name, extra))
    };
    Ok(specs.iter().fold(Counts::default(), add))
}

fn is_trainable(name: &str, extra: &[&str]) -> bool {
    name.contains(MARK) || is_new_part(name) || extra.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a parameter belongs to the head or the pooled norm.
pub(crate) fn is_new_part(name: &str) -> bool {
    NEW_PARTS.iter().any(|prefix| name.starts_with(prefix))
}

fn check<'a, I: Iterator<Item = &'a str>>(names: impl Fn() -> I, extra: &[&str]) -> Result<()> {
    if !names().any(|name| name.contains(MARK)) {
        return Err(Error::Config("the model has no adapter parameters".to_string()));
    }
    match extra.iter().find(|prefix| !names().any(|name| name.starts_with(**prefix))) {
        Some(prefix) => Err(Error::Config(format!("no parameter starts with '{prefix}'"))),
        None => Ok(()),
    }
}
