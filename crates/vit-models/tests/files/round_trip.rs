//! What is written is what is read, byte for byte.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use vit_models::candle_core::{DType, Device, Tensor};
use vit_models::{
    Error, LoadOptions, Pooling, Vit, VitConfig, WeightFile, save_weights, write_atomic,
};

use crate::support::{encoder, flat, saved, store, values};

#[test]
fn the_same_weights_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    let config = encoder().classifier(3, Pooling::GlobalPool);
    let metadata = |order: [&str; 3]| -> Map<String, serde_json::Value> {
        order.into_iter().map(|key| (key.to_string(), json!({"z": 1, "a": [key]}))).collect()
    };
    save_weights(&paths[0], &store(&config, 1).tensors(), &metadata(["x", "y", "m"])).unwrap();
    save_weights(&paths[1], &store(&config, 1).tensors(), &metadata(["m", "x", "y"])).unwrap();
    let bytes = std::fs::read(&paths[0]).unwrap();
    assert!(bytes == std::fs::read(&paths[1]).unwrap());

    // Read, then written again.
    let file = WeightFile::open(&paths[0]).unwrap();
    let again = store(&config, 2);
    file.load_into(&again, &LoadOptions::strict()).unwrap();
    save_weights(&paths[2], &again.tensors(), file.metadata()).unwrap();
    assert!(bytes == std::fs::read(&paths[2]).unwrap());
    assert_eq!(values(&again), values(&store(&config, 1)));
}

#[test]
fn every_data_type_and_every_view_survives() {
    let cpu = Device::Cpu;
    let wide = Tensor::arange(0f64, 24., &cpu).unwrap().reshape((2, 3, 4)).unwrap();
    let odd = [f32::MIN_POSITIVE / 4., f32::MAX, -0., f32::INFINITY, 0.1];
    let tensors = BTreeMap::from([
        ("f64 transposed".to_string(), wide.transpose(0, 2).unwrap()),
        ("f64 narrow".to_string(), wide.narrow(1, 1, 2).unwrap()),
        ("f32".to_string(), Tensor::new(&odd, &cpu).unwrap()),
        (
            "bf16".to_string(),
            Tensor::new(&[1.5f32, -3.25], &cpu).unwrap().to_dtype(DType::BF16).unwrap(),
        ),
        (
            "f16".to_string(),
            Tensor::new(&[1.5f32, -3.25], &cpu).unwrap().to_dtype(DType::F16).unwrap(),
        ),
        ("i64".to_string(), Tensor::new(i64::MAX - 7, &cpu).unwrap()),
        ("u8".to_string(), Tensor::new(&[0u8, 255], &cpu).unwrap()),
        ("u32".to_string(), Tensor::new(&[u32::MAX], &cpu).unwrap()),
    ]);
    let (_folder, path) = saved(&tensors);
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.shapes().len(), tensors.len());
    for (name, want) in &tensors {
        let got = file.tensor(name, &cpu).unwrap();
        assert_eq!((got.dims(), got.dtype()), (want.dims(), want.dtype()), "{name}");
        assert_eq!(file.shapes()[name], want.dims(), "{name}");
        let bits = |t: &Tensor| flat(t).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(want), "{name}");
    }
    let exact = file.tensor("i64", &cpu).unwrap().to_scalar::<i64>().unwrap();
    assert_eq!(exact, i64::MAX - 7);
    let error = file.tensor("f8", &cpu).unwrap_err();
    assert!(matches!(error, Error::File { .. }) && error.to_string().contains("f8"), "{error}");
}

#[test]
fn metadata_comes_back_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let config = encoder().classifier(3, Pooling::GlobalPool);
    let metadata = json!({
        "config": config,
        "classes": ["pneumonia", "sëptic \"shock\"\n", ""],
        "epoch": 17,
        "nothing": null,
    });
    let metadata = metadata.as_object().unwrap();
    save_weights(&path, &store(&config, 1).tensors(), metadata).unwrap();
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.metadata(), metadata);
    assert_eq!(file.metadata_part::<VitConfig>("config").unwrap(), config);
    assert_eq!(file.metadata_part::<Vec<String>>("classes").unwrap()[1], "sëptic \"shock\"\n");
    for (error, word) in [
        (file.metadata_part::<VitConfig>("configuration").unwrap_err(), "configuration"),
        (file.metadata_part::<VitConfig>("epoch").unwrap_err(), "epoch"),
        (file.metadata_part::<u8>("classes").unwrap_err(), "classes"),
    ] {
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let foreign = WeightFile::open(&crate::support::fixture("vit_golden.safetensors")).unwrap();
    assert!(foreign.metadata().is_empty());
}

#[test]
fn a_model_is_built_from_a_file_alone() {
    let config = encoder().classifier(3, Pooling::ClassToken);
    let store = store(&config, 5);
    let (_folder, path) = saved(&store.tensors());
    let (model, report) = Vit::from_file(&config, &path, &Device::Cpu).unwrap();
    assert_eq!((report.loaded(), report.tensors.len()), (store.len(), store.len()));
    let images = Tensor::arange(0f32, 768., &Device::Cpu).unwrap();
    let images = (images.reshape((1, 3, 16, 16)).unwrap() / 768.).unwrap();
    let logits = |model: &Vit| {
        use vit_models::{Classifier, Context};
        flat(&model.logits(&images, &Context::eval()).unwrap())
    };
    assert_eq!(logits(&model), logits(&Vit::new(&config, &store.frozen()).unwrap()));
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, "old").unwrap();
    let error = write_atomic(&path, |file| {
        use std::io::Write;
        file.write_all(b"half of the n")?;
        Err(std::io::Error::other("disk full"))
    })
    .unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("absent/weights");
    let error = save_weights(&nowhere, &BTreeMap::new(), &Map::new()).unwrap_err();
    assert!(matches!(error, Error::Io { path, .. } if path == nowhere));
}

/// A temporary file is readable by its owner only; weights are for the owner's colleagues too.
#[cfg(unix)]
#[test]
fn a_written_file_has_the_usual_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
    std::fs::write(folder.path().join("plain"), "").unwrap();
    save_weights(&folder.path().join("ours"), &BTreeMap::new(), &Map::new()).unwrap();
    assert_eq!(mode("ours"), mode("plain"));
}
