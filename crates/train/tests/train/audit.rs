//! The gradient-reach audit: what training would leave as it is, or change by mistake, is named
//! before the first update.

use candle_core::{DType, Device, Tensor};
use serde_json::Map;
use vit_models::candle_nn::{self, Module};
use vit_models::{Context, LayerNorm, Linear, ParamInit, ParamSpec, ParamStore, Vit};
use vit_train::{
    AuditReport, CHECKPOINT_FILE, Error, Evaluation, Observer, Result, Supervised, Task,
    TensorBatch, Trainer,
};

use crate::support::{Recorder, bits, config, phantom, plain, single, store, two_classes, vit};

const DIM: usize = 8;

type Loss<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>;

/// A task that is a function from pictures to a loss.
struct Formula<'a> {
    loss: Loss<'a>,
    zero_allowed: &'static [&'static str],
}

impl Task for Formula<'_> {
    fn loss(&self, batch: &TensorBatch, _: &Context) -> Result<Tensor> {
        (self.loss)(&batch.images)
    }

    fn evaluate(&self, _: &mut dyn Iterator<Item = Result<TensorBatch>>) -> Result<Evaluation> {
        panic!("these runs have no validation")
    }

    fn zero_gradient_allowed(&self, name: &str) -> bool {
        self.zero_allowed.contains(&name)
    }
}

fn formula<'a>(loss: impl Fn(&Tensor) -> Result<Tensor> + 'a) -> Formula<'a> {
    Formula { loss: Box::new(loss), zero_allowed: &[] }
}

#[derive(Default)]
struct Report(Option<AuditReport>);

impl Observer for Report {
    fn audited(&mut self, report: &AuditReport) {
        self.0 = Some(report.clone());
    }
}

/// Trains one epoch; the report of an audit that passed or did not.
fn audit(
    task: &dyn Task,
    store: &ParamStore,
) -> std::result::Result<AuditReport, Box<AuditReport>> {
    let folder = tempfile::tempdir().unwrap();
    let before = bits(&store.tensors());
    let mut optimizer = Recorder::new(store);
    let mut observer = Report::default();
    let (settings, metadata) = (Map::new(), Map::new());
    let result =
        Trainer::new(task, store, &mut optimizer, config(1), folder.path(), settings, metadata)
            .unwrap()
            .run(&plain(phantom(4), 4), None, &mut observer);
    match result {
        Ok(_) => {
            assert_eq!(optimizer.seen.len(), 1);
            Ok(observer.0.unwrap())
        }
        Err(Error::Audit(report)) => {
            assert!(observer.0.is_none() && optimizer.seen.is_empty());
            assert_eq!(bits(&store.tensors()), before, "an update was made");
            assert!(!folder.path().join(CHECKPOINT_FILE).exists());
            let text = Error::Audit(report.clone()).to_string();
            for name in [&report.unreached, &report.leaking, &report.zero, &report.non_finite]
                .into_iter()
                .flatten()
            {
                assert!(text.contains(name.as_str()), "{text}");
            }
            Err(report)
        }
        Err(other) => panic!("{other}"),
    }
}

/// first → norm → second.
fn chain() -> ParamStore {
    let dense = |name: &str, rows, cols| {
        Linear::specs(name, rows, cols, true, ParamInit::xavier_uniform(rows, cols))
    };
    let specs = [dense("first", 64, DIM), LayerNorm::specs("norm", DIM), dense("second", DIM, 3)];
    ParamStore::init(&specs.concat(), 2, DType::F32, &Device::Cpu).unwrap()
}

/// `[4, 1, 32, 32]` to `[4, 16, 64]`.
fn tokens(images: &Tensor) -> Tensor {
    images.reshape((4, 16, 64)).unwrap()
}

