use super::{Card, Expected};

const GASTROVISION_CITATION: &str = "D. Jha et al., GastroVision: A Multi-class Endoscopy Image Dataset for Computer Aided \
     Gastrointestinal Disease Detection, ML4MHD 2023";

/// Counts of the classes from the metadata and the official split lists.
pub(crate) const GASTROVISION: Card = Card {
    name: "GastroVision",
    labels: &[
        "Accessory tools",
        "Angiectasia",
        "Barrett's esophagus",
        "Blood in lumen",
        "Cecum",
        "Colon diverticula",
        "Colon polyps",
        "Colorectal cancer",
        "Duodenal bulb",
        "Dyed-lifted-polyps",
        "Dyed-resection-margins",
        "Erythema",
        "Esophageal varices",
        "Esophagitis",
        "Gastric polyps",
        "Gastroesophageal_junction_normal z-line",
        "Ileocecal valve",
        "Mucosal inflammation large bowel",
        "Normal esophagus",
        "Normal mucosa and vascular pattern in the large bowel",
        "Normal stomach",
        "Pylorus",
        "Resected polyps",
        "Resection margins",
        "Retroflex rectum",
        "Small bowel_terminal ileum",
        "Ulcer",
    ],
    licence: "CC BY 4.0",
    terms: "give credit",
    citation: GASTROVISION_CITATION,
    link: "https://osf.io/84e7f",
    counts: &[
        Expected {
            part: "all",
            samples: 8000,
            groups: None,
            labels: &[
                1266, 17, 95, 171, 113, 29, 820, 139, 205, 141, 246, 15, 7, 107, 65, 330, 200, 29,
                140, 1467, 969, 393, 92, 25, 67, 846, 6,
            ],
        },
        Expected::samples("all, 22 classes", 7930),
        Expected {
            part: "train",
            samples: 4757,
            groups: None,
            labels: &[
                759, 0, 57, 103, 68, 17, 492, 84, 123, 85, 147, 0, 0, 64, 39, 198, 120, 17, 84,
                880, 581, 236, 55, 0, 40, 508, 0,
            ],
        },
        Expected {
            part: "val",
            samples: 1587,
            groups: None,
            labels: &[
                254, 0, 19, 34, 22, 6, 165, 27, 41, 28, 50, 0, 0, 21, 13, 66, 40, 6, 28, 294, 194,
                79, 18, 0, 13, 169, 0,
            ],
        },
        Expected {
            part: "test",
            samples: 1586,
            groups: None,
            labels: &[
                253, 0, 19, 34, 23, 6, 163, 28, 41, 28, 49, 0, 0, 22, 13, 66, 40, 6, 28, 293, 194,
                78, 19, 0, 14, 169, 0,
            ],
        },
    ],
};

const HYPERKVASIR_CITATION: &str = "H. Borgli et al., HyperKvasir, a comprehensive multi-class image and video dataset for \
     gastrointestinal endoscopy, Scientific Data 7, 283 (2020)";
const HYPERKVASIR_LICENCE: &str = "CC BY 4.0 (the README says research and education)";
const HYPERKVASIR_LINK: &str = "https://osf.io/mh9sj";

pub(crate) const HYPERKVASIR_23: Card = Card {
    name: "HyperKvasir, 23 classes",
    labels: &[
        "barretts",
        "bbps-0-1",
        "bbps-2-3",
        "dyed-lifted-polyps",
        "dyed-resection-margins",
        "hemorroids",
        "ileum",
        "impacted-stool",
        "normal-cecum",
        "normal-pylorus",
        "normal-z-line",
        "oesophagitis-a",
        "oesophagitis-b-d",
        "polyp",
        "retroflex-rectum",
        "retroflex-stomach",
        "short-segment-barretts",
        "ulcerative-colitis-grade-0-1",
        "ulcerative-colitis-grade-1-2",
        "ulcerative-colitis-grade-2-3",
        "ulcerative-colitis-grade-1",
        "ulcerative-colitis-grade-2",
        "ulcerative-colitis-grade-3",
    ],
    licence: HYPERKVASIR_LICENCE,
    terms: "give credit; no patient numbers are published",
    citation: HYPERKVASIR_CITATION,
    link: HYPERKVASIR_LINK,
    counts: &[
        Expected {
            part: "all",
            samples: 10_662,
            groups: None,
            labels: &[
                41, 646, 1148, 1002, 989, 6, 9, 131, 1009, 999, 932, 403, 260, 1028, 391, 764, 53,
                35, 11, 28, 201, 443, 133,
            ],
        },
        Expected {
            part: "2-fold 0",
            samples: 5324,
            groups: None,
            labels: &[
                20, 323, 574, 501, 494, 3, 4, 65, 504, 499, 466, 201, 130, 514, 195, 382, 26, 17,
                5, 14, 100, 221, 66,
            ],
        },
        Expected {
            part: "2-fold 1",
            samples: 5338,
            groups: None,
            labels: &[
                21, 323, 574, 501, 495, 3, 5, 66, 505, 500, 466, 202, 130, 514, 196, 382, 27, 18,
                6, 14, 101, 222, 67,
            ],
        },
        Expected::samples("5-fold 0", 2122),
        Expected::samples("5-fold 1", 2122),
        Expected::samples("5-fold 2", 2122),
        Expected::samples("5-fold 3", 2122),
        Expected::samples("5-fold 4", 2174),
        Expected::samples("5-fold without 0", 8540),
        Expected::samples("5-fold without 1", 8540),
        Expected::samples("5-fold without 2", 8540),
        Expected::samples("5-fold without 3", 8540),
        Expected::samples("5-fold without 4", 8488),
    ],
};

pub(crate) const HYPERKVASIR_16: Card = Card {
    name: "HyperKvasir, 16 classes",
    labels: &[
        "bbps-0-1",
        "bbps-2-3",
        "normal-cecum",
        "dyed-lifted-polyps",
        "dyed-resection-margins",
        "oesophagitis-a",
        "oesophagitis-b-d",
        "impacted-stool",
        "polyp",
        "normal-pylorus",
        "retroflex-rectum",
        "retroflex-stomach",
        "ulcerative-colitis-grade-1",
        "ulcerative-colitis-grade-2",
        "ulcerative-colitis-grade-3",
        "normal-z-line",
    ],
    licence: HYPERKVASIR_LICENCE,
    terms: "give credit; no patient numbers are published",
    citation: HYPERKVASIR_CITATION,
    link: HYPERKVASIR_LINK,
    counts: &[
        Expected {
            part: "all",
            samples: 10_479,
            groups: None,
            labels: &[
                646, 1148, 1009, 1002, 989, 403, 260, 131, 1028, 999, 391, 764, 201, 443, 133, 932,
            ],
        },
        Expected::samples("2-fold 0", 5235),
        Expected::samples("2-fold 1", 5244),
        Expected::samples("all, filtered", 10_237),
        Expected::samples("2-fold 0, filtered", 5111),
        Expected::samples("2-fold 1, filtered", 5126),
    ],
};

pub(crate) const HYPERKVASIR_UNLABELLED: Card = Card {
    name: "HyperKvasir, unlabelled",
    labels: &[],
    licence: HYPERKVASIR_LICENCE,
    terms: "give credit; no patient numbers are published",
    citation: HYPERKVASIR_CITATION,
    link: HYPERKVASIR_LINK,
    counts: &[Expected::samples("unlabelled", 99_417)],
};
