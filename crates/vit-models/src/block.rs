use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use vit_kernels::{BlockOptions, BlockParams, TokenRows};

use crate::{
    Context, Error, InitScheme, LayerNorm, Linear, Mlp, ParamInit, ParamSpec, Result, VitConfig,
};

/// The numbers a transformer block is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Width of the tokens.
    pub dim: usize,
    /// Attention heads; divides `dim`.
    pub num_heads: usize,
    /// Width of the MLP's first matrix.
    pub hidden_dim: usize,
    /// What stands between the MLP's two matrices.
    pub mlp: Mlp,
    /// Whether the fused projection has a bias.
    pub qkv_bias: bool,
    /// Layer norm of queries and keys, head by head.
    pub qk_norm: bool,
    /// First value of LayerScale, `None` for none.
    pub init_values: Option<f64>,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Probability that a sample skips a branch in training.
    pub drop_path: f64,
    /// Rate of dropout after the attention's projection and in the MLP.
    pub proj_drop: f64,
    /// Rate of dropout on attention weights.
    pub attn_drop: f64,
    /// Which first values weights get.
    pub init: InitScheme,
}

impl VitConfig {
    /// Configuration of block `index`.
    #[must_use]
    pub fn block(&self, index: usize) -> BlockConfig {
        BlockConfig {
            dim: self.embed_dim,
            num_heads: self.num_heads,
            hidden_dim: self.hidden_dim(),
            mlp: self.mlp,
            qkv_bias: self.qkv_bias,
            qk_norm: self.qk_norm,
            init_values: self.init_values,
            layer_norm_eps: self.layer_norm_eps,
            drop_path: self.drop_path_rate(index),
            proj_drop: self.proj_drop_rate,
            attn_drop: self.attn_drop_rate,
            init: self.init,
        }
    }
}

impl InitScheme {
    /// First values of a `[out, in]` matrix.
    #[must_use]
    pub fn matrix(self, in_dim: usize, out_dim: usize) -> ParamInit {
        match self {
            Self::Mae => ParamInit::xavier_uniform(in_dim, out_dim),
            // The reference cuts at ±2, a hundred standard deviations: a plain normal, without the
            // stray −2.0 that its inverse-CDF sampling lets through.
            Self::Timm => ParamInit::Normal(0.02),
        }
    }
}

impl BlockConfig {
    /// Width of the MLP's second matrix's input.
    fn inner_dim(&self) -> usize {
        match self.mlp {
            Mlp::Gelu => self.hidden_dim,
            Mlp::SwigluPacked => self.hidden_dim / 2,
        }
    }

    fn head_dim(&self) -> usize {
        self.dim.checked_div(self.num_heads).unwrap_or(0)
    }
}

/// A pre-norm transformer block:
/// `x + γ₁ · attn(norm1(x))`, then `x + γ₂ · mlp(norm2(x))`, each branch with drop path. `γ` is
/// LayerScale, where there is one.
#[derive(Debug, Clone)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    /// Of queries and of keys.
    head_norms: Option<[LayerNorm; 2]>,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    /// `[dim]` each, of the attention's branch and of the MLP's.
    layer_scale: Option<[Tensor; 2]>,
    config: BlockConfig,
    name: String,
}

impl Block {
    /// Parameters of a block under `name`, in the order of the reference's state dictionary.
    #[must_use]
    pub fn specs(name: &str, config: &BlockConfig) -> Vec<ParamSpec> {
        let BlockConfig { dim, hidden_dim, qkv_bias, init, .. } = *config;
        let linear = |part: &str, in_dim, out_dim, bias| {
            Linear::specs(
                &format!("{name}.{part}"),
                in_dim,
                out_dim,
                bias,
                init.matrix(in_dim, out_dim),
            )
        };
        let head_norm = |part: &str| match config.qk_norm {
            true => LayerNorm::specs(&format!("{name}.attn.{part}"), config.head_dim()),
            false => Vec::new(),
        };
        let scale = |part: &str| match config.init_values {
            Some(value) => {
                let init = ParamInit::Constant(value);
                vec![ParamSpec::new(format!("{name}.{part}.gamma"), &[dim], init)]
            }
            None => Vec::new(),
        };
        [
            LayerNorm::specs(&format!("{name}.norm1"), dim),
            linear("attn.qkv", dim, 3 * dim, qkv_bias),
            head_norm("q_norm"),
            head_norm("k_norm"),
            linear("attn.proj", dim, dim, true),
            scale("ls1"),
            LayerNorm::specs(&format!("{name}.norm2"), dim),
            linear("mlp.fc1", dim, hidden_dim, true),
            linear("mlp.fc2", config.inner_dim(), dim, true),
            scale("ls2"),
        ]
        .concat()
    }

