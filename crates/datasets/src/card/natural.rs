use super::{Card, Expected};

const IMAGENET_TERMS: &str = "non-commercial research and education only; no redistribution";

pub(crate) const IMAGENET: Card = Card {
    name: "ImageNet-1K",
    labels: &[],
    licence: "ImageNet terms of access",
    terms: IMAGENET_TERMS,
    citation: "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115 (2015); \
               for the variants: D. Hendrycks and T. Dietterich, ICLR 2019 (C); D. Hendrycks et al., CVPR 2021 (A) \
               and ICCV 2021 (R); H. Wang et al., NeurIPS 2019 (Sketch); B. Recht et al., ICML 2019 (V2)",
    link: "https://image-net.org",
    counts: &[
        Expected::samples("train", 1_281_167),
        Expected::samples("val", 50_000),
        Expected::samples("a", 7_500),
        Expected::samples("r", 30_000),
        Expected::samples("sketch", 50_889),
        Expected::samples("v2", 10_000),
        Expected::samples("c", 50_000),
    ],
};

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
