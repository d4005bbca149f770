//! Targets, counts, freezing, gradients, merging.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{adapted, bits, images, lora, pattern, store, train_b, vit};
use vit_lora::vit_models::candle_core::{DType, Device, Tensor};
use vit_lora::vit_models::candle_nn::VarBuilder;
use vit_lora::vit_models::{Backbone, Classifier, Context, ParamStore, Pooling, Vit, VitConfig};
use vit_lora::{
    CLASS_TOKEN_NORM, Error, LoraConfig, Merged, Target, attach, count_trainable, delta_weights,
    detach, mark_only_lora_trainable, max_difference, merge, merge_report, specs,
};
use vit_random::Streams;

fn logits(model: &Vit) -> Tensor {
    model.logits(&images(2, DType::F32), &Context::eval()).unwrap()
}

#[test]
fn counts_equal_the_published_ones() {
    let table = [
        (4, 147_456, [159_758, 152_837, 149_761]),
        (8, 294_912, [307_214, 300_293, 297_217]),
        (16, 589_824, [602_126, 595_205, 592_129]),
        (32, 1_179_648, [1_191_950, 1_185_029, 1_181_953]),
    ];
    for (rank, lora, totals) in table {
        for (classes, total) in [14, 5, 1].into_iter().zip(totals) {
            let vit = VitConfig::vit_base(16, 224).classifier(classes, Pooling::GlobalPool);
            let mut all = Vit::specs(&vit).unwrap();
            all.extend(specs(&all, &LoraConfig::with_rank(rank)).unwrap());
            let counts = count_trainable(&all, &[]).unwrap();
            assert_eq!((counts.lora, counts.trainable), (lora, total));
            if (rank, classes) == (4, 14) {
                assert!((counts.share() - 0.00186).abs() < 5e-6, "{}", counts.share());
            }
        }
    }
}

#[test]
fn first_values_are_those_of_the_reference() {
    let store = store(&vit(), &lora(), DType::F32);
    for (name, param) in store.iter().filter(|(name, _)| name.contains("lora_")) {
        let values = param.var().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let largest = values.iter().fold(0_f32, |max, value| max.max(value.abs()));
        if name.contains("lora_A") {
            assert_eq!(param.var().dims(), [2, 12]);
            assert!(largest < 12_f32.powf(-0.5) && largest > 0.2, "{name}: {largest}");
        } else {
            assert_eq!((param.var().dims(), largest), ([12, 2].as_slice(), 0.));
        }
    }
    assert!(store.get("blocks.1.attn.qkv.lora_A.query").is_some());
    assert!(store.get("blocks.1.attn.qkv.lora_A.key").is_none());
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let store = store(&vit(), &lora(), DType::F32);
    let mut model = adapted(&vit(), &lora(), &store);
    let with = logits(&model);
    assert_eq!(detach(model.linears_mut()), 2);
    assert_eq!(bits(&with), bits(&logits(&model)));
}

#[test]
fn only_slices_of_the_targets_change() {
    let config = LoraConfig { targets: vec![Target::Key], ..lora() };
    let store = store(&vit(), &config, DType::F32);
    train_b(&store);
    for delta in delta_weights(&store, &config).unwrap().values() {
        for (part, changed) in [(0, false), (1, true), (2, false)] {
            let rows = delta.narrow(0, part * 12, 12).unwrap();
            assert_eq!(bits(&rows).iter().any(|bits| *bits != 0), changed);
        }
    }
}

