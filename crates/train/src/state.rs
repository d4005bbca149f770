use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vit_models::{ParamStore, WeightFile, save_weights};

use crate::{Error, Optimizer, Result};

/// Everything about a run's place besides tensors. Random streams need no state: they are
/// functions of seed, epoch and sample, so the place is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Epoch in progress, from 0.
    pub epoch: u64,
    /// Next batch of the epoch.
    pub batch: usize,
    /// Optimiser updates so far.
    pub updates: u64,
    /// Sum of the epoch's batch losses so far.
    pub loss_sum: f64,
    /// Number of batches in that sum.
    pub loss_count: u64,
    /// Batches skipped so far for want of a finite loss or gradient.
    pub skipped: u64,
    /// How many of them came last in a row.
    pub skipped_in_row: usize,
    /// Best value of the chosen metric.
    pub best: Option<f64>,
    /// Epoch of the best value.
    pub best_epoch: Option<u64>,
    /// Length of the log in bytes at this place: what follows is written again.
    pub log_bytes: u64,
}

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
const STATE: &str = "train_state";
const SETTINGS: &str = "settings";

/// A run's checkpoint: parameters, the optimiser's memory, the place.
pub(crate) struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(CHECKPOINT_FILE) }
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    pub(crate) fn save(
        &self,
        store: &ParamStore,
        optimizer: &dyn Optimizer,
        state: &TrainState,
        settings: &Map<String, Value>,
    ) -> Result<()> {
        let mut tensors: BTreeMap<String, Tensor> =
            store.tensors().into_iter().map(|(name, t)| (format!("model.{name}"), t)).collect();
        let memory = optimizer.state();
        tensors.extend(memory.into_iter().map(|(name, t)| (format!("optimizer.{name}"), t)));
        let state = serde_json::to_value(state).map_err(|e| self.fault(e.to_string()))?;
        let mut metadata = Map::new();
        metadata.insert(STATE.to_string(), state);
        metadata.insert(SETTINGS.to_string(), Value::Object(settings.clone()));
        Ok(save_weights(&self.path, &tensors, &metadata)?)
    }

    /// Brings parameters, optimiser and place back. Nothing is changed unless the checkpoint
    /// belongs to a run with these settings and is whole.
    pub(crate) fn load(
        &self,
        store: &ParamStore,
        optimizer: &mut dyn Optimizer,
        settings: &Map<String, Value>,
    ) -> Result<TrainState> {
        let file = WeightFile::open(&self.path)?;
        let saved: Map<String, Value> = file.metadata_part(SETTINGS)?;
        self.same_settings(&saved, settings)?;
        let state: TrainState = file.metadata_part(STATE)?;
        let mut parameters = Vec::new();
        for (name, param) in store.iter() {
            let value = file.tensor(&format!("model.{name}"), store.device())?;
            if value.shape() != param.var().shape() {
                return Err(self.fault(format!("'{name}' has another shape than in this run")));
            }
            parameters.push((name.to_string(), value));
        }
        let mut memory = BTreeMap::new();
        for name in optimizer.state().keys() {
            let value = file.tensor(&format!("optimizer.{name}"), &Device::Cpu)?;
            memory.insert(name.clone(), value.to_device(store.device())?);
        }
        optimizer.load_state(&memory, state.updates)?;
        for (name, value) in parameters {
            store.set(&name, &value)?;
        }
        Ok(state)
    }

    fn same_settings(&self, saved: &Map<String, Value>, now: &Map<String, Value>) -> Result<()> {
        let mut differing = Vec::new();
        differences("", saved, now, &mut differing);
        if differing.is_empty() {
            return Ok(());
        }
        Err(self.fault(format!(
            "is of a run with other settings: {}. Give the same settings, or another output folder for a new run",
            differing.join("; ")
        )))
    }

    fn fault(&self, reason: String) -> Error {
        Error::Checkpoint { path: self.path.clone(), reason }
    }
}

/// Names the settings that differ, with their path and both values.
fn differences(
    path: &str,
    saved: &Map<String, Value>,
    now: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    let keys: BTreeSet<&String> = saved.keys().chain(now.keys()).collect();
    let show = |value: Option<&Value>| value.map_or("absent".to_string(), Value::to_string);
    for key in keys {
        match (saved.get(key), now.get(key)) {
            (then, now) if then == now => {}
            (Some(Value::Object(then)), Some(Value::Object(now))) => {
                differences(&format!("{path}{key}."), then, now, found);
            }
            (then, now) => {
                found.push(format!("{path}{key} (then {}, now {})", show(then), show(now)));
            }
        }
    }
}
