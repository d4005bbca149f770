use candle_core::Tensor;

use crate::{Context, Result};

/// A feature extractor: pictures to tokens and to one embedding.
pub trait Backbone: Send + Sync {
    /// Width of the tokens.
    fn embed_dim(&self) -> usize;

    /// Width of the embedding, where pooling makes it another than that of tokens.
    fn num_features(&self) -> usize {
        self.embed_dim()
    }

    /// Tokens before the patches: class token, registers.
    fn prefix_tokens(&self) -> usize {
        0
    }

    /// Rows and columns of patches.
    fn patch_grid(&self) -> (usize, usize);

    /// Output tokens, `[B, C, H, W]` to `[B, prefix + rows·columns, D]`.
    ///
    /// # Errors
    /// When the pictures do not fit the model.
    fn tokens(&self, images: &Tensor, ctx: &Context) -> Result<Tensor>;

    /// Outputs of chosen blocks, in the order asked for, each shaped as [`Backbone::tokens`] and
    /// before any final norm.
    ///
    /// # Errors
    /// When a block does not exist or the pictures do not fit the model.
    fn intermediates(
        &self,
        images: &Tensor,
        blocks: &[usize],
        ctx: &Context,
    ) -> Result<Vec<Tensor>>;

    /// One embedding per picture, `[B, C, H, W]` to `[B, num_features]`: what a head gets.
    ///
    /// # Errors
    /// When the pictures do not fit the model, or it pools nothing.
    fn embed(&self, images: &Tensor, ctx: &Context) -> Result<Tensor>;
}

/// A [`Backbone`] with a head.
pub trait Classifier: Backbone {
    /// Number of outputs.
    fn num_classes(&self) -> usize;

    /// Unnormalised scores, `[B, C, H, W]` to `[B, num_classes]`.
    ///
    /// # Errors
    /// When the pictures do not fit the model or it has no head.
    fn logits(&self, images: &Tensor, ctx: &Context) -> Result<Tensor>;
}
