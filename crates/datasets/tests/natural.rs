//! `ImageNet` and its variants, `iNaturalist`, Places.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;

use common::write_png;
use vit_datasets::{
    Dataset, Error, FileOptions, INaturalist, INaturalistYear, ImageNet, ImageNetVariant, PathList,
    PathListKind, Split, Target, describe,
};

fn classes(data: &dyn Dataset) -> Vec<usize> {
    let class = |index| match data.record(index).unwrap().target {
        Target::Class(class) => class,
        other => panic!("{other:?}"),
    };
    (0..data.len()).map(class).collect()
}

#[test]
fn imagenet_variants_number_the_thousand_classes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (layout, variant) in [
        ("train", ImageNetVariant::Train),
        ("val", ImageNetVariant::Val),
        ("", ImageNetVariant::A),
        ("", ImageNetVariant::R),
        ("", ImageNetVariant::Sketch),
        ("fog/3", ImageNetVariant::C { corruption: "fog".into(), severity: 3 }),
    ] {
        let root = root.join(format!("{variant:?}").replace([' ', '{', '}', '"', ':', ','], ""));
        write_png(&root.join(layout).join("n15075141/x.JPEG"), 1);
        write_png(&root.join(layout).join("n01443537/y.JPEG"), 2);
        std::fs::write(root.join("README.txt"), "no picture").unwrap();
        let reader = ImageNet::new(&root, variant);
        let data = reader.open().unwrap();
        assert_eq!(classes(&data), [1, 999]);
        assert_eq!((data.task().names().len(), data.present_classes()), (1000, vec![1, 999]));
        assert_eq!(data.get(0).unwrap().image, common::grey(6, 4, 2));
        assert!(describe(&data).unwrap().expected.is_some(), "{}", data.part());
        let text = serde_json::to_string(&reader).unwrap();
        assert_eq!(serde_json::from_str::<ImageNet>(&text).unwrap().open().unwrap().len(), 2);
    }
}

#[test]
fn imagenet_v2_folders_are_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for class in ["0", "2", "10", "999"] {
        write_png(&root.join(class).join("a.jpeg"), 1);
    }
    let data = ImageNet::new(root, ImageNetVariant::V2).open().unwrap();
    assert_eq!(data.present_classes(), [0, 2, 10, 999]);
    write_png(&root.join("1000/a.jpeg"), 1);
    let error = ImageNet::new(root, ImageNetVariant::V2).open().unwrap_err();
    assert!(matches!(&error, Error::UnknownClass { class, .. } if class == "1000"), "{error}");
}

#[test]
fn imagenet_that_is_not_laid_out_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let open = |variant| ImageNet::new(root, variant).open();
    assert!(matches!(open(ImageNetVariant::Val), Err(Error::Empty { .. })));
    write_png(&root.join("cat/x.jpg"), 1);
    assert!(matches!(open(ImageNetVariant::Val), Err(Error::UnknownClass { .. })));
    std::fs::write(root.join("names.txt"), "cat a pet\ndog\n").unwrap();
    let named = ImageNet {
        classes: Some(root.join("names.txt")),
        ..ImageNet::new(root, ImageNetVariant::Val)
    };
    assert_eq!(named.open().unwrap().task().names(), ["cat", "dog"]);
    write_png(&root.join("loose.jpg"), 1);
    let error = named.open().unwrap_err();
    assert!(error.to_string().contains("loose.jpg lies beside"), "{error}");
    for (corruption, severity) in [("../x", 1), ("fog", 0), ("fog", 6), ("", 1), ("a/b", 2)] {
        let error =
            open(ImageNetVariant::C { corruption: corruption.into(), severity }).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
}

fn inaturalist(root: &Path, text: &str) -> vit_datasets::Result<vit_datasets::FileDataset> {
    let annotations = root.join("train2018.json");
    std::fs::write(&annotations, text).unwrap();
    let (year, files) = (INaturalistYear::Y2018, FileOptions::default());
    INaturalist { root: root.into(), annotations, year, split: Split::Train, files }.open()
}

const INATURALIST: &str = r#"{"info": {"year": 2018}, "licenses": [],
  "images": [
    {"id": 7, "file_name": "train_val2018/Aves/1/a.jpg", "width": 800, "height": 600, "license": 3, "rights_holder": "A. Bee"},
    {"id": 9, "file_name": "train_val2018/Fungi/2/b.jpg"}],
  "categories": [{"id": 20, "name": "2", "supercategory": "Fungi"}, {"id": 10, "name": "1", "supercategory": "Aves"}],
  "annotations": [{"id": 1, "image_id": 9, "category_id": 20}, {"id": 2, "image_id": 7, "category_id": 10}]}"#;

