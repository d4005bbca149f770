use super::{Card, Expected};

/// The thousand folder names of ILSVRC-2012, sorted: the class is the line.
const WNIDS: [&str; 1000] = wnids(include_str!("../natural/imagenet_wnids.txt"));

/// Names of nine letters and digits, one per line.
const fn wnids(text: &'static str) -> [&'static str; 1000] {
    let mut names = [""; 1000];
    let mut rest = text;
    let mut line = 0;
    while line < 1000 {
        let (name, after) = rest.split_at(9);
        names[line] = name;
        rest = after.split_at(1).1;
        line += 1;
    }
    names
}

const IMAGENET_LICENCE: &str = "ImageNet terms of access";
const IMAGENET_CITATION: &str =
    "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115 (2015)";

const fn imagenet(
    name: &'static str,
    licence: &'static str,
    citation: &'static str,
    link: &'static str,
    counts: &'static [Expected],
) -> Card {
    let terms = "non-commercial research and education only; no redistribution";
    Card { name, labels: &WNIDS, licence, terms, citation, link, counts }
}

pub(crate) const IMAGENET: Card = imagenet(
    "ImageNet-1K",
    IMAGENET_LICENCE,
    IMAGENET_CITATION,
    "https://image-net.org",
    &[Expected::samples("train", 1_281_167), Expected::samples("val", 50_000)],
);
pub(crate) const IMAGENET_A: Card = imagenet(
    "ImageNet-A",
    "MIT for the repository; each photograph has its own",
    "D. Hendrycks et al., Natural Adversarial Examples, CVPR 2021",
    "https://github.com/hendrycks/natural-adv-examples",
    &[Expected::samples("a", 7_500)],
);
pub(crate) const IMAGENET_R: Card = imagenet(
    "ImageNet-R",
    "not stated; each picture has its own",
    "D. Hendrycks et al., The Many Faces of Robustness, ICCV 2021",
    "https://github.com/hendrycks/imagenet-r",
    &[Expected::samples("r", 30_000)],
);
pub(crate) const IMAGENET_SKETCH: Card = imagenet(
    "ImageNet-Sketch",
    "MIT for the repository; each picture has its own",
    "H. Wang et al., Learning Robust Global Representations by Penalizing Local Predictive Power, NeurIPS 2019",
    "https://github.com/HaohanWang/ImageNet-Sketch",
    &[Expected::samples("sketch", 50_889)],
);
pub(crate) const IMAGENET_V2: Card = imagenet(
    "ImageNetV2",
    "MIT for the repository; each photograph has its own",
    "B. Recht et al., Do ImageNet Classifiers Generalize to ImageNet?, ICML 2019",
    "https://github.com/modestyachts/ImageNetV2",
    &[Expected::samples("v2", 10_000)],
);
pub(crate) const IMAGENET_C: Card = imagenet(
    "ImageNet-C",
    "CC BY 4.0; the pictures are those of ImageNet, with its terms",
    "D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, \
     ICLR 2019",
    "https://zenodo.org/record/2235448",
    &[Expected::samples("c", 50_000)],
);

const fn inaturalist(
    name: &'static str,
    citation: &'static str,
    counts: &'static [Expected],
) -> Card {
    Card {
        name,
        labels: &[],
        licence: "iNaturalist competition terms; each photograph has its own licence",
        terms: "non-commercial research and education only",
        citation,
        link: "https://github.com/visipedia/inat_comp",
        counts,
    }
}

const INATURALIST_CITATION: &str =
    "G. Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR 2018";

pub(crate) const INATURALIST_17: Card = inaturalist(
    "iNaturalist 2017",
    INATURALIST_CITATION,
    &[Expected::samples("train", 579_184), Expected::samples("val", 95_986)],
);
pub(crate) const INATURALIST_18: Card = inaturalist(
    "iNaturalist 2018",
    INATURALIST_CITATION,
    &[Expected::samples("train", 437_513), Expected::samples("val", 24_426)],
);
pub(crate) const INATURALIST_19: Card = inaturalist(
    "iNaturalist 2019",
    INATURALIST_CITATION,
    &[Expected::samples("train", 265_213), Expected::samples("val", 3_030)],
);

const fn places(name: &'static str, link: &'static str, counts: &'static [Expected]) -> Card {
    Card {
        name,
        labels: &[],
        licence: "Places terms of use (annotations CC BY)",
        terms: "non-commercial research and education only; no redistribution of pictures",
        citation: "B. Zhou et al., Places: A 10 Million Image Database for Scene Recognition, TPAMI 40 (2018)",
        link,
        counts,
    }
}

pub(crate) const PLACES205: Card = places(
    "Places205",
    "http://places.csail.mit.edu",
    &[Expected::samples("train", 2_448_873), Expected::samples("val", 20_500)],
);
pub(crate) const PLACES365: Card = places(
    "Places365",
    "http://places2.csail.mit.edu",
    &[Expected::samples("train", 1_803_460), Expected::samples("val", 36_500)],
);
