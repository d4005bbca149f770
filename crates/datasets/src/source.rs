use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::{parse_json, read_unique_json};
use crate::{
    CheXpert, ChestXray14, Covidx, CsvOptions, CsvTable, Dataset, Error, GastroVision, GroupRule,
    HyperKvasir, HyperKvasirUnlabelled, INaturalist, ImageFolder, ImageFolderOptions, ImageNet,
    MedMnist, MedMnistInfo, MimicCxr, PathList, Result, RsnaPneumonia, Split, SslEndoscopyCsv,
    TarOptions, TarShards, XrayList, XrayListKind,
};

const NIH: &str = "nih";
const CHEXPERT: &str = "chexpert";
const MIMIC: &str = "mimic";

/// Any data set of this crate, as data: what a recipe or a command line names.
///
/// # Examples
/// ```
/// use vit_datasets::DataSource;
/// let text = r#"{"reader": "che_xpert", "root": "CheXpert-v1.0-small", "split": "train",
///                "policy": "medical_mae", "frontal_only": true}"#;
/// let source = DataSource::parse(text)?;
/// assert!(matches!(&source, DataSource::CheXpert(reader) if reader.frontal_only));
/// assert!(source.open().is_err(), "it is not on this disk");
/// # Ok::<(), vit_datasets::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reader", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataSource {
    /// `root/<class>/*`.
    Folder {
        /// The folder.
        root: PathBuf,
        /// How to read it.
        #[serde(flatten)]
        options: ImageFolderOptions,
    },
    /// Files named in a table.
    Table {
        /// The table.
        table: PathBuf,
        /// How to read it.
        #[serde(flatten)]
        options: CsvOptions,
    },
    /// Archives in the form of `WebDataset`.
    Tar {
        /// The archives, in this order.
        shards: Vec<PathBuf>,
        /// How to read them.
        #[serde(flatten)]
        options: TarOptions,
    },
    /// Pictures inside of a Parquet file.
    #[cfg(feature = "parquet")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The column with the pictures.
        column: String,
        /// Labels, groups, filter and attributes.
        #[serde(flatten)]
        options: CsvOptions,
    },
    /// A split of a data set of the Hugging Face hub.
    #[cfg(feature = "hub")]
    Hub(crate::HubDataset),
    /// One split of a `MedMNIST` file.
    MedMnist {
        /// The npz file.
        path: PathBuf,
        /// Which split.
        split: Split,
    },
    /// `GastroVision`.
    GastroVision(GastroVision),
    /// Labelled pictures of `HyperKvasir`.
    HyperKvasir(HyperKvasir),
    /// Pictures of `HyperKvasir` without labels.
    HyperKvasirUnlabelled(HyperKvasirUnlabelled),
    /// A table of `SSL-Endoscopy-MAE`.
    SslEndoscopyCsv(SslEndoscopyCsv),
    /// NIH `ChestX-ray14` with its own lists.
    ChestXray14(ChestXray14),
    /// `CheXpert`.
    CheXpert(CheXpert),
    /// A list of `medical_mae`, MED-PEFT or MRM.
    XrayList(XrayList),
    /// RSNA Pneumonia.
    RsnaPneumonia(RsnaPneumonia),
    /// MIMIC-CXR-JPG.
    MimicCxr(MimicCxr),
    /// `COVIDx`.
    Covidx(Covidx),
    /// `ImageNet` and its variants.
    ImageNet(ImageNet),
    /// `iNaturalist`.
    INaturalist(INaturalist),
    /// A list of paths and labels, such as those of Places.
    PathList(PathList),
}

impl DataSource {
    /// Reads a description from a JSON file. Paths in it are taken as they are.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Json`] naming what is wrong, a key that no reader has too.
    pub fn read(path: &Path) -> Result<Self> {
        let value = read_unique_json(path)?;
        Self::from_value(&value).map_err(|reason| Error::Json { path: path.into(), reason })
    }

    /// Understands a description in JSON. Unlike serde alone, it refuses keys that are not read or
    /// stand twice: settings that silently do nothing.
    ///
    /// # Errors
    /// [`Error::Config`] naming what is wrong.
    pub fn parse(json: &str) -> Result<Self> {
        let config = |reason| Error::Config { option: "DataSource", reason };
        let value = parse_json(json).map_err(|error| config(error.to_string()))?;
        Self::from_value(&value).map_err(config)
    }

    fn from_value(value: &Value) -> std::result::Result<Self, String> {
        let source = Self::deserialize(value).map_err(|error| error.to_string())?;
        let read = serde_json::to_value(&source).map_err(|error| error.to_string())?;
        check_keys(value, &read)?;
        Ok(source)
    }

