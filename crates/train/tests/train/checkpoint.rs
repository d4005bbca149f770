//! Checkpoints that do not belong to the run, or are not whole, are refused before anything moves.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use vit_models::{ParamStore, VitConfig, WeightFile, save_weights};
use vit_train::{
    AdamW, AdamWConfig, CHECKPOINT_FILE, Error, LOG_FILE, Observer, Optimizer, StepInfo, Summary,
    Trainer, TrainerConfig, pretrain_groups,
};

use crate::support::{Bits, bits, config, object, phantom, plain, read, store, two_classes, vit};

/// A model and its optimiser, fresh as in a new process.
struct Process {
    vit: VitConfig,
    store: ParamStore,
    optimizer: AdamW,
}

impl Process {
    fn new(vit: VitConfig) -> Self {
        let store = store(&vit);
        let groups = pretrain_groups(&store, 0.05);
        let optimizer = AdamW::new(groups, AdamWConfig::pretrain()).unwrap();
        Self { vit, store, optimizer }
    }

    fn run(
        &mut self,
        folder: &Path,
        config: TrainerConfig,
        settings: &Value,
        observer: &mut dyn Observer,
    ) -> Result<Summary, Error> {
        let task = two_classes(&self.vit, &self.store);
        let settings = object(settings);
        let optimizer = &mut self.optimizer;
        Trainer::new(&task, &self.store, optimizer, config, folder, settings, object(&json!({})))
            .unwrap()
            .run(&plain(phantom(12), 4), None, observer)
    }

    fn bits(&self) -> (Bits, Bits, u64) {
        let memory = bits(&self.optimizer.state());
        (bits(&self.store.tensors()), memory, self.optimizer.steps())
    }
}

struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, info: &StepInfo) -> ControlFlow<()> {
        if info.update >= self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn settings() -> Value {
    json!({ "model": "tiny", "data": { "batch_size": 4, "root": "x" }, "lr": 0.1 })
}

/// A folder with a run stopped after four updates.
fn stopped() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::new(vit(2));
    let summary = process.run(folder.path(), config(3), &settings(), &mut StopAfter(4)).unwrap();
    assert_eq!((summary.finished, summary.state.updates), (false, 4));
    folder
}

/// The error of going on in this folder, which must leave model, optimiser and files as they are.
fn refused(folder: &Path, config: TrainerConfig, settings: &Value) -> Error {
    let mut process = Process::new(vit(2));
    let before = process.bits();
    let files = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
    let files_before = (files(CHECKPOINT_FILE), files(LOG_FILE));
    let error = process.run(folder, config, settings, &mut vit_train::Silent).unwrap_err();
    assert_eq!(process.bits(), before, "{error}: something was changed all the same");
    assert_eq!((files(CHECKPOINT_FILE), files(LOG_FILE)), files_before, "{error}");
    error
}

#[track_caller]
fn check_reason(error: &Error, parts: &[&str]) {
    let Error::Checkpoint { path, reason } = error else { panic!("{error}") };
    assert!(path.ends_with(CHECKPOINT_FILE), "{error}");
    for part in parts {
        assert!(reason.contains(part), "no '{part}' in: {reason}");
    }
}

#[test]
fn the_same_settings_go_on() {
    let folder = stopped();
    let mut process = Process::new(vit(2));
    let mut watch = crate::support::Watch::default();
    let summary = process.run(folder.path(), config(3), &settings(), &mut watch).unwrap();
    assert!(summary.finished);
    assert_eq!(watch.steps.first().map(|step| step.update), Some(5));
}

#[test]
fn other_settings_are_refused_with_both_values() {
    let folder = stopped();
    let mut other = settings();
    other["model"] = json!("base");
    let error = refused(folder.path(), config(3), &other);
    check_reason(&error, &["model (then \"tiny\", now \"base\")", "another output folder"]);
    assert!(!error.to_string().contains("lr"), "only what differs is named: {error}");

    let mut other = settings();
    other["data"]["batch_size"] = json!(8);
    other["lr"] = json!(0.25);
    let error = refused(folder.path(), config(3), &other);
    check_reason(&error, &["data.batch_size (then 4, now 8)", "lr (then 0.1, now 0.25)"]);
    assert!(!error.to_string().contains("root"), "only what differs is named: {error}");

    let mut more = settings();
    more["augment"] = json!(true);
    check_reason(&refused(folder.path(), config(3), &more), &["augment (then absent, now true)"]);
    let less = json!({ "model": "tiny", "lr": 0.1 });
    check_reason(&refused(folder.path(), config(3), &less), &["data (then {", "now absent)"]);
}

#[test]
fn other_trainer_settings_are_refused() {
    let folder = stopped();
    let base = config(3);
    let mut slower = base.clone();
    slower.schedule.lr = 0.5;
    let cases = [
        (slower, "trainer.schedule.lr (then 0.01, now 0.5)"),
        (TrainerConfig { accum_iter: 2, ..base.clone() }, "trainer.accum_iter (then 1, now 2)"),
        (TrainerConfig { seed: 6, ..base.clone() }, "trainer.seed (then 5, now 6)"),
        (
            TrainerConfig { clip_grad: Some(1.), ..base.clone() },
            "trainer.clip_grad (then null, now 1.0)",
        ),
        (TrainerConfig { epochs: 9, ..base }, "trainer.epochs (then 3, now 9)"),
    ];
    for (config, want) in cases {
        check_reason(&refused(folder.path(), config, &settings()), &[want]);
    }
}