/// The chain's layers around a norm of the caller's choice; `residual` leads around it, too.
fn chain_loss<'a>(
    store: &ParamStore,
    norm: impl Fn(&Tensor) -> Result<Tensor> + 'a,
    residual: bool,
) -> Formula<'a> {
    let vb = store.var_builder();
    let first = Linear::new(64, DIM, true, &vb.pp("first")).unwrap();
    let second = Linear::new(DIM, 3, true, &vb.pp("second")).unwrap();
    formula(move |images| {
        let ctx = Context::eval();
        let x = first.forward(&tokens(images), &ctx)?;
        let normed = norm(&x)?;
        let x = if residual { (x + normed)? } else { normed };
        Ok(second.forward(&x, &ctx)?.sqr()?.mean_all()?)
    })
}

#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shows what is wrong with it"
)]
fn stock_norm(store: &ParamStore) -> candle_nn::LayerNorm {
    candle_nn::layer_norm(DIM, 1e-6, store.var_builder().pp("norm")).unwrap()
}

#[test]
fn a_sound_model_passes() {
    let store = chain();
    let norm = LayerNorm::new(DIM, 1e-6, &store.var_builder().pp("norm")).unwrap();
    let report = audit(&chain_loss(&store, |x| Ok(norm.forward(x)?), false), &store).unwrap();
    assert_eq!(report, AuditReport { reached: 6, ..AuditReport::default() });

    let vit = vit(2);
    let store = crate::support::store(&vit);
    let report = audit(&two_classes(&vit, &store), &store).unwrap();
    assert_eq!(report.reached, store.trainable().count());
    assert!(report.passed());
}

/// candle's own layer norm has no backward pass and says nothing: the layers before it would stay
/// as they are for the whole run.
#[test]
fn a_norm_that_drops_gradients_is_found() {
    let store = chain();
    let norm = stock_norm(&store);
    let report = audit(&chain_loss(&store, |x| Ok(norm.forward(x)?), false), &store).unwrap_err();
    let want = ["first.bias", "first.weight", "norm.bias", "norm.weight"];
    assert_eq!(
        (report.unreached.as_slice(), report.reached),
        (want.map(str::to_string).as_slice(), 2)
    );
    assert!(report.leaking.is_empty() && report.zero.is_empty() && report.non_finite.is_empty());
}

/// With a residual path around it, gradients do arrive before the norm; its own parameters tell.
#[test]
fn a_norm_that_drops_gradients_is_found_beside_a_residual_path() {
    let store = chain();
    let norm = stock_norm(&store);
    let report = audit(&chain_loss(&store, |x| Ok(norm.forward(x)?), true), &store).unwrap_err();
    assert_eq!(report.unreached, ["norm.bias", "norm.weight"]);
    assert_eq!(report.reached, 4);
}

#[test]
fn an_unused_parameter_is_named() {
    let mut store = chain();
    let norm = LayerNorm::new(DIM, 1e-6, &store.var_builder().pp("norm")).unwrap();
    store.add(&Linear::specs("unused", 2, 2, false, ParamInit::Constant(1.)), 0).unwrap();
    let task = chain_loss(&store, |x| Ok(norm.forward(x)?), false);
    assert_eq!(audit(&task, &store).unwrap_err().unreached, ["unused.weight"]);
    // Frozen, nobody expects a gradient of it.
    store.set_trainable(|name, _| name != "unused.weight");
    assert_eq!(audit(&task, &store).unwrap().reached, 6);
}

/// A model of another store, or one without variables, trains nothing.
#[test]
fn a_model_built_without_variables_is_found() {
    let vit = vit(2);
    let trained = store(&vit);
    let build = |vb| Vit::new(&vit, &vb).unwrap();
    let frozen = build(trained.frozen());
    let task = Supervised::new(frozen.clone(), frozen, single(&["a", "b"])).unwrap();
    let report = audit(&task, &trained).unwrap_err();
    assert_eq!((report.unreached.len(), report.reached), (trained.trainable().count(), 0));
    let other = store(&vit);
    let task = two_classes(&vit, &other);
    assert_eq!(audit(&task, &trained).unwrap_err().unreached, report.unreached);
}

