use std::path::Path;

use serde::Serialize;

use super::{Card, Expected};

/// What a `MedMNIST` data set asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MedMnistTask {
    /// One of two classes.
    Binary,
    /// One of several classes.
    MultiClass,
    /// Each finding present or absent.
    MultiLabel,
    /// One of several classes that have an order; the benchmark treats them as classes.
    Ordinal,
}

/// One 2-D data set of `MedMNIST` v2 and v2+.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MedMnistInfo {
    /// Name in file names, such as `pathmnist`.
    pub key: &'static str,
    /// Labels, licence and counts.
    pub card: Card,
    /// What is to be told.
    pub task: MedMnistTask,
    /// 1 or 3.
    pub channels: usize,
    /// MD5 of the files of 28, 64, 128 and 224 pixels.
    pub md5: [&'static str; 4],
}

/// Sides of the pictures, in the order of [`MedMnistInfo::md5`].
const SIZES: [u32; 4] = [28, 64, 128, 224];

impl MedMnistInfo {
    /// All twelve 2-D data sets, in the order of `medmnist/info.py`.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &TABLE
    }

    /// The data set with this name, in any case, as `pathmnist` or `PathMNIST`.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|info| info.key.eq_ignore_ascii_case(name))
    }

    /// Where the authors keep that file.
    #[must_use]
    pub fn url(&self, size: u32) -> Option<String> {
        let (file, _) = self.file(size)?;
        Some(format!("https://zenodo.org/records/10519652/files/{file}?download=1"))
    }

    /// The data set and size of a file by its name, as `pathmnist_224.npz`.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<(&'static Self, u32)> {
        let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
        let (key, size) = match stem.split_once('_') {
            Some((key, size)) => (key, size.parse().ok()?),
            None => (stem.as_str(), 28),
        };
        Self::find(key).filter(|_| SIZES.contains(&size)).map(|info| (info, size))
    }

    /// File name and MD5 of the pictures of 28, 64, 128 or 224 pixels.
    #[must_use]
    pub fn file(&self, size: u32) -> Option<(String, &'static str)> {
        let position = SIZES.iter().position(|&known| known == size)?;
        let md5 = self.md5.get(position)?;
        let key = self.key;
        Some((if size == 28 { format!("{key}.npz") } else { format!("{key}_{size}.npz") }, md5))
    }
}

const fn card(
    name: &'static str,
    labels: &'static [&'static str],
    licence: &'static str,
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels,
        licence,
        terms: "give credit; see also the terms of the source data set",
        citation: "J. Yang et al., MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image \
                   classification, Scientific Data 10, 41 (2023), and the source data set",
        link: "https://medmnist.com",
        counts,
    }
}

/// What the three sets of abdominal organs tell apart.
const ORGANS: [&str; 11] = [
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
];

