use std::sync::Arc;

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use vit_kernels::PatchOrder;

use crate::block::read_blocks;
use crate::{
    Backbone, Block, Classifier, Context, Error, InitScheme, LayerNorm, Linear, ParamInit,
    ParamSpec, Pooling, PositionTable, Result, VitConfig, sin_cos_table,
};

/// A vision transformer, from pictures to tokens, an embedding and class scores.
///
/// Parameters have the names of MAE and timm. The encoder of a masked auto-encoder is one of
/// these, used in pieces: [`Vit::embed_patches`], then [`Vit::encode`] on the visible tokens.
#[derive(Debug, Clone)]
pub struct Vit {
    config: VitConfig,
    /// `[D, C, p, p]`, used as the matrix `[D, C·p²]`.
    patch_weight: Tensor,
    patch_bias: Tensor,
    class_token: Tensor,
    position_table: Tensor,
    blocks: Vec<Block>,
    /// `norm` for the class token, `fc_norm` after global pooling.
    norm: LayerNorm,
    head: Option<Linear>,
}

impl Vit {
    /// The parameters of a configuration, in the order of the reference's state dictionary.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(config: &VitConfig) -> Result<Vec<ParamSpec>> {
        config.check()?;
        let mut specs = Self::stem_specs(config)?;
        for i in 0..config.depth {
            specs.extend(Block::specs(&format!("blocks.{i}"), &config.block(i)));
        }
        let norm = LayerNorm::specs(norm_name(config.pooling), config.embed_dim);
        let head = match config.num_classes {
            0 => Vec::new(),
            classes => {
                let weight = config.init.matrix(config.embed_dim, classes);
                Linear::specs("head", config.embed_dim, classes, true, weight)
            }
        };
        // The reference registers `fc_norm` after the head and `norm` before it.
        let tail = match config.pooling {
            Pooling::ClassToken => [norm, head],
            Pooling::GlobalPool => [head, norm],
        };
        specs.extend(tail.concat());
        Ok(specs)
    }

    fn stem_specs(config: &VitConfig) -> Result<Vec<ParamSpec>> {
        let VitConfig { embed_dim: dim, patch_size: p, in_chans: c, init, .. } = *config;
        let (fan_in, rows) = (c * p * p, config.num_patches() + 1);
        let patch_weight = match init {
            InitScheme::Mae => ParamInit::xavier_uniform(fan_in, dim),
            InitScheme::Timm => ParamInit::fan_in_uniform(fan_in),
        };
        let mut table =
            ParamSpec::new("pos_embed".to_string(), &[1, rows, dim], ParamInit::Normal(0.02));
        if config.position_table == PositionTable::SinCos {
            table.init = ParamInit::Values(Arc::new(sin_cos_table(dim, config.grid())?));
            table.trainable = false;
        }
        Ok(vec![
            ParamSpec::new("cls_token".to_string(), &[1, 1, dim], ParamInit::Normal(0.02)),
            table,
            ParamSpec::new("patch_embed.proj.weight".to_string(), &[dim, c, p, p], patch_weight),
            ParamSpec::new(
                "patch_embed.proj.bias".to_string(),
                &[dim],
                ParamInit::fan_in_uniform(fan_in),
            ),
        ])
    }

    /// Reads the model from a parameter store, a memory-mapped file or whatever else a
    /// `VarBuilder` stands for.
    ///
    /// # Errors
    /// [`Error::Config`] for a contradictory configuration, [`Error::Candle`] naming the parameter
    /// that is missing or has another shape.
    pub fn new(config: &VitConfig, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        let VitConfig { embed_dim: dim, patch_size: p, in_chans: c, .. } = *config;
        let head = match config.num_classes {
            0 => None,
            classes => Some(Linear::new(dim, classes, true, &vb.pp("head"))?),
        };
        Ok(Self {
            patch_weight: vb.get((dim, c, p, p), "patch_embed.proj.weight")?,
            patch_bias: vb.get(dim, "patch_embed.proj.bias")?,
            class_token: vb.get((1, 1, dim), "cls_token")?,
            position_table: vb.get((1, config.num_patches() + 1, dim), "pos_embed")?,
            blocks: read_blocks("blocks", (0..config.depth).map(|i| config.block(i)), vb)?,
            norm: LayerNorm::new(dim, config.layer_norm_eps, &vb.pp(norm_name(config.pooling)))?,
            head,
            config: config.clone(),
        })
    }

    /// The configuration the model was built from.
    #[must_use]
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Patch embedding plus position, without class token: `[B, C, H, W]` to `[B, L, D]`, token
    /// `t = row · grid + column`.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures of another size or number of channels.
    pub fn embed_patches(&self, images: &Tensor) -> Result<Tensor> {
        let VitConfig { img_size, patch_size, in_chans, embed_dim, .. } = self.config;
        let fits = matches!(images.dims(), [_, c, h, w]
            if *c == in_chans && *h == img_size && *w == img_size);
        if !fits {
            return Err(Error::Input {
                channels: in_chans,
                height: img_size,
                width: img_size,
                got: images.dims().to_vec(),
            });
        }
        // A convolution whose kernel equals its stride is a matrix product of patches.
        let patches = vit_kernels::patchify(images, patch_size, PatchOrder::ChannelFirst)?;
        let weight = self.patch_weight.reshape((embed_dim, ()))?;
        let tokens = vit_kernels::linear(&patches, &weight, Some(&self.patch_bias))?;
        Ok(tokens.broadcast_add(&self.position_table.narrow(1, 1, self.config.num_patches())?)?)
    }

    /// The class token with its position, before `[B, N, D]` patch tokens: `[B, 1 + N, D]`.
    ///
    /// # Errors
    /// When the tokens have another width.
    pub fn prepend_class_token(&self, tokens: &Tensor) -> Result<Tensor> {
        let class = (&self.class_token + self.position_table.narrow(1, 0, 1)?)?;
        let class = class.broadcast_as((tokens.dim(0)?, 1, self.config.embed_dim))?;
        Ok(Tensor::cat(&[&class, tokens], 1)?)
    }

    /// All blocks: `[B, N, D]` to `[B, N, D]`, before any final norm.
    ///
    /// # Errors
    /// When shapes do not fit or the context does not belong to the batch.
    pub fn blocks(&self, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        let mut x = tokens.clone();
        for block in &self.blocks {
            x = block.forward(&x, ctx)?;
        }
        Ok(x)
    }

    /// Class token, blocks and final norm over given patch tokens, as MAE's encoder does on the
    /// visible ones: `[B, N, D]` to `[B, 1 + N, D]`.
    ///
    /// # Errors
    /// When shapes do not fit or the context does not belong to the batch.
    pub fn encode(&self, patch_tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        let tokens = self.prepend_class_token(patch_tokens)?;
        self.norm.forward(&self.blocks(&tokens, ctx)?)
    }

    /// The linear layers with their names, for attaching adapters.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let mut linears: Vec<_> = self.blocks.iter_mut().flat_map(Block::linears_mut).collect();
        if let Some(head) = &mut self.head {
            linears.push(("head".to_string(), head));
        }
        linears
    }

    /// Tokens after the last block to one normalised embedding, `[B, 1 + L, D]` to `[B, D]`.
    fn pool(&self, tokens: &Tensor) -> Result<Tensor> {
        match self.config.pooling {
            // The norm works on each token alone, so norming the one that is used is enough.
            Pooling::ClassToken => self.norm.forward(&tokens.narrow(1, 0, 1)?.squeeze(1)?),
            Pooling::GlobalPool => {
                let patches = tokens.narrow(1, 1, self.config.num_patches())?;
                self.norm.forward(&patches.mean(1)?)
            }
        }
    }
}

