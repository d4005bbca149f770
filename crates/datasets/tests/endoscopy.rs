//! `GastroVision`, `HyperKvasir` and the tables of SSL-Endoscopy-MAE: the official lists, and
//! small copies of the folders with the same quirks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use common::write_png;
use vit_datasets::{
    Dataset, Error, FileOptions, GastroVision, GastroVisionClasses, HyperKvasir,
    HyperKvasirClasses, HyperKvasirPart, HyperKvasirUnlabelled, OnMissing, Split, SslEndoscopyCsv,
    Target, attribute, describe,
};

fn unchecked() -> FileOptions {
    FileOptions { missing: OnMissing::Unchecked, ..FileOptions::default() }
}

fn gastrovision(root: &Path, file: &str, split: Option<Split>) -> GastroVision {
    GastroVision {
        split,
        list: Some(root.join(file)),
        files: unchecked(),
        ..GastroVision::new(root)
    }
}

#[test]
fn the_official_lists_of_gastrovision() {
    let Some(root) = common::data("endoscopy") else { return };
    let parts = [
        ("gastrovision_train.csv", Split::Train, 4757),
        ("gastrovision_validate.csv", Split::Val, 1587),
        ("gastrovision_test.csv", Split::Test, 1586),
    ];
    let mut ids = BTreeSet::new();
    for (file, split, count) in parts {
        let reader = gastrovision(&root, file, Some(split));
        let data = reader.open().unwrap();
        let description = describe(&data).unwrap();
        assert_eq!((data.len(), description.classes.len()), (count, 22));
        // The card holds the table of the specification: every class counted.
        assert!(description.classes.iter().all(|class| class.expected.is_some()));
        assert_eq!(description.differences(), [], "{description}");
        assert!(description.to_string().ends_with("as expected"), "{description}");
        for index in 0..data.len() {
            assert!(ids.insert(data.record(index).unwrap().id), "one picture in two parts");
        }
        assert_eq!(data.attribute(0, attribute::SPLIT).unwrap().as_deref(), Some(split.name()));

        let all = GastroVision { classes: GastroVisionClasses::All27, ..reader }.open().unwrap();
        assert_eq!(all.task().names().len(), 27);
        assert_eq!(describe(&all).unwrap().differences(), []);
    }
    assert_eq!(ids.len(), 7930);
}

#[test]
fn the_metadata_of_gastrovision() {
    let Some(root) = common::data("endoscopy") else { return };
    let file = "gastrovision_GastroVision_metadata.csv";
    let reader =
        GastroVision { classes: GastroVisionClasses::All27, ..gastrovision(&root, file, None) };
    let data = reader.open().unwrap();
    assert_eq!(data.len(), 8000);
    assert_eq!(describe(&data).unwrap().differences(), []);
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for index in 0..data.len() {
        let id = data.record(index).unwrap().id;
        let (class, name) = id.split_once('/').unwrap();
        classes.entry(name.into()).or_default().insert(class.into());
    }
    assert_eq!(classes.len(), 7933);
    assert_eq!(classes.values().filter(|classes| classes.len() > 1).count(), COLLIDING);
    assert_eq!(classes["100H0003.jpg"].len(), 7);

    let reader = gastrovision(&root, file, None);
    let official = reader.open().unwrap();
    assert_eq!(official.len(), 7930);
    assert_eq!(describe(&official).unwrap().differences(), []);
    // The seed numbers classes by falling count.
    let by_count =
        GastroVision { classes: GastroVisionClasses::ByFrequency22, ..reader }.open().unwrap();
    let counts: Vec<usize> =
        describe(&by_count).unwrap().classes.iter().map(|class| class.present).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert_eq!(by_count.task().names()[3], "Small bowel_terminal ileum");
    let names: BTreeSet<&String> = by_count.task().names().iter().collect();
    assert_eq!(names, official.task().names().iter().collect());
}

const COLLIDING: usize = 27;

