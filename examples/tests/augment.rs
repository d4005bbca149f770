//! Augmentation and mixing from the command line.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

use clap::{Args, Command};
use vitalight_examples::{FinetuneArgs, finetune};

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

fn run(folder: &std::path::Path, flags: &[&str]) -> anyhow::Result<String> {
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
        (&["--mixup=-1"], "mixup_alpha"),
        (&["--aa", "random-m9"], "--aa"),
        (&["--recipe", "simclr", "--in-chans", "1"], "RGB"),
    ] {
        let error = run(&home.path().join("none"), flags).unwrap_err();
        assert!(format!("{error:#}").contains(word), "{flags:?}: {error:#}");
    }
}
