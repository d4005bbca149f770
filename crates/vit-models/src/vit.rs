use candle_core::Tensor;
use candle_nn::VarBuilder;
use vit_kernels::TokenRows;

use crate::block::read_blocks;
use crate::stem::Stem;
use crate::{
    Backbone, Block, Classifier, Context, Error, LayerNorm, Linear, ParamSpec, Pooling, Result,
    VitConfig,
};

/// A vision transformer, from pictures to tokens, an embedding and class scores.
///
/// Parameters have the names of timm and MAE. The encoder of a masked auto-encoder is one of
/// these, used in pieces: [`Vit::embed_visible`], then [`Vit::encode`].
#[derive(Debug, Clone)]
pub struct Vit {
    config: VitConfig,
    stem: Stem,
    blocks: Vec<Block>,
    /// `norm` before pooling, `fc_norm` after it.
    norm: LayerNorm,
    head: Option<Linear>,
    /// Of the distillation token.
    head_dist: Option<Linear>,
}

impl Vit {
    /// The parameters of a configuration, in the order of the reference's state dictionary.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration contradicts itself.
    pub fn specs(config: &VitConfig) -> Result<Vec<ParamSpec>> {
        config.check()?;
        let mut specs = Stem::specs(config)?;
        for i in 0..config.depth {
            specs.extend(Block::specs(&format!("blocks.{i}"), &config.block(i)));
        }
        let norm = LayerNorm::specs(norm_name(config), config.embed_dim);
        let head: Vec<_> = head_names(config)
            .iter()
            .flat_map(|name| {
                let (width, classes) = (config.num_features(), config.num_classes);
                Linear::specs(name, width, classes, true, config.init.matrix(width, classes))
            })
            .collect();
        // The reference registers `fc_norm` after the head and `norm` before it.
        let tail = if config.norm_after_pooling() { [head, norm] } else { [norm, head] };
        specs.extend(tail.concat());
        Ok(specs)
    }

    /// Reads the model from a parameter store, a memory-mapped file or whatever else a
    /// `VarBuilder` stands for.
    ///
    /// # Errors
    /// [`Error::Config`] for a contradictory configuration, [`Error::Candle`] naming the parameter
    /// that is missing or has another shape.
    pub fn new(config: &VitConfig, vb: &VarBuilder) -> Result<Self> {
        config.check()?;
        let (dim, eps) = (config.embed_dim, config.layer_norm_eps);
        let mut heads = head_names(config)
            .iter()
            .map(|name| Linear::new(config.num_features(), config.num_classes, true, &vb.pp(name)));
        Ok(Self {
            stem: Stem::new(config, vb)?,
            blocks: read_blocks("blocks", (0..config.depth).map(|i| config.block(i)), vb)?,
            norm: LayerNorm::new(dim, eps, &vb.pp(norm_name(config)))?,
            head: heads.next().transpose()?,
            head_dist: heads.next().transpose()?,
            config: config.clone(),
        })
    }

    /// The configuration the model was built from.
    #[must_use]
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The same model, ready to be run often and never trained: LayerScale is multiplied into the
    /// weights once instead of at each pass. It no longer shares those with a parameter store.
    ///
    /// # Errors
    /// When a product cannot be computed.
    pub fn for_inference(mut self) -> Result<Self> {
        for block in &mut self.blocks {
            block.fold_layer_scale()?;
        }
        Ok(self)
    }

    /// Prefix tokens (class, distillation, registers) and patch embeddings with their positions:
    /// `[B, C, H, W]` to `[B, prefix + L, D]`, patch `row · columns + column` at place
    /// `prefix + row · columns + column`. In training with [`VitConfig::patch_drop_rate`] some
    /// patches are left out.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures of another size or number of channels.
    pub fn embed_patches(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.stem.forward(&self.config, images, None, ctx)
    }

    /// [`Vit::embed_patches`] of some patches of each picture, in the order of `visible`, as MAE's
    /// encoder sees them: `[B, prefix + Q, D]`. Hidden patches cost nothing.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures of another size or number of channels; when `visible` was
    /// made for another batch.
    pub fn embed_visible(
        &self,
        images: &Tensor,
        visible: &TokenRows,
        ctx: &Context,
    ) -> Result<Tensor> {
        self.stem.forward(&self.config, images, Some(visible), ctx)
    }

    /// All blocks: `[B, N, D]` to `[B, N, D]`, before any final norm.
    ///
    /// # Errors
    /// When shapes do not fit or the context does not belong to the batch.
    pub fn blocks(&self, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.blocks_until(self.blocks.len(), tokens, ctx)
    }

