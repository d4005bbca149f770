//! A transformer block as one operator.

mod backward;
mod forward;

use candle_core::{Result, Tensor};

pub(crate) use backward::{Wanted, backward};
pub(crate) use forward::{Saved, forward};

use super::attention;
use super::values::Values;

/// Sizes and settings of one block on one batch.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) batch: usize,
    pub(crate) tokens: usize,
    pub(crate) dim: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) eps: f32,
    /// Rows of `[batch · tokens]` that are computed, the same number for each sample in order of
    /// samples; `None` for all.
    pub(crate) rows: Option<Vec<u32>>,
    /// Factor on each sample's attention and MLP branch.
    pub(crate) scales: [Option<Vec<f32>>; 2],
}

impl Plan {
    /// Rows of the input.
    fn all(&self) -> usize {
        self.batch * self.tokens
    }

    /// Rows of the output.
    fn asked(&self) -> usize {
        self.rows.as_ref().map_or(self.all(), Vec::len)
    }

    /// Rows of the output per sample.
    pub(crate) fn asked_per_sample(&self) -> usize {
        self.asked().checked_div(self.batch).unwrap_or(0)
    }

    fn attention(&self) -> attention::Shape {
        attention::Shape {
            batch: self.batch,
            heads: self.heads,
            head_dim: self.dim / self.heads,
            queries: self.asked_per_sample(),
            keys: self.tokens,
        }
    }
}

/// The parameters of a block: weights `[out, in]`, in the order of [`Weights`].
pub(crate) struct Weights<'a> {
    pub(crate) norm1: [Values<'a>; 2],
    pub(crate) qkv: (Values<'a>, Option<Values<'a>>),
    pub(crate) proj: [Values<'a>; 2],
    pub(crate) norm2: [Values<'a>; 2],
    pub(crate) fc1: [Values<'a>; 2],
    pub(crate) fc2: [Values<'a>; 2],
}

/// Places of the parameters among a block's inputs; 0 is the block's input itself.
pub(crate) mod place {
    pub(crate) const X: usize = 0;
    pub(crate) const NORM1: usize = 1;
    pub(crate) const QKV: usize = 3;
    pub(crate) const PROJ: usize = 5;
    pub(crate) const NORM2: usize = 7;
    pub(crate) const FC1: usize = 9;
    pub(crate) const FC2: usize = 11;
    /// Number of inputs.
    pub(crate) const COUNT: usize = 13;
}

impl<'a> Weights<'a> {
    /// `inputs` in the order of [`place`]; the bias of qkv may be missing.
    pub(crate) fn new(inputs: &'a [Option<Tensor>; place::COUNT]) -> Result<Self> {
        let value = |i: usize| match &inputs[i] {
            Some(tensor) => Values::new(tensor),
            None => candle_core::bail!("block: parameter {i} is missing"),
        };
        let pair = |i: usize| Ok::<_, candle_core::Error>([value(i)?, value(i + 1)?]);
        Ok(Self {
            norm1: pair(place::NORM1)?,
            qkv: (
                value(place::QKV)?,
                inputs[place::QKV + 1].as_ref().map(Values::new).transpose()?,
            ),
            proj: pair(place::PROJ)?,
            norm2: pair(place::NORM2)?,
            fc1: pair(place::FC1)?,
            fc2: pair(place::FC2)?,
        })
    }
}

/// Copies rows `ids` of `x`.
fn gather(x: &[f32], width: usize, ids: &[u32], out: &mut [f32]) {
    for (row, &id) in out.chunks_exact_mut(width).zip(ids) {
        row.copy_from_slice(&x[id as usize * width..][..width]);
    }
}

/// Adds rows to the rows `ids` of `out`.
fn scatter_add(x: &[f32], width: usize, ids: &[u32], out: &mut [f32]) {
    for (row, &id) in x.chunks_exact(width).zip(ids) {
        super::columns::add(&mut out[id as usize * width..][..width], row);
    }
}
