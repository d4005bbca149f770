use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use vit_datasets::audit::AuditReport;
use vit_datasets::{
    CacheOptions, Cached, CsvLabels, CsvOptions, CsvTable, Dataset, ErrorPolicy, GroupRule,
    ImageFolder, ImageFolderOptions, InMemory, Loader, LoaderConfig, MedMnist, Phantom,
    PhantomConfig, PhantomKind, Skipped, Split, Subset, Task, check_group_disjoint,
    check_parts_disjoint, describe, split_by_group,
};
use vit_models::{CropMode, Interpolation, Preprocessing};
use vit_transforms::{Pipeline, Pixels, Step, ToGrey, ToRgb};

use crate::medmnist;
use crate::progress::{count, counter};
use crate::sources::Sources;

/// Decoded pictures are kept in memory up to this many bytes.
pub(crate) const CACHE_BYTES: usize = 1 << 30;
/// Before the name of a set of `MedMNIST`.
const MEDMNIST: &str = "medmnist:";
/// Pictures the normalisation is measured on.
const MEASURED: usize = 512;

/// Which data, and how they are read.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// `phantom`, `phantom-endoscopy`, a MedMNIST set by name (`medmnist:breastmnist_224`) or
    /// `.npz`, an image folder, a `.csv` or `.parquet` table, or a `.json` that describes data sets
    /// (see docs/datasets.md).
    #[arg(long, default_value = "phantom")]
    pub data: String,
    /// MedMNIST by name: folder of the files.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// MedMNIST by name: fetches the file if it is not there, and checks its MD5.
    #[arg(long)]
    pub download: bool,
    /// MedMNIST by name: address of a folder to fetch the file from instead of the authors'.
    #[arg(long)]
    pub mirror: Option<String>,
    /// CSV: folder of the pictures (default: the table's folder).
    #[arg(long)]
    pub csv_root: Option<PathBuf>,
    /// CSV: column with the file names.
    #[arg(long, default_value = "file")]
    pub csv_file: String,
    /// CSV: what to append to each file name, such as `.png`.
    #[arg(long, default_value = "")]
    pub csv_suffix: String,
    /// CSV: column with the class; or several, comma-separated, for findings.
    #[arg(long, default_value = "label")]
    pub csv_label: String,
    /// CSV: column with the patient. Without it every row counts as a patient.
    #[arg(long)]
    pub csv_group: Option<String>,
    /// Image folder: the patient is what stands before this character in the file name.
    #[arg(long)]
    pub group_separator: Option<char>,
    /// Phantoms: number of pictures.
    #[arg(long, default_value_t = 1200)]
    pub phantom_len: usize,
    /// Phantoms: how strongly findings stand out; 1 is easy to see, below 0.3 they drown in noise.
    #[arg(long, default_value_t = 1.0)]
    pub phantom_contrast: f32,
    /// Side of the pictures that go into the model, for training (default: 32). A trained model
    /// says itself what it takes; here it can only be confirmed.
    #[arg(long)]
    pub input_size: Option<usize>,
    /// Share of the picture that evaluation looks at: resize to `input_size / crop_pct`, then crop
    /// the centre. Medical findings sit at borders too, so the default crops nothing (timm: 0.875).
    /// As `--input-size`, part of the model once it is trained.
    #[arg(long)]
    pub crop_pct: Option<f64>,
    /// Worker threads of the loader; 0 loads in the training thread. Results do not depend on it.
    #[arg(long, default_value_t = 1)]
    pub num_workers: usize,
    /// Seed of the split of data sets that come without one (70/10/20, by patient).
    #[arg(long, default_value_t = 0)]
    pub split_seed: u64,
    /// The `audit.json` of the example `audit`: its result is stored with the run, and a run is
    /// resumed only with the same one. A report that was edited is refused.
    #[arg(long)]
    pub audit_report: Option<PathBuf>,
    /// File for the training pictures, shrunk once and for all. It is made anew when they change.
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// Shorter side of the pictures in the cache.
    #[arg(long, default_value_t = 256)]
    pub cache_side: usize,
    /// Training goes on without pictures that cannot be read, as long as there are no more than
    /// this; they are listed at the end. Evaluation always stops at them.
    #[arg(long)]
    pub skip_unreadable: Option<usize>,
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Split3 {
    /// Training part.
    Train,
    /// Validation part: model selection.
    Val,
    /// Test part: reported numbers.
    Test,
}

/// A data set with its parts.
pub struct OpenData {
    /// What was divided here: all of it, or the source of the training part.
    pub whole: Option<Arc<dyn Dataset>>,
    /// Training part.
    pub train: Arc<dyn Dataset>,
    /// Validation part, if there is one.
    pub val: Option<Arc<dyn Dataset>>,
    /// Test part, if there is one.
    pub test: Option<Arc<dyn Dataset>>,
}