impl Backbone for Vit {
    fn embed_dim(&self) -> usize {
        self.config.embed_dim
    }

    fn patch_grid(&self) -> (usize, usize) {
        (self.config.grid(), self.config.grid())
    }

    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let tokens = self.prepend_class_token(&self.embed_patches(images)?)?;
        let tokens = self.blocks(&tokens, ctx)?;
        match self.config.pooling {
            Pooling::ClassToken => self.norm.forward(&tokens),
            // `fc_norm` belongs to the pooled vector, not to tokens.
            Pooling::GlobalPool => Ok(tokens),
        }
    }

    fn intermediates(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>> {
        if let Some(block) = blocks.iter().find(|block| **block >= self.blocks.len()) {
            let depth = self.blocks.len();
            return Err(Error::Config(format!("block {block} of a model with {depth} blocks")));
        }
        let mut x = self.prepend_class_token(&self.embed_patches(images)?)?;
        let mut outputs = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            x = block.forward(&x, ctx)?;
            outputs.push(x.clone());
        }
        Ok(blocks.iter().filter_map(|&block| outputs.get(block).cloned()).collect())
    }

    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let tokens = self.prepend_class_token(&self.embed_patches(images)?)?;
        self.pool(&self.blocks(&tokens, ctx)?)
    }
}

impl Classifier for Vit {
    fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let Some(head) = &self.head else {
            return Err(Error::Config("the model has no head (num_classes is 0)".to_string()));
        };
        let embedding = self.embed(images, ctx)?;
        debug_assert_eq!(embedding.dim(D::Minus1)?, self.config.embed_dim);
        head.forward(&embedding, ctx)
    }
}

fn norm_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::ClassToken => "norm",
        Pooling::GlobalPool => "fc_norm",
    }
}