#[test]
fn a_checkpoint_that_is_cut_short_is_refused() {
    let folder = stopped();
    let path = folder.path().join(CHECKPOINT_FILE);
    let whole = read(folder.path(), CHECKPOINT_FILE);
    for length in [0, 5, 8, 9, 200, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = refused(folder.path(), config(3), &settings());
        assert!(matches!(error, Error::Model(_)), "{length}: {error:?}");
        assert!(error.to_string().contains(CHECKPOINT_FILE), "{length}: {error}");
    }
}

/// The checkpoint with its tensors changed by the test.
fn rewrite(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let path = folder.join(CHECKPOINT_FILE);
    let file = WeightFile::open(&path).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = file
        .shapes()
        .keys()
        .map(|name| (name.clone(), file.tensor(name, &Device::Cpu).unwrap()))
        .collect();
    let metadata = file.metadata().clone();
    drop(file);
    change(&mut tensors);
    save_weights(&path, &tensors, &metadata).unwrap();
}

#[test]
fn rewriting_alone_breaks_nothing() {
    let folder = stopped();
    rewrite(folder.path(), |_| ());
    let mut process = Process::new(vit(2));
    let run = process.run(folder.path(), config(3), &settings(), &mut vit_train::Silent);
    assert!(run.unwrap().finished);
}

#[test]
fn a_missing_or_misshapen_tensor_is_refused() {
    // Last in their order: what is found late must be found before anything moved.
    for name in ["model.pos_embed", "optimizer.second.pos_embed", "optimizer.first.head.bias"] {
        let folder = stopped();
        rewrite(folder.path(), |tensors| drop(tensors.remove(name).unwrap()));
        let error = refused(folder.path(), config(3), &settings());
        assert!(error.to_string().contains(name), "{error}");

        let folder = stopped();
        let small = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap();
        let small = small.reshape((1, 1, 2)).unwrap();
        rewrite(folder.path(), |tensors| {
            tensors.insert(name.to_string(), small);
        });
        let error = refused(folder.path(), config(3), &settings());
        let bare = name.trim_start_matches("model.").trim_start_matches("optimizer.");
        assert!(error.to_string().contains(bare), "{error}");
        assert!(error.to_string().contains("another shape"), "{error}");
    }
}

/// A model with other shapes but the same words for settings.
#[test]
fn another_model_is_refused() {
    let folder = stopped();
    let mut process = Process::new(VitConfig { embed_dim: 24, ..vit(2) });
    let before = process.bits();
    let run = process.run(folder.path(), config(3), &settings(), &mut vit_train::Silent);
    check_reason(&run.unwrap_err(), &["has another shape"]);
    assert_eq!(process.bits(), before);
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = stopped();
    let tensors = Process::new(vit(2)).store.tensors();
    save_weights(&folder.path().join(CHECKPOINT_FILE), &tensors, &object(&json!({}))).unwrap();
    let error = refused(folder.path(), config(3), &settings());
    assert!(error.to_string().contains("'settings'"), "{error}");
}

#[test]
fn a_log_shorter_than_the_checkpoint_knows_is_refused() {
    let folder = stopped();
    let log = read(folder.path(), LOG_FILE);
    for length in [log.len() - 1, 0] {
        std::fs::write(folder.path().join(LOG_FILE), &log[..length]).unwrap();
        let mut process = Process::new(vit(2));
        let run = process.run(folder.path(), config(3), &settings(), &mut vit_train::Silent);
        let error = run.unwrap_err();
        let Error::Checkpoint { path, reason } = &error else { panic!("{error}") };
        assert!(path.ends_with(LOG_FILE), "{error}");
        assert!(reason.contains(&format!("shorter than the {} bytes", log.len())), "{error}");
        assert_eq!(read(folder.path(), LOG_FILE).len(), length, "the log was changed");
    }
}

/// An optimiser over other parameters than the store's trainable ones would leave some as they
/// are, or change frozen ones, for the whole run.
#[test]
fn an_optimizer_of_other_parameters_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut partial = Process::new(vit(2));
    let mut groups = pretrain_groups(&partial.store, 0.);
    groups[0].params.remove("head.bias").unwrap();
    partial.optimizer = AdamW::new(groups, AdamWConfig::pretrain()).unwrap();
    let mut excess = Process::new(vit(2));
    excess.store.set_trainable(|name, _| name != "head.bias");
    let mut foreign = Process::new(vit(2));
    foreign.optimizer = Process::new(vit(2)).optimizer;
    for (mut process, want) in
        [(partial, "'head.bias'"), (excess, "'head.bias'"), (foreign, "'blocks.0")]
    {
        let run = process.run(folder.path(), config(1), &settings(), &mut vit_train::Silent);
        let error = run.unwrap_err();
        assert!(matches!(&error, Error::Config(text) if text.contains(want)), "{error}");
    }
}
