use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use candle_nn::VarBuilder;
use rayon::prelude::*;

use super::recipe::{Move, Recipe, Table};
use super::view::{Place, View};
use super::{Family, LoadReport, Outcome, TensorReport, WeightFile};
use crate::{Error, Model, ModelConfig, ParamStore, PositionFilter, Result, Vit, VitConfig};

/// Tables of `[1, prefix + rows · columns, D]` that may be brought to another grid.
const POSITION_TABLES: [&str; 2] = ["pos_embed", "decoder_pos_embed"];

/// First convolutions: their input channels may be adapted.
const FIRST_LAYERS: [&str; 3] =
    ["patch_embed.proj.weight", "features.conv0.weight", "conv1.weight"];

/// How a file is fitted to a model, and what may be absent from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// Names starting with one of these may be left at their first values. Any other missing
    /// tensor is an error: a wrong file must not train from scratch unnoticed.
    pub allow_missing: Vec<String>,
    /// Whose names the file has; told by them where nothing is said.
    pub family: Option<Family>,
    /// Rows and columns of the model's patches; a square where nothing is said.
    pub grid: Option<(usize, usize)>,
    /// Rows and columns of the patches in the file; a square where nothing is said.
    pub file_grid: Option<(usize, usize)>,
    /// How a position table is brought to another grid.
    pub position_filter: PositionFilter,
    /// Whether tensors may have values that are NaN or infinite. A model with one of those gives
    /// nothing else, so such a file is refused.
    pub allow_non_finite: bool,
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
        Self::allow(&["head.", "head_dist.", "fc_norm."])
    }

    /// These prefixes may be missing.
    #[must_use]
    pub fn allow(prefixes: &[&str]) -> Self {
        let allow_missing = prefixes.iter().map(ToString::to_string).collect();
        Self { allow_missing, ..Self::default() }
    }

    /// The file is of this family, whatever its names look like.
    #[must_use]
    pub fn with_family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// For a model of this configuration: its grid and the way it resizes.
    #[must_use]
    pub fn for_model(mut self, config: &VitConfig) -> Self {
        self.grid = Some(config.grid());
        self.position_filter = config.position_filter;
        self
    }

    pub(super) fn permits(&self, name: &str) -> bool {
        self.allow_missing.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Which tensor of the file each tensor of the model gets, and the report of it.
pub(super) struct Plan {
    pub(super) moves: Vec<Move>,
    pub(super) report: LoadReport,
}

impl WeightFile {
    /// Gives a store the values of this file. Nothing is changed unless all can be.
    ///
    /// # Errors
    /// [`Error::Missing`] when a tensor is missing that `options` do not permit;
    /// [`Error::File`] when values cannot be read.
    pub fn load_into(&self, store: &ParamStore, options: &LoadOptions) -> Result<LoadReport> {
        let wanted = store.iter().map(|(name, p)| (name.to_string(), p.var().dims().to_vec()));
        let plan = self.plan(&wanted.collect(), options);
        self.check_missing(&plan.report, options)?;
        let values = self.run(&plan.moves, options, store.dtype(), store.device())?;
        for (one, value) in plan.moves.iter().zip(values) {
            store.set(&one.name, &value)?;
        }
        Ok(plan.report)
    }

    /// The tensors of a model as this file has them, for inference: nothing is initialised first.
    /// `wanted` are their shapes by name; tensors of `f32`.
    ///
    /// # Errors
    /// As [`WeightFile::load_into`]; a tensor that `options` permit to be missing is not among the
    /// tensors given.
    pub fn tensors_for(
        &self,
        wanted: &BTreeMap<String, Vec<usize>>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(HashMap<String, Tensor>, LoadReport)> {
        let plan = self.plan(wanted, options);
        self.check_missing(&plan.report, options)?;
        let values = self.run(&plan.moves, options, DType::F32, device)?;
        let names = plan.moves.into_iter().map(|one| one.name);
        Ok((names.zip(values).collect(), plan.report))
    }

    /// Several tensors at once: copying is bound by one core.
    fn run(
        &self,
        moves: &[Move],
        options: &LoadOptions,
        dtype: DType,
        device: &Device,
    ) -> Result<Vec<Tensor>> {
        let one = |one: &Move| {
            let tensor = one.run(self, dtype)?;
            if !options.allow_non_finite && !is_finite(&tensor) {
                let (name, from) = (&one.name, &one.from);
                let reason =
                    format!("'{name}' (from {from:?}) has values that are NaN or infinite");
                return Err(self.fault(reason));
            }
            Ok(tensor.to_device(device)?)
        };
        moves.par_iter().map(one).collect()
    }

    /// What would become of each tensor, without reading any.
    pub(super) fn plan(
        &self,
        wanted: &BTreeMap<String, Vec<usize>>,
        options: &LoadOptions,
    ) -> Plan {
        let view = View::of(self, options.family, |name| wanted.contains_key(name));
        let mut fitting =
            Fitting { wanted, options, view: &view, moves: Vec::new(), rows: Vec::new() };
        for (name, shape) in wanted {
            fitting.fit(name, shape);
        }
        let Fitting { moves, mut rows, .. } = fitting;
        let used: BTreeSet<&String> = moves.iter().flat_map(|one| &one.from).collect();
        for (ours, place) in view.places.iter().filter(|(ours, _)| !wanted.contains_key(*ours)) {
            for name in &place.names {
                rows.push(unused(name, View::reason(ours).map(str::to_string)));
            }
        }
        for (name, reason) in view.useless.iter().filter(|(name, _)| !used.contains(name)) {
            rows.push(unused(name, reason.clone()));
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Plan { moves, report: LoadReport { path: self.path().to_path_buf(), tensors: rows } }
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

/// Whether every number of a tensor in memory is one. The largest magnitude as bits: those of NaN
/// and infinity are above all others.
fn is_finite(tensor: &Tensor) -> bool {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        return true;
    };
    match storage {
        CpuStorage::F32(values) => {
            let bits = |value: &f32| value.to_bits() & (u32::MAX >> 1);
            let values = values.get(start..end).unwrap_or_default();
            values.iter().map(bits).fold(0, u32::max) < f32::INFINITY.to_bits()
        }
        CpuStorage::F64(values) => {
            values.get(start..end).unwrap_or_default().iter().all(|value| value.is_finite())
        }
        CpuStorage::F16(values) => {
            values.get(start..end).unwrap_or_default().iter().all(|value| value.is_finite())
        }
        CpuStorage::BF16(values) => {
            values.get(start..end).unwrap_or_default().iter().all(|value| value.is_finite())
        }
        // Integers, and types that no parameter store has.
        _ => true,
    }
}

fn unused(name: &str, reason: Option<String>) -> TensorReport {
    let outcome = match reason {
        Some(reason) => Outcome::Dropped { reason },
        None => Outcome::Unexpected,
    };
    TensorReport { name: name.to_string(), outcome }
}

/// A file being fitted to a model.
struct Fitting<'a> {
    wanted: &'a BTreeMap<String, Vec<usize>>,
    options: &'a LoadOptions,
    view: &'a View,
    moves: Vec<Move>,
    rows: Vec<TensorReport>,
}

impl Fitting<'_> {
    fn fit(&mut self, name: &str, shape: &[usize]) {
        let view = self.view;
        let Some(place) = view.places.get(name) else {
            return self.row(name, Outcome::Missing);
        };
        let from = place.names.clone();
        let found = match self.recipe(name, place, shape) {
            Ok(found) => found,
            Err(reason) => {
                for from in &place.names {
                    self.row(from, Outcome::Dropped { reason: reason.clone() });
                }
                return self.row(name, Outcome::Missing);
            }
        };
        let (recipe, outcome) = found;
        self.row(name, outcome);
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.moves.push(Move { name, from, shape, recipe });
    }

    fn row(&mut self, name: &str, outcome: Outcome) {
        self.rows.push(TensorReport { name: name.to_string(), outcome });
    }

    fn recipe(
        &self,
        name: &str,
        place: &Place,
        shape: &[usize],
    ) -> std::result::Result<(Recipe, Outcome), String> {
        let found = &place.shape;
        let adapted = |how: String| Outcome::Adapted {
            from: place.names.clone(),
            from_shape: found.clone(),
            to_shape: shape.to_vec(),
            how,
        };
        if POSITION_TABLES.contains(&name) {
            if self.is_same_table(name, found, shape) {
                return Ok((Recipe::Whole, as_it_is(name, place)));
            }
            let table = self.table(name, found, shape)?;
            if table.cut == 0 && table.zeros == 0 {
                if table.from == table.to {
                    return Ok((Recipe::Whole, as_it_is(name, place)));
                }
                let outcome = Outcome::Resized { from: found.clone(), to: shape.to_vec() };
                return Ok((Recipe::Table(table), outcome));
            }
            return Ok((Recipe::Table(table), adapted(table.says())));
        }
        if found == shape {
            let table = self.view.places.get("pos_embed").map(|table| table.names.as_slice());
            if let (true, Some([table])) = (name == "cls_token" && self.folds(), table) {
                let how = format!("plus the first row of '{table}'");
                return Ok((Recipe::PlusRow { table: table.clone() }, adapted(how)));
            }
            return Ok((Recipe::Whole, as_it_is(name, place)));
        }
        let differs = || format!("shape {found:?} in the file, {shape:?} in the model");
        match (found.as_slice(), shape) {
            ([a, from, b, c], [d, to, e, f]) if FIRST_LAYERS.contains(&name) => {
                if (a, b, c) != (d, e, f) || *from == 0 {
                    return Err(differs());
                }
                let how = if *to == 1 {
                    format!("the sum of {from} input channels")
                } else {
                    format!("{from} input channels repeated for {to}, times {from}/{to}")
                };
                Ok((Recipe::Channels { from: *from, to: *to }, adapted(how)))
            }
            // A patch embedding saved as the matrix it is.
            ([a, n], [d, c, h, w]) if FIRST_LAYERS.contains(&name) && a == d && *n == c * h * w => {
                Ok((Recipe::Reshaped, adapted("the same values as a convolution".to_string())))
            }
            _ => Err(differs()),
        }
    }

    /// Tokens before the patches, in the file or in the model.
    fn prefix(&self, shape: impl Fn(&str) -> Option<usize>) -> [usize; 2] {
        let [class, distilled, registers] =
            ["cls_token", "dist_token", "reg_token"].map(|name| shape(name).unwrap_or(0));
        // Of a shape that may be anything where the tensor is empty.
        let class = class.saturating_add(distilled);
        [class, class.saturating_add(registers)]
    }

    /// Tokens before the patches in the model and in the file.
    fn prefixes(&self, table: &str) -> [[usize; 2]; 2] {
        if table != "pos_embed" {
            return [[1, 1]; 2];
        }
        let second = |shape: Option<&Vec<usize>>| shape.and_then(|shape| shape.get(1)).copied();
        let in_file = |name: &str| second(self.view.places.get(name).map(|p| &p.shape));
        [self.prefix(|name| second(self.wanted.get(name))), self.prefix(in_file)]
    }

    /// Whether a table is the model's as it stands: as many rows for the same tokens. Its grid need
    /// not be known then, unless both are told and are two ways to lay out as many patches.
    fn is_same_table(&self, name: &str, found: &[usize], shape: &[usize]) -> bool {
        let [ours, theirs] = self.prefixes(name);
        let other = match (self.options.grid, self.options.file_grid) {
            (Some(a), Some(b)) => a != b && a.0.checked_mul(a.1) == b.0.checked_mul(b.1),
            _ => false,
        };
        found == shape && ours == theirs && !other
    }

    /// Rows before the grid in the model's table and in the file's, and both grids.
    fn table(
        &self,
        name: &str,
        found: &[usize],
        shape: &[usize],
    ) -> std::result::Result<Table, String> {
        let differs = || format!("shape {found:?} in the file, {shape:?} in the model");
        let ([1, have, a], [1, want, b]) = (found, shape) else { return Err(differs()) };
        if a != b {
            return Err(differs());
        }
        let [ours, theirs] = self.prefixes(name);
        let to = grid(*want, ours, self.options.grid);
        let from = grid(*have, theirs, self.options.file_grid);
        let (Some((ours, to)), Some((theirs, from))) = (to, from) else {
            return Err(format!(
                "{}, and not both are a square grid; say which grids they are",
                differs()
            ));
        };
        let filter = self.options.position_filter;
        let table = |cut, zeros, prefix| Table { cut, zeros, prefix, from, to, filter };
        match (theirs, ours) {
            _ if theirs == ours => Ok(table(0, 0, ours)),
            (1, 0) if self.wanted.contains_key("cls_token") => Ok(table(1, 0, 0)),
            (0, _) => Ok(table(0, ours, 0)),
            _ => Err(format!(
                "{theirs} rows before the patches in the file, {ours} in the model ({})",
                differs()
            )),
        }
    }

    /// Whether the table's first row goes into the class token.
    fn folds(&self) -> bool {
        let (Some(place), Some(shape)) =
            (self.view.places.get("pos_embed"), self.wanted.get("pos_embed"))
        else {
            return false;
        };
        !self.is_same_table("pos_embed", &place.shape, shape)
            && self.table("pos_embed", &place.shape, shape).is_ok_and(|table| table.cut == 1)
    }
}

/// Rows before the grid, and the grid, of a table: as told, or the first square there is.
fn grid(
    rows: usize,
    prefixes: [usize; 2],
    told: Option<(usize, usize)>,
) -> Option<(usize, (usize, usize))> {
    let candidates = [prefixes[0], prefixes[1], 0, 1];
    if let Some((a, b)) = told {
        let before = rows.checked_sub(a.checked_mul(b)?)?;
        return candidates.contains(&before).then_some((before, (a, b)));
    }
    candidates.into_iter().find_map(|before| {
        let cells = rows.checked_sub(before)?;
        let side = cells.isqrt();
        (side > 0 && side * side == cells).then_some((before, (side, side)))
    })
}

fn as_it_is(name: &str, place: &Place) -> Outcome {
    match place.names.as_slice() {
        [from] if from == name => Outcome::Matched,
        [from] => Outcome::Renamed { from: from.clone() },
        parts => Outcome::Fused { from: parts.to_vec() },
    }
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
        let options = LoadOptions::strict().for_model(config);
        Self::from_weights(config, &WeightFile::open(path)?, &options, device)
    }

    /// [`Vit::from_file`] with a file that is open and options. A tensor that may be missing is an
    /// error here: there is no first value to leave it at.
    ///
    /// # Errors
    /// As [`WeightFile::load_into`]; [`Error::Candle`] naming a parameter that is missing.
    pub fn from_weights(
        config: &VitConfig,
        file: &WeightFile,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        let wanted = Self::specs(config)?.into_iter().map(|spec| (spec.name, spec.shape)).collect();
        let (tensors, report) = file.tensors_for(&wanted, options, device)?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Ok((Self::new(config, &vb)?.for_inference()?, report))
    }
}

impl Model {
    /// A network for inference from a weight file, as [`Vit::from_weights`].
    ///
    /// # Errors
    /// As [`Vit::from_weights`].
    pub fn from_weights(
        config: &ModelConfig,
        file: &WeightFile,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        if let ModelConfig::Vit(config) = config {
            let (model, report) = Vit::from_weights(config, file, options, device)?;
            return Ok((Self::Vit(Box::new(model)), report));
        }
        let wanted = config.specs()?.into_iter().map(|spec| (spec.name, spec.shape)).collect();
        let (tensors, report) = file.tensors_for(&wanted, options, device)?;
        Ok((config.build(&VarBuilder::from_tensors(tensors, DType::F32, device))?, report))
    }
}
