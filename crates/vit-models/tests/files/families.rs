//! Every family's fixture (`tests/fixtures/make_weights.py`): the file gives the model that the
//! library it comes from computes with.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Backbone, Classifier, Context, Family, LoadOptions, Outcome, Pooling, Vit, VitConfig,
    WeightFile,
};

use crate::support::flat;

/// One model of `models.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    pub(crate) file: String,
    pub(crate) family: String,
    config: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct Models {
    default: Map<String, Value>,
    models: std::collections::BTreeMap<String, Model>,
}

pub(crate) fn weights(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

/// Every vision transformer with its configuration, and every other model with none.
pub(crate) fn models() -> Vec<(String, Model, Option<VitConfig>)> {
    let text = std::fs::read_to_string(weights("models.json")).unwrap();
    let Models { default, models } = serde_json::from_str(&text).unwrap();
    let config = |model: &Model| {
        let own = model.config.as_ref()?;
        let mut fields: Map<String, Value> =
            serde_json::to_value(VitConfig::vit_tiny(4, 16)).unwrap().as_object().unwrap().clone();
        fields.extend(default.clone());
        fields.extend(own.clone());
        if fields["mlp"] == "swi_glu_packed" {
            fields["mlp"] = "swiglu_packed".into();
        }
        Some(serde_json::from_value(Value::Object(fields)).unwrap())
    };
    models
        .into_iter()
        .map(|(name, model)| (name.clone(), config(&model), model))
        .map(|(n, c, m)| (n, m, c))
        .collect()
}

pub(crate) fn assert_close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let largest = flat(got).iter().zip(flat(want)).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
    assert!(largest <= 1e-5, "{what}: {largest:e}");
}

