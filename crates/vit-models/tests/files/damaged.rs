//! Files that are cut off, damaged or something else: a clear error, never a panic, never an
//! allocation the file merely claims.

use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{Error, LoadOptions, ParamStore, WeightFile};

use crate::support::{encoder, fixture, saved, store, written};

/// The error of opening these bytes; it names the file.
fn refused(bytes: &[u8]) -> String {
    let (_folder, path) = written(bytes);
    let error = WeightFile::open(&path).err().unwrap_or_else(|| panic!("opened {bytes:?}"));
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    text
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn good() -> Vec<u8> {
    let (_folder, path) = saved(&store(&encoder(), 1).tensors());
    std::fs::read(path).unwrap()
}

#[test]
fn other_files_are_told_apart() {
    let png = [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0, 13, b'I', b'H', b'D', b'R'];
    for bytes in [
        &png[..],
        b"patient_id,image_id,finding\n1,2,3\n",
        b"",
        b"PNG",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}",
        b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        let text = refused(bytes);
        assert!(text.contains("neither safetensors nor"), "{text}");
    }
}

#[test]
fn folders_and_absent_files_are_input_errors() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("absent")] {
        let error = WeightFile::open(&path).err().unwrap();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(matches!(error, Error::Io { path: named, .. } if named == path));
    }
}

#[test]
fn a_cut_safetensors_file_is_refused_wherever_it_is_cut() {
    let good = good();
    let header = usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let lengths = (0..40).chain((40..good.len()).step_by(53)).chain([
        8 + header - 1,
        8 + header,
        8 + header + 1,
        good.len() - 1,
    ]);
    for length in lengths {
        let text = refused(&good[..length]);
        let expected = if length < 9 { "neither" } else { "cut off" };
        assert!(text.contains(expected), "{length} of {}: {text}", good.len());
    }
    // Something after the end is not what was written either.
    refused(&[&good[..], &[0]].concat());
}

#[test]
fn a_claimed_header_length_is_not_believed() {
    for claim in [1u64 << 60, u64::MAX, u64::MAX - 7, 1 << 40, 100] {
        let bytes = [&claim.to_le_bytes()[..], b"{\"a\": 1}"].concat();
        let text = refused(&bytes);
        assert!(text.contains("cut off") && text.contains(&claim.to_string()), "{text}");
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let long = "[".repeat(200_000);
    for header in [
        "{\"a\": ",
        "{}",
        "{\"a\": 1}",
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904,16],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"__metadata__":[1],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"__metadata__":{"vitalight":"{\"config\":"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        &format!("{{\"a\":{long}"),
    ] {
        refused(&safetensors(header, &[0; 8]));
    }
    // The same without a lie is a file.
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let (_folder, path) = written(&safetensors(header, &[0; 8]));
    assert_eq!(WeightFile::open(&path).unwrap().shapes()["a"], [2]);
}

/// A header of 19280 bytes begins with the letters `PK` of a zip file.
#[test]
fn a_header_length_that_looks_like_a_zip_file_is_read() {
    for length in [usize::from(u16::from_le_bytes(*b"PK")), 0x80] {
        let tensor = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let header = format!("{tensor:<length$}");
        let (_folder, path) = written(&safetensors(&header, &[0; 8]));
        let file = WeightFile::open(&path).unwrap_or_else(|e| panic!("{length}: {e}"));
        assert_eq!(file.shapes()["a"], [2]);
    }
}

#[test]
fn a_cut_pytorch_file_is_refused_wherever_it_is_cut() {
    let good = std::fs::read(fixture("ddp_encoder.pth")).unwrap();
    for length in (2..good.len()).step_by(331).chain([good.len() - 1]) {
        let text = refused(&good[..length]);
        assert!(text.contains("cut off or damaged"), "{length}: {text}");
    }
}

#[test]
fn a_zip_file_without_tensors_is_refused() {
    // An end-of-directory record and nothing else.
    let empty = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
    let text = refused(&empty);
    assert!(text.contains("no tensors"), "{text}");
}

/// One byte changed anywhere: an error or other values, never a panic or an endless allocation.
#[test]
fn a_flipped_byte_never_panics() {
    for name in ["ddp_encoder.pth", "vit_class_token.safetensors"] {
        let good = std::fs::read(fixture(name)).unwrap();
        // Header or pickle closely, the data here and there.
        for place in (0..3_500).step_by(5).chain((3_500..good.len()).step_by(97)) {
            for mask in [0x01, 0x80] {
                let mut bad = good.clone();
                bad[place] ^= mask;
                let (_folder, path) = written(&bad);
                let Ok(file) = WeightFile::open(&path) else { continue };
                for tensor in file.shapes().keys() {
                    drop(file.tensor(tensor, &Device::Cpu));
                }
            }
        }
    }
}

/// A model with such a number gives nothing else: the tensor is named, and nothing is changed.
#[test]
fn numbers_that_are_none_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (from, into) = (store(&encoder(), 1), store(&encoder(), 2));
        let before = crate::support::values(&into);
        let mut tensors = from.tensors();
        let mut values: Vec<f32> = vec![0.5; 24];
        values[17] = bad;
        let tensor = Tensor::from_vec(values, 24, &Device::Cpu).unwrap();
        tensors.insert("blocks.0.attn.qkv.bias".to_string(), tensor);
        let (_folder, path) = saved(&tensors);
        let file = WeightFile::open(&path).unwrap();
        let error = file.load_into(&into, &LoadOptions::strict()).unwrap_err();
        assert!(error.to_string().contains("'blocks.0.attn.qkv.bias'"), "{error}");
        assert_eq!(crate::support::values(&into), before);
        let allowed = LoadOptions { allow_non_finite: true, ..LoadOptions::strict() };
        file.load_into(&into, &allowed).unwrap();
        // Stores of fewer bits look at what they get, which a conversion may have made infinite.
        let specs = vit_models::Vit::specs(&encoder()).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let into = ParamStore::init(&specs, 2, dtype, &Device::Cpu).unwrap();
            let error = file.load_into(&into, &LoadOptions::strict()).unwrap_err();
            assert!(error.to_string().contains("'blocks.0.attn.qkv.bias'"), "{dtype:?}: {error}");
        }
    }
}
