use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use clap::Args;
use vit_datasets::{
    CsvLabels, CsvOptions, CsvTable, Dataset, GroupRule, ImageFolder, ImageFolderOptions, MedMnist,
    Record, Sample, Split, Task,
};
use vit_transforms::{Image, Pixels};

use crate::data::Split3;
use crate::embedder::Embedder;
use crate::features::Skipped;

/// Which pictures.
#[derive(Debug, Clone, Args)]
pub struct PictureArgs {
    /// A folder of pictures (one folder per class, or any), a `.csv`, or a MedMNIST `.npz`.
    #[arg(long)]
    pub data: PathBuf,
    /// Which part, where the data have parts (`.npz`, or a folder with train, val and test).
    #[arg(long)]
    pub split: Option<Split3>,
    /// CSV: folder of the pictures (default: the table's folder).
    #[arg(long)]
    pub csv_root: Option<PathBuf>,
    /// CSV: column with the file names.
    #[arg(long, default_value = "file")]
    pub csv_file: String,
    /// CSV: what to append to each file name, such as `.png`.
    #[arg(long, default_value = "")]
    pub csv_suffix: String,
    /// CSV: column with the class; or several, comma-separated, for findings. Default: no labels.
    #[arg(long)]
    pub csv_label: Option<String>,
    /// CSV: column with the patient. Without it every row counts as a patient.
    #[arg(long)]
    pub csv_group: Option<String>,
    /// Folder: the patient is what stands before this character in the file name.
    #[arg(long)]
    pub group_separator: Option<char>,
}

impl PictureArgs {
    /// Lists the pictures.
    ///
    /// # Errors
    /// When there are none, or a part is needed to choose them.
    pub fn open(&self) -> Result<Arc<dyn Dataset>> {
        let extension = self.data.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("npz") => match self.part() {
                Some(part) => Ok(Arc::new(MedMnist::open(&self.data, part)?)),
                None => bail!("{} has parts: choose one with --split", self.data.display()),
            },
            Some("csv") => self.csv(),
            _ => {
                let group = match self.group_separator {
                    Some(separator) => GroupRule::FileNamePrefix { separator },
                    None => GroupRule::PerFile,
                };
                let options = ImageFolderOptions {
                    split: self.part(),
                    group,
                    ..ImageFolderOptions::default()
                };
                Ok(Arc::new(ImageFolder::open(&self.data, &options)?))
            }
        }
    }

    fn part(&self) -> Option<Split> {
        self.split.map(|split| match split {
            Split3::Train => Split::Train,
            Split3::Val => Split::Val,
            Split3::Test => Split::Test,
        })
    }

    fn csv(&self) -> Result<Arc<dyn Dataset>> {
        let root = self.csv_root.clone();
        let root = root.or_else(|| self.data.parent().map(Path::to_path_buf)).unwrap_or_default();
        let columns: Vec<String> =
            self.csv_label.iter().flat_map(|text| text.split(',')).map(str::to_string).collect();
        let labels = match columns.as_slice() {
            [] => CsvLabels::None,
            [column] => {
                CsvLabels::Single { column: column.clone(), classes: None, skip_missing: false }
            }
            _ => CsvLabels::Multi { columns },
        };
        let options = CsvOptions {
            file_suffix: self.csv_suffix.clone(),
            labels,
            group_column: self.csv_group.clone(),
            ..CsvOptions::new(root, self.csv_file.clone())
        };
        Ok(Arc::new(CsvTable::open(&self.data, &options)?))
    }
}

/// A picture that could not be prepared.
pub(super) struct Fault {
    pub(super) index: usize,
    pub(super) skipped: Skipped,
}

/// Pictures as the model takes them. One that cannot be read or prepared becomes a black one, so
/// that its batch can be made, and a note.
pub(super) struct Prepared {
    pictures: Arc<dyn Dataset>,
    embedder: Arc<Embedder>,
    faults: Mutex<BTreeMap<usize, String>>,
}

impl Prepared {
    pub(super) fn new(pictures: Arc<dyn Dataset>, embedder: Arc<Embedder>) -> Self {
        Self { pictures, embedder, faults: Mutex::default() }
    }

    /// The notes on these pictures.
    pub(super) fn take_faults(&self, indices: &[usize]) -> Vec<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = |&index: &usize| {
            let reason = faults.remove(&index)?;
            let id = self.pictures.record(index).map(|record| record.id).unwrap_or_default();
            Some(Fault { index, skipped: Skipped { id, reason } })
        };
        indices.iter().filter_map(fault).collect()
    }

    fn prepare(&self, index: usize) -> Result<Image, String> {
        // The dataset's errors begin with the sample's id, which stands beside them anyway.
        let sample = self.pictures.get(index).map_err(|error| match error {
            vit_datasets::Error::Transform { source, .. } => source.to_string(),
            other => other.to_string(),
        })?;
        let mut stream = vit_random::Streams::new(0).stream("embed", 0, index as u64);
        let image = self.embedder.pipeline.apply(sample.image, &mut stream);
        let image = image.map_err(|error| error.to_string())?;
        let [channels, height, width] = self.embedder.input;
        let got = [image.channels(), image.height(), image.width()];
        if got != [channels, height, width] {
            return Err(format!(
                "prepared it is {got:?}, the model takes {:?}",
                self.embedder.input
            ));
        }
        Ok(image)
    }
}

impl Dataset for Prepared {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn task(&self) -> &Task {
        self.pictures.task()
    }

    fn record(&self, index: usize) -> vit_datasets::Result<Record> {
        self.pictures.record(index)
    }

    fn get(&self, index: usize) -> vit_datasets::Result<Sample> {
        let record = self.pictures.record(index)?;
        let image = match self.prepare(index) {
            Ok(image) => image,
            Err(reason) => {
                let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                faults.insert(index, reason);
                let [channels, height, width] = self.embedder.input;
                let black = Pixels::F32(vec![0.; channels * height * width]);
                Image::new(width, height, channels, black).map_err(|source| {
                    vit_datasets::Error::Transform { id: record.id.clone(), source }
                })?
            }
        };
        Ok(Sample { record, image })
    }
}
