//! DICOM files against pydicom: see `fixtures/make_dicom.py`.
#![cfg(feature = "dicom")]
// Clippy's permission for tests ends at the test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use vit_transforms::{
    BurnedIn, DecodeLimits, DecodeOptions, DicomDepth, DicomPicture, DicomRule, Error,
    IdentifierKind, Image, Pixels, decode_bytes, decode_file_with, deidentification_report,
    read_dicom,
};

#[derive(Debug, Deserialize)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    file: String,
    syntax: String,
    shape: Vec<usize>,
    hash: String,
    values: Vec<i32>,
    shown: Vec<f64>,
    simple: Option<String>,
}

/// The folder of the shared DICOM files; `None`, with a message, where there is none.
fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("VITALIGHT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("dicom");
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("VITALIGHT_REQUIRE_DATA").is_ok_and(|value| value == "1");
    assert!(!required, "{} is required but absent", path.display());
    println!("skipped: {} is absent; set VITALIGHT_DATA to its folder", path.display());
    None
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom.json");
    serde_json::from_str::<Document>(&std::fs::read_to_string(path).unwrap()).unwrap().cases
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> String {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn read(folder: &Path, file: &str) -> Result<DicomPicture, Error> {
    let bytes = std::fs::read(folder.join(file)).unwrap();
    read_dicom(file, &bytes, &DecodeLimits::default(), 0)
}

/// The files that are refused, and what the refusal has to say.
fn refusal(file: &str) -> Option<&'static str> {
    match file {
        // 12 bits with the discrete cosine transform: no decoder here reads it.
        "JPGExtended.dcm" => Some("1.2.840.10008.1.2.4.51"),
        // Its data set is not in the transfer syntax that it names (implicit VR).
        "SC_rgb_jpeg.dcm" => Some("no value representation"),
        "MR_small_jpeg_ls_lossless.dcm" if !cfg!(feature = "dicom-jpeg-ls") => {
            Some("1.2.840.10008.1.2.4.80")
        }
        _ => None,
    }
}

/// Largest difference of a value: 0 but where another JPEG decoder than libjpeg is at work.
fn tolerance(syntax: &str) -> i32 {
    let baseline = syntax == "1.2.840.10008.1.2.4.50";
    if baseline && !cfg!(feature = "turbojpeg") { 4 } else { 0 }
}

#[test]
fn every_file_equals_pydicom_or_is_refused_by_name() {
    let Some(folder) = folder() else { return };
    let cases = cases();
    assert_eq!(cases.len(), 24);
    let mut wrong = Vec::new();
    for case in &cases {
        let got = read(&folder, &case.file);
        match (got, refusal(&case.file)) {
            (Err(error), Some(reason)) => {
                let text = error.to_string();
                assert!(text.contains(reason) && text.contains(&case.file), "{text}");
            }
            (Ok(picture), None) => wrong.extend(case.difference(&picture)),
            (got, _) => wrong.push(format!("{}: {:?}", case.file, got.map(|_| "not refused"))),
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The values at the places the script looked at.
fn sampled<T: Copy>(values: &[T]) -> Vec<T> {
    (0..64).map(|at| values[at * (values.len() - 1) / 63]).collect()
}

impl Case {
    fn difference(&self, picture: &DicomPicture) -> Option<String> {
        let mut shape = vec![picture.height, picture.width];
        if picture.channels > 1 {
            shape.push(picture.channels);
        }
        if shape != self.shape {
            return Some(format!("{}: {shape:?}, not {:?}", self.file, self.shape));
        }
        let values = sampled(&picture.values);
        let worst = values.iter().zip(&self.values).map(|(a, b)| (a - b).abs()).max().unwrap();
        let tolerance = tolerance(&self.syntax);
        let hash = fnv1a(picture.values.iter().flat_map(|value| value.to_le_bytes()));
        if worst > tolerance || (tolerance == 0 && hash != self.hash) {
            let same = values.iter().zip(&self.values).filter(|(a, b)| a == b).count();
            return Some(format!("{}: {worst} levels, {same} of 64 equal: {values:?}", self.file));
        }
        self.difference_shown(picture)
    }

    fn difference_shown(&self, picture: &DicomPicture) -> Option<String> {
        let image = picture.render(DicomRule::Display(DicomDepth::Sixteen)).unwrap();
        let Pixels::U16(values) = image.pixels() else { panic!("{}", image.describe()) };
        let allowed = f64::from(tolerance(&self.syntax)) / 255.0 + 1.1 / 65535.0;
        let shown = sampled(values);
        let worst = shown
            .iter()
            .zip(&self.shown)
            .map(|(&got, want)| (f64::from(got) / 65535.0 - want).abs())
            .fold(0.0, f64::max);
        if worst > allowed {
            return Some(format!("{}: shown {worst} apart: {shown:?}", self.file));
        }
        let simple = self.simple.as_ref()?;
        let image = picture.render(DicomRule::MaxTo255).unwrap();
        let Pixels::U8(values) = image.pixels() else { panic!("{}", image.describe()) };
        let wrong = allowed < 0.01 && fnv1a(values.iter().copied()) != *simple;
        wrong.then(|| format!("{}: the rule of 255 / max", self.file))
    }
}

#[test]
fn stored_values_are_raised_to_sixteen_bits() {
    let Some(folder) = folder() else { return };
    let picture = read(&folder, "CT_small.dcm").unwrap();
    let image = picture.render(DicomRule::Stored).unwrap();
    let expected = picture.values.iter().map(|&value| (value + 32768) as u16).collect();
    assert_eq!(image, Image::new(128, 128, 1, Pixels::U16(expected)).unwrap());
}

#[test]
fn files_are_told_by_their_contents() {
    let Some(folder) = folder() else { return };
    let options =
        DecodeOptions { dicom: DicomRule::Display(DicomDepth::Eight), ..DecodeOptions::default() };
    let image = decode_file_with(&folder.join("RG3_J2KI.dcm"), &options).unwrap();
    assert_eq!(image.describe(), "u8 1760x1760x1");
}

#[test]
fn limits_and_missing_frames_are_named() {
    let Some(folder) = folder() else { return };
    let bytes = std::fs::read(folder.join("RG1_J2KI.dcm")).unwrap();
    let small = DecodeLimits { max_pixels: 1_000_000, ..DecodeLimits::default() };
    let error = read_dicom("RG1", &bytes, &small, 0).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "pixels", value: 3_599_155, .. }), "{error}");
    let error = read_dicom("RG1", &bytes, &DecodeLimits::default(), 1).unwrap_err();
    assert!(error.to_string().contains("frame 1 of 1"), "{error}");
}

/// Every tenth of every file's length, and flipped bytes: an error, or a picture, and no panic.
#[test]
fn damaged_files_never_panic() {
    let Some(folder) = folder() else { return };
    for case in cases() {
        let whole = std::fs::read(folder.join(&case.file)).unwrap();
        // The larger ones take their decoder long, and would tell the same.
        if whole.len() > 30_000 || case.syntax.starts_with("1.2.840.10008.1.2.4.9") {
            continue;
        }
        let limits = DecodeLimits { max_pixels: 1 << 21, max_bytes: 1 << 25 };
        for tenth in 0..10 {
            let cut = &whole[..whole.len() * tenth / 10];
            // A file may end in padding that says nothing.
            if let Err(error) = decode_bytes(&case.file, cut, &limits) {
                assert!(error.to_string().contains(&case.file), "{error}");
            } else {
                assert!(tenth >= 8, "{} cut to {tenth} tenths was read", case.file);
            }
        }
        let step = (whole.len() / 40).max(1);
        for position in (0..whole.len()).step_by(step).chain((132..400).step_by(4)) {
            let mut broken = whole.clone();
            if let Some(byte) = broken.get_mut(position) {
                *byte ^= 0xff;
            }
            let _ = decode_bytes("broken", &broken, &limits);
            let _ = deidentification_report("broken", &broken, &limits);
        }
    }
}

#[test]
fn identifying_attributes_are_found() {
    let Some(folder) = folder() else { return };
    let report = |file: &str| {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        deidentification_report(file, &bytes, &DecodeLimits::default()).unwrap()
    };
    let found = report("CT_small.dcm");
    let has = |keyword: &str, kind| {
        found.identifiers.iter().any(|entry| entry.keyword == keyword && entry.kind == kind)
    };
    assert!(has("PatientName", IdentifierKind::Direct), "{found:?}");
    assert!(has("PatientID", IdentifierKind::Direct));
    assert!(has("StudyInstanceUID", IdentifierKind::Uid));
    assert!(found.identifiers.iter().any(|entry| entry.kind == IdentifierKind::Private));
    assert!(!found.is_clean());
    assert_eq!(found.burned_in, BurnedIn::Unknown);
    // Values are nobody's business.
    assert!(!format!("{found:?}").contains("CompressedSamples"));
    // A secondary capture may carry text.
    assert_eq!(report("SC_rgb_rle.dcm").burned_in, BurnedIn::Likely);
}