const fn entry(
    key: &'static str,
    card: Card,
    task: MedMnistTask,
    channels: usize,
    md5: [&'static str; 4],
) -> MedMnistInfo {
    MedMnistInfo { key, card, task, channels, md5 }
}

/// Written by `tests/fixtures/make_medmnist_card.py`. Version 2+ made the sets of organs anew, so
/// that files of version 2 have other numbers of pictures.
static TABLE: [MedMnistInfo; 12] = [
    entry(
        "pathmnist",
        card(
            "PathMNIST",
            &[
                "adipose",
                "background",
                "debris",
                "lymphocytes",
                "mucus",
                "smooth muscle",
                "normal colon mucosa",
                "cancer-associated stroma",
                "colorectal adenocarcinoma epithelium",
            ],
            "CC BY 4.0",
            &[
                Expected::samples("train", 89996),
                Expected::samples("val", 10004),
                Expected::samples("test", 7180),
            ],
        ),
        MedMnistTask::MultiClass,
        3,
        [
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ],
    ),
    entry(
        "chestmnist",
        card(
            "ChestMNIST",
            &[
                "atelectasis",
                "cardiomegaly",
                "effusion",
                "infiltration",
                "mass",
                "nodule",
                "pneumonia",
                "pneumothorax",
                "consolidation",
                "edema",
                "emphysema",
                "fibrosis",
                "pleural",
                "hernia",
            ],
            "CC BY 4.0",
            &[
                Expected::samples("train", 78468),
                Expected::samples("val", 11219),
                Expected::samples("test", 22433),
            ],
        ),
        MedMnistTask::MultiLabel,
        1,
        [
            "02c8a6516a18b556561a56cbdd36c4a8",
            "9de6cd0b934ebb5b7426cfba5efbae16",
            "db107e5590b27930b62dbaf558aebee3",
            "45bd33e6f06c3e8cdb481c74a89152aa",
        ],
    ),
    entry(
        "dermamnist",
        card(
            "DermaMNIST",
            &[
                "actinic keratoses and intraepithelial carcinoma",
                "basal cell carcinoma",
                "benign keratosis-like lesions",
                "dermatofibroma",
                "melanoma",
                "melanocytic nevi",
                "vascular lesions",
            ],
            "CC BY-NC 4.0",
            &[
                Expected::samples("train", 7007),
                Expected::samples("val", 1003),
                Expected::samples("test", 2005),
            ],
        ),
        MedMnistTask::MultiClass,
        3,
        [
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ],
    ),
    entry(
        "octmnist",
        card(
            "OCTMNIST",
            &["choroidal neovascularization", "diabetic macular edema", "drusen", "normal"],
            "CC BY 4.0",
            &[
                Expected::samples("train", 97477),
                Expected::samples("val", 10832),
                Expected::samples("test", 1000),
            ],
        ),
        MedMnistTask::MultiClass,
        1,
        [
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ],
    ),
    entry(
        "pneumoniamnist",
        card(
            "PneumoniaMNIST",
            &["normal", "pneumonia"],
            "CC BY 4.0",
            &[
                Expected::samples("train", 4708),
                Expected::samples("val", 524),
                Expected::samples("test", 624),
            ],
        ),
        MedMnistTask::Binary,
        1,
        [
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ],
    ),
    entry(
        "retinamnist",
        card(
            "RetinaMNIST",
            &["0", "1", "2", "3", "4"],
            "CC BY 4.0",
            &[
                Expected::samples("train", 1080),
                Expected::samples("val", 120),
                Expected::samples("test", 400),
            ],
        ),
        MedMnistTask::Ordinal,
        3,
        [
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ],
    ),
    entry(
        "breastmnist",
        card(
            "BreastMNIST",
            &["malignant", "normal, benign"],
            "CC BY 4.0",
            &[
                Expected::samples("train", 546),
                Expected::samples("val", 78),
                Expected::samples("test", 156),
            ],
        ),
        MedMnistTask::Binary,
        1,
        [
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ],
    ),
    entry(
        "bloodmnist",
        card(
            "BloodMNIST",
            &[
                "basophil",
                "eosinophil",
                "erythroblast",
                "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
                "lymphocyte",
                "monocyte",
                "neutrophil",
                "platelet",
            ],
            "CC BY 4.0",
            &[
                Expected::samples("train", 11959),
                Expected::samples("val", 1712),
                Expected::samples("test", 3421),
            ],
        ),
        MedMnistTask::MultiClass,
        3,
        [
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ],
    ),
    entry(
        "tissuemnist",
        card(
            "TissueMNIST",
            &[
                "Collecting Duct, Connecting Tubule",
                "Distal Convoluted Tubule",
                "Glomerular endothelial cells",
                "Interstitial endothelial cells",
                "Leukocytes",
                "Podocytes",
                "Proximal Tubule Segments",
                "Thick Ascending Limb",
            ],
            "CC BY 4.0",
            &[
                Expected::samples("train", 165466),
                Expected::samples("val", 23640),
                Expected::samples("test", 47280),
            ],
        ),
        MedMnistTask::MultiClass,
        1,
        [
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ],
    ),
    entry(
        "organamnist",
        card(
            "OrganAMNIST",
            &ORGANS,
            "CC BY 4.0",
            &[
                Expected::samples("train", 34561),
                Expected::samples("val", 6491),
                Expected::samples("test", 17778),
                Expected::samples("train, version 2", 34581),
                Expected::samples("val, version 2", 6491),
                Expected::samples("test, version 2", 17778),
            ],
        ),
        MedMnistTask::MultiClass,
        1,
        [
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ],
    ),
    entry(
        "organcmnist",
        card(
            "OrganCMNIST",
            &ORGANS,
            "CC BY 4.0",
            &[
                Expected::samples("train", 12975),
                Expected::samples("val", 2392),
                Expected::samples("test", 8216),
                Expected::samples("train, version 2", 13000),
                Expected::samples("val, version 2", 2392),
                Expected::samples("test, version 2", 8268),
            ],
        ),
        MedMnistTask::MultiClass,
        1,
        [
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ],
    ),
    entry(
        "organsmnist",
        card(
            "OrganSMNIST",
            &ORGANS,
            "CC BY 4.0",
            &[
                Expected::samples("train", 13932),
                Expected::samples("val", 2452),
                Expected::samples("test", 8827),
                Expected::samples("train, version 2", 13940),
                Expected::samples("val, version 2", 2452),
                Expected::samples("test, version 2", 8829),
            ],
        ),
        MedMnistTask::MultiClass,
        1,
        [
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ],
    ),
];
