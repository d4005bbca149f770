use super::{Card, Expected};

/// The fourteen findings, in the order of every list of `ChestX-ray14` labels.
const NIH_FINDINGS: &[&str] = &[
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
];

const fn nih(name: &'static str, counts: &'static [Expected]) -> Card {
    Card {
        name,
        labels: NIH_FINDINGS,
        licence: "no restriction on use",
        terms: "give the NIH link, cite the paper, acknowledge the NIH Clinical Center",
        citation: "X. Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017",
        link: "https://nihcc.app.box.com/v/ChestXray-NIHCC",
        counts,
    }
}

/// The official test list of ChestX-ray14.
const OFFICIAL_TEST: Expected = Expected {
    part: "test",
    samples: 25_596,
    groups: Some(2_797),
    labels: &[3279, 1069, 4658, 6112, 1748, 1623, 555, 2665, 1815, 925, 1093, 435, 1143, 86],
};

/// The whole table and the official lists.
pub(crate) const CHEST_XRAY14: Card = nih(
    "ChestX-ray14",
    &[
        Expected {
            part: "all",
            samples: 112_120,
            groups: Some(30_805),
            labels: &[
                11_559, 2_776, 13_317, 19_894, 5_782, 6_331, 1_431, 5_302, 4_667, 2_303, 2_516,
                1_686, 3_385, 227,
            ],
        },
        Expected::samples("train+val", 86_524),
        OFFICIAL_TEST,
    ],
);

/// The lists of `medical_mae`: the official test set, its training set divided by patient.
pub(crate) const CHEST_XRAY14_MEDICAL_MAE: Card = nih(
    "ChestX-ray14, lists of medical_mae",
    &[
        Expected {
            part: "train",
            samples: 75_312,
            groups: Some(24_342),
            labels: &[
                7205, 1501, 7649, 12_036, 3574, 4060, 770, 2244, 2480, 1210, 1250, 1083, 1927, 126,
            ],
        },
        Expected {
            part: "val",
            samples: 11_212,
            groups: Some(3_666),
            labels: &[1075, 206, 1010, 1746, 460, 648, 106, 393, 372, 168, 173, 168, 315, 15],
        },
        OFFICIAL_TEST,
    ],
);

/// The lists of MRM and MED-PEFT (ChestMNIST's split).
pub(crate) const CHEST_XRAY14_MRM: Card = nih(
    "ChestX-ray14, lists of MRM and MED-PEFT",
    &[
        Expected {
            part: "train",
            samples: 78_468,
            groups: Some(21_528),
            labels: &[
                7996, 1950, 9261, 13_914, 3988, 4375, 978, 3705, 3263, 1690, 1799, 1158, 2279, 144,
            ],
        },
        Expected::samples("train 10 %", 7_847),
        Expected::samples("train 1 %", 785),
        Expected {
            part: "val",
            samples: 11_219,
            groups: Some(3_090),
            labels: &[1119, 240, 1292, 2018, 625, 613, 133, 504, 447, 200, 208, 166, 372, 41],
        },
        Expected {
            part: "test",
            samples: 22_433,
            groups: Some(6_187),
            labels: &[2420, 582, 2754, 3938, 1133, 1335, 242, 1089, 957, 413, 509, 362, 734, 42],
        },
    ],
);

const fn chexpert(
    name: &'static str,
    labels: &'static [&'static str],
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels,
        licence: "Stanford University Dataset Research Use Agreement",
        terms: "research only; no redistribution",
        citation: "J. Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert \
                   Comparison, AAAI 2019",
        link: "https://stanfordmlgroup.github.io/competitions/chexpert",
        counts,
    }
}