#[test]
fn gastrovision_folders_lists_and_extensions() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("Ulcer/100H0003.jpg"), 1);
    write_png(&root.join("Pylorus/100H0003.jpg"), 2);
    write_png(&root.join("Cecum/b.png"), 3);
    let list = "Filename,Class,Width,Height,Size (kB)\r\n100H0003.jpg,Ulcer,720,576,1.5\r\n\
                100H0003.jpg,Pylorus,720,576,1.5\r\nb.jpg,Cecum,720,576,1.5\r\n";
    std::fs::write(root.join("GastroVision_metadata.csv"), list).unwrap();
    let reader = GastroVision { classes: GastroVisionClasses::All27, ..GastroVision::new(root) };
    let data = reader.open().unwrap();
    let ids: Vec<String> = (0..3).map(|index| data.record(index).unwrap().id).collect();
    assert_eq!(ids, ["Ulcer/100H0003.jpg", "Pylorus/100H0003.jpg", "Cecum/b.png"]);
    assert_eq!(data.get(1).unwrap().image, common::grey(6, 4, 2));
    assert_eq!(data.record(0).unwrap().target, Target::Class(26));
    assert_eq!(GastroVision::new(root).open().unwrap().len(), 2);

    // The layout of the official scripts.
    write_png(&root.join("train/Cecum/t.jpg"), 4);
    std::fs::create_dir(root.join("Split")).unwrap();
    std::fs::write(root.join("Split/train.csv"), "Filename,Class\nt.jpg,Cecum\n").unwrap();
    let train = GastroVision { split: Some(Split::Train), ..GastroVision::new(root) };
    assert_eq!(train.open().unwrap().record(0).unwrap().id, "train/Cecum/t.jpg");
    let test = GastroVision { split: Some(Split::Test), ..GastroVision::new(root) };
    let error = test.open().unwrap_err();
    assert!(error.to_string().contains("holds none of Split/test.csv, test.csv"), "{error}");

    std::fs::write(root.join("Split/test.csv"), "Filename,Class\nt.jpg,Caecum\n").unwrap();
    let error = test.open().unwrap_err();
    assert!(matches!(&error, Error::UnknownClass { class, .. } if class == "Caecum"), "{error}");
    // As serialised in a recipe.
    let text = serde_json::to_string(&train).unwrap();
    let again: GastroVision = serde_json::from_str(&text).unwrap();
    assert_eq!(again.open().unwrap().len(), 1);
}

fn hyperkvasir(root: &Path, folds: u32, part: HyperKvasirPart) -> HyperKvasir {
    let list = Some(root.join(format!("hyperkvasir_{folds}_fold_split.csv")));
    HyperKvasir { folds, part, list, files: unchecked(), ..HyperKvasir::new(root) }
}

#[test]
fn the_official_folds_of_hyperkvasir() {
    let Some(root) = common::data("endoscopy") else { return };
    use HyperKvasirPart::{All, Fold, Without};
    let sizes = [
        (2, All, 10_662),
        (2, Fold(0), 5324),
        (2, Fold(1), 5338),
        (2, Without(1), 5324),
        (5, All, 10_662),
        (5, Fold(0), 2122),
        (5, Fold(1), 2122),
        (5, Fold(2), 2122),
        (5, Fold(3), 2122),
        (5, Fold(4), 2174),
        (5, Without(4), 8488),
    ];
    for (folds, part, count) in sizes {
        let data = hyperkvasir(&root, folds, part).open().unwrap();
        let description = describe(&data).unwrap();
        assert_eq!((data.len(), description.classes.len()), (count, 23));
        assert!(description.expected.is_some(), "{}", data.part());
        assert_eq!(description.differences(), [], "{description}");
    }
    let classes = HyperKvasirClasses::Large16;
    for (part, count) in [(All, 10_479), (Fold(0), 5235), (Fold(1), 5244)] {
        let data = HyperKvasir { classes, ..hyperkvasir(&root, 2, part) }.open().unwrap();
        assert_eq!(data.len(), count);
        assert_eq!(describe(&data).unwrap().differences(), []);
    }
    // Guo's sixteen classes are those with at least 131 pictures.
    let all = describe(&hyperkvasir(&root, 2, All).open().unwrap()).unwrap();
    let large: BTreeSet<&str> =
        all.classes.iter().filter(|c| c.present >= 131).map(|c| c.name.as_str()).collect();
    assert_eq!(large, classes.names().iter().copied().collect());
}

