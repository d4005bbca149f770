//! The matrix products of a job, counted from its configuration.
//!
//! Counted is what the published model asks for, once: an implementation that computes something
//! again (recomputation in attention, checkpointing) gains nothing by it, and one that leaves out
//! what no result depends on (MAE's embedding of hidden patches, its prediction of visible ones)
//! shows a higher rate. Element-wise work is not counted. A product of `[m, k]` and `[k, n]` is
//! `2·m·k·n` operations. With `N` tokens of width `D`, a linear map is one product in the forward
//! pass and two of the same size in the backward pass (its input's and its weight's gradient); of
//! attention's two products per head each has two in the backward pass.
//!
//! * inference: forward only; a block of MLP ratio 4 is `2·B·(12·N·D² + 2·N²·D)` operations.
//! * training and MAE: three times forward, less the gradient of the pictures, which nobody needs.
//! * LoRA: forward and gradients of inputs, down to the first adapter, and of adapters and head;
//!   frozen weights have no gradient.

use std::collections::BTreeMap;

use anyhow::Result;
use vit_models::{BlockConfig, VitConfig};

use super::cnn::Network;
use super::job::{LORA_RANK, mae_config, vit_config};
use super::{Job, Setting};

/// One product, `batch` times `[m, k] · [k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Product {
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Whether the left operand lies in memory as `[k, m]`.
    pub(crate) left_transposed: bool,
    /// Whether the right operand lies in memory as `[n, k]`.
    pub(crate) right_transposed: bool,
}

impl Product {
    pub(crate) fn flops(&self) -> f64 {
        2. * self.batch as f64 * self.m as f64 * self.k as f64 * self.n as f64
    }
}

/// Which gradients of a linear map somebody needs.
#[derive(Debug, Clone, Copy)]
struct Needs {
    input: bool,
    weight: bool,
}

const NOTHING: Needs = Needs { input: false, weight: false };
const ALL: Needs = Needs { input: true, weight: true };
const INPUT: Needs = Needs { input: true, weight: false };
const WEIGHT: Needs = Needs { input: false, weight: true };

/// The products of one step and how often each is needed.
#[derive(Debug, Default)]
pub(crate) struct Products(BTreeMap<Product, usize>);

impl Products {
    /// The products of a job; `None` for one that has none.
    pub(crate) fn of(setting: &Setting) -> Result<Option<Self>> {
        let batch = setting.batch_size;
        let mut products = Self::default();
        if setting.job == Job::Adamw {
            return Ok(None);
        }
        if let Some(network) = Network::of(setting)? {
            products.network(&network, setting)?;
            return Ok(Some(products));
        }
        match setting.job {
            Job::Infer => products.classifier(&vit_config(setting)?, batch, NOTHING, NOTHING),
            Job::Train => products.classifier(&vit_config(setting)?, batch, WEIGHT, ALL),
            Job::Lora => {
                let config = vit_config(setting)?;
                products.classifier(&config, batch, NOTHING, INPUT);
                products.adapters(&config, batch);
            }
            Job::Mae => products.mae(setting)?,
            Job::Adamw => return Ok(None),
        }
        Ok(Some(products))
    }

    /// Operations of one step.
    pub(crate) fn flops(&self) -> f64 {
        self.iter().map(|(product, count)| product.flops() * count as f64).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Product, usize)> {
        self.0.iter().map(|(product, count)| (product, *count))
    }

    fn add(&mut self, product: Product, count: usize) {
        *self.0.entry(product).or_default() += count;
    }

    /// `count` linear maps of `rows` vectors.
    fn linear(&mut self, rows: usize, (input, output): (usize, usize), needs: Needs, count: usize) {
        let product = |m, k, n, left_transposed, right_transposed| Product {
            batch: 1,
            m,
            k,
            n,
            left_transposed,
            right_transposed,
        };
        self.add(product(rows, input, output, false, true), count);
        if needs.input {
            self.add(product(rows, output, input, false, false), count);
        }
        if needs.weight {
            self.add(product(output, rows, input, true, false), count);
        }
    }

    /// `count` attention layers without their linear maps.
    fn attention(
        &mut self,
        batch: usize,
        tokens: usize,
        block: &BlockConfig,
        back: bool,
        count: usize,
    ) {
        let head_dim = block.dim / block.num_heads.max(1);
        let product = |k, n, left_transposed, right_transposed| Product {
            batch: batch * block.num_heads,
            m: tokens,
            k,
            n,
            left_transposed,
            right_transposed,
        };
        let scores = product(head_dim, tokens, false, true);
        let mix = product(tokens, head_dim, false, false);
        let transposed = product(tokens, head_dim, true, false);
        self.add(scores, count);
        self.add(mix, count);
        if back {
            // Of the probabilities, of q, of v and of k.
            self.add(scores, count);
            self.add(mix, count);
            self.add(transposed, 2 * count);
        }
    }

    fn blocks(
        &mut self,
        batch: usize,
        tokens: usize,
        block: &BlockConfig,
        needs: Needs,
        count: usize,
    ) {
        let (rows, dim) = (batch * tokens, block.dim);
        self.linear(rows, (dim, 3 * dim), needs, count);
        self.linear(rows, (dim, dim), needs, count);
        self.linear(rows, (dim, block.hidden_dim), needs, count);
        self.linear(rows, (block.hidden_dim, dim), needs, count);
        self.attention(batch, tokens, block, needs.input, count);
    }