impl DataArgs {
    /// Opens the data.
    ///
    /// # Errors
    /// When the data cannot be read, or a patient is in two parts.
    pub fn open(&self) -> Result<OpenData> {
        self.audit_hash()?;
        let open = self.open_unchecked()?;
        if let Some(sources) = self.sources()
            && !sources?.0.allows_shared_groups()
        {
            let parts: Vec<&dyn Dataset> = open.parts().map(|(_, part)| part.as_ref()).collect();
            check_group_disjoint(&parts).with_context(|| {
                format!(
                    "{}: groups are patients; where equal names are different patients, or a \
                     published split is to be used as it is, say \"allow_shared_groups\": true",
                    self.data
                )
            })?;
        }
        if self.group_separator.is_some() && Path::new(&self.data).is_dir() {
            let parts: Vec<&dyn Dataset> = open.parts().map(|(_, part)| part.as_ref()).collect();
            check_group_disjoint(&parts).with_context(|| {
                format!(
                    "{}: what stands before --group-separator is a patient; to use a published \
                     split as it is, leave the flag out, or describe the folder in a .json with \
                     \"allow_shared_groups\": true",
                    self.data
                )
            })?;
        }
        self.cached(open)
    }

    /// The data without cache, and with patients in several parts if the parts say so: for the
    /// audit, which is to find them.
    pub(crate) fn open_unchecked(&self) -> Result<OpenData> {
        if let Some(sources) = self.sources() {
            return sources?.0.open(self.split_seed);
        }
        let path = Path::new(&self.data);
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match (self.data.as_str(), extension.as_deref()) {
            ("phantom", _) => self.split(&self.phantom(PhantomKind::Xray)?),
            ("phantom-endoscopy", _) => self.split(&self.phantom(PhantomKind::Endoscopy)?),
            (name, _) if name.starts_with(MEDMNIST) => {
                let name = name.trim_start_matches(MEDMNIST);
                Self::medmnist(&medmnist::file(self, name)?)
            }
            (_, Some("npz")) => Self::medmnist(path),
            (_, Some("csv" | "parquet")) => self.split(&self.csv(path)?),
            _ if path.is_dir() => self.folder(path),
            _ => bail!(
                "--data {}: neither `phantom`, `phantom-endoscopy`, `{MEDMNIST}NAME`, an .npz, a \
                 .csv, a .parquet, a .json nor a folder",
                self.data
            ),
        }
    }

    /// The descriptions of a `.json`, and the value of the file.
    fn sources(&self) -> Option<Result<(Sources, Value)>> {
        let path = Path::new(&self.data);
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        is_json.then(|| Sources::read(path))
    }

    /// The parts, with the training pictures in the cache if there is to be one. Validation and
    /// test keep theirs: shrinking twice is not what a model meets when it is used.
    fn cached(&self, open: OpenData) -> Result<OpenData> {
        let Some(path) = &self.cache else { return Ok(open) };
        let options = CacheOptions {
            short_side: Some(self.cache_side),
            workers: self.num_workers,
            ..CacheOptions::default()
        };
        let bar = counter("cache");
        let note = |done, total| count(&bar, done, total);
        let cached = Cached::open_with_progress(open.train, path, &options, &note)?;
        bar.finish_and_clear();
        println!("{}: {} pictures, key {}", path.display(), cached.cached(), cached.key());
        Ok(OpenData { train: Arc::new(cached), ..open })
    }

    fn phantom(&self, kind: PhantomKind) -> Result<Arc<dyn Dataset>> {
        let config = PhantomConfig {
            kind,
            len: self.phantom_len,
            patients: (self.phantom_len / 4).max(3),
            size: self.side(),
            contrast: self.phantom_contrast,
            ..PhantomConfig::default()
        };
        Ok(Arc::new(Phantom::new(config)?))
    }

    fn medmnist(path: &Path) -> Result<OpenData> {
        let open =
            |split| -> Result<Arc<dyn Dataset>> { Ok(Arc::new(MedMnist::open(path, split)?)) };
        Ok(OpenData {
            whole: None,
            train: open(Split::Train)?,
            val: Some(open(Split::Val)?),
            test: Some(open(Split::Test)?),
        })
    }

    pub(crate) fn csv(&self, path: &Path) -> Result<Arc<dyn Dataset>> {
        let root = match (&self.csv_root, path.parent()) {
            (Some(root), _) => root.clone(),
            (None, Some(parent)) => parent.to_path_buf(),
            (None, None) => PathBuf::from("."),
        };
        let columns: Vec<String> = self.csv_label.split(',').map(str::to_string).collect();
        let labels = match columns.as_slice() {
            [column] if column.is_empty() => CsvLabels::None,
            [column] => {
                CsvLabels::Single { column: column.clone(), classes: None, skip_missing: false }
            }
            _ => CsvLabels::Multi { columns },
        };
        let options = CsvOptions {
            file_suffix: self.csv_suffix.clone(),
            labels,
            group_column: self.csv_group.clone(),
            attribute_columns: vec!["*".into()],
            ..CsvOptions::new(root, self.csv_file.clone())
        };
        Ok(Arc::new(InMemory::new(Arc::new(CsvTable::open(path, &options)?), CACHE_BYTES)))
    }

