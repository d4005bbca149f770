use candle_core::{Result, Tensor, bail};

use crate::composite;
use crate::cpu::columns;
use crate::cpu::values::{Values, served, tensor};
use crate::record::record;

/// Some tokens of each sample of a batch, the same number of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRows {
    batch: usize,
    tokens: usize,
    /// `sample · tokens + token`, sample by sample.
    flat: Vec<u32>,
}

impl TokenRows {
    /// `ids` holds the tokens of each sample, sample by sample; all of `0..tokens`.
    ///
    /// # Errors
    /// When a token is not one, or the number of ids is not the same for each sample.
    pub fn new(ids: &[u32], batch: usize, tokens: usize) -> Result<Self> {
        if u32::try_from(batch * tokens).is_err() {
            bail!("token rows: {batch} samples of {tokens} tokens are too many");
        }
        if batch == 0 || !ids.len().is_multiple_of(batch) {
            bail!("token rows: {} ids for {batch} samples", ids.len());
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= tokens) {
            bail!("token rows: token {id} of {tokens}");
        }
        let per_sample = (ids.len() / batch).max(1);
        let samples = ids.chunks(per_sample).zip((0..).step_by(tokens.max(1)));
        let flat = samples.flat_map(|(ids, first)| ids.iter().map(move |id| first + id)).collect();
        Ok(Self { batch, tokens, flat })
    }

    /// The same token of every sample.
    ///
    /// # Errors
    /// When the token is not one.
    pub fn one(token: u32, batch: usize, tokens: usize) -> Result<Self> {
        Self::new(&vec![token; batch], batch, tokens)
    }

    /// Number of samples and of tokens per sample they are picked from.
    #[must_use]
    pub fn source(&self) -> (usize, usize) {
        (self.batch, self.tokens)
    }

    /// Number of tokens picked per sample.
    #[must_use]
    pub fn per_sample(&self) -> usize {
        self.flat.len().checked_div(self.batch).unwrap_or(0)
    }

    /// `sample · tokens + token` of every pick, sample by sample.
    #[must_use]
    pub fn flat(&self) -> &[u32] {
        &self.flat
    }
}

/// Picks tokens: `x` `[B, N, D]` to `[B, Q, D]`.
///
/// # Errors
/// When the rows were made for another batch or number of tokens.
pub fn gather_tokens(x: &Tensor, rows: &TokenRows) -> Result<Tensor> {
    let (batch, tokens, dim) = x.dims3()?;
    if rows.source() != (batch, tokens) {
        bail!("gather tokens: rows of {:?} (batch, tokens) for x {:?}", rows.source(), x.dims());
    }
    if !served(&[x]) {
        return composite::gather_tokens(x, rows);
    }
    let x = x.contiguous()?;
    let out = pick(&Values::new(&x)?, dim, rows.flat());
    let ids = rows.flat.clone();
    let shape = (batch, rows.per_sample(), dim);
    record("gather-tokens", out, shape, &[Some(&x)], move |grad: &Tensor| {
        let dy = Values::new(grad)?;
        let mut dx = vec![0.; batch * tokens * dim];
        for (row, &id) in dy.chunks_exact(dim.max(1)).zip(&ids) {
            columns::add(&mut dx[id as usize * dim..][..dim], row);
        }
        Ok(vec![Some(tensor(dx, (batch, tokens, dim))?)])
    })
}

fn pick(x: &[f32], dim: usize, ids: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(ids.len() * dim);
    for &id in ids {
        out.extend_from_slice(&x[id as usize * dim..][..dim]);
    }
    out
}

/// How a sequence is put together from tokens and one extra token: class token and visible
/// patches before an encoder, or visible tokens and mask tokens before a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenAssembly {
    batch: usize,
    tokens: usize,
    /// Where each row comes from: `sample · tokens + token`, `None` for the extra token.
    sources: Vec<Option<u32>>,
    positions: Vec<u32>,
}

