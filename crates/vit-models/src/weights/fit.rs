use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::{LoadReport, Outcome, TensorReport, WeightFile};
use crate::{Error, ParamStore, PositionFilter, Result, Vit, VitConfig, resize_position_table};

/// Prefixes that wrappers put before every name (PyTorch's `DataParallel`, detector backbones).
const WRAPPERS: [&str; 3] = ["module.", "backbone.", "encoder."];

/// Tables of `[1, 1 + grid², D]` that may be brought to another grid.
const POSITION_TABLES: [&str; 2] = ["pos_embed", "decoder_pos_embed"];

/// What may be absent from a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Names starting with one of these may be left at their first values. Any other missing
    /// tensor is an error: a wrong file must not train from scratch unnoticed.
    pub allow_missing: Vec<String>,
}

impl LoadOptions {
    /// Everything must be in the file.
    #[must_use]
    pub fn strict() -> Self {
        Self::default()
    }

    /// For starting a classifier from a pre-trained encoder: head and pooled norm are new.
    #[must_use]
    pub fn new_head() -> Self {
        Self::allow(&["head.", "fc_norm."])
    }

    /// These prefixes may be missing.
    #[must_use]
    pub fn allow(prefixes: &[&str]) -> Self {
        Self { allow_missing: prefixes.iter().map(ToString::to_string).collect() }
    }

    fn permits(&self, name: &str) -> bool {
        self.allow_missing.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Which tensor of the file each tensor of the model gets, and the report of it.
struct Plan {
    /// Model name, name in the file, shape in the model.
    moves: Vec<(String, String, Vec<usize>)>,
    report: LoadReport,
}

impl WeightFile {
    /// Gives a store the values of this file. Nothing is changed unless all can be.
    ///
    /// # Errors
    /// [`Error::Missing`] when a tensor is missing that `options` do not permit;
    /// [`Error::File`] when values cannot be read.
    pub fn load_into(&self, store: &ParamStore, options: &LoadOptions) -> Result<LoadReport> {
        let wanted = store.iter().map(|(name, p)| (name.to_string(), p.var().dims().to_vec()));
        let plan = self.plan(wanted.collect(), options)?;
        let mut values = Vec::with_capacity(plan.moves.len());
        for (name, from, shape) in &plan.moves {
            values.push((name, self.fitted(name, from, shape, store.device())?));
        }
        for (name, value) in values {
            store.set(name, &value)?;
        }
        Ok(plan.report)
    }

    /// The tensors of a model as this file has them, for inference: nothing is initialised first.
    fn tensors_for(
        &self,
        wanted: BTreeMap<String, Vec<usize>>,
        device: &Device,
    ) -> Result<(HashMap<String, Tensor>, LoadReport)> {
        let plan = self.plan(wanted, &LoadOptions::strict())?;
        let mut tensors = HashMap::with_capacity(plan.moves.len());
        for (name, from, shape) in &plan.moves {
            tensors.insert(name.clone(), self.fitted(name, from, shape, device)?);
        }
        Ok((tensors, plan.report))
    }

    fn fitted(&self, name: &str, from: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let tensor = self.tensor(from, device)?;
        if tensor.dims() == shape {
            return Ok(tensor);
        }
        let square = |tokens: Option<&usize>| {
            let side = tokens.copied().unwrap_or(0).saturating_sub(1).isqrt();
            (side, side)
        };
        let (from, to) = (square(tensor.dims().get(1)), square(shape.get(1)));
        match resize_position_table(&tensor, 1, from, to, PositionFilter::Bicubic) {
            Ok(resized) if resized.dims() == shape => Ok(resized),
            outcome => {
                let why = outcome.err().map(|e| format!(": {e}")).unwrap_or_default();
                let reason = format!(
                    "'{name}' cannot be brought from {:?} to {shape:?}{why}",
                    tensor.dims()
                );
                Err(Error::File { path: self.path().to_path_buf(), reason })
            }
        }
    }

    fn plan(&self, wanted: BTreeMap<String, Vec<usize>>, options: &LoadOptions) -> Result<Plan> {
        let by_plain_name = self.plain_names(&wanted);
        let mut moves = Vec::new();
        let mut rows = Vec::new();
        let mut used = BTreeSet::new();
        for (name, shape) in wanted {
            let Some(from) = by_plain_name.get(name.as_str()) else {
                rows.push(TensorReport { name, outcome: Outcome::Missing });
                continue;
            };
            used.insert(*from);
            let found = self.shapes().get(*from).cloned().unwrap_or_default();
            let outcome = match found == shape {
                true if name == *from => Outcome::Matched,
                true => Outcome::Renamed { from: (*from).to_string() },
                false if resizable(&name, &found, &shape) => {
                    Outcome::Resized { from: found, to: shape.clone() }
                }
                false => {
                    let reason = format!("shape {found:?} in the file, {shape:?} in the model");
                    rows.push(TensorReport {
                        name: name.clone(),
                        outcome: Outcome::Dropped { reason },
                    });
                    rows.push(TensorReport { name, outcome: Outcome::Missing });
                    continue;
                }
            };
            rows.push(TensorReport { name: name.clone(), outcome });
            moves.push((name, (*from).to_string(), shape));
        }
        let unused = self.shapes().keys().filter(|name| !used.contains(name.as_str()));
        rows.extend(
            unused.map(|name| TensorReport { name: name.clone(), outcome: Outcome::Unexpected }),
        );
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let report = LoadReport { path: self.path().to_path_buf(), tensors: rows };
        self.check_missing(&report, options)?;
        Ok(Plan { moves, report })
    }

    /// Names in the file by the name they have without wrappers' prefixes. A name that is in the
    /// model as it stands is never shortened.
    fn plain_names(&self, wanted: &BTreeMap<String, Vec<usize>>) -> BTreeMap<&str, &str> {
        let mut names = BTreeMap::new();
        for name in self.shapes().keys() {
            let mut plain = name.as_str();
            while !wanted.contains_key(plain) {
                match WRAPPERS.iter().find_map(|prefix| plain.strip_prefix(prefix)) {
                    Some(shorter) => plain = shorter,
                    None => break,
                }
            }
            if plain == name {
                names.insert(plain, name.as_str());
            } else {
                names.entry(plain).or_insert(name.as_str());
            }
        }
        names
    }

    fn check_missing(&self, report: &LoadReport, options: &LoadOptions) -> Result<()> {
        let absent = report.missing();
        let names: Vec<String> =
            absent.iter().filter(|n| !options.permits(n)).map(ToString::to_string).collect();
        if names.is_empty() && report.loaded() > 0 {
            return Ok(());
        }
        Err(Error::Missing { path: self.path().to_path_buf(), names, found: report.loaded() })
    }
}

fn resizable(name: &str, found: &[usize], wanted: &[usize]) -> bool {
    POSITION_TABLES.contains(&name) && matches!((found, wanted), ([1, _, a], [1, _, b]) if a == b)
}

impl Vit {
    /// A model for inference from a weight file of any known family and format.
    ///
    /// # Errors
    /// As [`WeightFile::open`]; [`Error::Missing`] when the file lacks a tensor of the model.
    pub fn from_file(
        config: &VitConfig,
        path: &Path,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        let file = WeightFile::open(path)?;
        let wanted = Self::specs(config)?.into_iter().map(|spec| (spec.name, spec.shape)).collect();
        let (tensors, report) = file.tensors_for(wanted, device)?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Ok((Self::new(config, &vb)?, report))
    }
}