    fn folder(&self, root: &Path) -> Result<OpenData> {
        let group = match self.group_separator {
            Some(separator) => GroupRule::FileNamePrefix { separator },
            None => GroupRule::PerFile,
        };
        let open = |split: Option<Split>| -> Result<Arc<dyn Dataset>> {
            let options = ImageFolderOptions { split, group, ..ImageFolderOptions::default() };
            Ok(Arc::new(InMemory::new(Arc::new(ImageFolder::open(root, &options)?), CACHE_BYTES)))
        };
        if !root.join("train").is_dir() {
            return self.split(&open(None)?);
        }
        let has = |names: &[&str]| names.iter().any(|name| root.join(name).is_dir());
        let part = |names: &[&str], split| has(names).then(|| open(Some(split))).transpose();
        Ok(OpenData {
            whole: None,
            train: open(Some(Split::Train))?,
            val: part(&["val", "valid", "validation"], Split::Val)?,
            test: part(&["test"], Split::Test)?,
        })
    }

    fn split(&self, all: &Arc<dyn Dataset>) -> Result<OpenData> {
        split_whole(all, self.split_seed)
    }

    /// The result of the audit that the run is to remember.
    fn audit_hash(&self) -> Result<Option<String>> {
        let Some(path) = &self.audit_report else { return Ok(None) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
        let report: AuditReport = serde_json::from_str(&text).with_context(|| name.clone())?;
        if !report.is_intact() {
            bail!("{name}: its result is not that of its findings; make the report anew");
        }
        Ok(Some(report.hash().to_owned()))
    }

    /// What must be the same when a run is resumed. Worker threads may differ.
    #[must_use]
    pub fn settings(&self) -> Value {
        let mut settings = json!({
            "data": self.data, "csv_label": self.csv_label, "csv_group": self.csv_group,
            "group_separator": self.group_separator, "phantom_len": self.phantom_len,
            "phantom_contrast": self.phantom_contrast,
            "input_size": self.side(), "crop_pct": self.crop(), "split_seed": self.split_seed,
        });
        if self.cache.is_some() {
            settings["cache_side"] = self.cache_side.into();
        }
        // The file may change while its name does not.
        if let Some(Ok((_, sources))) = self.sources() {
            settings["sources"] = sources;
        }
        // `open` has told what is wrong with a report that cannot be read.
        if let Ok(Some(hash)) = self.audit_hash() {
            settings["audit"] = hash.into();
        }
        settings
    }

    /// A loader over a part.
    ///
    /// # Errors
    /// When the settings make no sense.
    pub fn loader(
        &self,
        dataset: &Arc<dyn Dataset>,
        pipeline: Pipeline,
        batch_size: usize,
        seed: Option<u64>,
    ) -> Result<Loader> {
        let config = LoaderConfig {
            batch_size,
            workers: self.num_workers,
            prefetch: 2 * self.num_workers.max(1),
            seed: seed.unwrap_or(0),
            shuffle: seed.is_some(),
            drop_last: seed.is_some(),
        };
        let loader = Loader::new(Arc::clone(dataset), Arc::new(pipeline), config)?;
        Ok(match (self.skip_unreadable, seed) {
            (at_most @ Some(_), Some(_)) => loader.on_error(ErrorPolicy::Skip { at_most }),
            _ => loader,
        })
    }

    /// Side of the pictures.
    #[must_use]
    pub fn side(&self) -> usize {
        self.input_size.unwrap_or(32)
    }

    fn crop(&self) -> f64 {
        self.crop_pct.unwrap_or(1.)
    }

    /// That what was told of pictures does not contradict the model they are for.
    ///
    /// # Errors
    /// When it does: the model was trained with other pictures, and would answer all the same.
    pub(crate) fn agrees(&self, model: &Preprocessing) -> Result<()> {
        let [_, height, width] = model.input_size;
        if let Some(side) = self.input_size.filter(|side| [*side; 2] != [height, width]) {
            bail!("--input-size {side}: the model was trained for {height} × {width} pixels");
        }
        if let Some(crop) = self.crop_pct.filter(|crop| (crop - model.crop_pct).abs() > 1e-9) {
            bail!("--crop-pct {crop}: the model is evaluated with {}", model.crop_pct);
        }
        Ok(())
    }

    /// How evaluation prepares pictures.
    #[must_use]
    pub fn preprocessing(&self, channels: usize, mean: &[f32], std: &[f32]) -> Preprocessing {
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        Preprocessing {
            input_size: [channels, self.side(), self.side()],
            crop_pct: self.crop(),
            crop_mode: CropMode::Center,
            interpolation: Interpolation::Bicubic,
            mean: wide(mean),
            std: wide(std),
        }
    }
}

/// 70 % training, 10 % validation, 20 % test, no patient in two parts.
pub(crate) fn split_whole(all: &Arc<dyn Dataset>, seed: u64) -> Result<OpenData> {
    let parts = split_by_group(all.as_ref(), &[0.7, 0.1, 0.2], seed)?;
    check_parts_disjoint(all.as_ref(), &parts)?;
    let mut subsets = Vec::new();
    for part in parts {
        subsets.push(Arc::new(Subset::new(Arc::clone(all), part)?) as Arc<dyn Dataset>);
    }
    let mut subsets = subsets.into_iter();
    let train = subsets.next().context("the split has no training part")?;
    let whole = Some(Arc::clone(all));
    Ok(OpenData { whole, train, val: subsets.next(), test: subsets.next() })
}

/// Prints the samples that training went on without.
pub(crate) fn print_skipped(loader: &Loader) {
    for Skipped { id, reason, times, .. } in loader.skipped() {
        println!("left out {times} time(s): {id}: {reason}");
    }
}

/// To the model's number of channels.
#[must_use]
pub(crate) fn colour(channels: usize) -> Step {
    if channels == 1 { Step::ToGrey(ToGrey) } else { Step::ToRgb(ToRgb) }
}

impl OpenData {
    /// A part by name.
    ///
    /// # Errors
    /// When the data have no such part.
    pub fn part(&self, split: Split3) -> Result<&Arc<dyn Dataset>> {
        let part = match split {
            Split3::Train => Some(&self.train),
            Split3::Val => self.val.as_ref(),
            Split3::Test => self.test.as_ref(),
        };
        part.with_context(|| format!("the data have no {split:?} part"))
    }

