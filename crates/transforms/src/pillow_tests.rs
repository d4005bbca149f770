//! Every value against Pillow: see `fixtures/gen/pillow_fixtures.py`.

use std::path::Path;

use serde::Deserialize;
use vit_random::{Stream, Streams};

use crate::crop::Region;
use crate::resize::resize_region;
use crate::rotate::rotate;
use crate::{
    CenterCrop, DecodeLimits, Filter, Image, Pixels, Resize, ResizeSize, ToGrey, Transform,
    decode_file,
};

#[derive(Deserialize)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    input: String,
    op: String,
    filter: Option<Filter>,
    target: Option<(usize, usize)>,
    side: Option<usize>,
    region: Option<(usize, usize, usize, usize)>,
    angle: Option<f64>,
    fill: Option<Vec<u8>>,
    width: usize,
    height: usize,
    channels: usize,
    hash: String,
}

impl Case {
    fn run(&self, image: Image) -> Image {
        let stream: &mut Stream = &mut Streams::new(0).stream("test", 0, 0);
        let side = || self.side.unwrap();
        match self.op.as_str() {
            "none" => image,
            "resize" => {
                let (width, height) = self.target.unwrap();
                Resize { size: ResizeSize::Exact { height, width }, filter: self.filter.unwrap() }
                    .apply(image, stream)
                    .unwrap()
            }
            "shorter_side" => {
                Resize { size: ResizeSize::ShorterSide(side()), filter: self.filter.unwrap() }
                    .apply(image, stream)
                    .unwrap()
            }
            "crop_resize" => {
                let (left, top, width, height) = self.region.unwrap();
                let part = Region { left, top, width, height };
                let (side, filter) = (side(), self.filter.unwrap());
                resize_region("test", image, part, side, side, filter).unwrap()
            }
            "rotate" => rotate(&image, self.angle.unwrap(), self.fill.as_deref().unwrap()).unwrap(),
            "center_crop" => CenterCrop { size: side() }.apply(image, stream).unwrap(),
            "to_grey" => ToGrey.apply(image, stream).unwrap(),
            op => panic!("unknown operation {op}"),
        }
    }

    fn passes(&self, folder: &Path) -> bool {
        let input = decode_file(&folder.join(&self.input), &DecodeLimits::default()).unwrap();
        let got = self.run(input);
        let Pixels::U8(values) = got.pixels() else { panic!("{self:?}: {}", got.describe()) };
        let shape = (got.width(), got.height(), got.channels());
        shape == (self.width, self.height, self.channels)
            && format!("{:016x}", fnv1a(values)) == self.hash
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Runs the cases of a folder; returns how many there are.
fn check(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let document: Document = serde_json::from_str(&text).unwrap();
    let count = document.cases.len();
    let failed: Vec<_> = document.cases.iter().filter(|case| !case.passes(folder)).collect();
    let list: String = failed.iter().map(|case| format!("\n{case:?}")).collect();
    assert!(failed.is_empty(), "{} of {count} cases differ from Pillow:{list}", failed.len());
    count
}

#[test]
fn no_value_differs_from_pillow() {
    let count = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    assert_eq!(count, 266);
}

#[test]
#[ignore = "needs cases of large pictures: see fixtures/gen/pillow_fixtures.py"]
fn no_value_differs_from_pillow_on_large_pictures() {
    let folder = std::env::var("VIT_PILLOW_CASES").expect("VIT_PILLOW_CASES names their folder");
    println!("{} cases", check(Path::new(&folder)));
}