    /// Within what equal names of groups are one patient; the same wherever the source stands.
    ///
    /// A published data set is one population, whoever made the list of it. Readers of anybody's
    /// files are one population if they tell patients (`files`), since nothing says that two
    /// folders are of two hospitals; where each picture is its own group, it is the folder's. Groups
    /// of archives that tell no patients hold the archive's path themselves.
    #[must_use]
    pub fn population(&self) -> String {
        let below = |root: &Path| {
            let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
            format!("files {}", root.display())
        };
        match self {
            Self::Folder { root, options } if options.group == GroupRule::PerFile => below(root),
            Self::Table { options, .. } if options.group_column.is_none() => below(&options.root),
            #[cfg(feature = "parquet")]
            Self::Parquet { path, options, .. } if options.group_column.is_none() => below(path),
            #[cfg(feature = "parquet")]
            Self::Parquet { .. } => "files".into(),
            Self::Folder { .. } | Self::Table { .. } | Self::Tar { .. } => "files".into(),
            #[cfg(feature = "hub")]
            Self::Hub(reader) => reader.repo.clone(),
            Self::PathList(list) => below(&list.root),
            // `pathmnist` in every size, or else the file's name without its ending.
            Self::MedMnist { path, .. } => match MedMnistInfo::of_file(path) {
                Some((info, _)) => info.key.into(),
                None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            },
            Self::GastroVision(_) => "gastrovision".into(),
            Self::HyperKvasir(_) | Self::HyperKvasirUnlabelled(_) => "hyperkvasir".into(),
            Self::SslEndoscopyCsv(csv) => below(&csv.root),
            Self::ChestXray14(_) => NIH.into(),
            Self::CheXpert(_) => CHEXPERT.into(),
            Self::MimicCxr(_) => MIMIC.into(),
            Self::RsnaPneumonia(_) => "rsna".into(),
            Self::Covidx(_) => "covidx".into(),
            Self::XrayList(list) => match list.kind {
                XrayListKind::ChestXray14MedicalMae | XrayListKind::ChestXray14Mrm => NIH.into(),
                XrayListKind::CheXpertMedPeft | XrayListKind::CheXpertMrm => CHEXPERT.into(),
                XrayListKind::Rsna => "rsna".into(),
                XrayListKind::Covid { .. } | XrayListKind::Viral { .. } => below(&list.root),
            },
            Self::ImageNet(reader) => below(&reader.root),
            Self::INaturalist(reader) => below(&reader.root),
        }
    }

    /// Its name in the columns of [`Vocabulary::xray_union`](crate::Vocabulary::xray_union).
    #[must_use]
    pub fn vocabulary_source(&self) -> Option<&'static str> {
        let name = self.population();
        [NIH, CHEXPERT, MIMIC].into_iter().find(|known| *known == name)
    }

    /// Opens the data set.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn open(&self) -> Result<Arc<dyn Dataset>> {
        Ok(match self {
            Self::Folder { root, options } => Arc::new(ImageFolder::open(root, options)?),
            Self::Table { table, options } => Arc::new(CsvTable::open(table, options)?),
            Self::Tar { shards, options } => Arc::new(TarShards::open(shards, options)?),
            #[cfg(feature = "parquet")]
            Self::Parquet { path, column, options } => {
                Arc::new(crate::ParquetImages::open(path, column, options)?)
            }
            #[cfg(feature = "hub")]
            Self::Hub(reader) => Arc::new(reader.open()?),
            Self::MedMnist { path, split } => Arc::new(MedMnist::open(path, *split)?),
            Self::GastroVision(reader) => Arc::new(reader.open()?),
            Self::HyperKvasir(reader) => Arc::new(reader.open()?),
            Self::HyperKvasirUnlabelled(reader) => Arc::new(reader.open()?),
            Self::SslEndoscopyCsv(reader) => Arc::new(reader.open()?),
            Self::ChestXray14(reader) => Arc::new(reader.open()?),
            Self::CheXpert(reader) => Arc::new(reader.open()?),
            Self::XrayList(reader) => Arc::new(reader.open()?),
            Self::RsnaPneumonia(reader) => Arc::new(reader.open()?),
            Self::MimicCxr(reader) => Arc::new(reader.open()?),
            Self::Covidx(reader) => Arc::new(reader.open()?),
            Self::ImageNet(reader) => Arc::new(reader.open()?),
            Self::INaturalist(reader) => Arc::new(reader.open()?),
            Self::PathList(reader) => Arc::new(reader.open()?),
        })
    }
}

/// Compares what was given with what it was read as.
fn check_keys(given: &Value, read: &Value) -> std::result::Result<(), String> {
    let (Value::Object(given), Value::Object(read)) = (given, read) else { return Ok(()) };
    if let Some(key) = given.keys().find(|key| !read.contains_key(*key)) {
        let known: Vec<&str> = read.keys().map(String::as_str).collect();
        return Err(format!("unknown key '{key}'; known are {}", known.join(", ")));
    }
    // A description has no maps whose keys are data, and a variant of an enum is written as it was
    // read; what may be written in several ways (the name of a preset) is no object there.
    given.iter().filter_map(|(key, value)| Some((value, read.get(key)?))).try_for_each(
        |(given, read)| match (given, read) {
            (Value::Array(given), Value::Array(read)) => {
                given.iter().zip(read).try_for_each(|(given, read)| check_keys(given, read))
            }
            _ => check_keys(given, read),
        },
    )
}
