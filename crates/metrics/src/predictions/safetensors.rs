//! Predictions as a safetensors file: `scores` [rows, classes] f32, `targets` i16 ([rows] class
//! index or [rows, findings] 0 and 1; −1 is unknown), names and texts as JSON in the metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Part, Predictions, RowTarget, Truth};
use crate::files::write_atomic;
use crate::{MetricsError, Result, Task};

/// The key of the metadata that holds [`Names`].
const KEY: &str = "vit-metrics.predictions";

/// Everything that is no number.
#[derive(Serialize, Deserialize)]
struct Names {
    task: Task,
    part: Part,
    classes: Vec<String>,
    ids: Vec<String>,
    groups: Vec<Option<String>>,
    columns: BTreeMap<String, Vec<String>>,
}

impl Predictions {
    /// Writes a safetensors file: smaller than CSV and read by every tensor library. The file is
    /// whole or absent.
    ///
    /// # Errors
    /// The file cannot be written; there are more than 32,767 classes.
    pub fn write_safetensors(&self, path: &Path) -> Result<()> {
        let failed =
            |message: String| MetricsError::File { path: path.display().to_string(), message };
        if self.classes.len() > i16::MAX as usize {
            return Err(failed("too many classes for 16 bits".to_owned()));
        }
        let (rows, classes) = (self.len(), self.classes.len());
        let scores: Vec<u8> = self.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        let (targets, shape): (Vec<i16>, Vec<usize>) = match &self.truth {
            Truth::Classes(truth) => {
                let index = |target: &Option<usize>| target.map_or(-1, |class| class as i16);
                (truth.iter().map(index).collect(), vec![rows])
            }
            Truth::Findings(truth) => {
                let flag = |target: &Option<bool>| target.map_or(-1, i16::from);
                (truth.iter().map(flag).collect(), vec![rows, classes])
            }
        };
        let targets: Vec<u8> = targets.iter().flat_map(|target| target.to_le_bytes()).collect();
        let names = Names {
            task: self.task,
            part: self.part,
            classes: self.classes.clone(),
            ids: self.ids.clone(),
            groups: self.groups.clone(),
            columns: self.columns.clone(),
        };
        let names = serde_json::to_string(&names).map_err(|error| failed(error.to_string()))?;
        let view = |dtype, shape, data| {
            TensorView::new(dtype, shape, data).map_err(|error| failed(error.to_string()))
        };
        let tensors = [
            ("scores", view(Dtype::F32, vec![rows, classes], &scores)?),
            ("targets", view(Dtype::I16, shape, &targets)?),
        ];
        let metadata = HashMap::from([(KEY.to_owned(), names)]);
        let bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| failed(error.to_string()))?;
        write_atomic(path, |file| file.write_all(&bytes))
    }

    /// Reads what [`write_safetensors`](Self::write_safetensors) wrote.
    ///
    /// # Errors
    /// The file cannot be read, is no such file, or holds malformed values.
    pub fn read_safetensors(path: &Path) -> Result<Self> {
        let failed =
            |message: String| MetricsError::File { path: path.display().to_string(), message };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| failed(error.to_string()))?;
        let names = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let names = names.ok_or_else(|| failed(format!("the metadata have no {KEY:?}")))?;
        let names: Names =
            serde_json::from_str(names).map_err(|error| failed(error.to_string()))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| failed(error.to_string()))?;
        let data = |name: &str, dtype: Dtype| match tensors.tensor(name) {
            Ok(tensor) if tensor.dtype() == dtype => Ok(tensor.data().to_vec()),
            Ok(tensor) => Err(failed(format!("{name:?} is of type {:?}", tensor.dtype()))),
            Err(error) => Err(failed(error.to_string())),
        };
        let scores: Vec<f32> = data("scores", Dtype::F32)?
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let targets: Vec<i16> = data("targets", Dtype::I16)?
            .as_chunks()
            .0
            .iter()
            .map(|bytes| i16::from_le_bytes(*bytes))
            .collect();
        names.predictions(&scores, &targets)
    }
}

impl Names {
    /// Puts the parts together through the checks of fresh input.
    fn predictions(self, scores: &[f32], targets: &[i16]) -> Result<Predictions> {
        let mut predictions = Predictions::new(self.task, self.classes, self.part)?;
        let (rows, classes) = (self.ids.len(), predictions.classes.len());
        let per_row = if self.task == Task::SingleLabel { 1 } else { classes };
        MetricsError::check_length("groups", rows, self.groups.len())?;
        MetricsError::check_length("scores", rows.saturating_mul(classes), scores.len())?;
        MetricsError::check_length("targets", rows.saturating_mul(per_row), targets.len())?;
        let cells = scores.chunks_exact(classes).zip(targets.chunks_exact(per_row));
        for ((id, group), (scores, targets)) in self.ids.iter().zip(&self.groups).zip(cells) {
            let known = |target: &i16| (*target != -1).then(|| f32::from(*target));
            let findings: Vec<Option<f32>> = targets.iter().map(known).collect();
            let class = targets.first().filter(|target| **target != -1);
            let target = match self.task {
                // A negative index becomes a huge one, which is refused.
                Task::SingleLabel => RowTarget::Class(class.map(|class| *class as usize)),
                Task::MultiLabel => RowTarget::Findings(&findings),
            };
            predictions.push(id, group.as_deref(), scores, target)?;
        }
        for (name, values) in self.columns {
            predictions = predictions.with_column(&name, values)?;
        }
        Ok(predictions)
    }
}