    /// Patch embedding of all patches; nobody needs the gradient of the pictures.
    fn patches(&mut self, config: &VitConfig, batch: usize, needs: Needs) {
        let values = config.in_chans * config.patch_size * config.patch_size;
        self.linear(batch * config.num_patches(), (values, config.embed_dim), needs, 1);
    }

    fn classifier(&mut self, config: &VitConfig, batch: usize, stem: Needs, blocks: Needs) {
        self.patches(config, batch, stem);
        self.blocks(batch, config.num_patches() + 1, &config.block(0), blocks, config.depth);
        // A head is trained whenever anything is.
        let head = if blocks.input { ALL } else { NOTHING };
        self.linear(batch, (config.embed_dim, config.num_classes), head, 1);
    }

    /// Adapters on query and value of every block: both `A` as one product, each `B` its own.
    /// Below the first block nothing is trained, so its fused projection's input needs no gradient.
    fn adapters(&mut self, config: &VitConfig, batch: usize) {
        let (rows, dim) = (batch * (config.num_patches() + 1), config.embed_dim);
        let unneeded = Product {
            batch: 1,
            m: rows,
            k: 3 * dim,
            n: dim,
            left_transposed: false,
            right_transposed: false,
        };
        if let Some(count) = self.0.get_mut(&unneeded) {
            *count -= 1;
        }
        self.linear(rows, (dim, 2 * LORA_RANK), WEIGHT, 1);
        self.linear(rows, (dim, 2 * LORA_RANK), ALL, config.depth - 1);
        self.linear(rows, (LORA_RANK, dim), ALL, 2 * config.depth);
    }

    /// Convolutions as products of pixels; nobody needs the gradient of the pictures.
    fn network(&mut self, network: &Network, setting: &Setting) -> Result<()> {
        let (stem, rest) = match setting.job {
            Job::Infer => (NOTHING, NOTHING),
            _ => (WEIGHT, ALL),
        };
        let batch = setting.batch_size;
        for (i, conv) in network.convolutions(setting.img_size)?.into_iter().enumerate() {
            let needs = if i == 0 { stem } else { rest };
            self.linear(batch * conv.pixels, (conv.depth, conv.channels), needs, 1);
        }
        for head in network.specs()?.iter().filter(|spec| spec.shape.len() == 2) {
            self.linear(batch, (head.shape[1], head.shape[0]), rest, 1);
        }
        Ok(())
    }

    fn mae(&mut self, setting: &Setting) -> Result<()> {
        let (config, batch) = (mae_config(setting)?, setting.batch_size);
        let encoder = &config.encoder;
        let patches = encoder.num_patches();
        let visible = mae_pretrain::keep_count(patches, config.mask_ratio)? + 1;
        self.patches(encoder, batch, WEIGHT);
        self.blocks(batch, visible, &encoder.block(0), ALL, encoder.depth);
        let width = config.decoder_embed_dim;
        self.linear(batch * visible, (encoder.embed_dim, width), ALL, 1);
        let block = config.decoder_block();
        self.blocks(batch, patches + 1, &block, ALL, config.decoder_depth);
        self.linear(batch * patches, (width, config.patch_values()), ALL, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gflop(job: Job) -> f64 {
        let setting = Setting {
            job,
            model: "vit_base_patch16".to_string(),
            img_size: 224,
            batch_size: 8,
            checkpointing: false,
        };
        Products::of(&setting).unwrap().unwrap().flops() / 8e9
    }

    /// Multiply-adds of ViT-B/16 at 224 per picture, in closed form.
    #[test]
    fn operations_of_vit_base() {
        let (n, d, patches, values) = (197., 768., 196., 768.);
        let stem = 2e-9 * patches * d * values;
        let blocks = 2e-9 * 12. * (12. * n * d * d + 2. * n * n * d);
        let head = 2e-9 * d * 1000.;
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} {want}");
        close(gflop(Job::Infer), stem + blocks + head);
        close(gflop(Job::Train), 2. * stem + 3. * (blocks + head));
        // Frozen: forward and input gradients, two for each product of attention.
        let attention = 2e-9 * 12. * 2. * n * n * d;
        let qkv = 2e-9 * n * d * 3. * d;
        let down = 2e-9 * n * d * 16.;
        let up = 2e-9 * n * 8. * d * 2.;
        let adapters = 3. * 12. * (down + up) - down;
        close(gflop(Job::Lora), stem + 2. * blocks + attention - qkv + 3. * head + adapters);
    }

    #[test]
    fn operations_of_mae() {
        let block = |n: f64, d: f64| 12. * n * d * d + 2. * n * n * d;
        let (e, d) = (768., 512.);
        let stem = 196. * e * 768.;
        let rest = 12. * block(50., e) + 50. * e * d + 8. * block(197., d) + 196. * d * 768.;
        let want = 2e-9 * (2. * stem + 3. * rest);
        let got = gflop(Job::Mae);
        assert!((got - want).abs() < 1e-9, "{got} {want}");
    }
}
