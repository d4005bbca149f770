//! Writes the report of made-up predictions: 23 exclusive classes, one finding, or 14 findings.
//!
//! `cargo run --release -p vit-metrics --example report_demo FOLDER`

// A program prints and may stop.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::Cursor;
use std::path::Path;

use vit_metrics::{
    LearningPlot, Measure, Part, Predictions, ReportBuilder, RowTarget, Series, Task,
};
use vit_random::rand::Rng;
use vit_random::{Stream, Streams};

const ENDOSCOPY: [&str; 23] = [
    "accessory-tools",
    "barretts",
    "barretts-short-segment",
    "bbps-0-1",
    "bbps-2-3",
    "cecum",
    "dyed-lifted-polyps",
    "dyed-resection-margins",
    "esophagitis-a",
    "esophagitis-b-d",
    "Gastroesophageal_junction_normal z-line",
    "hemorrhoids",
    "ileum",
    "impacted-stool",
    "Normal mucosa and vascular pattern in the large bowel",
    "polyps",
    "pylorus",
    "retroflex-rectum",
    "retroflex-stomach",
    "ulcerative-colitis-grade-0-1",
    "ulcerative-colitis-grade-1",
    "ulcerative-colitis-grade-2",
    "z-line",
];

fn normal(random: &mut Stream) -> f32 {
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}

/// Exclusive classes of very different frequency.
fn classes(names: &[&str], rows: usize) -> Predictions {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let count = names.len();
    let mut predictions = Predictions::new(Task::SingleLabel, names, Part::Test).unwrap();
    let mut random = Streams::new(7).stream("demo", 0, 0);
    let (mut sex, mut age) = (Vec::new(), Vec::new());
    for row in 0..rows {
        // Frequencies fall from class to class.
        let truth = ((count as f32 + 1.0).powf(random.random::<f32>()) - 1.0) as usize % count;
        let logits: Vec<f32> = (0..count)
            .map(|class| normal(&mut random) * 1.3 + if class == truth { 4.2 } else { 0.0 })
            .collect();
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let powers: Vec<f32> = logits.iter().map(|x| ((x - most) * 1.3).exp()).collect();
        let sum: f32 = powers.iter().sum();
        let scores: Vec<f32> = powers.iter().map(|p| p / sum).collect();
        let patient = format!("patient {}", row / 3);
        let id = format!("picture-{row:05}.png");
        predictions.push(&id, Some(&patient), &scores, RowTarget::Class(Some(truth))).unwrap();
        sex.push(["female", "male", ""][(row / 3 * 7 % 15 / 7).min(2)].to_owned());
        age.push(["0-20", "21-40", "41-60", "61-80", "over 80"][row / 3 % 5].to_owned());
    }
    predictions.with_column("sex", sex).unwrap().with_column("age", age).unwrap()
}

/// Findings, some unknown.
fn findings(names: &[&str], rows: usize) -> Predictions {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let count = names.len();
    let mut predictions = Predictions::new(Task::MultiLabel, names, Part::Test).unwrap();
    let mut random = Streams::new(8).stream("demo", 0, 0);
    let mut sex = Vec::new();
    for row in 0..rows {
        let (mut scores, mut targets) = (Vec::new(), Vec::new());
        for finding in 0..count {
            let positive = random.random::<f32>() < 0.3 / (1.0 + finding as f32);
            let logit = normal(&mut random) + if positive { 0.8 } else { -2.0 };
            scores.push(1.0 / (1.0 + (-logit).exp()));
            let known = count == 1 || random.random::<f32>() < 0.9;
            targets.push(known.then(|| f32::from(u8::from(positive))));
        }
        let (id, patient) = (format!("{row:05}"), (row / 2).to_string());
        predictions.push(&id, Some(&patient), &scores, RowTarget::Findings(&targets)).unwrap();
        sex.push(["female", "male"][row / 2 % 2].to_owned());
    }
    predictions.with_column("sex", sex).unwrap()
}

/// A picture of a blob.
fn picture(seed: u64) -> Vec<u8> {
    let mut random = Streams::new(seed).stream("picture", 0, 0);
    let (x, y): (f32, f32) = (random.random::<f32>() * 96.0, random.random::<f32>() * 96.0);
    let image = image::RgbImage::from_fn(96, 96, |u, v| {
        let distance = ((u as f32 - x).powi(2) + (v as f32 - y).powi(2)).sqrt();
        let light = (230.0 - 2.0 * distance).clamp(20.0, 230.0) as u8;
        image::Rgb([light, light / 2, light / 3])
    });
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

fn write(folder: &Path, title: &str, predictions: &Predictions) {
    let epochs = (0..40).map(f64::from);
    let falling = |floor: f64, noise: f64| -> Vec<(f64, f64)> {
        epochs
            .clone()
            .map(|e| (e, floor + 2.5 * (-e / 8.0).exp() + noise * (e * 1.7).sin()))
            .collect()
    };
    let series = |name: &str, points: Vec<(f64, f64)>| Series::new(name, points);
    let fact = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let mut builder = ReportBuilder::new(predictions)
        .title(title)
        .mistakes(12, |id| Some(picture(id.bytes().map(u64::from).sum())))
        .learning(LearningPlot {
            title: "Loss".to_owned(),
            x_name: "epoch".to_owned(),
            y_name: "cross entropy".to_owned(),
            series: vec![
                series("training", falling(0.3, 0.01)),
                series("validation", falling(0.5, 0.05)),
            ],
        })
        .picture("original, masked, reconstructed", picture(1))
        .picture("original, masked, reconstructed", picture(2))
        .section(
            "Data card",
            vec![
                fact("Source", "made up by examples/report_demo.rs"),
                fact(
                    "Split",
                    "sha256 3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed",
                ),
            ],
        )
        .section("Audit", vec![fact("Patients in two parts", "none"), fact("Copies", "none")])
        .section("Preprocessing", vec![fact("Resize", "256, bicubic"), fact("Crop", "224, centre")])
        .section("Versions", vec![fact("vit-metrics", env!("CARGO_PKG_VERSION"))]);
    let columns: Vec<String> = predictions.column_names().map(str::to_owned).collect();
    for column in &columns {
        builder = builder.subgroups(column, Measure::AUROC_MACRO);
    }
    let report = builder.build().unwrap();
    report.write(folder, predictions).unwrap();
    println!("{}", folder.join("report.html").display());
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "output/report".to_owned());
    let folder = Path::new(&folder);
    write(&folder.join("classes-23"), "Endoscopy, 23 classes", &classes(&ENDOSCOPY, 1_800));
    write(&folder.join("finding-1"), "One finding", &findings(&["Pneumonia"], 600));
    write(
        &folder.join("findings-4"),
        "Findings with gaps",
        &findings(&["Effusion", "Edema", "Consolidation", "Pneumothorax"], 900),
    );
    write(&folder.join("classes-2"), "Two classes", &classes(&["benign", "malignant"], 150));
}
