//! Pictures and labels of a batch, mixed with each other.

use vit_random::Streams;
use vit_transforms::{BatchShape, MixTarget, Mixup};

use super::Batch;
use crate::{Error, Result, Target, Task};

/// What is wrong with mixing these data by these parameters, before anything is read.
pub(super) fn check(mixup: &Mixup, task: &Task) -> Result<()> {
    let fail = |reason| Err(Error::Config { option: "Loader::with_mixup", reason });
    match (mixup.validate(), task) {
        (Err(error), _) => fail(error.to_string()),
        (Ok(()), Task::Unlabelled) => fail("the data have no labels to mix".into()),
        (Ok(()), _) => Ok(()),
    }
}

/// Mixes in place. What is drawn belongs to the batch: its epoch, number and first sample.
pub(super) fn mix(batch: &mut Batch, mixup: &Mixup, task: &Task, streams: Streams) -> Result<()> {
    let (Some(&first), Some(id)) = (batch.indices.first(), batch.ids.first()) else {
        return Ok(());
    };
    let mut stream = streams.stream(&format!("mixup/{}", batch.number), batch.epoch, first as u64);
    let [pictures, channels, height, width] = batch.shape;
    let shape = BatchShape { pictures, channels, height, width };
    let classes = task.names().len();
    let values = &mut batch.images;
    let mixed = match task {
        Task::MultiLabel { .. } => {
            let labels = findings(&batch.targets, &batch.ids)?;
            mixup.apply(values, shape, MixTarget::MultiLabel(&labels), classes, &mut stream)
        }
        _ => {
            let labels = self::classes(&batch.targets, &batch.ids)?;
            mixup.apply(values, shape, MixTarget::Classes(&labels), classes, &mut stream)
        }
    };
    let failed = |source| Error::Transform { id: id.clone(), source };
    batch.mixed = Some(mixed.map_err(failed)?);
    Ok(())
}

fn classes(targets: &[Target], ids: &[String]) -> Result<Vec<usize>> {
    let class = |(target, id): (&Target, &String)| match target {
        Target::Class(class) => Ok(*class),
        other => Err(unfit(id, other)),
    };
    targets.iter().zip(ids).map(class).collect()
}

/// Row by row, NaN where missing.
fn findings(targets: &[Target], ids: &[String]) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    for (target, id) in targets.iter().zip(ids) {
        let Target::Labels(labels) = target else { return Err(unfit(id, target)) };
        values.extend(labels.iter().map(|label| label.unwrap_or(f32::NAN)));
    }
    Ok(values)
}

fn unfit(id: &str, target: &Target) -> Error {
    let reason = format!("sample '{id}' has target {target:?}, which is not of the data's task");
    Error::Config { option: "Loader::with_mixup", reason }
}
