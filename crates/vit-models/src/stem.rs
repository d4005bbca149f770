use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use rand_distr::{Distribution, Uniform};
use vit_kernels::{PatchOrder, TokenAssembly, TokenRows};

use crate::{
    Context, Error, ImageSize, InitScheme, LayerNorm, ParamInit, ParamSpec, PositionTable, Result,
    VitConfig, resize_position_table, sin_cos_table,
};

/// What stands before the blocks: from pictures to tokens with their positions.
#[derive(Debug, Clone)]
pub(crate) struct Stem {
    /// `[D, C, p, p]`, used as the matrix `[D, C·p²]`.
    patch_weight: Tensor,
    patch_bias: Option<Tensor>,
    /// Class token, distillation token, registers: `[1, n, D]` each.
    prefix: Vec<Tensor>,
    position_table: Tensor,
    norm_pre: Option<LayerNorm>,
}

/// Name and number of the tokens before the patches, in their order.
fn prefix_parts(config: &VitConfig) -> Vec<(&'static str, usize)> {
    let parts = [
        ("cls_token", usize::from(config.class_token)),
        ("dist_token", usize::from(config.distilled)),
        ("reg_token", config.reg_tokens),
    ];
    parts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn position_rows(config: &VitConfig) -> usize {
    config.prefix_positions() + config.num_patches()
}

impl Stem {
    /// The parameters, in the order of the reference's state dictionary.
    pub(crate) fn specs(config: &VitConfig) -> Result<Vec<ParamSpec>> {
        let VitConfig { embed_dim: dim, patch_size: p, in_chans: c, init, .. } = *config;
        let fan_in = c * p * p;
        let patch_weight = match init {
            InitScheme::Mae => ParamInit::xavier_uniform(fan_in, dim),
            InitScheme::Timm => ParamInit::fan_in_uniform(fan_in),
        };
        let spec =
            |name: &str, shape: &[usize], init| ParamSpec::new(name.to_string(), shape, init);
        let normal = ParamInit::Normal(0.02);
        let mut specs: Vec<ParamSpec> = prefix_parts(config)
            .into_iter()
            .map(|(name, count)| spec(name, &[1, count, dim], normal.clone()))
            .collect();
        let mut table = spec("pos_embed", &[1, position_rows(config), dim], normal);
        if config.position_table == PositionTable::SinCos {
            // One row of zeros for each token before the patches.
            let values = sin_cos_table(dim, config.grid())?.split_off(dim);
            let mut rows = vec![0.; config.prefix_positions() * dim];
            rows.extend(values);
            table.init = ParamInit::Values(Arc::new(rows));
            table.trainable = false;
        }
        specs.push(table);
        specs.push(spec("patch_embed.proj.weight", &[dim, c, p, p], patch_weight));
        if config.pre_norm {
            specs.extend(LayerNorm::specs("norm_pre", dim));
        } else {
            let init = ParamInit::fan_in_uniform(fan_in);
            specs.push(spec("patch_embed.proj.bias", &[dim], init));
        }
        Ok(specs)
    }

    pub(crate) fn new(config: &VitConfig, vb: &VarBuilder) -> Result<Self> {
        let VitConfig { embed_dim: dim, patch_size: p, in_chans: c, pre_norm, .. } = *config;
        let prefix = prefix_parts(config).into_iter();
        let norm = |name| LayerNorm::new(dim, config.layer_norm_eps, &vb.pp(name));
        Ok(Self {
            patch_weight: vb.get((dim, c, p, p), "patch_embed.proj.weight")?,
            patch_bias: if pre_norm { None } else { Some(vb.get(dim, "patch_embed.proj.bias")?) },
            prefix: prefix
                .map(|(name, count)| vb.get((1, count, dim), name))
                .collect::<candle_core::Result<_>>()?,
            position_table: vb.get((1, position_rows(config), dim), "pos_embed")?,
            norm_pre: if pre_norm { Some(norm("norm_pre")?) } else { None },
        })
    }

    /// `[B, C, H, W]` to `[B, prefix + L, D]`, or to `[B, prefix + Q, D]` where only some patches
    /// are `visible`, in their order.
    pub(crate) fn forward(
        &self,
        config: &VitConfig,
        images: &Tensor,
        visible: Option<&TokenRows>,
        ctx: &Context,
    ) -> Result<Tensor> {
        let grid = config.grid_of(images)?;
        let batch = images.dim(0)?;
        let dropped = match visible {
            None => patch_drop(config, batch, grid.0 * grid.1, ctx)?,
            Some(_) => None,
        };
        let visible = visible.or(dropped.as_ref());
        let patches = self.patches(config, images, visible)?;
        let table = self.table(config, grid)?;
        let tokens = match self.prefix.as_slice() {
            [class] if class.dim(1)? == 1 && config.prefix_positions() == 1 && batch > 0 => {
                with_one_prefix(&patches, class, &table, visible)?
            }
            prefix => with_prefix(&patches, prefix, &table, visible, config.no_embed_class)?,
        };
        let tokens = ctx.dropout(&tokens, config.pos_drop_rate, "dropout/pos_embed")?;
        match &self.norm_pre {
            Some(norm) => norm.forward(&tokens),
            None => Ok(tokens),
        }
    }

    /// Patches as tokens without positions. A convolution whose kernel equals its stride is a
    /// matrix product of patches.
    fn patches(
        &self,
        config: &VitConfig,
        images: &Tensor,
        visible: Option<&TokenRows>,
    ) -> Result<Tensor> {
        let (patch, order) = (config.patch_size, PatchOrder::ChannelFirst);
        let patches = match visible {
            None => vit_kernels::patchify(images, patch, order)?,
            Some(visible) => vit_kernels::patchify_rows(images, patch, order, visible)?,
        };
        let weight = self.patch_weight.reshape((config.embed_dim, ()))?;
        Ok(vit_kernels::linear(&patches, &weight, self.patch_bias.as_ref())?)
    }

    /// The position table for the pictures' grid.
    fn table(&self, config: &VitConfig, grid: (usize, usize)) -> Result<Tensor> {
        let (prefix, filter) = (config.prefix_positions(), config.position_filter);
        resize_position_table(&self.position_table, prefix, config.grid(), grid, filter)
    }
}

impl VitConfig {
    /// Rows and columns of patches of these pictures.
    fn grid_of(&self, images: &Tensor) -> Result<(usize, usize)> {
        let size = match *images.dims() {
            [_, channels, height, width] if channels == self.in_chans => {
                Some(ImageSize { height, width })
            }
            _ => None,
        };
        let patch = self.patch_size;
        let any = |size: &ImageSize| {
            let whole = |side: usize| side > 0 && side.is_multiple_of(patch);
            self.dynamic_img_size && whole(size.height) && whole(size.width)
        };
        match size.filter(|size| *size == self.img_size || any(size)) {
            Some(size) => Ok(size.grid(patch)),
            None => Err(Error::Input {
                channels: self.in_chans,
                height: self.img_size.height,
                width: self.img_size.width,
                multiples_of: self.dynamic_img_size.then_some(patch),
                got: images.dims().to_vec(),
            }),
        }
    }
}

/// The patches that training keeps of each picture, at least one; `None` for all.
fn patch_drop(
    config: &VitConfig,
    batch: usize,
    patches: usize,
    ctx: &Context,
) -> Result<Option<TokenRows>> {
    if config.patch_drop_rate <= 0. {
        return Ok(None);
    }
    let Some(mut streams) = ctx.streams("patch_drop", batch)? else { return Ok(None) };
    let keep = ((patches as f64 * (1. - config.patch_drop_rate)) as usize).max(1);
    let unit = Uniform::new(0f64, 1.).map_err(|e| Error::Config(e.to_string()))?;
    let mut ids = Vec::with_capacity(batch * keep);
    for stream in &mut streams {
        let mut draws: Vec<(f64, u32)> =
            (0..patches as u32).map(|patch| (unit.sample(stream), patch)).collect();
        draws.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut kept: Vec<u32> = draws.iter().take(keep).map(|(_, patch)| *patch).collect();
        kept.sort_unstable();
        ids.extend(kept);
    }
    Ok(Some(TokenRows::new(&ids, batch, patches)?))
}

/// The patches of each picture, picture by picture: those visible, else all.
fn patch_ids(visible: Option<&TokenRows>, batch: usize, patches: usize) -> Vec<u32> {
    match visible {
        Some(rows) => rows.flat().iter().map(|row| row % (patches.max(1) as u32)).collect(),
        None => (0..patches as u32).collect::<Vec<_>>().repeat(batch),
    }
}

/// The usual layout in one pass: one token before the patches, with a position of its own.
fn with_one_prefix(
    patches: &Tensor,
    class: &Tensor,
    table: &Tensor,
    visible: Option<&TokenRows>,
) -> Result<Tensor> {
    let (batch, count, _) = patches.dims3()?;
    let ids = patch_ids(visible, batch, table.dim(1)? - 1);
    let sources: Vec<Option<u32>> =
        std::iter::once(None).chain((0..count as u32).map(Some)).collect();
    let positions: Vec<u32> = ids
        .chunks(count.max(1))
        .flat_map(|ids| std::iter::once(0).chain(ids.iter().map(|id| id + 1)))
        .collect();
    let plan = TokenAssembly::new(&sources.repeat(batch), &positions, batch, count)?;
    Ok(vit_kernels::assemble_tokens(patches, class, table, &plan)?)
}

/// Any number of tokens before the patches, with or without positions.
fn with_prefix(
    patches: &Tensor,
    prefix: &[Tensor],
    table: &Tensor,
    visible: Option<&TokenRows>,
    no_embed_class: bool,
) -> Result<Tensor> {
    let (batch, count, dim) = patches.dims3()?;
    let mut before = 0;
    for part in prefix {
        before += part.dim(1)?;
    }
    let embedded = if no_embed_class { 0 } else { before };
    let rows = table.dim(1)? - embedded;
    let positions = table.narrow(1, embedded, rows)?;
    let patches = match visible {
        None => patches.broadcast_add(&positions)?,
        Some(_) => {
            let ids = patch_ids(visible, batch, rows);
            let ids = Tensor::from_vec(ids, batch * count, table.device())?;
            let positions = positions.squeeze(0)?.contiguous()?.index_select(&ids, 0)?;
            (patches + positions.reshape((batch, count, dim))?)?
        }
    };
    if prefix.is_empty() {
        return Ok(patches);
    }
    let mut first = Tensor::cat(prefix, 1)?;
    if embedded > 0 {
        first = (first + table.narrow(1, 0, embedded)?)?;
    }
    Ok(Tensor::cat(&[&first.broadcast_as((batch, before, dim))?.contiguous()?, &patches], 1)?)
}
