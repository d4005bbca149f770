//! Which epoch's model is kept as the best.

use candle_core::Device;
use serde_json::{Map, Value, json};
use vit_datasets::{Loader, Target};
use vit_metrics::{Metric, Report, SingleLabel};
use vit_models::WeightFile;
use vit_train::{
    AdamW, AdamWConfig, BEST_FILE, Error, Evaluation, MODEL_FILE, Selection, Summary, Task,
    Trainer, TrainerConfig, pretrain_groups,
};

use crate::support::{
    Bits, Scripted, Toy, Watch, bits, config, log, object, phantom, plain, store, two_classes, vit,
};

/// A report of ten samples with this many right; of one class only, if told so.
fn report(right: usize, one_class: bool) -> Report {
    let mut metric = SingleLabel::new(vec!["a".to_string(), "b".to_string()]).unwrap();
    for i in 0..10 {
        let target = if one_class { 0 } else { i % 2 };
        let guess = if i < right { target } else { 1 - target };
        let scores = if guess == 0 { [0.9, 0.1] } else { [0.1, 0.9] };
        metric.update(&scores, &[target]).unwrap();
    }
    metric.compute().unwrap()
}

fn evaluation(loss: f64, right: usize, one_class: bool) -> Evaluation {
    Evaluation::new(loss, 10, Some(report(right, one_class)))
}

struct Outcome {
    folder: tempfile::TempDir,
    summary: Summary,
    watch: Watch,
}

impl Outcome {
    fn file(&self, name: &str) -> (Bits, Value) {
        let file = WeightFile::open(&self.folder.path().join(name)).unwrap();
        let tensor = |name: &String| (name.clone(), file.tensor(name, &Device::Cpu).unwrap());
        let tensors = file.shapes().keys().map(tensor).collect();
        (bits(&tensors), Value::Object(file.metadata().clone()))
    }

    /// The best file must hold the parameters of this epoch.
    fn check(&self, epoch: u64, value: f64) {
        let state = &self.summary.state;
        assert_eq!((state.best_epoch, state.best), (Some(epoch), Some(value)));
        assert_eq!(self.summary.best_model, Some(self.folder.path().join(BEST_FILE)));
        assert_eq!(self.file(BEST_FILE).0, self.watch.at_epochs[epoch as usize]);
        let last = self.watch.at_epochs.last().unwrap();
        assert_eq!(&self.file(MODEL_FILE).0, last);
    }

    fn best_flags(&self) -> Vec<bool> {
        let epochs = log(self.folder.path()).into_iter();
        let flags = epochs.filter_map(|line| line.get("best").and_then(Value::as_bool)).collect();
        assert_eq!(self.watch.epochs.iter().map(|e| e.best).collect::<Vec<_>>(), flags);
        flags
    }
}

fn run(metric: Option<&str>, script: Vec<Evaluation>, epochs: u64, validation: &Loader) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let vit = vit(2);
    let store = store(&vit);
    let inner = two_classes(&vit, &store);
    let task = Scripted::judged(&inner, &store, script);
    let mut optimizer = AdamW::new(pretrain_groups(&store, 0.05), AdamWConfig::pretrain()).unwrap();
    let selection = metric.map(|metric| Selection { metric: metric.to_string() });
    let config = TrainerConfig { selection, ..config(epochs) };
    let metadata = object(&json!({ "made_by": "test" }));
    let mut watch = Watch::of(&store);
    let optimizer = &mut optimizer;
    let summary =
        Trainer::new(&task, &store, optimizer, config, folder.path(), Map::new(), metadata)
            .unwrap()
            .run(&plain(phantom(4), 4), Some(validation), &mut watch)
            .unwrap();
    Outcome { folder, summary, watch }
}

fn scripted(metric: &str, script: Vec<Evaluation>) -> Outcome {
    let epochs = script.len() as u64;
    run(Some(metric), script, epochs, &plain(phantom(4), 4))
}

#[test]
fn the_lowest_loss_wins() {
    let losses = [3., 1., 2., 1.];
    let outcome = scripted("loss", losses.map(|loss| evaluation(loss, 5, false)).to_vec());
    // The second 1 is no improvement: the earlier model stays.
    outcome.check(1, 1.);
    assert_eq!(outcome.best_flags(), [true, true, false, false]);
    assert_eq!(outcome.file(BEST_FILE).1["made_by"], json!("test"));
}

#[test]
fn the_highest_metric_wins_whatever_the_loss() {
    let script = vec![
        evaluation(1., 4, false),
        evaluation(9., 8, false),
        evaluation(0.1, 8, false),
        evaluation(0.1, 6, false),
    ];
    let outcome = scripted("accuracy", script.clone());
    outcome.check(1, 0.8);
    assert_eq!(outcome.best_flags(), [true, true, false, false]);
    scripted("loss", script).check(2, 0.1);
}

