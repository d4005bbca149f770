//! Ways to write tensors: every data type and view, PyTorch's old format, foreign byte order,
//! shards; and files that are something else.

use vit_models::candle_core::{DType, Device};
use vit_models::{Container, Error, StoredType, WeightFile};

use crate::families::weights;
use crate::support::flat;

/// Values of every type and view are those PyTorch had, from the zip format and the one before.
#[test]
fn every_type_and_view_is_read() {
    let expected = WeightFile::open(&weights("types.expected.safetensors")).unwrap();
    for (name, container) in
        [("types.pth", Container::TorchZip), ("legacy_types.pth", Container::TorchLegacy)]
    {
        let file = WeightFile::open(&weights(name)).unwrap();
        assert_eq!(file.container(), container);
        for (tensor, shape) in expected.shapes() {
            let want = expected.tensor(tensor, &Device::Cpu).unwrap();
            let got = file.tensor(tensor, &Device::Cpu).unwrap();
            assert_eq!((got.dims(), got.dtype()), (&shape[..], want.dtype()), "{name} {tensor}");
            assert_eq!(flat(&got), flat(&want), "{name} {tensor}");
            let single = file.tensor_as(tensor, DType::F32, &Device::Cpu).unwrap();
            let want = want.to_dtype(DType::F32).unwrap();
            assert_eq!(flat(&single), flat(&want), "{name} {tensor} as f32");
        }
    }
    let file = WeightFile::open(&weights("types.pth")).unwrap();
    assert_eq!(flat(&file.tensor_as("f8", DType::F32, &Device::Cpu).unwrap()), [1.5, -2.]);
    for (name, kind) in [
        ("f16", StoredType::F16),
        ("bf16", StoredType::Bf16),
        ("bool", StoredType::Bool),
        ("i8", StoredType::I8),
        ("f8", StoredType::F8E4M3),
    ] {
        assert_eq!(file.stored_type(name), Some(kind));
    }
}

#[test]
fn a_file_of_the_other_byte_order_is_turned_round() {
    let file = WeightFile::open(&weights("big_endian.pth")).unwrap();
    let same = WeightFile::open(&weights("types.pth")).unwrap();
    for name in ["f32", "i64", "f16"] {
        let [got, want] =
            [&file, &same].map(|file| flat(&file.tensor(name, &Device::Cpu).unwrap()));
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn programs_and_whole_objects_get_a_clear_answer() {
    for (name, words) in [
        ("torchscript.pt", ["TorchScript", "state_dict()"]),
        ("whole_module.pth", ["torch.nn.modules.linear.Linear", "state_dict()"]),
    ] {
        let error = WeightFile::open(&weights(name)).err().unwrap();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        for word in words.iter().chain([&name]) {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

/// Copies the shards into a folder of the test's own.
fn shards() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(weights("hf_vit_pooler")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

const INDEX: &str = "model.safetensors.index.json";

#[test]
fn all_files_of_an_index_are_read() {
    let folder = shards();
    for path in [folder.path().to_path_buf(), folder.path().join(INDEX)] {
        let file = WeightFile::open(&path).unwrap();
        assert_eq!((file.container(), file.files().count()), (Container::Sharded, 3));
        assert_eq!(file.shapes().len(), 34);
        let name = "encoder.layer.1.output.dense.weight";
        assert_eq!(file.stored_type(name), Some(StoredType::Bf16));
        assert_eq!(file.tensor(name, &Device::Cpu).unwrap().dims(), [16, 32]);
    }
}

#[test]
fn an_index_that_does_not_hold_is_refused() {
    let refused = |change: &dyn Fn(&std::path::Path), words: &[&str]| {
        let folder = shards();
        change(folder.path());
        let error = WeightFile::open(folder.path()).err().unwrap();
        for word in words {
            assert!(error.to_string().contains(word), "{error}");
        }
    };
    let second = "model-00002-of-00003.safetensors";
    let edit = |from: &'static str, to: &'static str| {
        move |folder: &std::path::Path| {
            let text = std::fs::read_to_string(folder.join(INDEX)).unwrap();
            std::fs::write(folder.join(INDEX), text.replacen(from, to, 1)).unwrap();
        }
    };
    refused(&|folder| std::fs::remove_file(folder.join(second)).unwrap(), &["missing", second]);
    // The same tensors in two files.
    refused(
        &|folder| {
            let first = folder.join("model-00001-of-00003.safetensors");
            std::fs::copy(first, folder.join(second)).map(drop).unwrap();
        },
        &["is in", second],
    );
    refused(&edit(second, "model-00003-of-00003.safetensors"), &["says that", "00003"]);
    refused(&edit(second, "../../etc/passwd"), &["not a file beside it", "passwd"]);
    refused(&edit(second, INDEX), &["index itself", INDEX]);
    // An index under another name is no weight file.
    refused(
        &|folder| {
            edit(second, "second.safetensors")(folder);
            std::fs::copy(folder.join(INDEX), folder.join("second.safetensors")).unwrap();
        },
        &["second.safetensors", "neither"],
    );
    refused(&edit("weight_map", "weights"), &["not an index"]);
    refused(&edit("embeddings.cls_token", "embeddings.class_token"), &["embeddings.class_token"]);
}
