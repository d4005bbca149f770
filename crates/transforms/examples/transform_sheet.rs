//! A contact sheet of what the transforms do to a picture.
//!
//! ```text
//! cargo run --release -p vit-transforms --example transform_sheet -- PICTURE SHEET.png
//! ```
//!
//! First row: the picture, black frame and border cut off, CLAHE, percentile window, bias field,
//! elastic deformation. Then four rows of random results of the training recipes.
#![allow(clippy::print_stdout)]

use std::error::Error;

use vit_random::Streams;
use vit_transforms::{
    BiasField, BlackFrameCrop, BorderCrop, Clahe, DecodeLimits, ElasticDeformation, Filter, Image,
    Pipeline, Pixels, Resize, ResizeSize, Step, TimmTraining, ToRgb, Window, WindowRange,
    decode_file, encode_png,
};

const SIDE: usize = 160;
const COLUMNS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        return Err("give a picture and the name of the sheet".into());
    };
    let picture = decode_file(input.as_ref(), &DecodeLimits::default())?;
    let mut cells = Vec::new();
    for (column, steps) in fixed().into_iter().enumerate() {
        cells.push(cell(&Pipeline::new(steps), &picture, column)?);
    }
    for recipe in recipes()? {
        for column in 0..COLUMNS {
            cells.push(cell(&recipe, &picture, column)?);
        }
    }
    let sheet = sheet(&cells)?;
    std::fs::write(output, encode_png(&sheet)?)?;
    println!("{output}: {}", sheet.describe());
    Ok(())
}

fn fixed() -> Vec<Vec<Step>> {
    let window = Window { range: WindowRange::Percentiles { low: 2.0, high: 98.0 } };
    vec![
        vec![],
        vec![BlackFrameCrop::default().into()],
        vec![BorderCrop::default().into()],
        vec![Clahe::default().into()],
        vec![window.into()],
        vec![BiasField { probability: 1.0, strength: 0.5, order: 3 }.into()],
        vec![ElasticDeformation { probability: 1.0, alpha: 120.0, sigma: 10.0 }.into()],
    ]
}

/// Recipes without their normalisation, so that the results can be looked at.
fn recipes() -> Result<Vec<Pipeline>, Box<dyn Error>> {
    let (mean, std) = (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]);
    let timm = TimmTraining { size: SIDE, erasing: 0.0, ..TimmTraining::default() };
    let augmix = TimmTraining { augment: Some("augmix-m5-w4-d2"), ..timm.clone() };
    let mut recipes = vec![
        Pipeline::timm_train(&timm, mean, std)?,
        Pipeline::timm_train(&augmix, mean, std)?,
        Pipeline::simclr_with_rotation(SIDE, mean, std)?,
        Pipeline::three_augment(SIDE, mean, std)?,
    ];
    for recipe in &mut recipes {
        recipe.steps.retain(|step| !matches!(step, Step::Normalize(_)));
    }
    Ok(recipes)
}

fn cell(pipeline: &Pipeline, picture: &Image, column: usize) -> Result<Image, Box<dyn Error>> {
    let mut stream = Streams::new(3).stream("augment", 0, column as u64);
    let square = ResizeSize::Exact { height: SIDE, width: SIDE };
    let fit =
        Pipeline::new(vec![ToRgb.into(), Resize { size: square, filter: Filter::Bicubic }.into()]);
    let result = pipeline.apply(picture.clone(), &mut stream)?;
    Ok(fit.apply(result.to_u8(), &mut stream)?)
}

fn sheet(cells: &[Image]) -> Result<Image, Box<dyn Error>> {
    let mut rows = Vec::new();
    for line in cells.chunks(COLUMNS) {
        for y in 0..SIDE {
            for cell in line {
                let Pixels::U8(values) = cell.pixels() else { return Err("not 8 bits".into()) };
                rows.extend(values.iter().skip(y * SIDE * 3).take(SIDE * 3));
            }
        }
    }
    Ok(Image::new(SIDE * COLUMNS, cells.len() / COLUMNS * SIDE, 3, Pixels::U8(rows))?)
}