/// The fourteen columns of the table, in their order; a label policy may take some of them and
/// decides how many are positive, so that only rows are counted, lateral views too.
pub(crate) const CHEXPERT: Card = chexpert(
    "CheXpert",
    &[
        "No Finding",
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
    ],
    &[
        Expected { part: "train", samples: 223_414, groups: Some(64_540), labels: &[] },
        Expected::samples("train, frontal", 191_027),
        Expected { part: "val", samples: 234, groups: Some(200), labels: &[] },
        Expected::samples("val, frontal", 202),
        Expected { part: "test", samples: 668, groups: Some(500), labels: &[] },
        Expected::samples("test, frontal", 518),
    ],
);

const CHEXPERT_LISTED: &[&str] =
    &["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"];

pub(crate) const CHEXPERT_MED_PEFT: Card = chexpert(
    "CheXpert, lists of MED-PEFT",
    CHEXPERT_LISTED,
    &[
        Expected::samples("train", 223_414),
        Expected {
            part: "train 10 %",
            samples: 22_341,
            groups: None,
            labels: &[6726, 2661, 1465, 6483, 9737],
        },
        Expected {
            part: "train 1 %",
            samples: 2_234,
            groups: None,
            labels: &[653, 279, 169, 648, 1000],
        },
        Expected { part: "val", samples: 234, groups: Some(200), labels: &[80, 68, 33, 45, 67] },
        Expected {
            part: "test",
            samples: 668,
            groups: Some(500),
            labels: &[178, 175, 35, 85, 120],
        },
    ],
);

pub(crate) const CHEXPERT_MRM: Card = chexpert(
    "CheXpert, lists of MRM",
    CHEXPERT_LISTED,
    &[
        Expected::samples("train", 218_414),
        Expected {
            part: "train 10 %",
            samples: 21_841,
            groups: None,
            labels: &[6616, 2711, 1504, 6352, 9712],
        },
        Expected {
            part: "train 1 %",
            samples: 2_184,
            groups: None,
            labels: &[655, 253, 153, 640, 954],
        },
        Expected {
            part: "val",
            samples: 5_000,
            groups: Some(4_560),
            labels: &[1495, 588, 360, 1415, 2197],
        },
        Expected { part: "test", samples: 234, groups: Some(200), labels: &[80, 68, 33, 45, 67] },
    ],
);

const fn rsna(
    name: &'static str,
    labels: &'static [&'static str],
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels,
        licence: "RSNA Pneumonia Detection Challenge terms (Kaggle)",
        terms: "non-commercial research; the pictures are a part of NIH ChestX-ray14, so that sharing a model between \
                the two leaks",
        citation: "G. Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert \
                   Annotations of Possible Pneumonia, Radiology: AI 1 (2019)",
        link: "https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018",
        counts,
    }
}

pub(crate) const RSNA: Card = rsna(
    "RSNA Pneumonia, stage 2",
    &["Pneumonia"],
    &[Expected { part: "train", samples: 26_684, groups: Some(26_684), labels: &[6_012] }],
);

/// The classes of `stage_2_detailed_class_info.csv`.
pub(crate) const RSNA_DETAILED: Card = rsna(
    "RSNA Pneumonia, stage 2, detailed classes",
    &["Normal", "No Lung Opacity / Not Normal", "Lung Opacity"],
    &[Expected { part: "train", samples: 26_684, groups: Some(26_684), labels: &[] }],
);

pub(crate) const RSNA_MRM: Card = rsna(
    "RSNA Pneumonia, lists of MRM and MED-PEFT",
    &["Pneumonia"],
    &[
        Expected { part: "train", samples: 25_184, groups: Some(25_184), labels: &[5_789] },
        Expected { part: "train 10 %", samples: 2_518, groups: Some(2_518), labels: &[834] },
        Expected { part: "train 1 %", samples: 251, groups: Some(251), labels: &[65] },
        Expected { part: "val", samples: 1_500, groups: Some(1_500), labels: &[223] },
        Expected { part: "test", samples: 3_000, groups: Some(3_000), labels: &[1_094] },
    ],
);

