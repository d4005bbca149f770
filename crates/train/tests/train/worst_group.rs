//! The best model by the subgroup where it is worst.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use serde_json::Map;
use vit_datasets::Target;
use vit_metrics::{MetricsError, Value};
use vit_models::ParamStore;
use vit_train::{
    AdamW, AdamWConfig, BEST_FILE, CHECKPOINT_FILE, Error, LOG_FILE, MODEL_FILE, Observer,
    SampleColumns, Selection, Silent, StepInfo, Summary, Supervised, Task, TensorBatch, Trainer,
    TrainerConfig, WorstGroup, pretrain_groups,
};

use crate::support::{config, log, phantom, plain, read, shuffled, store, two_classes, vit};

const CLASSES: [&str; 2] = ["normal", "disc"];
const VALIDATION: usize = 24;
const CRITERION: &str = "worst:auroc_macro@sex";

fn classes() -> Vec<String> {
    CLASSES.map(String::from).to_vec()
}

/// A third of the validation samples each: f, m, unknown.
fn columns() -> SampleColumns {
    let data = phantom(VALIDATION);
    let id = |index: usize| data.record(index).unwrap().id;
    let sex = |index: usize| ["f", "m", ""][index % 3].to_string();
    let values: HashMap<_, _> = (0..VALIDATION).map(|i| (id(i), sex(i))).collect();
    SampleColumns::from([("sex".to_string(), values)])
}

fn worst(criterion: &str) -> WorstGroup {
    WorstGroup::new(criterion, &classes(), &columns()).unwrap()
}

fn task(store: &ParamStore, criterion: &str) -> Supervised<vit_models::Vit> {
    two_classes(&vit(2), store).with_worst_group(worst(criterion))
}

fn batches() -> Vec<vit_train::Result<TensorBatch>> {
    let loader = plain(phantom(VALIDATION), 5);
    loader.epoch(0, 0).map(|batch| TensorBatch::new(batch?, &Device::Cpu)).collect()
}

#[test]
fn the_value_is_that_of_the_worst_subgroup() {
    let store = store(&vit(2));
    let task = task(&store, "worst:accuracy@sex");
    let evaluation = task.evaluate(&mut batches().into_iter()).unwrap();
    let mut right = [(0, 0); 3];
    let mut row = 0;
    for batch in batches() {
        let batch = batch.unwrap();
        for (scores, target) in task.scores(&batch.images).unwrap().chunks(2).zip(&batch.targets) {
            let guess = usize::from(scores[1] > scores[0]);
            right[row % 3].0 += usize::from(*target == Target::Class(guess));
            right[row % 3].1 += 1;
            row += 1;
        }
    }
    let share = |group: usize| right[group].0 as f64 / right[group].1 as f64;
    // Samples of unknown sex are no subgroup.
    let want = share(0).min(share(1));
    assert_eq!(evaluation.value("worst:accuracy@sex"), Some(want), "{right:?}");
    assert_eq!(evaluation.extra["worst:accuracy@sex"], Value::Defined(want));
}

#[test]
fn names_that_do_not_exist_are_typed_errors() {
    let error = |criterion: &str| WorstGroup::new(criterion, &classes(), &columns()).unwrap_err();
    match error("worst:auroc_macro@age") {
        Error::Metrics(MetricsError::UnknownColumn { name, known }) => {
            assert_eq!((name.as_str(), known), ("age", vec!["sex".to_string()]));
        }
        other => panic!("{other}"),
    }
    let unknown = error("worst:auroc_maacro@sex");
    assert!(matches!(unknown, Error::Metrics(MetricsError::UnknownMeasure { .. })), "{unknown}");
    for form in ["auroc_macro", "worst:auroc_macro", "auroc_macro@sex"] {
        assert!(matches!(error(form), Error::Config(_)), "{form}");
    }
    // A sample that the table does not have.
    let mut columns = columns();
    let id = phantom(VALIDATION).record(7).unwrap().id;
    columns.get_mut("sex").unwrap().remove(&id);
    let store = store(&vit(2));
    let worst = WorstGroup::new(CRITERION, &classes(), &columns).unwrap();
    let task = two_classes(&vit(2), &store).with_worst_group(worst);
    let error = task.evaluate(&mut batches().into_iter()).unwrap_err();
    assert!(error.to_string().contains(&format!("no row for sample '{id}'")), "{error}");
}

