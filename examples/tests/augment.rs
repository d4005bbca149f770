//! Augmentation and mixing from the command line.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use clap::{Args, Command};
use vit_transforms::{Image, Pixels, encode_png};
use vitalight_examples::{EvaluateArgs, FinetuneArgs, evaluate, finetune};

fn parse<T: Args>(flags: &[&str]) -> Result<T, String> {
    let command =
        T::augment_args(Command::new("test").no_binary_name(true).args_override_self(true));
    let matches = command.try_get_matches_from(flags).map_err(|error| error.to_string())?;
    T::from_arg_matches(&matches).map_err(|error| error.to_string())
}

const SMALL: [&str; 14] = [
    "--data",
    "phantom-endoscopy",
    "--phantom-len",
    "60",
    "--epochs",
    "1",
    "--warmup-epochs",
    "0",
    "--batch-size",
    "8",
    "--num-workers",
    "2",
    "--depth",
    "1",
];

fn run(folder: &Path, flags: &[&str]) -> anyhow::Result<String> {
    let folder = folder.display().to_string();
    let flags = [&SMALL[..], flags, &["--output-dir", &folder]].concat();
    finetune(&parse::<FinetuneArgs>(&flags).map_err(anyhow::Error::msg)?)?;
    // The settings are in the file's head.
    let bytes = std::fs::read(format!("{folder}/checkpoint.safetensors"))?;
    Ok(String::from_utf8_lossy(&bytes).replace('\\', ""))
}

#[test]
fn the_published_recipe_trains_and_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("run");
    let flags = ["--aa", "rand-m9-mstd0.5-inc1", "--reprob", "0.25", "--mixup", "0.8"];
    let flags = [&flags[..], &["--cutmix", "1", "--sampler", "class-balanced"]].concat();
    let settings = run(&folder, &flags).unwrap();
    for part in ["rand_augment", "random_erasing", "\"cutmix_alpha\":1.0", "class_balanced"] {
        assert!(settings.contains(part), "{part}");
    }
    // Another mixing is another run.
    let other = [&flags[..6], &["--epochs", "2"]].concat();
    assert!(run(&folder, &other).unwrap_err().to_string().contains("mixup"));
}

#[test]
fn flags_that_would_have_no_effect_are_refused() {
    for (flags, word) in [
        (&["--recipe", "finetune", "--aa", "rand-m9"][..], "--aa"),
        (&["--pipeline", "x.json", "--hflip", "0"], "--hflip"),
        (&["--remode", "rand"], "--reprob"),
        (&["--aa-rules", "0.3.2"], "--aa"),
        (&["--cutmix-minmax", "0.2", "0.8", "--cutmix", "1"], "--cutmix"),
    ] {
        let error = parse::<FinetuneArgs>(flags).unwrap_err();
        assert!(error.contains(word), "{flags:?}: {error}");
    }
    let home = tempfile::tempdir().unwrap();
    for (flags, word) in [
        (&["--mixup", "0.8", "--balanced"][..], "--balanced"),
        (&["--mixup", "0.8", "--batch-size", "7"], "even"),
        (&["--mixup-prob", "0.5"], "nothing is mixed"),
        (&["--mixup", "0.5", "--mixup-switch-prob", "0.5"], "say both"),
        (&["--reprob=-0.5"], "probability"),
        (&["--mixup=-1"], "mixup_alpha"),
        (&["--aa", "random-m9"], "--aa"),
        (&["--recipe", "simclr", "--in-chans", "1"], "RGB"),
    ] {
        let error = run(&home.path().join("none"), flags).unwrap_err();
        assert!(format!("{error:#}").contains(word), "{flags:?}: {error:#}");
    }
}

