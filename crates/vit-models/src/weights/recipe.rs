//! How tensors of a file become a tensor of a model.

use candle_core::{DType, Device, Tensor};

use super::WeightFile;
use crate::{PositionFilter, Result, resize_position_table};

/// How to make one tensor of the model from one or more of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recipe {
    /// As it is; of several parts, one under the other.
    Whole,
    /// The first dimensions are of one element or joined: the same values in another shape.
    Reshaped,
    /// Another number of input channels.
    Channels { from: usize, to: usize },
    /// A position table.
    Table(Table),
    /// The class token plus the first row of the position table, which is another file name.
    PlusRow { table: String },
}

/// What happens to a position table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Table {
    /// Rows before the grid that are taken off.
    pub(super) cut: usize,
    /// Rows of zeros put before it.
    pub(super) zeros: usize,
    /// Rows before the grid that stay.
    pub(super) prefix: usize,
    /// Rows and columns in the file.
    pub(super) from: (usize, usize),
    /// Rows and columns in the model.
    pub(super) to: (usize, usize),
    /// How the grid is resized.
    pub(super) filter: PositionFilter,
}

/// One tensor of the model and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) name: String,
    pub(super) from: Vec<String>,
    pub(super) shape: Vec<usize>,
    pub(super) recipe: Recipe,
}

impl Move {
    /// Makes the tensor, on the CPU.
    pub(super) fn run(&self, file: &WeightFile, dtype: DType) -> Result<Tensor> {
        let fault = |why: String| {
            let name = &self.name;
            file.fault(format!("'{name}' cannot be made from {:?}: {why}", self.from))
        };
        let made = self.make(file, dtype).map_err(|e| match e {
            crate::Error::File { .. } | crate::Error::Io { .. } => e,
            other => fault(other.to_string()),
        })?;
        if made.dims() != self.shape {
            return Err(fault(format!("it has shape {:?}, not {:?}", made.dims(), self.shape)));
        }
        Ok(made)
    }

    fn make(&self, file: &WeightFile, dtype: DType) -> Result<Tensor> {
        let read = |name: &str| file.tensor_as(name, dtype, &Device::Cpu);
        let whole = match self.from.as_slice() {
            [name] => read(name)?,
            names => {
                let parts: Vec<Tensor> = names.iter().map(|n| read(n)).collect::<Result<_>>()?;
                Tensor::cat(&parts, 0)?
            }
        };
        match &self.recipe {
            Recipe::Whole => Ok(whole),
            Recipe::Reshaped => Ok(whole.reshape(self.shape.as_slice())?),
            Recipe::Channels { from, to } => channels(&whole, *from, *to),
            Recipe::Table(table) => table.run(&whole),
            Recipe::PlusRow { table } => Ok((whole + read(table)?.narrow(1, 0, 1)?)?),
        }
    }
}

/// Weights `[out, from, h, w]` for `to` input channels, by timm's rule: for one channel the sum,
/// otherwise the channels again and again, scaled so that a grey picture gives the same sum.
pub(super) fn channels(weight: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    if to == 1 {
        return Ok(weight.sum_keepdim(1)?);
    }
    let one = |i: usize| weight.narrow(1, i % from.max(1), 1);
    let repeated = (0..to).map(one).collect::<candle_core::Result<Vec<_>>>()?;
    Ok((Tensor::cat(&repeated, 1)? * (from as f64 / to as f64))?)
}

impl Table {
    fn run(&self, table: &Tensor) -> Result<Tensor> {
        let rows = table.dim(1)?.saturating_sub(self.cut);
        let table = table.narrow(1, self.cut, rows)?;
        let Self { prefix, from, to, filter, .. } = *self;
        let table = resize_position_table(&table, prefix, from, to, filter)?;
        if self.zeros == 0 {
            return Ok(table.contiguous()?);
        }
        let zeros = (1, self.zeros, table.dim(2)?);
        let zeros = Tensor::zeros(zeros, table.dtype(), table.device())?;
        Ok(Tensor::cat(&[zeros, table], 1)?)
    }

    /// In words, for the report.
    pub(super) fn says(&self) -> String {
        let mut says = Vec::new();
        if self.cut > 0 {
            says.push("its first row is added to the class token".to_string());
        }
        if self.zeros > 0 {
            says.push(format!("{} of zeros for the tokens before the patches", rows(self.zeros)));
        }
        if self.from != self.to {
            let ((a, b), (c, d)) = (self.from, self.to);
            says.push(format!("grid {a}×{b} resized to {c}×{d}"));
        }
        says.join("; ")
    }
}

fn rows(count: usize) -> String {
    if count == 1 { "one row".to_string() } else { format!("{count} rows") }
}