#[test]
fn every_family_gives_the_outputs_of_its_library() {
    let cpu = Device::Cpu;
    let mut compared = 0;
    for (name, model, config) in models() {
        let Some(config) = config else { continue };
        let path = weights(&model.file);
        let (vit, report) =
            Vit::from_file(&config, &path, &cpu).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(report.missing().is_empty() && report.unexpected().is_empty(), "{name}: {report}");
        let expected = WeightFile::open(&weights(&format!("{name}.expected.safetensors"))).unwrap();
        let get = |key: &str| expected.tensor(key, &cpu).unwrap();
        let has = |key: &str| expected.shapes().contains_key(key);
        let (input, ctx) = (get("input"), Context::eval());
        if has("tokens") {
            assert_close(
                &vit.tokens(&input, &ctx).unwrap(),
                &get("tokens"),
                &format!("{name} tokens"),
            );
        }
        if has("embedding") {
            assert_close(&vit.embed(&input, &ctx).unwrap(), &get("embedding"), &name);
        }
        if has("logits") {
            assert_close(&vit.logits(&input, &ctx).unwrap(), &get("logits"), &name);
        }
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn families_are_told_by_their_names() {
    for (name, model, _) in models() {
        let file = WeightFile::open(&weights(&model.file)).unwrap();
        assert_eq!(file.family().name(), model.family, "{name}");
        assert_eq!(Family::by_name(&model.family), Some(file.family()));
    }
    for (file, family) in [
        ("hf_deit_memory.pth", Family::HfDeit),
        ("smp_densenet.pth", Family::SmpEncoder),
        ("types.pth", Family::Unknown),
    ] {
        assert_eq!(WeightFile::open(&weights(file)).unwrap().family(), family, "{file}");
    }
}

/// Names as transformers 5 has them in memory are another way to write the same model.
#[test]
fn names_in_memory_are_the_same_model() {
    let (_, _, config) = models().into_iter().find(|(name, ..)| name == "hf_deit").unwrap();
    let config = config.unwrap();
    let open = |name| Vit::from_file(&config, &weights(name), &Device::Cpu).unwrap().0;
    let (file, memory) = (open("hf_deit"), open("hf_deit_memory.pth"));
    let x = Tensor::ones((1, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
    let logits = |model: &Vit| flat(&model.logits(&x, &Context::eval()).unwrap());
    assert_eq!(logits(&file), logits(&memory));
}

fn config_of(wanted: &str) -> VitConfig {
    models().into_iter().find(|(name, ..)| name == wanted).unwrap().2.unwrap()
}

fn outcomes(config: &VitConfig, file: &str, options: LoadOptions) -> Vec<(String, Outcome)> {
    let file = WeightFile::open(&weights(file)).unwrap();
    let store = crate::support::store(config, 1);
    let report = file.load_into(&store, &options.for_model(config)).unwrap();
    report.tensors.into_iter().map(|row| (row.name, row.outcome)).collect()
}

fn outcome_of<'a>(rows: &'a [(String, Outcome)], name: &str) -> &'a Outcome {
    &rows.iter().find(|(row, _)| row == name).unwrap_or_else(|| panic!("no row {name}")).1
}

#[test]
fn the_report_says_what_was_fused_renamed_and_dropped() {
    let rows = outcomes(&config_of("hf_dinov2"), "hf_dinov2", LoadOptions::strict());
    let part = |part: &str| format!("encoder.layer.1.attention.attention.{part}.weight");
    let from = ["query", "key", "value"].map(part).to_vec();
    assert_eq!(outcome_of(&rows, "blocks.1.attn.qkv.weight"), &Outcome::Fused { from });
    let from = "encoder.layer.0.layer_scale1.lambda1".to_string();
    assert_eq!(outcome_of(&rows, "blocks.0.ls1.gamma"), &Outcome::Renamed { from });
    assert!(matches!(outcome_of(&rows, "embeddings.mask_token"), Outcome::Dropped { .. }));
    // One row for each tensor of the model, and one more for the token that is dropped.
    let specs = Vit::specs(&config_of("hf_dinov2")).unwrap();
    assert_eq!(rows.len(), specs.len() + 1);
}

/// The layout of DINOv2 with registers: the class token's position becomes part of the token.
#[test]
fn registers_move_the_class_position_into_the_token() {
    for (name, token, table) in [
        ("dinov2_teacher", "backbone.cls_token", "backbone.pos_embed"),
        ("hf_dinov2_reg", "embeddings.cls_token", "embeddings.position_embeddings"),
    ] {
        let model = models().into_iter().find(|(n, ..)| n == name).unwrap().1;
        let rows = outcomes(&config_of(name), &model.file, LoadOptions::strict());
        for (row, from) in [("cls_token", token), ("pos_embed", table)] {
            let Outcome::Adapted { from: names, how, .. } = outcome_of(&rows, row) else {
                panic!("{name}: {:?}", outcome_of(&rows, row))
            };
            assert_eq!(names, &[from.to_string()]);
            assert!(how.contains("first row"), "{how}");
        }
    }
}

/// A file with a class position in a model without, and the other way round: the same function.
#[test]
fn the_place_of_the_class_position_does_not_change_the_model() {
    let with = config_of("timm_class");
    let without = VitConfig { no_embed_class: true, ..with.clone() };
    let cpu = Device::Cpu;
    let (a, _) = Vit::from_file(&with, &weights("timm_class.safetensors"), &cpu).unwrap();
    let (b, _) = Vit::from_file(&without, &weights("timm_class.safetensors"), &cpu).unwrap();
    let x = Tensor::arange(0f32, 768., &cpu).unwrap().reshape((1, 3, 16, 16)).unwrap();
    let x = (x / 768.).unwrap();
    let logits = |vit: &Vit| vit.logits(&x, &Context::eval()).unwrap();
    assert_close(&logits(&a), &logits(&b), "class position");
}

#[test]
fn channels_are_summed_and_repeated() {
    let cpu = Device::Cpu;
    let file = WeightFile::open(&weights("timm_class.safetensors")).unwrap();
    let three = flat(&file.tensor("patch_embed.proj.weight", &cpu).unwrap());
    for channels in [1usize, 2, 5] {
        let config = VitConfig { in_chans: channels, ..config_of("timm_class") };
        let store = crate::support::store(&config, 1);
        let report = file.load_into(&store, &LoadOptions::strict()).unwrap();
        let rows = report.names(|o| matches!(o, Outcome::Adapted { .. }));
        assert_eq!(rows, ["patch_embed.proj.weight"]);
        let got = flat(store.get("patch_embed.proj.weight").unwrap().var());
        for (i, got) in got.iter().enumerate() {
            let (out, channel, place) = (i / (16 * channels), i / 16 % channels, i % 16);
            let at = |c: usize| three[(out * 3 + c) * 16 + place];
            let want = match channels {
                1 => at(0) + at(1) + at(2),
                n => at(channel % 3) * 3. / n as f64,
            };
            assert!((got - want).abs() < 1e-6, "{channels} channels, {i}: {got} {want}");
        }
    }
}

/// A table of a grid that is no square, brought to another: rows and columns are not mixed up.
#[test]
fn a_table_that_is_no_square_is_resized_where_the_grids_are_known() {
    let config = VitConfig { img_size: 16.into(), ..config_of("timm_qk_norm") };
    let file = WeightFile::open(&weights("timm_qk_norm.safetensors")).unwrap();
    let store = crate::support::store(&config, 1);
    let options = LoadOptions { file_grid: Some((4, 6)), ..LoadOptions::strict() };
    let report = file.load_into(&store, &options.for_model(&config)).unwrap();
    assert_eq!(report.names(|o| matches!(o, Outcome::Resized { .. })), ["pos_embed"]);
    let table = file.tensor("pos_embed", &Device::Cpu).unwrap();
    let want = vit_models::resize_position_table(&table, 1, (4, 6), (4, 4), Default::default());
    assert_eq!(flat(store.get("pos_embed").unwrap().var()), flat(&want.unwrap()));
}

/// The family can be told; a file that is not of it gives nothing.
#[test]
fn the_family_can_be_told() {
    let config = config_of("hf_vit");
    let told = LoadOptions::strict().with_family(Family::HfVit);
    assert!(!outcomes(&config, "hf_vit", told).is_empty());
    let file = WeightFile::open(&weights("hf_vit")).unwrap();
    let wrong = LoadOptions::strict().with_family(Family::Timm);
    let error = file.load_into(&crate::support::store(&config, 1), &wrong).unwrap_err();
    assert!(error.to_string().contains("0 tensors that fit"), "{error}");
}

/// Of a training checkpoint of DINOv2 the teacher is taken, and the report says so.
#[test]
fn the_likeliest_dictionary_is_taken_and_named() {
    let file = WeightFile::open(&weights("dinov2_teacher.pth")).unwrap();
    assert_eq!(file.section(), "teacher");
    let names: Vec<&str> = file.sections().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["teacher", "student"]);
    let student =
        WeightFile::open_section(&weights("dinov2_teacher.pth"), Some("student")).unwrap();
    assert_eq!(student.shapes().len(), 3);
    let error =
        WeightFile::open_section(&weights("dinov2_teacher.pth"), Some("ema")).err().unwrap();
    assert!(error.to_string().contains("student"), "{error}");

    let file = WeightFile::open(&weights("mae_finetuned.pth")).unwrap();
    assert_eq!(file.section(), "model");
    assert_eq!(file.training()["epoch"], 399);
    assert_eq!(file.training()["args"]["model"], "mae_vit_tiny_patch4");
    assert_eq!(file.training()["args"]["norm_pix_loss"], true);
    let config = config_of("mae_finetuned");
    assert_eq!(config.pooling, Pooling::GlobalPool);
}