#[test]
fn targets_without_a_layer_are_errors() {
    let base = Vit::specs(&vit()).unwrap();
    let with = |targets| specs(&base, &LoraConfig { targets, ..lora() });
    let message = |targets| with(targets).unwrap_err().to_string();
    let unknown = message(vec![Target::Query, Target::Linear("attn.q_proj".to_string())]);
    assert!(
        unknown.contains("'attn.q_proj'") && unknown.contains("blocks.0.attn.qkv"),
        "{unknown}"
    );
    // Part of a name is not a name, and the patch embedding is a convolution.
    assert!(message(vec![Target::Linear("kv".to_string())]).contains("'kv'"));
    assert!(message(vec![Target::Linear("patch_embed.proj".to_string())]).contains("patch_embed"));
    let whole = Target::Linear("attn.qkv".to_string());
    assert!(message(vec![whole, Target::Value]).contains("same rows"));
    assert_eq!(with(vec![Target::Linear("blocks.1.mlp.fc2".to_string())]).unwrap().len(), 2);
    assert_eq!(with(vec![Target::Head]).unwrap()[0].name, "head.lora_A.weight");
}

#[test]
fn contradictory_configurations_are_errors() {
    let good = lora();
    let bad = [
        LoraConfig { rank: 0, ..good.clone() },
        LoraConfig { rank: usize::MAX, ..good.clone() },
        LoraConfig { rank: 13, ..good.clone() },
        LoraConfig { alpha: f64::NAN, ..good.clone() },
        LoraConfig { alpha: 0., ..good.clone() },
        LoraConfig { dropout: 1., ..good.clone() },
        LoraConfig { targets: vec![], ..good.clone() },
        LoraConfig { targets: vec![Target::Key, Target::Key], ..good.clone() },
        LoraConfig { targets: vec![Target::Linear(String::new())], ..good },
    ];
    let base = Vit::specs(&vit()).unwrap();
    for config in bad {
        assert!(specs(&base, &config).is_err(), "{config:?}");
    }
}

#[test]
fn configurations_are_read_strictly() {
    let text = serde_json::to_string(&LoraConfig::default()).unwrap();
    assert_eq!(text, r#"{"rank":4,"alpha":32.0,"dropout":0.1,"targets":["query","value"]}"#);
    assert_eq!(serde_json::from_str::<LoraConfig>(&text).unwrap(), LoraConfig::default());
    assert!(serde_json::from_str::<LoraConfig>(&text.replace("rank", "r")).is_err());
}

#[test]
fn a_layer_is_not_adapted_twice() {
    let store = store(&vit(), &lora(), DType::F32);
    train_b(&store);
    let mut model = adapted(&vit(), &lora(), &store);
    let before = logits(&model);
    let twice = attach(model.linears_mut(), &lora(), &store.frozen());
    assert!(matches!(twice, Err(Error::Layer { layer, .. }) if layer == "blocks.0.attn.qkv"));
    assert_eq!(bits(&before), bits(&logits(&model)));
}

#[test]
fn a_missing_adapter_parameter_is_named() {
    let store = store(&vit(), &lora(), DType::F32);
    let mut model = Vit::new(&vit(), &store.frozen()).unwrap();
    let wider = LoraConfig { rank: 3, ..lora() };
    let error = attach(model.linears_mut(), &wider, &store.frozen()).unwrap_err().to_string();
    assert!(error.contains("blocks.0.attn.qkv.lora_A.query"), "{error}");
    let other = LoraConfig { targets: vec![Target::Fc1], ..lora() };
    let error = attach(model.linears_mut(), &other, &store.frozen()).unwrap_err().to_string();
    assert!(error.contains("blocks.0.mlp.fc1.lora_A.weight"), "{error}");
    assert_eq!(detach(model.linears_mut()), 0);
}

#[test]
fn the_freeze_rule_is_the_references() {
    let mut model = store(&vit(), &lora(), DType::F32);
    let counts = mark_only_lora_trainable(&mut model, &[]).unwrap();
    let names: Vec<&str> = model.trainable().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2 * 4 + 4);
    assert_eq!(counts.tensors, names.len());
    assert!(names.iter().all(|name| name.contains("lora_")
        || name.starts_with("head.")
        || name.starts_with("fc_norm.")));
    let mut class_token = vit();
    class_token.pooling = Pooling::ClassToken;
    let mut model = store(&class_token, &lora(), DType::F32);
    let frozen = mark_only_lora_trainable(&mut model, &[]).unwrap();
    let trained = mark_only_lora_trainable(&mut model, &[CLASS_TOKEN_NORM]).unwrap();
    assert_eq!(trained.trainable - frozen.trainable, 2 * 12);
    assert!(mark_only_lora_trainable(&mut model, &["nrom."]).is_err());
    let plain = Vit::specs(&vit()).unwrap();
    assert!(count_trainable(&plain, &[]).is_err());
}