    fn blocks_until(&self, end: usize, tokens: &Tensor, ctx: &Context) -> Result<Tensor> {
        let mut x = tokens.clone();
        for block in self.blocks.iter().take(end) {
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
        let heads = [("head", &mut self.head), ("head_dist", &mut self.head_dist)];
        linears.extend(
            heads
                .into_iter()
                .filter_map(|(name, head)| head.as_mut().map(|head| (name.to_string(), head))),
        );
        linears
    }

    /// What tokens look at in chosen blocks, in the order asked for: `[B, heads, N, N]` each, row
    /// `i` the weights of token `i`, which add up to 1.
    ///
    /// # Errors
    /// When a block does not exist or the pictures do not fit the model.
    pub fn attention_maps(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>> {
        self.at_blocks(images, blocks, ctx, Block::attention_map)
    }

    /// The input of each block of `wanted`, turned into something.
    fn at_blocks(
        &self,
        images: &Tensor,
        wanted: &[usize],
        ctx: &Context,
        take: impl Fn(&Block, &Tensor, &Context) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let depth = self.blocks.len();
        if let Some(block) = wanted.iter().find(|block| **block >= depth) {
            return Err(Error::Config(format!("block {block} of a model with {depth} blocks")));
        }
        let last = wanted.iter().max().map_or(0, |last| last + 1);
        let mut x = self.embed_patches(images, ctx)?;
        let mut outputs = vec![None; depth];
        for (i, (block, output)) in self.blocks.iter().zip(&mut outputs).take(last).enumerate() {
            if wanted.contains(&i) {
                *output = Some(take(block, &x, ctx)?);
            }
            if i + 1 < last {
                x = block.forward(&x, ctx)?;
            }
        }
        Ok(wanted.iter().filter_map(|&block| outputs.get(block).cloned().flatten()).collect())
    }

    /// Tokens before the first block to what the heads get: `[B, prefix + L, D]` to one or (with a
    /// distillation token) two embeddings `[B, F]`.
    fn pooled(&self, tokens: &Tensor, ctx: &Context) -> Result<Vec<Tensor>> {
        let normed = |x: &Tensor, wanted: bool| match wanted {
            true => self.norm.forward(x),
            false => Ok(x.clone()),
        };
        let after = self.config.norm_after_pooling();
        let prefix = self.config.prefix_tokens();
        let patches = |x: &Tensor| x.narrow(1, prefix, x.dim(1)?.saturating_sub(prefix));
        let pooled = match self.config.pooling {
            Pooling::ClassToken => return self.class_embeddings(tokens, ctx),
            Pooling::GlobalPool => {
                patches(&normed(&self.blocks(tokens, ctx)?, !after)?)?.mean(1)?
            }
            Pooling::Max => patches(&normed(&self.blocks(tokens, ctx)?, !after)?)?.max(1)?,
            Pooling::ClassAverage => {
                let tokens = normed(&self.blocks(tokens, ctx)?, !after)?;
                Tensor::cat(&[tokens.narrow(1, 0, 1)?.squeeze(1)?, patches(&tokens)?.mean(1)?], 1)?
            }
            Pooling::None => {
                let reason = "the model pools nothing: it has tokens, but no embedding";
                return Err(Error::Config(reason.to_string()));
            }
        };
        Ok(vec![normed(&pooled, after)?])
    }

    /// Of the last block only the class token (and the distillation token) is needed, and so
    /// computed. The norm works on each token alone.
    fn class_embeddings(&self, tokens: &Tensor, ctx: &Context) -> Result<Vec<Tensor>> {
        let (batch, count, _) = tokens.dims3()?;
        let wanted = 1 + u32::from(self.config.distilled);
        let class = match self.blocks.split_last() {
            Some((last, blocks)) if batch > 0 => {
                let x = self.blocks_until(blocks.len(), tokens, ctx)?;
                let ids: Vec<u32> = (0..wanted).collect();
                let rows = TokenRows::new(&ids.repeat(batch), batch, count)?;
                last.forward_rows(&x, Some(&rows), ctx)?
            }
            _ => tokens.narrow(1, 0, wanted as usize)?,
        };
        let class = self.norm.forward(&class)?;
        let one = |token: u32| Ok(class.narrow(1, token as usize, 1)?.squeeze(1)?);
        (0..wanted).map(one).collect()
    }
}

impl Backbone for Vit {
    fn embed_dim(&self) -> usize {
        self.config.embed_dim
    }

    fn num_features(&self) -> usize {
        self.config.num_features()
    }

    fn patch_grid(&self) -> (usize, usize) {
        self.config.grid()
    }

    fn prefix_tokens(&self) -> usize {
        self.config.prefix_tokens()
    }

    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let tokens = self.blocks(&self.embed_patches(images, ctx)?, ctx)?;
        // `fc_norm` belongs to the pooled vector, not to tokens.
        if self.config.norm_after_pooling() { Ok(tokens) } else { self.norm.forward(&tokens) }
    }

    fn intermediates(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>> {
        self.at_blocks(images, blocks, ctx, Block::forward)
    }

    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let mut embeddings = self.pooled(&self.embed_patches(images, ctx)?, ctx)?;
        Ok(embeddings.swap_remove(0))
    }
}

impl Classifier for Vit {
    fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor> {
        let embeddings = self.pooled(&self.embed_patches(images, ctx)?, ctx)?;
        let heads = [&self.head, &self.head_dist].into_iter().flatten();
        let scores = heads.zip(&embeddings).enumerate().map(|(i, (head, embedding))| {
            let purpose = format!("dropout/head.{i}");
            head.forward(&ctx.dropout(embedding, self.config.drop_rate, &purpose)?, ctx)
        });
        match scores.collect::<Result<Vec<_>>>()?.as_slice() {
            [] => Err(Error::Config("the model has no head (num_classes is 0)".to_string())),
            [scores] => Ok(scores.clone()),
            [class, distilled, ..] => Ok(((class + distilled)? * 0.5)?),
        }
    }
}

fn norm_name(config: &VitConfig) -> &'static str {
    if config.norm_after_pooling() { "fc_norm" } else { "norm" }
}

/// The heads, none where there are no classes.
fn head_names(config: &VitConfig) -> &'static [&'static str] {
    match (config.num_classes, config.distilled) {
        (0, _) => &[],
        (_, false) => &["head"],
        (_, true) => &["head", "head_dist"],
    }
}