impl TokenAssembly {
    /// `sources` holds for each place of each sample the token (of `0..tokens`) that stands there,
    /// `None` for the extra one; `positions` the row of the position table to be added.
    ///
    /// # Errors
    /// When a token is not one, or the numbers of entries do not fit.
    pub fn new(
        sources: &[Option<u32>],
        positions: &[u32],
        batch: usize,
        tokens: usize,
    ) -> Result<Self> {
        if u32::try_from(batch * tokens + 1).is_err() {
            bail!("token assembly: {batch} samples of {tokens} tokens are too many");
        }
        if batch == 0 || !sources.len().is_multiple_of(batch) || sources.len() != positions.len() {
            let counts = (sources.len(), positions.len());
            bail!("token assembly: {} sources, {} positions, {batch} samples", counts.0, counts.1);
        }
        if let Some(source) = sources.iter().flatten().find(|&&id| id as usize >= tokens) {
            bail!("token assembly: token {source} of {tokens}");
        }
        let per_sample = (sources.len() / batch).max(1);
        let samples = sources.chunks(per_sample).zip((0..).step_by(tokens.max(1)));
        let flat = |(sources, first): (&[Option<u32>], u32)| {
            sources.iter().map(|source| source.map(|id| first + id)).collect::<Vec<_>>()
        };
        let sources = samples.flat_map(flat).collect();
        Ok(Self { batch, tokens, sources, positions: positions.to_vec() })
    }

    /// Length of the assembled sequence.
    #[must_use]
    pub fn per_sample(&self) -> usize {
        self.sources.len().checked_div(self.batch).unwrap_or(0)
    }

    /// Rows of the flattened tokens, with `extra` for the extra token.
    pub(crate) fn flat_sources(&self, extra: u32) -> Vec<u32> {
        self.sources.iter().map(|source| source.unwrap_or(extra)).collect()
    }

    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }
}

/// Puts sequences together and adds their positions.
///
/// `tokens` is `[B, T, D]`, `extra` `[1, 1, D]`, `positions` `[1, P, D]`; the result is
/// `[B, N, D]` with `N` of the plan.
///
/// # Errors
/// When shapes do not fit the plan.
pub fn assemble_tokens(
    tokens: &Tensor,
    extra: &Tensor,
    positions: &Tensor,
    plan: &TokenAssembly,
) -> Result<Tensor> {
    let (batch, count, dim) = tokens.dims3()?;
    let (_, table, width) = positions.dims3()?;
    let rows_exist = plan.positions.iter().all(|&row| (row as usize) < table);
    let fits = (batch, count) == (plan.batch, plan.tokens) && width == dim && rows_exist;
    if !fits || extra.dims() != [1, 1, dim] {
        let dims = (tokens.dims(), extra.dims(), positions.dims());
        bail!("token assembly: tokens {:?}, extra {:?}, positions {:?}", dims.0, dims.1, dims.2);
    }
    if !served(&[tokens, extra, positions]) {
        return composite::assemble_tokens(tokens, extra, positions, plan);
    }
    let inputs = [tokens.contiguous()?, extra.contiguous()?, positions.contiguous()?];
    let [tokens, extra, positions] = &inputs;
    let mut out = Vec::with_capacity(plan.sources.len() * dim);
    let values = (Values::new(tokens)?, Values::new(extra)?, Values::new(positions)?);
    for (source, &position) in plan.sources.iter().zip(&plan.positions) {
        let row = match source {
            Some(id) => &values.0[*id as usize * dim..][..dim],
            None => &values.1,
        };
        let position = &values.2[position as usize * dim..][..dim];
        out.extend(row.iter().zip(position).map(|(a, b)| a + b));
    }
    drop(values);
    let tracked = [tokens, extra, positions].map(Tensor::track_op);
    let (plan, shape) = (plan.clone(), (batch, plan.per_sample(), dim));
    let nodes = [Some(tokens), Some(extra), Some(positions)];
    record("assemble-tokens", out, shape, &nodes, move |grad: &Tensor| {
        let dy = Values::new(grad)?;
        let zeros = |rows: usize, tracked: bool| vec![0.; if tracked { rows * dim } else { 0 }];
        let mut grads =
            [zeros(batch * count, tracked[0]), zeros(1, tracked[1]), zeros(table, tracked[2])];
        let rows = dy.chunks_exact(dim.max(1)).zip(&plan.sources).zip(&plan.positions);
        for ((row, source), &position) in rows {
            let (place, id) = source.map_or((1, 0), |id| (0, id as usize));
            for (place, id) in [(place, id), (2, position as usize)] {
                if tracked[place] {
                    columns::add(&mut grads[place][id * dim..][..dim], row);
                }
            }
        }
        let shapes = [(batch, count, dim), (1, 1, dim), (1, table, dim)];
        grads
            .into_iter()
            .zip(shapes)
            .zip(tracked)
            .map(|((grad, shape), tracked)| tracked.then(|| tensor(grad, shape)).transpose())
            .collect()
    })
}