#[test]
fn transforms_from_a_file_fit_the_model() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("train.json");
    let file = path.display().to_string();
    let flip = r#"{"name": "horizontal_flip", "probability": 0.5}"#;
    let size = |side: usize| {
        format!(
            r#"{{"name": "resize", "size": {{"exact": {{"height": {side}, "width": {side}}}}}, "filter": "bilinear"}}"#
        )
    };
    let write = |steps: &[&str]| {
        std::fs::write(&path, format!(r#"{{"steps": [{}]}}"#, steps.join(", "))).unwrap();
    };
    let run = |name: &str| run(&home.path().join(name), &["--pipeline", &file]);
    write(&[&size(32), flip]);
    let settings = run("good").unwrap();
    assert!(settings.contains("horizontal_flip") && settings.contains("normalize"));
    write(&[&size(24)]);
    assert!(run("size").unwrap_err().to_string().contains("24 × 24"));
    write(&[&size(32), r#"{"name": "normalize", "mean": [0.5], "std": [0.25]}"#]);
    assert!(run("normalised").unwrap_err().to_string().contains("does not normalise as"));
    write(&[r#"{"name": "horizontal_flip", "probability": 2}"#]);
    assert!(format!("{:#}", run("wrong").unwrap_err()).contains("train.json"));
}

/// Pictures `side` × `side` of two classes in parts; those of the test part perhaps mirrored.
fn write_pictures(root: &Path, side: usize, mirrored: bool) {
    for (part, count) in [("train", 8), ("val", 8), ("test", 6)] {
        for at in 0..count {
            let class = ["left", "right"][at % 2];
            let folder = root.join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            let value = |x: usize, y: usize| ((x * x * 3 + y * 11 + at * 29) % 200) as u8;
            let mirror = |x: usize| if mirrored && part == "test" { side - 1 - x } else { x };
            let pixels = (0..side * side).map(|i| value(mirror(i % side), i / side)).collect();
            let image = Image::new(side, side, 1, Pixels::U8(pixels)).unwrap();
            std::fs::write(folder.join(format!("{at}.png")), encode_png(&image).unwrap()).unwrap();
        }
    }
}

fn trained(home: &Path, data: &str) -> String {
    let folder = home.join("run").display().to_string();
    let flags = ["--data", data, "--input-size", "16", "--patch-size", "8", "--depth", "1"];
    let length = ["--epochs", "1", "--warmup-epochs", "0", "--batch-size", "8", "--lr", "0.01"];
    let flags = [&flags[..], &length, &["--select", "loss", "--output-dir", &folder]].concat();
    finetune(&parse::<FinetuneArgs>(&flags).unwrap()).unwrap().display().to_string()
}

/// The scores of the test part, row by row.
fn scores(home: &Path, data: &str, checkpoint: &str, views: &str) -> anyhow::Result<Vec<Vec<f32>>> {
    let folder = home.join("evaluated").display().to_string();
    let flags = ["--data", data, "--input-size", "16", "--checkpoint", checkpoint];
    let flags = [&flags[..], &["--views", views, "--resamples", "10"]].concat();
    evaluate(&parse::<EvaluateArgs>(&[&flags[..], &["--output-dir", &folder]].concat()).unwrap())?;
    let text = std::fs::read_to_string(home.join("evaluated/predictions.csv"))?;
    let row = |line: &str| line.split(',').skip(3).map(|value| value.parse().unwrap()).collect();
    Ok(text.lines().skip(1).map(row).collect())
}

#[test]
fn views_are_averaged() {
    let home = tempfile::tempdir().unwrap();
    let (plain, mirrored) = (home.path().join("plain"), home.path().join("mirrored"));
    write_pictures(&plain, 20, false);
    write_pictures(&mirrored, 20, true);
    let (plain, mirrored) = (plain.display().to_string(), mirrored.display().to_string());
    let model = trained(home.path(), &plain);
    let of = |data: &str, views| scores(home.path(), data, &model, views).unwrap();
    let (left, right, both) = (of(&plain, "single"), of(&mirrored, "single"), of(&plain, "flip"));
    assert_eq!((left.len(), both.len()), (6, 6));
    assert_ne!(left, right, "the views differ");
    for ((left, right), both) in left.iter().zip(&right).zip(&both) {
        for ((left, right), both) in left.iter().zip(right).zip(both) {
            assert!((f32::midpoint(*left, *right) - both).abs() < 1e-6, "{left} {right} {both}");
        }
    }
    // Four mirror images are the same set for both.
    assert_eq!(of(&plain, "flips").len(), 6);
    for (a, b) in of(&plain, "dihedral").concat().iter().zip(of(&mirrored, "dihedral").concat()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let (five, ten) = (of(&plain, "five-crop"), of(&plain, "ten-crop"));
    assert!(five != left && ten != five, "crops are of the picture at 18 pixels");
    let mirrored_ten = of(&mirrored, "ten-crop");
    for (a, b) in ten.concat().iter().zip(mirrored_ten.concat()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}