#[test]
fn an_undefined_metric_never_wins() {
    // Of one class only: no AUROC, however right; then a poor one that exists.
    let script = vec![evaluation(1., 10, true), evaluation(1., 3, false), evaluation(1., 10, true)];
    let outcome = scripted("auroc_macro", script);
    assert_eq!(outcome.best_flags(), [false, true, false]);
    assert_eq!(outcome.summary.state.best_epoch, Some(1));
    let log = log(outcome.folder.path());
    let values: Vec<&Value> = log
        .iter()
        .filter_map(|line| line.get("validation"))
        .map(|validation| &validation["report"]["auroc_macro"]["value"])
        .collect();
    assert!(values[1].is_f64());
    for value in [values[0], values[2]] {
        assert_eq!(value, &json!({ "undefined": "no_defined_class" }));
    }
}

/// A real validation set in which one class is missing.
#[test]
fn a_validation_set_of_one_class_has_no_auroc_and_no_best_model() {
    let validation = plain(Toy::shared(vec![Target::Class(1); 5]), 2);
    let outcome = run(Some("auroc_macro"), Vec::new(), 2, &validation);
    assert_eq!((outcome.summary.best_model.as_ref(), outcome.summary.state.best), (None, None));
    assert!(!outcome.folder.path().join(BEST_FILE).exists());
    assert_eq!(outcome.best_flags(), [false, false]);
    let log = log(outcome.folder.path());
    let validations: Vec<_> = log.iter().filter_map(|line| line.get("validation")).collect();
    assert_eq!(validations.len(), 2);
    for validation in validations {
        assert_eq!(validation["samples"], json!(5));
        assert!(validation["loss"].as_f64().unwrap() > 0.);
        let reasons: Vec<_> = validation["report"]["auroc_macro"]["mean_over"]["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|left| left["reason"].as_str().unwrap())
            .collect();
        assert_eq!(reasons, ["only_negatives", "only_positives"]);
        assert!(validation["report"]["accuracy"]["value"].is_f64(), "accuracy is defined");
    }
    // The loss is, too, so it can choose.
    let outcome = run(Some("loss"), Vec::new(), 2, &validation);
    assert!(outcome.folder.path().join(BEST_FILE).exists());
}

#[test]
fn nan_never_wins() {
    let losses = [f64::NAN, 2., f64::NAN, f64::INFINITY];
    let outcome = scripted("loss", losses.map(|loss| evaluation(loss, 5, false)).to_vec());
    outcome.check(1, 2.);
    assert_eq!(outcome.best_flags(), [false, true, false, false]);
}

#[test]
fn without_a_selection_there_is_no_best_model() {
    let outcome = run(None, Vec::new(), 1, &plain(phantom(4), 4));
    assert_eq!(outcome.summary.best_model, None);
    assert!(!outcome.folder.path().join(BEST_FILE).exists());
    assert!(outcome.watch.epochs[0].validation.is_some());
}

/// A misspelt metric would never choose a model, and one would find out after the run.
#[test]
fn an_unknown_metric_is_refused() {
    let vit = vit(2);
    let store = store(&vit);
    let task = two_classes(&vit, &store);
    let folder = tempfile::tempdir().unwrap();
    let mut optimizer = AdamW::new(pretrain_groups(&store, 0.), AdamWConfig::pretrain()).unwrap();
    let selection = Some(Selection { metric: "acuracy".to_string() });
    let config = TrainerConfig { selection, ..config(1) };
    let (settings, metadata) = (Map::new(), Map::new());
    let made =
        Trainer::new(&task, &store, &mut optimizer, config, folder.path(), settings, metadata);
    let error = made.err().unwrap();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert!(error.to_string().contains("'acuracy'") && error.to_string().contains("auroc_macro"));
}

/// The loss is per sample: a last batch with fewer samples counts for as much as it has.
#[test]
fn the_validation_loss_is_the_mean_over_samples() {
    let vit = vit(2);
    let store = store(&vit);
    let task = two_classes(&vit, &store);
    let evaluate = |batch_size: usize| {
        let loader = plain(phantom(10), batch_size);
        let mut batches =
            loader.epoch(0, 0).map(|batch| vit_train::TensorBatch::new(batch?, &Device::Cpu));
        task.evaluate(&mut batches).unwrap()
    };
    let (whole, parts) = (evaluate(10), evaluate(4));
    assert_eq!((whole.samples, parts.samples), (10, 10));
    assert!((whole.loss - parts.loss).abs() < 1e-6, "{} {}", whole.loss, parts.loss);
    assert_eq!(parts.value("loss"), Some(parts.loss));
    assert_eq!(parts.value("accuracy"), whole.value("accuracy"));
    assert_eq!(parts.value("no such metric"), None);
}
