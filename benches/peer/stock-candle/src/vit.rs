//! A vision transformer (Dosovitskiy et al., arXiv 2010.11929) from candle-nn's layers.

use candle_core::{D, Module, Result, Tensor, bail};
use candle_nn::{Conv2d, Conv2dConfig, Init, LayerNorm, Linear, VarBuilder, conv2d, linear, ops};

const EPS: f64 = 1e-6;

/// The numbers of a model.
pub struct Shape {
    dim: usize,
    depth: usize,
    heads: usize,
    patch: usize,
    tokens: usize,
}

impl Shape {
    /// `vit_base_patch16` and the like.
    pub fn by_name(name: &str, side: usize) -> Result<Self> {
        let (dim, depth, heads, patch) = match name {
            "vit_tiny_patch16" => (192, 12, 3, 16),
            "vit_small_patch16" => (384, 12, 6, 16),
            "vit_base_patch16" => (768, 12, 12, 16),
            "vit_large_patch16" => (1024, 24, 16, 16),
            "vit_huge_patch14" => (1280, 32, 16, 14),
            _ => bail!("no model {name}"),
        };
        Ok(Self { dim, depth, heads, patch, tokens: (side / patch).pow(2) + 1 })
    }
}

/// Layer norm: candle-nn's own operator is fast and has no backward pass; for training there is
/// only the composite one.
struct Norm {
    weight: Tensor,
    bias: Tensor,
    training: bool,
}

impl Norm {
    fn new(dim: usize, training: bool, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints(dim, "weight", Init::Const(1.))?;
        let bias = vb.get_with_hints(dim, "bias", Init::Const(0.))?;
        Ok(Self { weight, bias, training })
    }
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.training {
            return ops::layer_norm_slow(&x.contiguous()?, &self.weight, &self.bias, EPS as f32);
        }
        LayerNorm::new(self.weight.clone(), self.bias.clone(), EPS).forward(&x.contiguous()?)
    }
}

struct Block {
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    training: bool,
}

impl Block {
    fn new(shape: &Shape, training: bool, vb: VarBuilder) -> Result<Self> {
        let dim = shape.dim;
        Ok(Self {
            norm1: Norm::new(dim, training, vb.pp("norm1"))?,
            qkv: linear(dim, 3 * dim, vb.pp("attn.qkv"))?,
            proj: linear(dim, dim, vb.pp("attn.proj"))?,
            norm2: Norm::new(dim, training, vb.pp("norm2"))?,
            fc1: linear(dim, 4 * dim, vb.pp("mlp.fc1"))?,
            fc2: linear(4 * dim, dim, vb.pp("mlp.fc2"))?,
            heads: shape.heads,
            training,
        })
    }

    fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, dim) = x.dims3()?;
        let head_dim = dim / self.heads;
        let qkv = self.qkv.forward(x)?.reshape((batch, tokens, 3, self.heads, head_dim))?;
        let part = |i: usize| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let q = (part(0)? * (head_dim as f64).powf(-0.5))?;
        let scores = q.matmul(&part(1)?.t()?)?;
        let probabilities = if self.training {
            ops::softmax(&scores, D::Minus1)?
        } else {
            ops::softmax_last_dim(&scores)?
        };
        let mixed = probabilities.matmul(&part(2)?)?.transpose(1, 2)?;
        self.proj.forward(&mixed.reshape((batch, tokens, dim))?)
    }
}

impl Module for Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attention(&self.norm1.forward(x)?)?)?;
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        &x + self.fc2.forward(&hidden)?
    }
}

/// The classifier, pooling the class token.
pub struct Vit {
    patches: Conv2d,
    class_token: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

impl Vit {
    /// `training` chooses operators that have gradients.
    pub fn new(shape: &Shape, training: bool, vb: VarBuilder) -> Result<Self> {
        let Shape { dim, depth, patch, tokens, .. } = *shape;
        let config = Conv2dConfig { stride: patch, ..Conv2dConfig::default() };
        let small = Init::Randn { mean: 0., stdev: 0.02 };
        let block = |i: usize| Block::new(shape, training, vb.pp("blocks").pp(i));
        Ok(Self {
            patches: conv2d(3, dim, patch, config, vb.pp("patch_embed.proj"))?,
            class_token: vb.get_with_hints((1, 1, dim), "cls_token", small)?,
            positions: vb.get_with_hints((1, tokens, dim), "pos_embed", small)?,
            blocks: (0..depth).map(block).collect::<Result<_>>()?,
            norm: Norm::new(dim, training, vb.pp("norm"))?,
            head: linear(dim, 1000, vb.pp("head"))?,
        })
    }

    /// `[B, 3, H, W]` to `[B, 1000]`.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(images)?.flatten_from(2)?.transpose(1, 2)?;
        let (batch, _, dim) = patches.dims3()?;
        let class = self.class_token.broadcast_as((batch, 1, dim))?;
        let mut x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)?)
    }
}