#[test]
fn inaturalist_annotations() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("train_val2018/Aves/1/a.jpg"), 1);
    write_png(&root.join("train_val2018/Fungi/2/b.jpg"), 2);
    let data = inaturalist(root, INATURALIST).unwrap();
    assert_eq!(
        (classes(&data), data.task().names()),
        (vec![0, 1], &["1".to_owned(), "2".into()][..])
    );
    let known = data.attributes(0).unwrap();
    assert_eq!((&*known["rights_holder"], &*known["supercategory"]), ("A. Bee", "Aves"));
    assert_eq!(data.get(1).unwrap().image, common::grey(6, 4, 2));
    let pictures = r#"{"images": [{"id": 1, "file_name": "train_val2018/Aves/1/a.jpg"}]}"#;
    let data = inaturalist(root, pictures).unwrap();
    assert_eq!(data.record(0).unwrap().target, Target::None);

    for (from, to, words) in [
        (r#""category_id": 20"#, r#""category_id": 30"#, "category 30, which is not there"),
        (r#""image_id": 9"#, r#""image_id": 7"#, "picture 7 has two annotations"),
        (r#""image_id": 9"#, r#""image_id": 8"#, "names picture 8, which is not there"),
        (r#"{"id": 1, "image_id": 9, "category_id": 20}, "#, "", "picture 9 has no annotation"),
        (r#""id": 20"#, r#""id": 10"#, "category 10 stands twice"),
        (r#"{"id": 7,"#, r#"{"id": 9,"#, "picture 9 stands twice"),
        (r#""file_name": "train_val2018/Fungi/2"#, r#""file_name": "../Fungi"#, "below the root"),
        (r#""images": ["#, r#""images": [7, "#, "line 2"),
    ] {
        let message = inaturalist(root, &INATURALIST.replace(from, to)).unwrap_err().to_string();
        assert!(message.contains("train2018.json") && message.contains(words), "{message}");
    }
    for length in 0..INATURALIST.len() {
        assert!(matches!(inaturalist(root, &INATURALIST[..length]), Err(Error::Json { .. })));
    }
}

#[test]
fn lists_of_places() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("a/airfield/1.jpg"), 1);
    write_png(&root.join("b/my bar/2.jpg"), 2);
    let write = |name: &str, text: &str| {
        std::fs::write(root.join(name), text).unwrap();
        root.join(name)
    };
    let list = write("places365_train.txt", "/a/airfield/1.jpg 0\n/b/my bar/2.jpg 1\n");
    let names = write("categories.txt", "/b/bar 1\n/a/airfield 0\n");
    let places = PathList {
        kind: PathListKind::Places365,
        classes: Some(names),
        part: "train".into(),
        ..PathList::new(root, list)
    };
    let data = places.open().unwrap();
    assert_eq!((classes(&data), data.task().names()[1].as_str()), (vec![0, 1], "/b/bar"));
    let expected = describe(&data).unwrap().expected.unwrap();
    assert_eq!(expected.samples, 1_803_460);

    let list = write("train_places205.csv", "a/airfield/1.jpg,0\nb/my bar/2.jpg,1\n");
    let data = PathList { kind: PathListKind::Places205, ..PathList::new(root, list) };
    assert_eq!(data.open().unwrap().task().names(), ["0", "1"]);

    for (text, words) in [
        ("/a/airfield/1.jpg 2\n", "label '2' is not one of 0 to 1"),
        ("/a/airfield/1.jpg -1\n", "label '-1'"),
        ("/a/airfield/1.jpg\n", "a path and a label"),
        ("/../airfield/1.jpg 0\n", "below the root"),
    ] {
        write("places365_train.txt", text);
        let message = places.open().unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains(words), "{message}");
    }
    for bad in ["", "x 1\n", "x 0\ny 0\n", "x zero\n"] {
        write("categories.txt", bad);
        assert!(places.open().is_err(), "{bad}");
    }
    // An absolute path is one only where the list is known to write them so.
    let list = write("other.txt", "/a/airfield/1.jpg 0\n");
    let message = PathList::new(root, list).open().unwrap_err().to_string();
    assert!(message.contains("not a path below the root"), "{message}");
}

#[test]
fn an_annotation_for_a_picture_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"images": [], "categories": [{"id": 1, "name": "a"}],
                   "annotations": [{"image_id": 77, "category_id": 1}]}"#;
    let error = inaturalist(folder.path(), text).unwrap_err();
    assert!(matches!(&error, Error::Json { .. }), "{error}");
    assert!(error.to_string().contains("picture 77"), "{error}");
}
