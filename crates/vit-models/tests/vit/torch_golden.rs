//! Against PyTorch in double precision: fixtures of `fixtures/gen/make_fixtures.py`.

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Backbone, Classifier, Context, LoadOptions, ParamStore, Pooling, PositionFilter, TokenRows,
    Vit, VitConfig, WeightFile, resize_position_table,
};

use crate::support::{distance, fixture, flat};

/// Two channels, three by three patches of 5, no qkv bias, MLP ratio 2.5.
fn config(pooling: Pooling) -> VitConfig {
    VitConfig {
        in_chans: 2,
        embed_dim: 12,
        depth: 2,
        num_heads: 3,
        mlp_ratio: 2.5,
        qkv_bias: false,
        ..VitConfig::vit_tiny(5, 15)
    }
    .classifier(4, pooling)
}

struct Case {
    golden: WeightFile,
    store: ParamStore,
    model: Vit,
    images: Tensor,
    name: &'static str,
}

fn case(pooling: Pooling, dtype: DType) -> Case {
    let name = match pooling {
        Pooling::GlobalPool => "global_pool",
        _ => "class_token",
    };
    let (config, cpu) = (config(pooling), Device::Cpu);
    let store = ParamStore::init(&Vit::specs(&config).unwrap(), 0, dtype, &cpu).unwrap();
    let file = WeightFile::open(&fixture(&format!("vit_{name}.safetensors"))).unwrap();
    let report = file.load_into(&store, &LoadOptions::strict()).unwrap();
    assert_eq!(report.loaded(), store.len());
    let model = Vit::new(&config, &store.var_builder()).unwrap();
    let golden = WeightFile::open(&fixture("vit_golden.safetensors")).unwrap();
    let images = golden.tensor("images", &cpu).unwrap().to_dtype(dtype).unwrap();
    Case { golden, store, model, images, name }
}

impl Case {
    fn close(&self, what: &str, got: &Tensor, tolerance: f64) {
        let name = format!("{}.{what}", self.name);
        let want = self.golden.tensor(&name, &Device::Cpu).unwrap();
        let off = distance(&flat(got), &flat(&want));
        assert!(off < tolerance, "{name}: off by {off:.1e}");
    }

    fn check(&self, forward: f64, backward: f64) {
        let ctx = Context::eval();
        let blocks = self.model.intermediates(&self.images, &[0, 1], &ctx).unwrap();
        for (i, block) in blocks.iter().enumerate() {
            self.close(&format!("block.{i}"), block, forward);
        }
        self.close("embed", &self.model.embed(&self.images, &ctx).unwrap(), forward);
        let logits = self.model.logits(&self.images, &ctx).unwrap();
        self.close("logits", &logits, forward);
        let labels = Tensor::new(&[[2u32], [0]], &Device::Cpu).unwrap();
        let log = vit_kernels::log_softmax(&logits).unwrap().gather(&labels, 1).unwrap();
        let loss = log.mean_all().unwrap().neg().unwrap();
        self.close("loss", &loss, forward);
        let grads = loss.backward().unwrap();
        for (name, param) in self.store.iter() {
            self.close(&format!("grad.{name}"), grads.get(param.var()).unwrap(), backward);
        }
    }
}

/// The backward pass is held back by the six digits of candle's gelu (see vit-kernels).
#[test]
fn double_precision_agrees_to_the_last_digits() {
    for pooling in [Pooling::ClassToken, Pooling::GlobalPool] {
        case(pooling, DType::F64).check(1e-13, 1e-6);
    }
}

#[test]
fn single_precision_agrees_to_its_rounding() {
    for pooling in [Pooling::ClassToken, Pooling::GlobalPool] {
        case(pooling, DType::F32).check(5e-6, 5e-6);
    }
}

/// Visible patches in shuffled order, class token in front, final norm.
#[test]
fn the_encoder_of_a_masked_auto_encoder_agrees() {
    let case = case(Pooling::ClassToken, DType::F64);
    let visible = TokenRows::new(&[7, 2, 4, 0, 8, 3], 2, 9).unwrap();
    let tokens = case.model.embed_visible(&case.images, &visible, &Context::eval()).unwrap();
    let latent = case.model.encode(&tokens, &Context::eval()).unwrap();
    let want = case.golden.tensor("latent", &Device::Cpu).unwrap();
    let off = distance(&flat(&latent), &flat(&want));
    assert!(off < 1e-13, "off by {off:.1e}");
}

/// Up, down, to one cell and from one cell.
#[test]
fn position_tables_are_resized_as_pytorch_does() {
    let file = WeightFile::open(&fixture("bicubic.safetensors")).unwrap();
    assert_eq!(file.shapes().len(), 8);
    for name in file.shapes().keys() {
        let (from, to) = name.split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        let n = (from * from + 1) * 2;
        let values: Vec<f32> = (0..n).map(|i| (0.3 * i as f64).cos() as f32).collect();
        let table = Tensor::from_vec(values, (1, n / 2, 2), &Device::Cpu).unwrap();
        let got = resize_position_table(&table, 1, (from, from), (to, to), PositionFilter::Bicubic)
            .unwrap();
        let want = file.tensor(name, &Device::Cpu).unwrap();
        assert_eq!(got.dims(), want.dims(), "{name}");
        let off = distance(&flat(&got), &flat(&want));
        assert!(off < 2e-6, "{name}: off by {off:.1e}");
    }
}