    /// Reads a block; `vb` stands at `name`.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    pub fn new(name: &str, config: &BlockConfig, vb: &VarBuilder) -> Result<Self> {
        let BlockConfig { dim, hidden_dim, qkv_bias, layer_norm_eps: eps, .. } = *config;
        let head_norm = |part: &str| LayerNorm::new(config.head_dim(), eps, &vb.pp(part));
        let head_norms = match config.qk_norm {
            true => Some([head_norm("attn.q_norm")?, head_norm("attn.k_norm")?]),
            false => None,
        };
        let layer_scale = match config.init_values {
            Some(_) => Some([vb.get(dim, "ls1.gamma")?, vb.get(dim, "ls2.gamma")?]),
            None => None,
        };
        Ok(Self {
            norm1: LayerNorm::new(dim, eps, &vb.pp("norm1"))?,
            qkv: Linear::new(dim, 3 * dim, qkv_bias, &vb.pp("attn.qkv"))?,
            head_norms,
            proj: Linear::new(dim, dim, true, &vb.pp("attn.proj"))?,
            norm2: LayerNorm::new(dim, eps, &vb.pp("norm2"))?,
            fc1: Linear::new(dim, hidden_dim, true, &vb.pp("mlp.fc1"))?,
            fc2: Linear::new(config.inner_dim(), dim, true, &vb.pp("mlp.fc2"))?,
            layer_scale,
            config: *config,
            name: name.to_string(),
        })
    }

    /// `[B, N, dim]` to `[B, N, dim]`.
    ///
    /// # Errors
    /// When shapes do not fit, or the context does not belong to the batch.
    pub fn forward(&self, x: &Tensor, ctx: &Context) -> Result<Tensor> {
        self.forward_rows(x, None, ctx)
    }

    /// [`Block::forward`] of some tokens only, `[B, Q, dim]`: keys and values are made of every
    /// token, everything else of these. What a last block needs of which only these are used.
    ///
    /// # Errors
    /// When shapes do not fit, or the context does not belong to the batch.
    pub fn forward_rows(
        &self,
        x: &Tensor,
        rows: Option<&TokenRows>,
        ctx: &Context,
    ) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let factors = |part| {
            let purpose = format!("drop_path/{}.{part}", self.name);
            ctx.drop_path_factors(batch, self.config.drop_path, &purpose)
        };
        let (attn, mlp) = (factors("attn")?, factors("mlp")?);
        let drop_path = [attn.as_deref(), mlp.as_deref()];
        let options = BlockOptions {
            num_heads: self.config.num_heads,
            eps: self.config.layer_norm_eps,
            rows,
            drop_path,
            recompute: ctx.recomputes(),
        };
        let scaled = if self.is_plain(ctx) { self.scaled()? } else { None };
        match self.params(scaled.as_ref()).filter(|_| self.is_plain(ctx)) {
            Some(params) => Ok(vit_kernels::block(x, &params, &options)?),
            None if ctx.recomputes() => self.checkpointed(x, rows, ctx),
            None => self.layers(x, &options, ctx),
        }
    }

    /// Whether the block is one that the fused operator computes.
    fn is_plain(&self, ctx: &Context) -> bool {
        let BlockConfig { mlp, proj_drop, attn_drop, .. } = self.config;
        let drops = ctx.is_train() && (proj_drop > 0. || attn_drop > 0.);
        let linears = [&self.qkv, &self.proj, &self.fc1, &self.fc2];
        let adapted = linears.iter().any(|linear| linear.plain().is_none());
        self.head_norms.is_none() && mlp == Mlp::Gelu && !drops && !adapted
    }

    /// Weight and bias of `proj` and of `fc2` times LayerScale, where there is one:
    /// `γ · (W·x + b) = (γ·W)·x + γ·b`. The product costs a small share of the block's work and
    /// lets one operator serve both kinds of block.
    fn scaled(&self) -> Result<Option<[(Tensor, Tensor); 2]>> {
        let Some([attn, mlp]) = &self.layer_scale else { return Ok(None) };
        let scaled = |gamma: &Tensor, linear: &Linear| -> Result<Option<(Tensor, Tensor)>> {
            let Some((weight, Some(bias))) = linear.plain() else { return Ok(None) };
            Ok(Some((weight.broadcast_mul(&gamma.unsqueeze(1)?)?, (bias * gamma)?)))
        };
        Ok(scaled(attn, &self.proj)?.zip(scaled(mlp, &self.fc2)?).map(|(a, b)| [a, b]))
    }

    /// Multiplies LayerScale into the weights before it for good, which saves the product of each
    /// forward pass. For inference: the block no longer shares these weights with a store.
    ///
    /// # Errors
    /// When a product cannot be computed.
    pub(crate) fn fold_layer_scale(&mut self) -> Result<()> {
        if let Some([(proj, proj_bias), (fc2, fc2_bias)]) = self.scaled()? {
            self.proj.set_plain(proj, proj_bias);
            self.fc2.set_plain(fc2, fc2_bias);
            self.layer_scale = None;
            self.config.init_values = None;
        }
        Ok(())
    }

    /// [`Block::layers`] with activation checkpointing.
    fn checkpointed(&self, x: &Tensor, rows: Option<&TokenRows>, ctx: &Context) -> Result<Tensor> {
        let linears = [&self.qkv, &self.proj, &self.fc1, &self.fc2];
        let norms = [&self.norm1, &self.norm2].into_iter().chain(self.head_norms.iter().flatten());
        let norms = norms.flat_map(|norm| [norm.params().0.clone(), norm.params().1.clone()]);
        let scales = self.layer_scale.iter().flatten().cloned();
        let linears = linears.iter().flat_map(|linear| linear.tensors());
        let parameters: Vec<Tensor> = linears.chain(norms).chain(scales).collect();
        if parameters.iter().any(|tensor| tensor.track_op() && !tensor.is_variable()) {
            return Err(Error::Config(format!(
                "{}: activation checkpointing of this kind of block needs parameters that are variables, not computed ones",
                self.name
            )));
        }
        let (block, rows, ctx) = (self.clone(), rows.cloned(), ctx.owned());
        let inputs: Vec<&Tensor> = std::iter::once(x).chain(&parameters).collect();
        Ok(vit_kernels::checkpoint(&inputs, move |inputs| {
            let Some(x) = inputs.first() else { candle_core::bail!("a block without input") };
            // The parameters are variables and stand for themselves.
            let ctx = ctx.borrow();
            block.forward_rows(x, rows.as_ref(), &ctx).map_err(candle_core::Error::wrap)
        })?)
    }

    /// The block's parameters, unless an adapter is attached.
    fn params<'a>(&'a self, scaled: Option<&'a [(Tensor, Tensor); 2]>) -> Option<BlockParams<'a>> {
        let (norm1_weight, norm1_bias) = self.norm1.params();
        let (norm2_weight, norm2_bias) = self.norm2.params();
        let (qkv_weight, qkv_bias) = self.qkv.plain()?;
        let (fc1_weight, Some(fc1_bias)) = self.fc1.plain()? else { return None };
        let ((proj_weight, proj_bias), (fc2_weight, fc2_bias)) = match (scaled, &self.layer_scale) {
            (Some([(w, b), (v, c)]), _) => ((w, b), (v, c)),
            (None, Some(_)) => return None,
            (None, None) => match (self.proj.plain()?, self.fc2.plain()?) {
                ((w, Some(b)), (v, Some(c))) => ((w, b), (v, c)),
                _ => return None,
            },
        };
        Some(BlockParams {
            norm1_weight,
            norm1_bias,
            qkv_weight,
            qkv_bias,
            proj_weight,
            proj_bias,
            norm2_weight,
            norm2_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        })
    }

    /// Layer by layer: with adapters, and where the block is of a kind that is not fused.
    fn layers(&self, x: &Tensor, options: &BlockOptions<'_>, ctx: &Context) -> Result<Tensor> {
        let [attn_factors, mlp_factors] = options.drop_path;
        let [attn_scale, mlp_scale] = match &self.layer_scale {
            Some([attn, mlp]) => [Some(attn), Some(mlp)],
            None => [None, None],
        };
        let scaled = |branch: Tensor, scale: Option<&Tensor>| match scale {
            Some(scale) => branch.broadcast_mul(scale),
            None => Ok(branch),
        };
        let skip = match options.rows {
            None => x.clone(),
            Some(rows) => vit_kernels::gather_tokens(x, rows)?,
        };
        let mixed = self.attention(&self.norm1.forward(x)?, options, ctx)?;
        let branch = self.dropout(&self.proj.forward(&mixed, ctx)?, "attn", ctx)?;
        let x = vit_kernels::residual(&skip, &scaled(branch, attn_scale)?, attn_factors)?;
        let hidden = self.mlp_hidden(&self.fc1.forward(&self.norm2.forward(&x)?, ctx)?)?;
        let hidden = self.dropout(&hidden, "mlp.hidden", ctx)?;
        let branch = self.dropout(&self.fc2.forward(&hidden, ctx)?, "mlp", ctx)?;
        Ok(vit_kernels::residual(&x, &scaled(branch, mlp_scale)?, mlp_factors)?)
    }

    fn dropout(&self, x: &Tensor, part: &str, ctx: &Context) -> Result<Tensor> {
        ctx.dropout(x, self.config.proj_drop, &format!("dropout/{}.{part}", self.name))
    }

    fn mlp_hidden(&self, x: &Tensor) -> Result<Tensor> {
        match self.config.mlp {
            Mlp::Gelu => Ok(vit_kernels::gelu(x)?),
            Mlp::SwigluPacked => {
                let inner = self.config.inner_dim();
                let (gate, value) =
                    (x.narrow(D::Minus1, 0, inner)?, x.narrow(D::Minus1, inner, inner)?);
                Ok((gate.silu()? * value)?)
            }
        }
    }

    /// Normalised tokens to the heads' outputs side by side, before the projection.
    fn attention(&self, x: &Tensor, options: &BlockOptions<'_>, ctx: &Context) -> Result<Tensor> {
        let (dim, heads) = (self.config.dim, options.num_heads);
        let qkv = self.normed_heads(self.qkv.forward(x, ctx)?)?;
        if ctx.is_train() && self.config.attn_drop > 0. {
            let weights = self.weights(&qkv, options.rows)?;
            let purpose = format!("dropout/{}.attn.weights", self.name);
            let weights = ctx.dropout(&weights, self.config.attn_drop, &purpose)?;
            let mixed = weights.matmul(&split_heads(&qkv.narrow(2, 2 * dim, dim)?, heads)?)?;
            return Ok(mixed.transpose(1, 2)?.flatten_from(2)?);
        }
        match options.rows {
            None => Ok(vit_kernels::attention(&qkv, heads)?),
            Some(rows) => {
                let kv = qkv.narrow(2, dim, 2 * dim)?;
                let q = vit_kernels::gather_tokens(&qkv.narrow(2, 0, dim)?, rows)?;
                Ok(vit_kernels::cross_attention(&q, &kv, heads)?)
            }
        }
    }

    /// Queries and keys through the norms of their heads, where there are any.
    fn normed_heads(&self, qkv: Tensor) -> Result<Tensor> {
        let Some([q_norm, k_norm]) = &self.head_norms else { return Ok(qkv) };
        let (batch, tokens, _) = qkv.dims3()?;
        let BlockConfig { dim, num_heads, .. } = self.config;
        let normed = |start: usize, norm: &LayerNorm| -> Result<Tensor> {
            let heads = qkv.narrow(2, start, dim)?;
            let heads = heads.reshape((batch, tokens, num_heads, self.config.head_dim()))?;
            Ok(norm.forward(&heads)?.reshape((batch, tokens, dim))?)
        };
        let (q, k) = (normed(0, q_norm)?, normed(dim, k_norm)?);
        Ok(Tensor::cat(&[q, k, qkv.narrow(2, 2 * dim, dim)?], 2)?)
    }

    /// What each token (or those of `rows`) looks at: `[B, heads, Q, N]`, rows that add up to 1.
    fn weights(&self, qkv: &Tensor, rows: Option<&TokenRows>) -> Result<Tensor> {
        let BlockConfig { dim, num_heads, .. } = self.config;
        let q = qkv.narrow(2, 0, dim)?;
        let q = match rows {
            None => q,
            Some(rows) => vit_kernels::gather_tokens(&q, rows)?,
        };
        let (q, k) =
            (split_heads(&q, num_heads)?, split_heads(&qkv.narrow(2, dim, dim)?, num_heads)?);
        let scale = (self.config.head_dim() as f64).powf(-0.5);
        let scores = (q * scale)?.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        Ok(vit_kernels::softmax(&scores)?)
    }

    /// What each token looks at in this block: `x` `[B, N, dim]` to `[B, heads, N, N]`, row `i` the
    /// weights of token `i`, which add up to 1.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn attention_map(&self, x: &Tensor, ctx: &Context) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x)?, ctx)?;
        self.weights(&self.normed_heads(qkv)?, None)
    }

    /// The linear layers with their full names, for attaching adapters.
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let name = &self.name;
        vec![
            (format!("{name}.attn.qkv"), &mut self.qkv),
            (format!("{name}.attn.proj"), &mut self.proj),
            (format!("{name}.mlp.fc1"), &mut self.fc1),
            (format!("{name}.mlp.fc2"), &mut self.fc2),
        ]
    }
}

/// `[B, N, dim]` to `[B, heads, N, dim / heads]`.
fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, dim) = x.dims3()?;
    let width = dim.checked_div(heads).unwrap_or(0);
    Ok(x.reshape((batch, tokens, heads, width))?.transpose(1, 2)?.contiguous()?)
}

/// Reads a row of blocks `prefix.0`, `prefix.1`, ….
pub(crate) fn read_blocks(
    prefix: &str,
    configs: impl Iterator<Item = BlockConfig>,
    vb: &VarBuilder,
) -> Result<Vec<Block>> {
    configs
        .enumerate()
        .map(|(i, config)| Block::new(&format!("{prefix}.{i}"), &config, &vb.pp(prefix).pp(i)))
        .collect()
}