pub(crate) const MIMIC_CXR: Card = Card {
    name: "MIMIC-CXR-JPG 2.0.0 tables",
    labels: &[
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Enlarged Cardiomediastinum",
        "Fracture",
        "Lung Lesion",
        "Lung Opacity",
        "No Finding",
        "Pleural Effusion",
        "Pleural Other",
        "Pneumonia",
        "Pneumothorax",
        "Support Devices",
    ],
    licence: "PhysioNet Credentialed Health Data License 1.5.0",
    terms: "credentialed users with CITI training; no redistribution, nothing may be sent to third-party services",
    citation: "A. Johnson et al., MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs, \
               arXiv:1901.07042; A. Goldberger et al., PhysioBank, PhysioToolkit, and PhysioNet, Circulation 101 (2000)",
    link: "https://physionet.org/content/mimic-cxr-jpg",
    counts: &[Expected { part: "all", samples: 377_110, groups: Some(65_379), labels: &[] }],
};

const fn covidx(
    name: &'static str,
    labels: &'static [&'static str],
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels,
        licence: "each source has its own",
        terms: "see the licence of each source (attribute `source`)",
        citation: "L. Wang, Z. Q. Lin and A. Wong, COVID-Net, Scientific Reports 10, 19549 (2020)",
        link: "https://github.com/lindawangg/COVID-Net",
        counts,
    }
}

/// Four classes, because `medical_mae` numbers them so: `positive` stays empty in version 9A.
pub(crate) const COVIDX_9A: Card = covidx(
    "COVIDx 9A",
    &["normal", "positive", "pneumonia", "COVID-19"],
    &[Expected::samples("train", 30_130), Expected::samples("test", 400)],
);

pub(crate) const COVIDX_9B: Card = covidx(
    "COVIDx 9B",
    &["negative", "positive"],
    &[Expected::samples("train", 30_482), Expected::samples("test", 400)],
);

const fn mrm_covid(
    name: &'static str,
    labels: &'static [&'static str],
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels,
        licence: "each picture has its own",
        terms: "see the licence of each picture upstream",
        citation: "J. P. Cohen et al., COVID-19 Image Data Collection: Prospective Predictions Are the Future, MELBA \
                   2020; lists of H.-Y. Zhou et al., ICLR 2023",
        link: "https://github.com/ieee8023/covid-chestxray-dataset",
        counts,
    }
}

pub(crate) const MRM_COVID: Card = mrm_covid(
    "COVID-19 image collection, lists of MRM",
    &["other", "COVID-19"],
    &[
        Expected::samples("train 1", 354),
        Expected::samples("val 1", 51),
        Expected::samples("test 1", 104),
        Expected::samples("train 2", 355),
        Expected::samples("val 2", 51),
        Expected::samples("test 2", 103),
        Expected::samples("train 3", 356),
        Expected::samples("val 3", 51),
        Expected::samples("test 3", 102),
        Expected::samples("train 4", 356),
        Expected::samples("val 4", 53),
        Expected::samples("test 4", 100),
        Expected::samples("train 5", 356),
        Expected::samples("val 5", 54),
        Expected::samples("test 5", 99),
    ],
);

pub(crate) const MRM_VIRAL: Card = mrm_covid(
    "Viral or bacterial pneumonia, lists of MRM",
    &["bacterial or other", "viral"],
    &[
        // One line has the label 11.
        Expected::samples("test 1, without bad labels", 84),
        Expected::samples("train 1", 296),
        Expected::samples("val 1", 45),
        Expected::samples("test 1", 85),
        Expected::samples("train 2", 296),
        Expected::samples("val 2", 43),
        Expected::samples("test 2", 87),
        Expected::samples("train 3", 296),
        Expected::samples("val 3", 44),
        Expected::samples("test 3", 86),
        Expected::samples("train 4", 298),
        Expected::samples("val 4", 43),
        Expected::samples("test 4", 85),
        Expected::samples("train 5", 297),
        Expected::samples("val 5", 43),
        Expected::samples("test 5", 86),
    ],
);