#[test]
fn gradients_reach_adapters_and_nothing_frozen() {
    let mut store = store(&vit(), &lora(), DType::F32);
    mark_only_lora_trainable(&mut store, &[]).unwrap();
    let model = adapted(&vit(), &lora(), &store);
    let ctx = Context::train(Streams::new(0), 0, &[0, 1]);
    let logits = model.logits(&images(2, DType::F32), &ctx).unwrap();
    let loss = (logits * pattern(&[2, 3], 1., DType::F32)).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    for (name, param) in store.iter() {
        let Some(grad) = grads.get(param.var()) else {
            assert!(!param.trainable(), "{name} got no gradient");
            continue;
        };
        assert!(param.trainable(), "{name} is frozen");
        let values = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{name}");
        // `B` is zero, so nothing depends on `A` yet.
        let zero = values.iter().all(|value| *value == 0.);
        assert_eq!(zero, name.contains("lora_A"), "{name}");
    }
}

/// Adapters on every kind of layer, dropout and drop path at work.
#[test]
fn activation_checkpointing_gives_the_same_gradients() {
    let lora = LoraConfig { targets: vec![Target::Query, Target::Value, Target::Fc1], ..lora() };
    let vit = VitConfig { drop_path: 0.2, ..vit() };
    let mut store = store(&vit, &lora, DType::F32);
    mark_only_lora_trainable(&mut store, &[]).unwrap();
    train_b(&store);
    let model = adapted(&vit, &lora, &store);
    let grads = |on: bool| -> Vec<Vec<u64>> {
        let ctx = Context::train(Streams::new(0), 0, &[0, 1]).with_grad_checkpointing(on);
        let logits = model.logits(&images(2, DType::F32), &ctx).unwrap();
        let loss = (logits * pattern(&[2, 3], 1., DType::F32)).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        store.trainable().map(|(_, var)| bits(grads.get(var).unwrap())).collect()
    };
    let (with, without) = (grads(true), grads(false));
    assert_eq!(with, without);
    assert!(with.len() > 6);
}

#[test]
fn dropout_acts_in_training_only_and_repeats() {
    let lora = LoraConfig { dropout: 0.5, ..lora() };
    let store = store(&vit(), &lora, DType::F32);
    train_b(&store);
    let model = adapted(&vit(), &lora, &store);
    let run = |seed, epoch| {
        let ctx = Context::train(Streams::new(seed), epoch, &[0, 1]);
        bits(&model.logits(&images(2, DType::F32), &ctx).unwrap())
    };
    assert_eq!(run(0, 0), run(0, 0));
    assert_ne!(run(0, 0), run(0, 1));
    assert_ne!(run(0, 0), run(1, 0));
    assert_ne!(run(0, 0), bits(&logits(&model)));
    assert_eq!(bits(&logits(&model)), bits(&logits(&model)));
}

/// Merged and adapted model agree for every kind of target, and the store stays as it is.
#[test]
fn merged_logits_equal_adapted_ones() {
    let every = vec![
        Target::Query,
        Target::Key,
        Target::Value,
        Target::Proj,
        Target::Fc1,
        Target::Fc2,
        Target::Head,
    ];
    let whole = vec![Target::Linear("qkv".to_string()), Target::Linear("0.mlp.fc1".to_string())];
    for targets in [lora().targets, every, whole] {
        let lora = LoraConfig { targets, ..lora() };
        let store = store(&vit(), &lora, DType::F32);
        train_b(&store);
        let before: Vec<_> = store.iter().map(|(_, param)| bits(param.var())).collect();
        let report = merge_report(&vit(), &store, &lora, &images(3, DType::F32)).unwrap();
        assert!(report.max_difference < 1e-5, "{report:?}");
        let after: Vec<_> = store.iter().map(|(_, param)| bits(param.var())).collect();
        assert_eq!(before, after);
        let base = Vit::new(&vit(), &store.frozen()).unwrap();
        let change = max_difference(&logits(&base), &logits(&adapted(&vit(), &lora, &store)));
        assert!(change.unwrap() > 1e-3, "the adapters must matter for this test to mean anything");
        let merged = merge(&store, &lora).unwrap();
        assert!(merged.keys().all(|name| !name.contains("lora_")));
        assert_eq!(merged.len(), Vit::specs(&vit()).unwrap().len());
    }
}

