//! Names, shapes and numbers of parameters, without allocating any (spec/mae.md 1.1 to 1.3,
//! spec/xray-lora.md 12).

use vit_models::{ParamSpec, Pooling, Vit, VitConfig};

use crate::support::small;

fn elements(config: &VitConfig) -> usize {
    Vit::specs(config).unwrap().iter().map(ParamSpec::elements).sum()
}

#[test]
fn encoders_have_the_published_sizes() {
    for (config, count, tensors) in [
        (VitConfig::vit_small(16, 224), 21_665_664, 150),
        (VitConfig::vit_base(16, 224), 85_798_656, 150),
        (VitConfig::vit_large(16, 224), 303_301_632, 294),
        (VitConfig::vit_huge(14, 224), 630_764_800, 390),
    ] {
        for config in [config.clone(), config.mae_encoder()] {
            assert_eq!(elements(&config), count);
            assert_eq!(Vit::specs(&config).unwrap().len(), tensors);
        }
    }
}

#[test]
fn classifiers_have_the_published_sizes() {
    let (base, large) = (VitConfig::vit_base(16, 224), VitConfig::vit_large(16, 224));
    for (config, classes, count) in [
        (&base, 1000, 86_567_656),
        (&base, 22, 85_815_574),
        (&large, 1000, 304_326_632),
        (&large, 22, 303_324_182),
        (&large, 23, 303_325_207),
        (&large, 16, 303_318_032),
        (&large, 14, 303_315_982),
        (&VitConfig::vit_huge(14, 224), 1000, 632_045_800),
    ] {
        // One norm is swapped for the other.
        for pooling in [Pooling::ClassToken, Pooling::GlobalPool] {
            assert_eq!(elements(&config.clone().classifier(classes, pooling)), count, "{classes}");
        }
    }
}

#[test]
fn only_the_fixed_position_table_is_frozen() {
    for (config, count, frozen) in [
        (VitConfig::vit_base(16, 224), 85_798_656, 151_296),
        (VitConfig::vit_huge(14, 224), 630_764_800, 328_960),
    ] {
        let specs = Vit::specs(&config.clone().mae_encoder()).unwrap();
        let trained: usize = specs.iter().filter(|s| s.trainable).map(ParamSpec::elements).sum();
        assert_eq!(count - trained, frozen);
        let still: Vec<_> = specs.iter().filter(|s| !s.trainable).map(|s| &s.name).collect();
        assert_eq!(still, ["pos_embed"]);
        let learned = config.classifier(2, Pooling::GlobalPool);
        assert!(Vit::specs(&learned).unwrap().iter().all(|spec| spec.trainable));
    }
}

/// One block, width 8, MLP 32, patches of 4, five tokens.
const TRUNK: [(&str, &[usize]); 16] = [
    ("cls_token", &[1, 1, 8]),
    ("pos_embed", &[1, 5, 8]),
    ("patch_embed.proj.weight", &[8, 3, 4, 4]),
    ("patch_embed.proj.bias", &[8]),
    ("blocks.0.norm1.weight", &[8]),
    ("blocks.0.norm1.bias", &[8]),
    ("blocks.0.attn.qkv.weight", &[24, 8]),
    ("blocks.0.attn.qkv.bias", &[24]),
    ("blocks.0.attn.proj.weight", &[8, 8]),
    ("blocks.0.attn.proj.bias", &[8]),
    ("blocks.0.norm2.weight", &[8]),
    ("blocks.0.norm2.bias", &[8]),
    ("blocks.0.mlp.fc1.weight", &[32, 8]),
    ("blocks.0.mlp.fc1.bias", &[32]),
    ("blocks.0.mlp.fc2.weight", &[8, 32]),
    ("blocks.0.mlp.fc2.bias", &[8]),
];

#[test]
fn names_shapes_and_order_are_those_of_the_state_dictionary() {
    let one = VitConfig { depth: 1, ..small() };
    let norm = [("norm.weight", &[8][..]), ("norm.bias", &[8])];
    let fc_norm = [("fc_norm.weight", &[8][..]), ("fc_norm.bias", &[8])];
    let head = [("head.weight", &[5, 8][..]), ("head.bias", &[5])];
    for (config, tail) in [
        (one.clone(), norm.to_vec()),
        (one.clone().mae_encoder(), norm.to_vec()),
        (one.clone().classifier(5, Pooling::ClassToken), [norm, head].concat()),
        (one.clone().classifier(5, Pooling::GlobalPool), [head, fc_norm].concat()),
    ] {
        let want = [TRUNK.to_vec(), tail].concat();
        let specs = Vit::specs(&config).unwrap();
        let got: Vec<_> = specs.iter().map(|s| (s.name.as_str(), s.shape.as_slice())).collect();
        assert_eq!(got, want);
    }
    let bare = Vit::specs(&VitConfig { qkv_bias: false, ..one }).unwrap();
    assert!(bare.iter().all(|spec| spec.name != "blocks.0.attn.qkv.bias"));
    assert_eq!(bare.len(), 17);
}

#[test]
fn presets_are_found_by_name() {
    for (name, config) in [
        ("vit_tiny", VitConfig::vit_tiny(16, 224)),
        ("vit_small", VitConfig::vit_small(16, 224)),
        ("vit_base", VitConfig::vit_base(16, 224)),
        ("vit_large", VitConfig::vit_large(16, 224)),
        ("vit_huge", VitConfig::vit_huge(16, 224)),
    ] {
        assert_eq!(VitConfig::by_name(name, 16, 224).unwrap(), config);
    }
    assert!(VitConfig::by_name("vit_enormous", 16, 224).is_err());
}