#[test]
fn errors_are_better_when_they_are_lower() {
    let improves = |metric: &str| {
        let selection = Selection { metric: metric.to_string() };
        (selection.improves(0.1, Some(0.2)), selection.improves(0.3, Some(0.2)))
    };
    assert_eq!(improves("worst:brier@sex"), (true, false));
    assert_eq!(improves("loss"), (true, false));
    assert_eq!(improves("worst:auroc_macro@sex"), (false, true));
    assert_eq!(improves("worst:recall[disc]@sex"), (false, true));
}

/// A run in a process of its own, from what is in the folder.
fn run(folder: &Path, criterion: &str, observer: &mut dyn Observer) -> vit_train::Result<Summary> {
    let store = store(&vit(2));
    let task = task(&store, criterion);
    let mut optimizer = AdamW::new(pretrain_groups(&store, 0.05), AdamWConfig::pretrain())?;
    let selection = Some(Selection { metric: criterion.to_string() });
    let config = TrainerConfig { selection, checkpoint_every: 1, ..config(4) };
    Trainer::new(&task, &store, &mut optimizer, config, folder, Map::new(), Map::new())?.run(
        &shuffled(phantom(20), 5, 0),
        Some(&plain(phantom(VALIDATION), 5)),
        observer,
    )
}

struct StopAt(u64);

impl Observer for StopAt {
    fn step(&mut self, info: &StepInfo) -> ControlFlow<()> {
        if info.update == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn it_chooses_the_best_model_and_survives_a_stop() {
    let whole = tempfile::tempdir().unwrap();
    let summary = run(whole.path(), CRITERION, &mut Silent).unwrap();
    let lines = log(whole.path());
    let validations = lines.iter().filter_map(|line| line.get("validation"));
    let values: Vec<f64> =
        validations.map(|value| value["extra"][CRITERION].as_f64().unwrap()).collect();
    assert_eq!(values.len(), 4);
    let best = values.iter().copied().fold(f64::MIN, f64::max);
    let first = values.iter().position(|value| *value == best).unwrap() as u64;
    assert_eq!((summary.state.best, summary.state.best_epoch), (Some(best), Some(first)));
    let overall = lines.iter().filter_map(|line| line.get("validation"));
    let overall: Vec<_> =
        overall.map(|v| v["report"]["auroc_macro"]["value"].as_f64().unwrap()).collect();
    assert_ne!(overall, values, "the worst subgroup is not the whole");

    let stopped = tempfile::tempdir().unwrap();
    for update in [3, 9] {
        assert!(!run(stopped.path(), CRITERION, &mut StopAt(update)).unwrap().finished);
    }
    let error = run(stopped.path(), "worst:accuracy@sex", &mut Silent).unwrap_err();
    assert!(error.to_string().contains("trainer.selection.metric"), "{error}");
    assert!(run(stopped.path(), CRITERION, &mut Silent).unwrap().finished);
    for name in [MODEL_FILE, BEST_FILE, CHECKPOINT_FILE, LOG_FILE] {
        assert!(read(whole.path(), name) == read(stopped.path(), name), "{name} differs");
    }
}

#[test]
fn a_criterion_that_the_task_does_not_report_is_refused() {
    let store = store(&vit(2));
    let task = two_classes(&vit(2), &store);
    let folder = tempfile::tempdir().unwrap();
    let mut optimizer = AdamW::new(pretrain_groups(&store, 0.), AdamWConfig::pretrain()).unwrap();
    let selection = Some(Selection { metric: CRITERION.to_string() });
    let config = TrainerConfig { selection, ..config(1) };
    let made =
        Trainer::new(&task, &store, &mut optimizer, config, folder.path(), Map::new(), Map::new());
    let error = made.err().unwrap().to_string();
    assert!(error.contains(CRITERION) && error.contains("worst:MEASURE@COLUMN"), "{error}");
}
