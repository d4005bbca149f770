use std::sync::Arc;

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use vit_kernels::{PatchOrder, TokenAssembly, TokenRows};

use crate::block::read_blocks;
use crate::{
    Backbone, Block, Classifier, Context, Error, InitScheme, LayerNorm, Linear, ParamInit,
    ParamSpec, Pooling, PositionTable, Result, VitConfig, sin_cos_table,
};

/// A vision transformer, from pictures to tokens, an embedding and class scores.
///
/// Parameters have the names of MAE and timm. The encoder of a masked auto-encoder is one of
/// these, used in pieces: [`Vit::embed_visible`], then [`Vit::encode`].
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

    /// Class token and patch embeddings with their positions: `[B, C, H, W]` to `[B, 1 + L, D]`,
    /// patch `row · grid + column` at place `1 + row · grid + column`.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures of another size or number of channels.
    pub fn embed_patches(&self, images: &Tensor) -> Result<Tensor> {
        let patches = u32::try_from(self.config.num_patches()).unwrap_or(u32::MAX);
        let batch = images.dims().first().copied().unwrap_or(0);
        let ids: Vec<u32> = (0..patches).collect();
        self.embed_some(images, None, &ids.repeat(batch))
    }

    /// [`Vit::embed_patches`] of some patches of each picture, in the order of `visible`, as MAE's
    /// encoder sees them: `[B, 1 + Q, D]`. Hidden patches cost nothing.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures of another size or number of channels; when `visible` was
    /// made for another batch.
    pub fn embed_visible(&self, images: &Tensor, visible: &TokenRows) -> Result<Tensor> {
        let patches = self.config.num_patches() as u32;
        let ids: Vec<u32> = visible.flat().iter().map(|row| row % patches.max(1)).collect();
        self.embed_some(images, Some(visible), &ids)
    }

    /// `ids` are the patches of each picture that are embedded, picture by picture.
    fn embed_some(
        &self,
        images: &Tensor,
        visible: Option<&TokenRows>,
        ids: &[u32],
    ) -> Result<Tensor> {
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
        let order = PatchOrder::ChannelFirst;
        let patches = match visible {
            None => vit_kernels::patchify(images, patch_size, order)?,
            Some(visible) => vit_kernels::patchify_rows(images, patch_size, order, visible)?,
        };
        let weight = self.patch_weight.reshape((embed_dim, ()))?;
        let tokens = vit_kernels::linear(&patches, &weight, Some(&self.patch_bias))?;
        let (batch, count, _) = tokens.dims3()?;
        if batch == 0 {
            return Ok(Tensor::zeros((0, 1 + count, embed_dim), tokens.dtype(), tokens.device())?);
        }
        let sources: Vec<Option<u32>> =
            std::iter::once(None).chain((0..count as u32).map(Some)).collect();
        let positions: Vec<u32> = ids
            .chunks(count.max(1))
            .flat_map(|ids| std::iter::once(0).chain(ids.iter().map(|id| id + 1)))
            .collect();
        let plan = TokenAssembly::new(&sources.repeat(batch), &positions, batch, count)?;
        let (class, table) = (&self.class_token, &self.position_table);
        Ok(vit_kernels::assemble_tokens(&tokens, class, table, &plan)?)
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

    /// Blocks and final norm, as MAE's encoder: `[B, N, D]` to `[B, N, D]`.
    ///
    /// # Errors
    /// When shapes do not fit or the context does not belong to the batch.
    pub fn encode(&self, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.norm.forward(&self.blocks(tokens, ctx)?)
    }

    /// The linear layers with their names, for attaching adapters.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let mut linears: Vec<_> = self.blocks.iter_mut().flat_map(Block::linears_mut).collect();
        if let Some(head) = &mut self.head {
            linears.push(("head".to_string(), head));
        }
        linears
    }

    /// Tokens before the first block to one normalised embedding, `[B, 1 + L, D]` to `[B, D]`.
    fn pooled(&self, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::ClassToken => self.class_embedding(tokens, ctx),
            Pooling::GlobalPool => {
                let tokens = self.blocks(tokens, ctx)?;
                let patches = tokens.narrow(1, 1, self.config.num_patches())?;
                self.norm.forward(&patches.mean(1)?)
            }
        }
    }

    /// Of the last block only the class token is needed, and so computed. The norm works on each
    /// token alone.
    fn class_embedding(&self, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        let (batch, count, _) = tokens.dims3()?;
        let class = match self.blocks.split_last() {
            Some((last, blocks)) if batch > 0 => {
                let mut x = tokens.clone();
                for block in blocks {
                    x = block.forward(&x, ctx)?;
                }
                let rows = TokenRows::one(0, batch, count)?;
                last.forward_rows(&x, Some(&rows), ctx)?
            }
            _ => tokens.narrow(1, 0, 1)?,
        };
        self.norm.forward(&class.squeeze(1)?)
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
        let tokens = self.blocks(&self.embed_patches(images)?, ctx)?;
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
        let mut x = self.embed_patches(images)?;
        let mut outputs = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            x = block.forward(&x, ctx)?;
            outputs.push(x.clone());
        }
        Ok(blocks.iter().filter_map(|&block| outputs.get(block).cloned()).collect())
    }

    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.pooled(&self.embed_patches(images)?, ctx)
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
