//! The golden cases of the reference implementation (`spec/mae.md` 13): weights, picture and noise
//! are formulas, so nothing is downloaded.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{Device, Tensor};
use mae_pretrain::{Mae, MaeConfig, MaeOutput, Masking};
use serde_json::Value;
use vit_models::{Classifier, Context, ParamStore, Pooling, Vit};
use vit_train::{
    AdamW, AdamWConfig, Gradients, Optimizer, ParamGroup, cross_entropy, layer_decay_groups,
    pretrain_groups,
};
use vitalight_tests::tiny::{fill, golden, images, l2, noise, trunk};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn mae(norm_pix_loss: bool) -> MaeConfig {
    MaeConfig {
        decoder_embed_dim: 8,
        decoder_depth: 1,
        decoder_num_heads: 2,
        norm_pix_loss,
        ..MaeConfig::new(trunk())
    }
}

fn masking() -> Masking {
    Masking::from_noise(&noise(), 16, 0.75).unwrap()
}

fn scalar(loss: &Tensor) -> f64 {
    f64::from(loss.to_scalar::<f32>().unwrap())
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} instead of {want}");
}

fn gradients(store: &ParamStore, loss: &Tensor) -> Gradients {
    let grads = loss.backward().unwrap();
    let grad = |name: &str, var: &candle_core::Var| {
        let grad = grads.get(var).unwrap_or_else(|| panic!("{name} has no gradient"));
        (name.to_string(), grad.clone())
    };
    store.trainable().map(|(name, var)| grad(name, var)).collect()
}

#[track_caller]
fn check_norms(got: impl Iterator<Item = (String, f64)>, want: &Value) {
    check_norms_to(got, want, |_| 1e-5);
}

/// Softmax does not see the bias of the keys, so its gradient is rounding error around zero, which
/// Adam divides by itself: after a step that third of `qkv.bias` is as good as random in the fourth
/// digit in any implementation.
#[track_caller]
fn check_norms_after_step(got: impl Iterator<Item = (String, f64)>, want: &Value) {
    check_norms_to(got, want, |name| if name.ends_with("qkv.bias") { 2e-4 } else { 1e-5 });
}