    /// The parts that there are, by name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Arc<dyn Dataset>)> {
        [("train", Some(&self.train)), ("val", self.val.as_ref()), ("test", self.test.as_ref())]
            .into_iter()
            .filter_map(|(name, part)| Some((name, part?)))
    }

    /// Prints what each part holds.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn print(&self) -> Result<()> {
        let whole = self.whole.as_ref().map(|whole| ("whole", whole));
        for (name, part) in whole.into_iter().chain(self.parts()) {
            let text = describe(part.as_ref())?.to_string();
            println!("{name:>5}: {}", text.trim_end().replace('\n', "\n       "));
        }
        Ok(())
    }

    /// Prints what lies beside the samples and is none, each once: [`OpenData::print`] has it too.
    pub(crate) fn print_left_out(&self) {
        let parts = self.parts().flat_map(|(_, part)| part.left_out());
        let entries: BTreeSet<String> = parts.map(|entry| entry.to_string()).collect();
        entries.iter().for_each(|entry| println!("{entry}"));
    }

    /// The labels.
    #[must_use]
    pub fn task(&self) -> &Task {
        self.train.task()
    }
}

/// Mean and standard deviation per channel over some pictures of a part, at 0..1. Pictures that
/// cannot be read are left to the loader, which will come to them and say so.
///
/// # Errors
/// When no picture can be read.
pub(crate) fn measure(dataset: &dyn Dataset, channels: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    let to_colour = Pipeline::new(vec![colour(channels)]);
    let mut stream = vit_random::Streams::new(0).stream("measure", 0, 0);
    let (mut sum, mut squares) = (vec![0f64; channels], vec![0f64; channels]);
    let mut count = 0f64;
    // Evenly spread, so that a data set sorted by class is measured as a whole.
    let stride = dataset.len().div_ceil(MEASURED).max(1);
    for index in (0..dataset.len()).step_by(stride) {
        let Ok(sample) = dataset.get(index) else { continue };
        let image = to_colour.apply(sample.image, &mut stream)?.to_f32();
        let Pixels::F32(values) = image.pixels() else { continue };
        for pixel in values.chunks_exact(channels) {
            for ((sum, squares), value) in sum.iter_mut().zip(&mut squares).zip(pixel) {
                *sum += f64::from(*value);
                *squares += f64::from(*value).powi(2);
            }
        }
        count += (values.len() / channels) as f64;
    }
    if count == 0. {
        bail!("no picture to measure mean and standard deviation on can be read");
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
    let std =
        squares.iter().zip(&mean).map(|(squares, mean)| (squares / count - mean * mean).sqrt());
    // A black data set has no contrast to normalise by.
    let std = std.map(|std| if std > 1e-6 { std as f32 } else { 1. }).collect();
    Ok((mean.iter().map(|mean| *mean as f32).collect(), std))
}
