//! Features of folders and tables, through interruptions.

// In tests a panic is a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use support::{model_file, picture, png};
use vit_datasets::Target;
use vit_models::candle_core::{Device, Tensor};
use vitalight_examples::{
    EmbedArgs, Embedder, FeatureTable, Features, KnnArgs, ModelArgs, embed, knn,
};

/// Flags as one would type them.
fn parse<T: Args>(flags: &[&str]) -> T {
    let command = T::augment_args(clap::Command::new("test").no_binary_name(true));
    T::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Place {
    /// Twenty pictures of two classes.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = model_file(folder.path(), &["a", "b"]);
        for number in 0..20u64 {
            let class = folder.path().join("data").join(if number % 2 == 0 { "a" } else { "b" });
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join(format!("{number:02}.png")), png(number)).unwrap();
        }
        Self { folder, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self, out: &str, more: &[&str]) -> EmbedArgs {
        let (model, data, out) = (&self.model, self.path("data"), self.path(out));
        let flags = ["--model", model.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let out = ["--out", out.to_str().unwrap(), "--batch-size", "3"];
        parse(&[&flags[..], &out, more].concat())
    }

    fn files(&self, out: &str) -> Vec<Vec<u8>> {
        ["", ".csv", ".json"]
            .map(|end| fs::read(self.path(&format!("{out}{end}"))).unwrap())
            .to_vec()
    }
}

#[test]
fn rows_are_the_librarys_in_the_order_of_the_table() {
    let place = Place::new();
    let done = embed(&place.args("x.safetensors", &["--features", "class+mean"])).unwrap().unwrap();
    let table = FeatureTable::open(&place.path("x.safetensors")).unwrap();
    assert_eq!((done.rows, done.dim), (20, 384));
    let embedder =
        Embedder::open(&ModelArgs::new(place.model.to_str().unwrap()), &Device::Cpu).unwrap();
    for (record, row) in table.records.iter().zip(table.values.chunks(384)) {
        let number: u64 = record.id[2..4].parse().unwrap();
        assert_eq!(record.target, Target::Class((number % 2) as usize));
        let images = embedder.batch(embedder.prepare(picture(number)).unwrap()).unwrap();
        let features = embedder.features(&images, Features::ClassMean).unwrap();
        let expected = features.to_vec2::<f32>().unwrap().remove(0);
        assert!(row.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{}", record.id);
    }
    // Readable by others, too.
    let bytes = fs::read(place.path("x.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("features").unwrap().shape(), [20, 384]);
    embed(&place.args("x.npy", &["--features", "class+mean"])).unwrap();
    assert_eq!(FeatureTable::open(&place.path("x.npy")).unwrap().values, table.values);
    let numbers = Tensor::read_npy(place.path("x.npy")).unwrap();
    assert_eq!(numbers.flatten_all().unwrap().to_vec1::<f32>().unwrap(), table.values);
    embed(&place.args("x.parquet", &["--features", "class+mean"])).unwrap();
    assert_eq!(FeatureTable::open(&place.path("x.parquet")).unwrap(), table);
}

#[test]
fn class_and_mean_are_halves_of_both() {
    let place = Place::new();
    let values = |kind: &str| {
        let out = format!("{kind}.npy");
        embed(&place.args(&out, &["--features", kind])).unwrap();
        FeatureTable::open(&place.path(&out)).unwrap()
    };
    let (class, mean, both) = (values("class"), values("mean"), values("class+mean"));
    for ((class, mean), both) in
        class.values.chunks(192).zip(mean.values.chunks(192)).zip(both.values.chunks(384))
    {
        assert_eq!([class, mean].concat(), both);
    }
    // This model's head gets the class token; computed for that token alone.
    let pooled = values("pooled");
    assert!(pooled.values.iter().zip(&class.values).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let place = Place::new();
    embed(&place.args("whole.npy", &[])).unwrap();

    let broken = place.path("data/b/07.png");
    let good = fs::read(&broken).unwrap();
    fs::write(&broken, &good[..100]).unwrap();
    let error = embed(&place.args("cut.npy", &[])).unwrap_err().to_string();
    assert!(error.contains("b/07.png") && error.contains("--skip-errors"), "{error}");
    assert!(!place.path("cut.npy").exists());
    // As a power failure would leave it: rows without a journal line, and half a line.
    let partial = place.path("cut.npy.partial");
    let append = |name: &str, bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().append(true).open(partial.join(name)).unwrap();
        file.write_all(bytes).unwrap();
    };
    append("rows.f32", &[1; 999]);
    append("journal.jsonl", b"{\"rows\":");
    fs::write(&broken, &good).unwrap();
    let done = embed(&place.args("cut.npy", &["--num-workers", "0"])).unwrap().unwrap();
    // 07 is the fourth of b, so the fourteenth picture; four batches of three were done.
    assert_eq!((done.rows, done.resumed), (20, 12));
    assert_eq!(place.files("cut.npy"), place.files("whole.npy"));
    assert!(!partial.exists());
    assert_eq!(embed(&place.args("cut.npy", &[])).unwrap(), None);
}

#[test]
fn bad_pictures_are_left_out_and_listed() {
    let place = Place::new();
    embed(&place.args("whole.npy", &[])).unwrap();
    fs::write(place.path("data/a/04.png"), b"nothing").unwrap();
    let done = embed(&place.args("some.npy", &["--skip-errors"])).unwrap().unwrap();
    assert_eq!((done.rows, done.skipped.len()), (19, 1));
    assert_eq!(done.skipped[0].id, "a/04.png");
    let whole = FeatureTable::open(&place.path("whole.npy")).unwrap();
    let some = FeatureTable::open(&place.path("some.npy")).unwrap();
    let rows = |table: &FeatureTable| -> Vec<(String, Vec<f32>)> {
        let ids = table.records.iter().map(|record| record.id.clone());
        ids.zip(table.values.chunks(table.dim).map(<[f32]>::to_vec)).collect()
    };
    let expected: Vec<_> = rows(&whole).into_iter().filter(|(id, _)| id != "a/04.png").collect();
    assert_eq!(rows(&some), expected);
    assert!(String::from_utf8(place.files("some.npy").remove(2)).unwrap().contains("a/04.png"));
}

#[test]
fn other_settings_do_not_go_on_from_a_run() {
    let place = Place::new();
    embed(&place.args("x.npy", &[])).unwrap();
    let error = embed(&place.args("x.npy", &["--features", "mean"])).unwrap_err().to_string();
    assert!(error.contains("other settings"), "{error}");

    fs::write(place.path("data/b/19.png"), b"nothing").unwrap();
    embed(&place.args("y.npy", &[])).unwrap_err();
    let error = embed(&place.args("y.npy", &["--features", "mean"])).unwrap_err().to_string();
    assert!(error.contains("interrupted run"), "{error}");
    let error = embed(&place.args("y.pickle", &[])).unwrap_err().to_string();
    assert!(error.contains(".safetensors, .npy and .parquet"), "{error}");
}

#[test]
fn a_feature_file_that_was_changed_is_refused() {
    let place = Place::new();
    embed(&place.args("x.npy", &[])).unwrap();
    let path = place.path("x.npy.csv");
    let text = fs::read_to_string(&path).unwrap().replacen(",a\n", ",b\n", 1);
    fs::write(&path, text).unwrap();
    let error = FeatureTable::open(&place.path("x.npy")).unwrap_err().to_string();
    assert!(error.contains("x.npy.csv is not the file"), "{error}");
}

/// Bright pictures and dark ones: any features tell them apart.
fn bright_and_dark(root: &Path) {
    for (part, count) in [("train", 24u8), ("val", 8), ("test", 12)] {
        for number in 0..count {
            let class = if number % 2 == 0 { "bright" } else { "dark" };
            let folder = root.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            let level = if number % 2 == 0 { 200 } else { 40 };
            let values = (0..32 * 32u32).map(|at| level + (at as u8 % 7) + number).collect();
            let pixels = vit_transforms::Pixels::U8(values);
            let image = vit_transforms::Image::new(32, 32, 1, pixels).unwrap();
            let name = format!("{part}{number:02}.png");
            fs::write(folder.join(name), vit_transforms::encode_png(&image).unwrap()).unwrap();
        }
    }
}

#[test]
fn neighbours_and_probe_find_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_file(folder.path(), &[]);
    let data = folder.path().join("data");
    bright_and_dark(&data);
    let out = |part: &str| folder.path().join(format!("{part}.npy")).display().to_string();
    for part in ["train", "val", "test"] {
        let flags = ["--model", model.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let more = ["--split", part, "--out", &out(part)];
        embed(&parse::<EmbedArgs>(&[&flags[..], &more].concat())).unwrap();
    }
    let (train, val, test) = (out("train"), out("val"), out("test"));
    let flags = ["--train", &train, "--val", &val, "--test", &test, "--resamples", "50"];
    let report = knn(&parse::<KnnArgs>(&[&flags[..], &["--k", "3,5,99"]].concat())).unwrap();
    assert_eq!(report.rows, [24, 8, 12]);
    assert_eq!(report.every_k.len(), 2);
    for scored in [&report.knn, &report.probe] {
        assert_eq!(scored.validation, Some(1.));
        let value = |name: &str| scored.test.iter().find(|e| e.name == name).unwrap().value;
        assert_eq!(value("accuracy").defined(), Some(1.));
        assert_eq!(value("auroc_macro").defined(), Some(1.));
    }
    assert!(report.probe_fit.converged);

    // The test part must not choose, and a picture must not be in two parts.
    let error = knn(&parse::<KnnArgs>(&["--train", &train, "--test", &test])).unwrap_err();
    assert!(error.to_string().contains("--val"), "{error}");
    let error =
        knn(&parse::<KnnArgs>(&["--train", &train, "--test", &train, "--c", "1"])).unwrap_err();
    assert!(error.to_string().contains("in train and in test"), "{error}");
}
