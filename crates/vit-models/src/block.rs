use candle_core::Tensor;
use candle_nn::VarBuilder;
use vit_kernels::{BlockOptions, BlockParams, TokenRows};

use crate::{
    Context, Error, InitScheme, LayerNorm, Linear, ParamInit, ParamSpec, Result, VitConfig,
};

/// The numbers a transformer block is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Width of the tokens.
    pub dim: usize,
    /// Attention heads; divides `dim`.
    pub num_heads: usize,
    /// Width of the MLP's hidden layer.
    pub hidden_dim: usize,
    /// Whether the fused projection has a bias.
    pub qkv_bias: bool,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Probability that a sample skips a branch in training.
    pub drop_path: f64,
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
            qkv_bias: self.qkv_bias,
            layer_norm_eps: self.layer_norm_eps,
            drop_path: self.drop_path_rate(index),
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

/// A pre-norm transformer block:
/// `x + attn(norm1(x))`, then `x + mlp(norm2(x))`, each branch with drop path.
#[derive(Debug, Clone)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
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
        [
            LayerNorm::specs(&format!("{name}.norm1"), dim),
            linear("attn.qkv", dim, 3 * dim, qkv_bias),
            linear("attn.proj", dim, dim, true),
            LayerNorm::specs(&format!("{name}.norm2"), dim),
            linear("mlp.fc1", dim, hidden_dim, true),
            linear("mlp.fc2", hidden_dim, dim, true),
        ]
        .concat()
    }

    /// Reads a block; `vb` stands at `name`.
    ///
    /// # Errors
    /// When a parameter is missing or has another shape.
    pub fn new(name: &str, config: &BlockConfig, vb: &VarBuilder) -> Result<Self> {
        let BlockConfig { dim, hidden_dim, qkv_bias, layer_norm_eps: eps, .. } = *config;
        Ok(Self {
            norm1: LayerNorm::new(dim, eps, &vb.pp("norm1"))?,
            qkv: Linear::new(dim, 3 * dim, qkv_bias, &vb.pp("attn.qkv"))?,
            proj: Linear::new(dim, dim, true, &vb.pp("attn.proj"))?,
            norm2: LayerNorm::new(dim, eps, &vb.pp("norm2"))?,
            fc1: Linear::new(dim, hidden_dim, true, &vb.pp("mlp.fc1"))?,
            fc2: Linear::new(hidden_dim, dim, true, &vb.pp("mlp.fc2"))?,
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
        match self.params() {
            Some(params) => Ok(vit_kernels::block(x, &params, &options)?),
            None if ctx.recomputes() => self.checkpointed(x, rows, ctx),
            None => self.adapted(x, &options, ctx),
        }
    }

    /// [`Block::forward_rows`] through the adapters with activation checkpointing.
    fn checkpointed(&self, x: &Tensor, rows: Option<&TokenRows>, ctx: &Context) -> Result<Tensor> {
        let linears = [&self.qkv, &self.proj, &self.fc1, &self.fc2];
        let norms = [&self.norm1, &self.norm2];
        let norms =
            norms.iter().flat_map(|norm| [norm.params().0.clone(), norm.params().1.clone()]);
        let parameters: Vec<Tensor> =
            linears.iter().flat_map(|linear| linear.tensors()).chain(norms).collect();
        if parameters.iter().any(|tensor| tensor.track_op() && !tensor.is_variable()) {
            return Err(Error::Config(format!(
                "{}: with adapters, activation checkpointing needs parameters that are variables, not computed ones",
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
    fn params(&self) -> Option<BlockParams<'_>> {
        let (norm1_weight, norm1_bias) = self.norm1.params();
        let (norm2_weight, norm2_bias) = self.norm2.params();
        let (qkv_weight, qkv_bias) = self.qkv.plain()?;
        let (proj_weight, Some(proj_bias)) = self.proj.plain()? else { return None };
        let (fc1_weight, Some(fc1_bias)) = self.fc1.plain()? else { return None };
        let (fc2_weight, Some(fc2_bias)) = self.fc2.plain()? else { return None };
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

    /// Layer by layer, through the adapters.
    fn adapted(&self, x: &Tensor, options: &BlockOptions<'_>, ctx: &Context) -> Result<Tensor> {
        let dim = self.config.dim;
        let rows = |x: &Tensor| match options.rows {
            None => Ok(x.clone()),
            Some(rows) => vit_kernels::gather_tokens(x, rows),
        };
        let [attn, mlp] = options.drop_path;
        let qkv = self.qkv.forward(&self.norm1.forward(x)?, ctx)?;
        let mixed = match options.rows {
            None => vit_kernels::attention(&qkv, options.num_heads)?,
            Some(_) => {
                let kv = qkv.narrow(2, dim, 2 * dim)?;
                let q = rows(&qkv.narrow(2, 0, dim)?)?;
                vit_kernels::cross_attention(&q, &kv, options.num_heads)?
            }
        };
        let x = vit_kernels::residual(&rows(x)?, &self.proj.forward(&mixed, ctx)?, attn)?;
        let hidden = vit_kernels::gelu(&self.fc1.forward(&self.norm2.forward(&x)?, ctx)?)?;
        Ok(vit_kernels::residual(&x, &self.fc2.forward(&hidden, ctx)?, mlp)?)
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