/// Frozen only after the model was built: the model still records gradients for it.
#[test]
fn a_frozen_parameter_that_is_reached_is_named() {
    let vit = vit(2);
    let mut store = store(&vit);
    let before = two_classes(&vit, &store);
    store.set_trainable(|name, _| !name.starts_with("patch_embed."));
    let report = audit(&before, &store).unwrap_err();
    assert_eq!(report.leaking, ["patch_embed.proj.bias", "patch_embed.proj.weight"]);
    assert!(report.unreached.is_empty());
    // Built again, it is as meant.
    let report = audit(&two_classes(&vit, &store), &store).unwrap();
    assert_eq!(report.reached, store.trainable().count());
}

/// `x·Aᵀ·Bᵀ` with B zero, as LoRA begins, beside a layer with a gradient.
fn low_rank() -> ParamStore {
    let specs = [
        ParamSpec::new("a".to_string(), &[2, 64], ParamInit::Normal(0.1)),
        ParamSpec::new("b".to_string(), &[3, 2], ParamInit::Constant(0.)),
        ParamSpec::new("base".to_string(), &[3, 64], ParamInit::Normal(0.1)),
    ];
    ParamStore::init(&specs, 2, DType::F32, &Device::Cpu).unwrap()
}

fn low_rank_task(store: &ParamStore, zero_allowed: &'static [&'static str]) -> Formula<'static> {
    let vb = store.var_builder();
    let get = |name: &str| vb.get(store.get(name).unwrap().var().shape(), name).unwrap();
    let (a, b, base) = (get("a"), get("b"), get("base"));
    let task = formula(move |images| {
        let x = images.reshape((64, 64))?;
        let y = (x.matmul(&base.t()?)? + x.matmul(&a.t()?)?.matmul(&b.t()?)?)?;
        Ok(y.sqr()?.mean_all()?)
    });
    Formula { zero_allowed, ..task }
}

#[test]
fn a_gradient_of_zero_needs_the_tasks_word() {
    let store = low_rank();
    let report = audit(&low_rank_task(&store, &[]), &store).unwrap_err();
    assert_eq!((report.zero.as_slice(), report.reached), (["a".to_string()].as_slice(), 2));
    // A rule about another name is no help.
    let report = audit(&low_rank_task(&store, &["b"]), &store).unwrap_err();
    assert_eq!(report.zero, ["a"]);
    let report = audit(&low_rank_task(&store, &["a"]), &store).unwrap();
    assert_eq!(report.zero_by_construction, ["a"]);
    assert_eq!(report.reached, 2, "and the same epoch trained on");
}

/// The rule excuses a zero, not a missing gradient.
#[test]
fn the_tasks_word_does_not_excuse_a_missing_gradient() {
    let mut store = low_rank();
    let task = low_rank_task(&store, &["a", "lost"]);
    store.add(&[ParamSpec::new("lost".to_string(), &[2], ParamInit::Constant(1.))], 0).unwrap();
    assert_eq!(audit(&task, &store).unwrap_err().unreached, ["lost"]);
}

#[test]
fn supervised_tasks_take_the_rule_by_parts_of_names() {
    let vit = vit(2);
    let task = two_classes(&vit, &store(&vit)).with_zero_gradients(&["lora_A"]);
    assert!(task.zero_gradient_allowed("blocks.0.attn.qkv.lora_A.query"));
    assert!(!task.zero_gradient_allowed("blocks.0.attn.qkv.lora_B.query"));
    assert!(!two_classes(&vit, &store(&vit)).zero_gradient_allowed("x.lora_A.y"));
}

#[test]
fn gradients_that_are_not_finite_are_named() {
    for (value, names) in
        [(f32::NAN, ["a", "b", "base"].as_slice()), (f32::INFINITY, &["a", "b", "base"])]
    {
        let store = low_rank();
        let mut base = vec![0.1f32; 3 * 64];
        base[7] = value;
        store.set("base", &Tensor::from_vec(base, (3, 64), &Device::Cpu).unwrap()).unwrap();
        let report = audit(&low_rank_task(&store, &["a"]), &store).unwrap_err();
        let mut all = [report.non_finite.clone(), report.zero].concat();
        all.sort();
        assert!(
            !all.is_empty() && all.iter().all(|name| names.contains(&name.as_str())),
            "{all:?}"
        );
        assert!(all.contains(&"base".to_string()), "{value}: {all:?}");
    }
}
