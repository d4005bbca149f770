//! The made-up pictures: fixed, fast, and with nothing to learn from the mean colour.

mod common;

use std::time::Instant;

use vit_datasets::{
    Dataset, Phantom, PhantomConfig, PhantomFinding, PhantomKind, PhantomTask, Target,
};
use vit_transforms::{Image, Pixels, encode_png};

fn phantom(kind: PhantomKind, size: usize, len: usize) -> Phantom {
    Phantom::new(PhantomConfig { kind, size, len, patients: 100, ..PhantomConfig::default() })
        .unwrap()
}

fn bytes(image: &Image) -> &[u8] {
    match image.pixels() {
        Pixels::U8(values) => values,
        _ => panic!("phantoms have 8 bits"),
    }
}

/// Writes contact sheets to look at: `cargo test -p vit-datasets contact -- --ignored`.
#[test]
#[ignore = "writes pictures to the temporary folder"]
fn contact_sheets() {
    for (kind, name) in [(PhantomKind::Xray, "xray"), (PhantomKind::Endoscopy, "endoscopy")] {
        for (size, zoom) in [(32, 4), (128, 1)] {
            let data = phantom(kind, size, 500);
            let (columns, side) = (8, size * zoom);
            let mut sheet = vec![0u8; columns * side * 5 * side * 3];
            for class in 0..5 {
                let of_class =
                    (0..data.len()).filter(|&i| data.record(i).unwrap().target == Target::Class(class));
                for (column, index) in of_class.take(columns).enumerate() {
                    let image = data.get(index).unwrap().image;
                    for y in 0..side {
                        for x in 0..side {
                            let from = (y / zoom * size + x / zoom) * image.channels();
                            let to = ((class * side + y) * columns * side + column * side + x) * 3;
                            for c in 0..3 {
                                sheet[to + c] = bytes(&image)[from + c.min(image.channels() - 1)];
                            }
                        }
                    }
                }
            }
            let sheet = Image::new(columns * side, 5 * side, 3, Pixels::U8(sheet)).unwrap();
            let path = std::env::temp_dir().join(format!("phantom-{name}-{size}.png"));
            std::fs::write(&path, encode_png(&sheet).unwrap()).unwrap();
            println!("{}", path.display());
        }
    }
}