#[track_caller]
fn check_norms_to(
    got: impl Iterator<Item = (String, f64)>,
    want: &Value,
    tolerance: impl Fn(&str) -> f64,
) {
    let want = want.as_object().unwrap();
    let mut seen = 0;
    for (name, got) in got {
        let want = want[&name].as_f64().unwrap();
        assert!((got - want).abs() <= tolerance(&name) * want, "{name}: {got} instead of {want}");
        seen += 1;
    }
    assert_eq!(seen, want.len());
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn run_mae(norm_pix_loss: bool) -> (ParamStore, Mae, MaeOutput) {
    let config = mae(norm_pix_loss);
    let store = fill(&Mae::specs(&config).unwrap());
    let model = Mae::new(&config, &store.var_builder()).unwrap();
    let output = model.forward(&images(), &masking(), &Context::eval()).unwrap();
    (store, model, output)
}

fn step(groups: Vec<ParamGroup>, config: AdamWConfig, gradients: Gradients) {
    AdamW::new(groups, config).unwrap().step(gradients, 1e-2, 1.).unwrap();
}

#[test]
fn mae_losses_gradients_and_outputs() -> Outcome {
    let Some(golden) = golden() else { return Ok(()) };
    for (norm_pix, key, total) in
        [(false, "mae_pixel", 0.681185), (true, "mae_norm_pix", 0.6825283)]
    {
        let golden = &golden[key];
        let (store, _, output) = run_mae(norm_pix);
        close(scalar(&output.loss), golden["loss"].as_f64().unwrap(), 1e-6);
        let gradients = gradients(&store, &output.loss);
        close(vit_train::global_norm(&gradients)?, total, 1e-5 * total);
        check_norms(
            gradients.iter().map(|(name, grad)| (name.clone(), l2(grad))),
            &golden["grad_l2"],
        );
    }
    let golden = &golden["mae_pixel"];
    let masking = masking();
    let ids: Vec<f64> = masking.ids_restore().concat().into_iter().map(f64::from).collect();
    assert_eq!(ids, floats(&golden["ids_restore"]));
    let mask: Vec<f64> = masking.mask().concat().into_iter().map(f64::from).collect();
    assert_eq!(mask, floats(&golden["mask"]));
    let (_, _, output) = run_mae(false);
    for (tensor, key, sum) in
        [(&output.pred, "pred", 6.116207), (&output.latent, "latent", 4.754522)]
    {
        let got: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        for (got, want) in got.iter().zip(floats(&golden[key])) {
            close(f64::from(*got), want, 1e-5);
        }
        close(got.iter().map(|v| f64::from(*v)).sum(), sum, 2e-5);
    }
    Ok(())
}

#[test]
fn mae_after_one_step() -> Outcome {
    let Some(golden) = golden() else { return Ok(()) };
    let golden = &golden["mae_pixel"];
    let (store, model, output) = run_mae(false);
    let groups = pretrain_groups(&store, 0.05);
    let sizes: Vec<usize> = groups.iter().map(|group| group.params.len()).collect();
    assert_eq!(sizes, [31, 17]);
    assert_eq!(groups[0].weight_decay, 0.);
    step(groups, AdamWConfig::pretrain(), gradients(&store, &output.loss));
    let norms = store.trainable().map(|(name, var)| (name.to_string(), l2(var)));
    check_norms_after_step(norms, &golden["param_l2_after_adamw_lr1e-2_wd0.05_b0.9_0.95"]);
    let after = model.forward(&images(), &masking(), &Context::eval())?;
    close(scalar(&after.loss), golden["loss_after_step"].as_f64().unwrap(), 1e-6);
    Ok(())
}

/// The mistakes one makes most easily give other values; the tolerance above tells them apart.
#[test]
fn mistakes_have_other_losses() -> Outcome {
    use vit_models::candle_core::D;
    let (_, _, pixel) = run_mae(false);
    let loss_against = |pred: &Tensor, target: &Tensor, hidden_only: bool| -> f64 {
        let per_patch = (pred - target).unwrap().sqr().unwrap().mean(D::Minus1).unwrap();
        let mask = masking().mask_tensor(&Device::Cpu).unwrap();
        let mask = if hidden_only { mask } else { mask.ones_like().unwrap() };
        let total = mask.sum_all().unwrap();
        scalar(&((per_patch * mask).unwrap().sum_all().unwrap() / total).unwrap())
    };
    let patches = |order| vit_kernels::patchify(&images(), 8, order).unwrap();
    let right = patches(vit_kernels::PatchOrder::ChannelLast);
    close(loss_against(&pixel.pred, &right, true), 0.69376516, 1e-6);
    let convolution_order = patches(vit_kernels::PatchOrder::ChannelFirst);
    close(loss_against(&pixel.pred, &convolution_order, true), 0.6938095, 1e-6);
    close(loss_against(&pixel.pred, &right, false), 0.7033714, 1e-6);
    let mean = right.mean_keepdim(D::Minus1)?;
    let centred = right.broadcast_sub(&mean)?;
    let biased = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
    let (_, _, norm_pix) = run_mae(true);
    close(loss_against(&norm_pix.pred, &centred.broadcast_div(&biased)?, true), 1.1949456, 1e-6);
    let (right_pixel, right_norm) = (0.69376516f64, 1.1897341f64);
    for (mistake, right) in
        [(0.6938095, right_pixel), (0.7033714, right_pixel), (1.1949456, right_norm)]
    {
        assert!((mistake - right).abs() > 1e-5, "the tolerance of 1e-6 would let {mistake} pass");
    }
    Ok(())
}

#[test]
fn classifiers_after_one_step() -> Outcome {
    let Some(golden) = golden() else { return Ok(()) };
    for (pooling, key) in
        [(Pooling::GlobalPool, "vit_global_pool"), (Pooling::ClassToken, "vit_cls_token")]
    {
        let golden = &golden[key];
        let config = trunk().classifier(5, pooling);
        let store = fill(&Vit::specs(&config)?);
        let model = Vit::new(&config, &store.var_builder())?;
        let loss = || -> Result<Tensor, Box<dyn std::error::Error>> {
            let logits = model.logits(&images(), &Context::eval())?;
            Ok(cross_entropy(&logits, &[1, 3], 0., None)?)
        };
        let first = loss()?;
        close(scalar(&first), golden["ce_loss_labels_1_3"].as_f64().unwrap(), 1e-6);
        let gradients = gradients(&store, &first);
        check_norms(
            gradients.iter().map(|(name, grad)| (name.clone(), l2(grad))),
            &golden["grad_l2"],
        );
        step(layer_decay_groups(&store, 2, 0.75, 0.05), AdamWConfig::finetune(), gradients);
        let norms = store.trainable().map(|(name, var)| (name.to_string(), l2(var)));
        check_norms_after_step(norms, &golden["param_l2_after_adamw_lr1e-2_layerdecay0.75_wd0.05"]);
        close(scalar(&loss()?), golden["ce_loss_after_step"].as_f64().unwrap(), 1e-6);
    }
    Ok(())
}

/// Guards the helper above: a wave that is not what the formula says would show here first.
#[test]
fn the_filling_formula() {
    let store = fill(&Vit::specs(&trunk().classifier(5, Pooling::ClassToken)).unwrap());
    let (name, first) = store.iter().next().unwrap();
    assert_eq!(name, "blocks.0.attn.proj.bias");
    let value = first.var().flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
    assert!((f64::from(value) - 0.2 * (0.7f64).cos()).abs() < 1e-7);
}