#[test]
fn hyperkvasir_folders_in_all_spellings() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pictures = [
        ("labeled-images/lower-gi-tract/pathological-findings/polyps/a.jpg", "polyp"),
        ("labeled-images/lower-gi-tract/pathological-findings/hemorrhoids/b.jpg", "hemorrhoids"),
        (
            "labeled-images/upper-gi-tract/pathological-findings/esophagitis-a/c.png",
            "oesophagitis-a",
        ),
        ("labeled-images/lower-gi-tract/anatomical-landmarks/cecum/d.jpg", "normal-cecum"),
        (
            "labeled-images/lower-gi-tract/pathological-findings/ulcerative-colitis-grade-0-1/e.jpg",
            "ulcerative-colitis-0-1",
        ),
        (
            "labeled-images/upper-gi-tract/pathological-findings/barretts-short-segment/f.jpg",
            "short-segment-barretts",
        ),
    ];
    let mut list = "file-name;class-name;split-index\n".to_owned();
    for (position, (path, class)) in pictures.iter().enumerate() {
        write_png(&root.join(path), position as u8);
        let name = path.rsplit('/').next().unwrap().replace(".png", ".jpg");
        list += &format!("{name};{class};{}\n", position % 2);
    }
    std::fs::write(root.join("2_fold_split.csv"), &list).unwrap();
    let data = HyperKvasir::new(root).open().unwrap();
    for (index, (path, _)) in pictures.iter().enumerate() {
        assert_eq!(data.record(index).unwrap().id, *path);
        assert_eq!(data.get(index).unwrap().image, common::grey(6, 4, index as u8));
    }
    // The folder itself as root.
    let inner = HyperKvasir {
        list: Some(root.join("2_fold_split.csv")),
        ..HyperKvasir::new(root.join("labeled-images"))
    };
    assert_eq!(inner.open().unwrap().len(), 6);
    let fold = HyperKvasir { part: HyperKvasirPart::Fold(1), ..HyperKvasir::new(root) };
    assert_eq!(fold.open().unwrap().len(), 3);

    let similar = "ssim,filename1,label1,loc1,filename2,label2,loc2\n\
                   0.9,a.png,polyp,x,d.png,normal-cecum,x\n0.9,b.png,h,x,c.png,h,x\n";
    std::fs::write(root.join("similar.csv"), similar).unwrap();
    let filtered =
        HyperKvasir { similarities: Some(root.join("similar.csv")), ..HyperKvasir::new(root) };
    assert_eq!(filtered.open().unwrap().len(), 4);

    for (bad, word) in
        [("a.jpg;polyp;2", "0 to 1"), ("a.jpg;polip;0", "polip"), ("a.jpg;polyp;x", "0 to 1")]
    {
        let list = format!("file-name;class-name;split-index\n{bad}\n");
        std::fs::write(root.join("2_fold_split.csv"), list).unwrap();
        let error = HyperKvasir::new(root).open().unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains(word), "{error}");
    }
    let three = HyperKvasir { folds: 3, ..HyperKvasir::new(root) };
    assert!(matches!(three.open(), Err(Error::Config { .. })));
    let outside = HyperKvasir { part: HyperKvasirPart::Without(2), ..HyperKvasir::new(root) };
    assert!(matches!(outside.open(), Err(Error::Config { .. })));
}

#[test]
fn unlabelled_pictures_of_hyperkvasir() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["unlabeled-images/images/b.jpg", "unlabeled-images/images/a.jpg"] {
        write_png(&folder.path().join(name), 7);
    }
    std::fs::write(folder.path().join("unlabeled-images/readme.txt"), "no picture").unwrap();
    let files = FileOptions::default();
    let data = HyperKvasirUnlabelled { root: folder.path().into(), files }.open().unwrap();
    assert_eq!((data.len(), data.record(0).unwrap().target), (2, Target::None));
    assert_eq!(data.record(0).unwrap().id, "images/a.jpg");
    // Two instead of 99,417 is said.
    assert_eq!(describe(&data).unwrap().differences()[0].expected, 99_417);
}

#[test]
fn tables_of_ssl_endoscopy_mae() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let loc = "GastroVision/labeled-images/Small bowel_terminal ileum";
    write_png(&root.join(loc).join("x.png"), 1);
    write_png(&root.join("hyper-kvasir/labeled-images/cecum/y.jpg"), 2);
    let header = ",index,db,loc,filename,type,label,set_type,GT\n";
    let rows = "0,0,GastroVision,GastroVision\\labeled-images\\Small bowel_terminal ileum,x.png,\
                labeled,Small bowel_terminal ileum,Validation,1\n\
                1,1,hyper-kvasir,hyper-kvasir\\labeled-images\\cecum,y.png,labeled,cecum,Train,0\n";
    let path = root.join("supervised.csv");
    std::fs::write(&path, format!("{header}{rows}")).unwrap();
    let reader = SslEndoscopyCsv::new(root, &path);
    let data = reader.open().unwrap();
    assert_eq!(data.task().names(), ["cecum", "Small bowel_terminal ileum"]);
    assert_eq!(data.record(0).unwrap().id, format!("{loc}/x.png"));
    assert_eq!(data.record(1).unwrap().id, "hyper-kvasir/labeled-images/cecum/y.jpg");
    let known: Vec<(String, String)> = data.attributes(1).unwrap().into_iter().collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(known, [pair("source", "hyper-kvasir"), pair("split", "Train")]);
    let train = SslEndoscopyCsv { set_type: Some("Train".into()), ..reader.clone() };
    let train = train.open().unwrap();
    assert_eq!((train.len(), train.task().names().len()), (1, 2));

    let cases = HashMap::from([
        ("2,2,d,l,f,labeled,ulcer,Train,0", "class 0 is 'ulcer' and also 'cecum'"),
        ("2,2,d,l,f,labeled,ulcer,Train,3", "no row has class 2"),
        ("2,2,d,l,f,labeled,ulcer,Train,-1", "the whole numbers"),
        ("2,2,d,..\\..\\l,f,labeled,ulcer,Train,2", "not a path below the root"),
    ]);
    for (row, words) in cases {
        std::fs::write(&path, format!("{header}{rows}{row}\n")).unwrap();
        let error = reader.open().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let list = ",loc,filename\n0,hyper-kvasir\\labeled-images\\cecum,y.jpg\n";
    std::fs::write(&path, list).unwrap();
    assert_eq!(reader.open().unwrap().record(0).unwrap().target, Target::None);
}
