//! The made-up pictures: fixed, fast, and with nothing to learn from the mean colour.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::HashMap;

use vit_datasets::{
    Dataset, Error, Phantom, PhantomConfig, PhantomFinding, PhantomKind, PhantomTask, Target,
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
                let of_class = (0..data.len())
                    .filter(|&i| data.record(i).unwrap().target == Target::Class(class));
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

fn classes(data: &Phantom) -> Vec<usize> {
    (0..data.len())
        .map(|index| match data.record(index).unwrap().target {
            Target::Class(class) => class,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Mean of each channel.
fn mean_colour(image: &Image) -> Vec<f64> {
    let channels = image.channels();
    let pixels = bytes(image).len() / channels;
    let mean = |c| {
        let values = bytes(image).iter().skip(c).step_by(channels);
        values.map(|&v| f64::from(v)).sum::<f64>() / pixels as f64
    };
    (0..channels).map(mean).collect()
}

/// Accuracy on the second half of the nearest class mean of the first half, each feature divided
/// by its spread.
fn nearest_mean(features: &[Vec<f64>], classes: &[usize]) -> f64 {
    let half = features.len() / 2;
    let width = features[0].len();
    let spread: Vec<f64> = (0..width)
        .map(|f| {
            let mean = features[..half].iter().map(|row| row[f]).sum::<f64>() / half as f64;
            let square: f64 = features[..half].iter().map(|row| (row[f] - mean).powi(2)).sum();
            (square / half as f64).sqrt().max(1e-9)
        })
        .collect();
    let mut sums: HashMap<usize, (f64, Vec<f64>)> = HashMap::new();
    for (row, &class) in features[..half].iter().zip(classes) {
        let (count, sum) = sums.entry(class).or_insert((0.0, vec![0.0; width]));
        *count += 1.0;
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let distance = |row: &[f64], (count, sum): &(f64, Vec<f64>)| -> f64 {
        (0..width).map(|f| ((row[f] - sum[f] / count) / spread[f]).powi(2)).sum()
    };
    let right = features[half..].iter().zip(&classes[half..]).filter(|(row, class)| {
        let best = sums
            .iter()
            .min_by(|a, b| distance(row, a.1).total_cmp(&distance(row, b.1)))
            .map(|(&class, _)| class);
        best == Some(**class)
    });
    right.count() as f64 / (features.len() - half) as f64
}

/// Accuracy on the second half of the majority of the nearest fifteen of the first half.
fn nearest_neighbours(features: &[Vec<f64>], classes: &[usize]) -> f64 {
    let half = features.len() / 2;
    let distance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let right = (half..features.len()).filter(|&i| {
        let mut near: Vec<usize> = (0..half).collect();
        near.sort_by(|&a, &b| {
            distance(&features[i], &features[a]).total_cmp(&distance(&features[i], &features[b]))
        });
        let votes = |class| near[..15].iter().filter(|&&n| classes[n] == class).count();
        (0..5).max_by_key(|&class| votes(class)) == Some(classes[i])
    });
    right.count() as f64 / (features.len() - half) as f64
}

/// What a local filter sees: the strongest and the usual detail at three scales, and how
/// directional the strongest is.
fn local_features(image: &Image) -> Vec<f64> {
    let (size, channels) = (image.width(), image.channels());
    // Blue: the catheter's colour, and where glare and folds are weakest.
    let at = |x: usize, y: usize| f64::from(bytes(image)[(y * size + x) * channels + channels - 1]);
    let box_mean = |x: usize, y: usize, r: usize| {
        let mut sum = 0.0;
        for v in y - r..=y + r {
            for u in x - r..=x + r {
                sum += at(u, v);
            }
        }
        sum / ((2 * r + 1) * (2 * r + 1)) as f64
    };
    let (mut features, border) = (Vec::new(), 5);
    for (small, large) in [(0, 1), (1, 2), (1, 4)] {
        let mut values: Vec<f64> = (border..size - border)
            .flat_map(|y| (border..size - border).map(move |x| (x, y)))
            .map(|(x, y)| box_mean(x, y, small) - box_mean(x, y, large))
            .collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        for rank in [n / 100, n / 20, n - n / 20, n - n / 100] {
            features.push(values[rank]);
        }
        features.push((values.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt());
    }
    features
}

#[test]
fn the_mean_colour_says_nothing_but_the_picture_does() {
    for kind in [PhantomKind::Xray, PhantomKind::Endoscopy] {
        let data = phantom(kind, 32, 2000);
        let classes = classes(&data);
        let images: Vec<Image> =
            (0..data.len()).map(|index| data.get(index).unwrap().image).collect();
        let colours: Vec<Vec<f64>> = images.iter().map(mean_colour).collect();
        let chance = 0.2;
        let by_mean = nearest_mean(&colours, &classes);
        let by_neighbours = nearest_neighbours(&colours, &classes);
        let local: Vec<Vec<f64>> = images.iter().map(local_features).collect();
        let by_detail = nearest_mean(&local, &classes);
        println!("{kind:?}: colour {by_mean:.3}, {by_neighbours:.3}; detail {by_detail:.3}");
        assert!(by_mean < chance + 0.1 && by_neighbours < chance + 0.1);
        assert!(by_detail > chance + 0.12);
    }
}

/// Findings at the same places with and without: the mean of each channel must not move.
#[test]
fn findings_leave_the_mean_of_every_channel() {
    for kind in [PhantomKind::Xray, PhantomKind::Endoscopy] {
        let make = |contrast| {
            Phantom::new(PhantomConfig { kind, size: 64, contrast, ..Default::default() }).unwrap()
        };
        let (plain, marked) = (make(0.0), make(1.0));
        for (index, class) in classes(&marked).into_iter().enumerate().take(100) {
            let (a, b) = (plain.get(index).unwrap().image, marked.get(index).unwrap().image);
            assert_eq!(a == b, class == 0, "index {index}");
            for (a, b) in mean_colour(&a).into_iter().zip(mean_colour(&b)) {
                assert!((a - b).abs() < 0.15, "{kind:?} {index} class {class}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_picture_depends_on_seed_and_index_only() {
    for kind in [PhantomKind::Xray, PhantomKind::Endoscopy] {
        let data = phantom(kind, 32, 40);
        let backwards: Vec<_> = (0..40).rev().map(|index| data.get(index).unwrap()).collect();
        let again = phantom(kind, 32, 1000);
        for (index, sample) in backwards.into_iter().rev().enumerate() {
            assert_eq!(sample, again.get(index).unwrap());
        }
        let config = PhantomConfig { seed: 1, ..data.config().clone() };
        assert_ne!(Phantom::new(config).unwrap().get(0).unwrap(), data.get(0).unwrap());
    }
}

#[test]
fn labels_patients_and_sites() {
    let data = phantom(PhantomKind::Xray, 32, 500);
    assert_eq!(data.task().names(), ["normal", "disc", "line", "texture", "mixed"]);
    let classes = classes(&data);
    assert!((0..5).all(|class| classes.iter().filter(|&&c| c == class).count() == 100));
    let record = data.record(217).unwrap();
    assert_eq!((record.id.as_str(), record.group.as_str()), ("site2/p0017/00217", "p0017"));
    assert_eq!((data.patient(217), data.site(217)), (17, 2));
    assert!(matches!(data.get(500), Err(Error::Index { index: 500, len: 500 })));

    let task = PhantomTask::MultiLabel;
    let data = Phantom::new(PhantomConfig { task, len: 1000, ..Default::default() }).unwrap();
    let mut present = [0.0f32; 3];
    for index in 0..1000 {
        let Target::Labels(labels) = data.record(index).unwrap().target else { panic!() };
        present.iter_mut().zip(labels).for_each(|(sum, label)| *sum += label.unwrap());
    }
    assert!(present.iter().all(|&count| (300.0..400.0).contains(&count)), "{present:?}");

    let findings = vec![PhantomFinding::Texture];
    let data = Phantom::new(PhantomConfig { findings, ..Default::default() }).unwrap();
    assert_eq!(data.task().names(), ["normal", "texture"]);
}

/// Pictures of one patient are more alike than those of two patients of the same site, although
/// they differ in pose.
#[test]
fn anatomy_stays_with_the_patient() {
    for kind in [PhantomKind::Xray, PhantomKind::Endoscopy] {
        let config =
            PhantomConfig { kind, contrast: 0.0, sites: 1, len: 200, ..Default::default() };
        let data = Phantom::new(config).unwrap();
        let images: Vec<Image> = (0..200).map(|index| data.get(index).unwrap().image).collect();
        let distance = |a: usize, b: usize| -> f64 {
            let pairs = bytes(&images[a]).iter().zip(bytes(&images[b]));
            pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
        };
        let same: f64 = (0..100).map(|p| distance(p, p + 100)).sum();
        let other: f64 = (0..100).map(|p| distance(p, (p + 7) % 100 + 100)).sum();
        println!("{kind:?}: distance within a patient {:.2} of that between", same / other);
        assert!(same < 0.9 * other);
    }
}

#[test]
fn configurations_that_make_no_sense() {
    let twice = vec![PhantomFinding::Disc, PhantomFinding::Disc];
    let base = PhantomConfig::default;
    for config in [
        PhantomConfig { size: 15, ..base() },
        PhantomConfig { size: usize::MAX, ..base() },
        PhantomConfig { patients: 0, ..base() },
        PhantomConfig { sites: 0, ..base() },
        PhantomConfig { findings: vec![], ..base() },
        PhantomConfig { findings: twice, ..base() },
        PhantomConfig { contrast: f32::NAN, ..base() },
    ] {
        assert!(matches!(Phantom::new(config), Err(Error::Config { .. })));
    }
    let text = serde_json::to_string(&base()).unwrap();
    assert_eq!(serde_json::from_str::<PhantomConfig>(&text).unwrap(), base());
}

#[test]
fn every_size_and_contrast_draws() {
    for kind in [PhantomKind::Xray, PhantomKind::Endoscopy] {
        for (size, contrast) in [(16, 10.0), (17, 0.0), (33, 1.0)] {
            let data =
                Phantom::new(PhantomConfig { kind, size, contrast, ..Default::default() }).unwrap();
            (0..20).for_each(|index| drop(data.get(index).unwrap()));
        }
    }
}