#[test]
fn merging_keeps_adapters_the_configuration_forgets() {
    let store = store(&vit(), &lora(), DType::F32);
    let forgets = LoraConfig { targets: vec![Target::Query], ..lora() };
    let error = merge(&store, &forgets).unwrap_err().to_string();
    assert!(error.contains("blocks.0.attn.qkv.lora_A.value"), "{error}");
}

#[test]
fn unmerging_restores_every_bit() {
    for dtype in [DType::F32, DType::BF16] {
        let mut store = store(&vit(), &lora(), dtype);
        train_b(&store);
        let all = |store: &ParamStore| -> Vec<_> {
            store.iter().map(|(_, param)| bits(param.var())).collect()
        };
        let before = all(&store);
        let expected = merge(&store, &lora()).unwrap();
        let merged = Merged::new(&mut store, &lora()).unwrap();
        for (name, tensor) in merged.tensors() {
            assert_eq!(bits(&tensor), bits(&expected[&name]), "{name}");
        }
        merged.unmerge().unwrap();
        assert_eq!(before, all(&store));
        drop(Merged::new(&mut store, &lora()).unwrap());
        assert_eq!(before, all(&store), "dropping restores too");
    }
}

/// A live model with adapters, which shares the store's memory, must not add the update twice,
/// even through a clone of the store.
#[test]
fn an_update_is_never_added_twice() {
    let mut store = store(&vit(), &lora(), DType::F32);
    train_b(&store);
    let mut clone = store.clone();
    let model = adapted(&vit(), &lora(), &store);
    let expected = logits(&model);
    let close = |found: Tensor| {
        let difference = max_difference(&found, &expected).unwrap();
        assert!(difference < 1e-5, "{difference}");
    };
    let merged = Merged::new(&mut store, &lora()).unwrap();
    close(logits(&model));
    close(logits(&Vit::new(&vit(), &merged.frozen()).unwrap()));
    let again = Merged::new(&mut clone, &lora()).unwrap();
    close(logits(&model));
    again.unmerge().unwrap();
    merged.unmerge().unwrap();
    assert_eq!(bits(&logits(&model)), bits(&expected));
}

#[test]
fn a_report_works_without_a_head() {
    let mut vit = vit();
    vit.num_classes = 0;
    let store = store(&vit, &lora(), DType::F32);
    train_b(&store);
    let report = merge_report(&vit, &store, &lora(), &images(1, DType::F32)).unwrap();
    assert!(report.max_difference < 1e-5 && report.max_output > 0.1, "{report:?}");
    let tensors = merge(&store, &lora()).unwrap().into_iter().collect();
    let vb = VarBuilder::from_tensors(tensors, DType::F32, store.device());
    let embedding = Vit::new(&vit, &vb).unwrap().embed(&images(1, DType::F32), &Context::eval());
    assert_eq!(embedding.unwrap().dims(), [1, 12]);
}

#[test]
fn differences_do_not_hide_nan() {
    let nan = Tensor::new(&[1_f32, f32::NAN, 2.], &Device::Cpu).unwrap();
    let zero = nan.zeros_like().unwrap();
    assert!(max_difference(&nan, &zero).unwrap().is_nan());
    assert!(max_difference(&nan, &zero.narrow(0, 0, 2).unwrap()).is_err());
}
