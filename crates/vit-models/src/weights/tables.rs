//! The names of each family and ours, as data. One table serves both directions: reading takes the
//! first rule whose left side fits, writing the first whose right side does.

/// What a tensor of a family is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ours {
    /// The same tensor under this name.
    Whole(&'static str),
    /// Rows of a tensor: this part of so many equal ones.
    Part(&'static str, usize, usize),
    /// Nothing, and why.
    Dropped(&'static str),
}

/// A pair of patterns (see `pattern.rs`).
pub(super) type Rule = (&'static str, Ours);

use Ours::{Dropped, Part, Whole};

/// Names that are ours as they stand.
pub(super) const SAME: &[Rule] = &[("*", Whole("*"))];

const MASK_TOKEN: Ours = Dropped("the token for hidden patches: only pre-training has them");

/// facebookresearch/dinov2. Large models come in chunks of blocks.
pub(super) const DINO_V2: &[Rule] = &[
    ("register_tokens", Whole("reg_token")),
    ("blocks.#.mlp.w12.@", Whole("blocks.#.mlp.fc1.@")),
    ("blocks.#.mlp.w3.@", Whole("blocks.#.mlp.fc2.@")),
    ("blocks.#.#.mlp.w12.@", Whole("blocks.#.mlp.fc1.@")),
    ("blocks.#.#.mlp.w3.@", Whole("blocks.#.mlp.fc2.@")),
    ("blocks.#.#.*", Whole("blocks.#.*")),
    ("mask_token", MASK_TOKEN),
    ("*", Whole("*")),
];

macro_rules! hf_stem {
    ($($more:expr),* $(,)?) => {
        &[
            ("embeddings.cls_token", Whole("cls_token")),
            ("embeddings.distillation_token", Whole("dist_token")),
            ("embeddings.register_tokens", Whole("reg_token")),
            ("embeddings.position_embeddings", Whole("pos_embed")),
            ("embeddings.patch_embeddings.projection.@", Whole("patch_embed.proj.@")),
            ("layernorm.@", Whole("norm.@")),
            ("embeddings.mask_token", MASK_TOKEN),
            ("pooler.*", Dropped("the pooler of Hugging Face's ViTModel: classifiers leave it out")),
            $($more),*
        ]
    };
}

/// One block of Hugging Face's ViT from `$theirs` to `$ours`.
macro_rules! hf_block {
    ($theirs:literal, $ours:literal) => {
        [
            (concat!($theirs, ".layernorm_before.@"), Whole(concat!($ours, ".norm1.@"))),
            (
                concat!($theirs, ".attention.attention.query.@"),
                Part(concat!($ours, ".attn.qkv.@"), 0, 3),
            ),
            (
                concat!($theirs, ".attention.attention.key.@"),
                Part(concat!($ours, ".attn.qkv.@"), 1, 3),
            ),
            (
                concat!($theirs, ".attention.attention.value.@"),
                Part(concat!($ours, ".attn.qkv.@"), 2, 3),
            ),
            (concat!($theirs, ".attention.output.dense.@"), Whole(concat!($ours, ".attn.proj.@"))),
            (concat!($theirs, ".layernorm_after.@"), Whole(concat!($ours, ".norm2.@"))),
            (concat!($theirs, ".intermediate.dense.@"), Whole(concat!($ours, ".mlp.fc1.@"))),
            (concat!($theirs, ".output.dense.@"), Whole(concat!($ours, ".mlp.fc2.@"))),
            // As version 5 of transformers names them in memory.
            (concat!($theirs, ".attention.q_proj.@"), Part(concat!($ours, ".attn.qkv.@"), 0, 3)),
            (concat!($theirs, ".attention.k_proj.@"), Part(concat!($ours, ".attn.qkv.@"), 1, 3)),
            (concat!($theirs, ".attention.v_proj.@"), Part(concat!($ours, ".attn.qkv.@"), 2, 3)),
            (concat!($theirs, ".attention.o_proj.@"), Whole(concat!($ours, ".attn.proj.@"))),
            (concat!($theirs, ".mlp.fc1.@"), Whole(concat!($ours, ".mlp.fc1.@"))),
            (concat!($theirs, ".mlp.fc2.@"), Whole(concat!($ours, ".mlp.fc2.@"))),
        ]
    };
}

/// Everything but blocks, for ViT, ViTMAE and DeiT.
pub(super) const HF_STEM: &[Rule] = hf_stem![];

/// Blocks of ViT, ViTMAE and DeiT: in files, then in memory.
pub(super) const HF_BLOCKS: &[&[Rule]] =
    &[&hf_block!("encoder.layer.#", "blocks.#"), &hf_block!("layers.#", "blocks.#")];

/// Heads of classifiers. They stand outside of the encoder's prefix.
pub(super) const HF_HEADS: &[Rule] = &[
    ("classifier.@", Whole("head.@")),
    ("cls_classifier.@", Whole("head.@")),
    ("distillation_classifier.@", Whole("head_dist.@")),
];

/// Heads of DeiT with its teacher: the first that fits is written.
pub(super) const HF_DEIT_HEADS: &[Rule] = &[
    ("cls_classifier.@", Whole("head.@")),
    ("distillation_classifier.@", Whole("head_dist.@")),
    ("classifier.@", Whole("head.@")),
];

/// The decoder of ViTMAE, outside of the encoder's prefix.
pub(super) const HF_MAE_DECODER: &[&[Rule]] = &[
    &[
        ("decoder.mask_token", Whole("mask_token")),
        ("decoder.decoder_pos_embed", Whole("decoder_pos_embed")),
        ("decoder.decoder_embed.@", Whole("decoder_embed.@")),
        ("decoder.decoder_norm.@", Whole("decoder_norm.@")),
        ("decoder.decoder_pred.@", Whole("decoder_pred.@")),
    ],
    &hf_block!("decoder.decoder_layers.#", "decoder_blocks.#"),
    &hf_block!("decoder.decoder_encoder.layer.#", "decoder_blocks.#"),
];

/// Blocks of Dinov2 and Dinov2WithRegisters.
pub(super) const HF_DINO_BLOCKS: &[Rule] = &[
    ("encoder.layer.#.norm1.@", Whole("blocks.#.norm1.@")),
    ("encoder.layer.#.attention.attention.query.@", Part("blocks.#.attn.qkv.@", 0, 3)),
    ("encoder.layer.#.attention.attention.key.@", Part("blocks.#.attn.qkv.@", 1, 3)),
    ("encoder.layer.#.attention.attention.value.@", Part("blocks.#.attn.qkv.@", 2, 3)),
    ("encoder.layer.#.attention.output.dense.@", Whole("blocks.#.attn.proj.@")),
    ("encoder.layer.#.layer_scale1.lambda1", Whole("blocks.#.ls1.gamma")),
    ("encoder.layer.#.norm2.@", Whole("blocks.#.norm2.@")),
    ("encoder.layer.#.mlp.fc1.@", Whole("blocks.#.mlp.fc1.@")),
    ("encoder.layer.#.mlp.fc2.@", Whole("blocks.#.mlp.fc2.@")),
    ("encoder.layer.#.layer_scale2.lambda1", Whole("blocks.#.ls2.gamma")),
    ("encoder.layer.#.mlp.weights_in.@", Whole("blocks.#.mlp.fc1.@")),
    ("encoder.layer.#.mlp.weights_out.@", Whole("blocks.#.mlp.fc2.@")),
    // In memory, since version 5 of transformers.
    ("encoder.layer.#.attention.q_proj.@", Part("blocks.#.attn.qkv.@", 0, 3)),
    ("encoder.layer.#.attention.k_proj.@", Part("blocks.#.attn.qkv.@", 1, 3)),
    ("encoder.layer.#.attention.v_proj.@", Part("blocks.#.attn.qkv.@", 2, 3)),
    ("encoder.layer.#.attention.o_proj.@", Whole("blocks.#.attn.proj.@")),
    ("encoder.layer.#.mlp.gate_proj.@", Part("blocks.#.mlp.fc1.@", 0, 2)),
    ("encoder.layer.#.mlp.up_proj.@", Part("blocks.#.mlp.fc1.@", 1, 2)),
    ("encoder.layer.#.mlp.down_proj.@", Whole("blocks.#.mlp.fc2.@")),
];

/// torchvision's DenseNet; files of 2017 have a point before the numbers.
pub(super) const DENSE_NET: &[Rule] = &[
    ("features.?.?.norm.#.?", Whole("features.?.?.norm#.?")),
    ("features.?.?.conv.#.?", Whole("features.?.?.conv#.?")),
    ("*", Whole("*")),
];

/// Why a tensor that has a name of ours is of no use to a model that lacks it. Prefixes.
pub(super) const USELESS: &[(&str, &str)] = &[
    ("decoder", "part of the decoder: only pre-training uses it"),
    ("mask_token", "the token for hidden patches: only pre-training has them"),
    ("bert_", "the report decoder of MRM: the picture encoder does without"),
    ("dino_head.", "a head of the pre-training"),
    ("ibot_head.", "a head of the pre-training"),
    ("model.decoder.", "the U-Net's decoder"),
    ("model.segmentation_head.", "the U-Net's head"),
    ("head.", "a head; the model has none"),
    ("head_dist.", "the head of the distillation token; the model has none"),
    ("dist_token", "the distillation token; the model has none"),
    ("classifier.", "a head; the model has none"),
    ("fc.", "a head; the model has none"),
    ("norm.", "the norm before pooling; the model norms after it (fc_norm)"),
    ("fc_norm.", "the norm after pooling; the model norms before it (norm)"),
];

/// A count that batch norms keep for their running statistics.
pub(super) const COUNTER: (&str, &str) =
    (".num_batches_tracked", "a count of training steps; evaluation does without");
