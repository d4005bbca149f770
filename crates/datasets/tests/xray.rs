//! Chest X-ray tables: small copies with the headers, quirks and folders of the real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;

use common::write_png;
use vit_datasets::{
    CheXpert, ChestXray14, ChestXray14Part, Dataset, Error, FileOptions, LabelPolicy, ListPart,
    OnMissing, Split, Target, XrayList, XrayListKind, attribute, describe,
};

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn labels(data: &dyn Dataset, index: usize) -> Vec<Option<f32>> {
    match data.record(index).unwrap().target {
        Target::Labels(labels) => labels,
        other => panic!("{other:?}"),
    }
}

/// Positions of the findings that are present.
fn present(data: &dyn Dataset, index: usize) -> Vec<usize> {
    let labels = labels(data, index);
    (0..labels.len()).filter(|&position| labels[position] == Some(1.0)).collect()
}

fn value(data: &dyn Dataset, index: usize, name: &str) -> String {
    data.attribute(index, name).unwrap().unwrap_or_default()
}

const NIH_2020: &str = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,\
     Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n\
     00000001_000.png,Cardiomegaly|Emphysema,0,1,57,M,PA,2682,2749,0.143,0.143\n\
     00000001_001.png,No Finding,1,1,58,M,PA,2894,2729,0.143,0.143\n\
     00000002_000.png,Pleural_Thickening,0,2,80,F,AP,2500,2048,0.171,0.171\n";

fn nih() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("images_001/images/00000001_000.png"), 1);
    write_png(&root.join("images_001/images/00000001_001.png"), 2);
    write_png(&root.join("images_002/images/00000002_000.png"), 3);
    write(&root.join("Data_Entry_2017_v2020.csv"), NIH_2020);
    write(&root.join("train_val_list.txt"), "00000001_000.png\r\n00000001_001.png");
    write(&root.join("test_list.txt"), "00000002_000.png\n");
    write(
        &root.join("BBox_List_2017.csv"),
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n\
         00000001_000.png,Infiltrate,225.08,547.02,86.78,79.19,,,\n\
         00000001_000.png,Cardiomegaly,1,2,3,4,,,\n",
    );
    folder
}

#[test]
fn chest_xray14_tables_lists_and_boxes() {
    let folder = nih();
    let root = folder.path();
    let table = root.join("BBox_List_2017.csv");
    let reader = ChestXray14 { boxes: Some(table.clone()), ..ChestXray14::new(root) };
    let data = reader.open().unwrap();
    assert_eq!((data.len(), data.task().names().len()), (3, 14));
    assert_eq!(present(&data, 0), [1, 10]);
    assert_eq!(present(&data, 1), [0; 0]);
    assert_eq!(present(&data, 2), [12]);
    let record = data.record(2).unwrap();
    assert_eq!((&*record.id, &*record.group), ("images_002/images/00000002_000.png", "00000002"));
    assert_eq!(data.get(2).unwrap().image, common::grey(6, 4, 3));
    let known = [attribute::AGE, attribute::SEX, attribute::VIEW].map(|name| value(&data, 0, name));
    assert_eq!(known, ["57", "male", "PA"]);
    let boxes = data.boxes(0);
    assert_eq!(boxes.len(), 2);
    assert_eq!((&*boxes[0].finding, boxes[0].x, boxes[0].height), ("Infiltration", 225.08, 79.19));
    assert!(data.boxes(1).is_empty());
    let text = describe(&data).unwrap().to_string();
    assert!(text.contains("samples 3 instead of 112120"), "{text}");
    // A part has not all boxes; of all pictures, none may be left over.
    let part = ChestXray14 { part: ChestXray14Part::Test, ..reader.clone() };
    assert!(part.open().unwrap().boxes(0).is_empty());
    let text = std::fs::read_to_string(&table).unwrap();
    write(&table, &text.replace("00000001_000.png,I", "00000009_000.png,I"));
    let message = reader.open().unwrap_err().to_string();
    assert!(message.contains("the first is '00000009_000.png'"), "{message}");

    for (part, count) in [(ChestXray14Part::TrainVal, 2), (ChestXray14Part::Test, 1)] {
        let data = ChestXray14 { part, ..ChestXray14::new(root) }.open().unwrap();
        assert_eq!(data.len(), count);
    }
    // The table of 2017: a comma at the end of each line, other ages; a mark, CRLF.
    let old = "\u{feff}".to_owned() + &NIH_2020.replace(",57,", ",057Y,").replace('\n', ",\r\n");
    write(&root.join("old.csv"), &old);
    let reader = ChestXray14 { table: Some(root.join("old.csv")), ..ChestXray14::new(root) };
    let data = reader.open().unwrap();
    assert_eq!((data.len(), value(&data, 0, attribute::AGE)), (3, "57".to_owned()));
}

#[test]
fn chest_xray14_that_is_damaged() {
    let folder = nih();
    let root = folder.path();
    let reader = ChestXray14::new(root);
    let table = root.join("Data_Entry_2017_v2020.csv");
    let error = |text: String| {
        write(&table, &text);
        reader.open().unwrap_err().to_string()
    };
    let message = error(NIH_2020.replace("Emphysema", "Emphyzema"));
    assert!(message.contains("line 2: class 'Emphyzema' is not among the 14"), "{message}");
    let message = error(NIH_2020.replace("Patient Gender", "Patient Sex"));
    assert!(message.contains("no column 'Patient Gender'"), "{message}");
    let message = error(NIH_2020.replace("00000002_000", "../00000002_000"));
    assert!(message.contains("line 4: '../00000002_000.png' is not a path below"), "{message}");
    // Cut in the middle of a row.
    let message = error(NIH_2020[..NIH_2020.len() - 30].to_owned());
    assert!(message.contains("line 4"), "{message}");
    write(&table, NIH_2020);

    write(&root.join("test_list.txt"), "00000002_000.png\n00000003_000.png\n");
    let test = ChestXray14 { part: ChestXray14Part::Test, ..reader.clone() };
    let message = test.open().unwrap_err().to_string();
    assert!(message.contains("test_list.txt: 1 of its names are not in"), "{message}");

    write_png(&root.join("copy/00000001_000.png"), 1);
    let message = reader.open().unwrap_err().to_string();
    assert!(
        message.contains("is in several places: copy/00000001_000.png and images_001"),
        "{message}"
    );
    std::fs::remove_dir_all(root.join("copy")).unwrap();
    std::fs::remove_file(root.join("images_001/images/00000001_001.png")).unwrap();
    let message = reader.open().unwrap_err();
    assert!(matches!(message, Error::MissingFiles { count: 1, line: 3, .. }), "{message}");
    let files = FileOptions { missing: OnMissing::Skip, ..FileOptions::default() };
    let data = ChestXray14 { files, ..reader }.open().unwrap();
    assert_eq!((data.len(), data.left_out()[0].count), (2, 1));
}

#[test]
fn lists_of_chest_xray14() {
    let folder = nih();
    let root = folder.path();
    let zeros = "0 ".repeat(12);
    // CRLF and no end of line at the end, as the lists of MED-PEFT.
    let text = format!("00000001_000.png 0 1 {zeros}\r\n00000002_000.png {zeros}0 1");
    write(&root.join("list.txt"), &text);
    for (kind, part) in [
        (XrayListKind::ChestXray14Mrm, ListPart::OnePercent),
        (XrayListKind::ChestXray14MedicalMae, ListPart::Train),
    ] {
        let data = XrayList::new(root, root.join("list.txt"), kind, part).open().unwrap();
        assert_eq!((present(&data, 0), present(&data, 1)), (vec![1], vec![13]));
        assert_eq!(data.record(1).unwrap().group, "00000002");
        assert!(describe(&data).unwrap().expected.is_some());
    }
    let kind = XrayListKind::ChestXray14Mrm;
    for (text, words) in [
        ("00000001_000.png 0 1 0\n".to_owned(), "line 1: 4 word(s), but 15 are needed"),
        (text.replace("png 0 1", "png 0 0 1"), "line 1: 15 labels, but 14 are known"),
        (text.replace("0 1", "0 2"), "line 1: label '2' is not one of 0 and 1"),
        (text.replace("png 0", "png -1"), "label '-1'"),
    ] {
        write(&root.join("list.txt"), &text);
        let list = XrayList::new(root, root.join("list.txt"), kind, ListPart::Train);
        let missing = OnMissing::Unchecked;
        let unchecked = FileOptions { missing, ..FileOptions::default() };
        for list in [list.clone(), XrayList { files: unchecked, ..list }] {
            let message = list.open().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}

const CHEXPERT: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,\
     Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,\
     Pleural Effusion,Pleural Other,Fracture,Support Devices\n\
     P/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0\n\
     P/train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,PA,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,\n\
     P/train/patient00002/study1/view2_lateral.jpg,Unknown,0,Lateral,,,,1.0,1.0,,0.0,,,,0.0,1.0,,1.0,\n";

fn chexpert(edition: &str, below: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (position, name) in [
        "train/patient00001/study1/view1_frontal.jpg",
        "train/patient00002/study2/view1_frontal.jpg",
        "train/patient00002/study1/view2_lateral.jpg",
    ]
    .iter()
    .enumerate()
    {
        write_png(&root.join(below).join(name), position as u8);
    }
    let text = CHEXPERT.replace("P/train", &format!("{edition}/train"));
    write(&root.join(below).join("train.csv"), &text);
    folder
}

#[test]
fn chexpert_small_and_full_with_policies() {
    for (edition, below) in [
        ("CheXpert-v1.0-small", ""),
        ("CheXpert-v1.0", ""),
        ("CheXpert-v1.0-small", "CheXpert-v1.0-small"),
    ] {
        let folder = chexpert(edition, below);
        let policy = LabelPolicy::preset("medical_mae").unwrap();
        let reader = CheXpert::new(folder.path(), Split::Train, policy);
        let data = reader.open().unwrap();
        assert_eq!(data.len(), 3);
        assert_eq!(
            data.task().names(),
            ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]
        );
        assert_eq!(present(&data, 1), [1, 3]);
        assert_eq!(data.record(2).unwrap().group, "patient00002");
        let known = [attribute::SEX, attribute::AGE, attribute::VIEW, attribute::STUDY];
        let values = known.map(|name| value(&data, 2, name));
        assert_eq!(values, ["Unknown", "0", "LATERAL", "patient00002/study1"]);
        assert_eq!(value(&data, 1, attribute::VIEW), "PA");
        assert_eq!(data.get(2).unwrap().image, common::grey(6, 4, 2));

        let policy = LabelPolicy::preset("med_peft").unwrap();
        let reader = CheXpert { policy, frontal_only: true, ..reader };
        let data = reader.open().unwrap();
        assert_eq!((data.len(), present(&data, 1)), (2, vec![0, 3, 4]));
        assert_eq!(data.part(), "train, frontal");
        let again: CheXpert =
            serde_json::from_str(&serde_json::to_string(&reader).unwrap()).unwrap();
        assert_eq!(again.open().unwrap().len(), 2);
    }
}

#[test]
fn chexpert_test_table_and_damage() {
    let folder = chexpert("CheXpert-v1.0-small", "");
    let root = folder.path();
    write_png(&root.join("test/patient64741/study1/view1_frontal.jpg"), 9);
    write(
        &root.join("test.csv"),
        "Path,Cardiomegaly\ntest/patient64741/study1/view1_frontal.jpg,1.0\n",
    );
    let mut policy = LabelPolicy::preset("ones").unwrap();
    policy.findings.retain(|rule| rule.finding == "Cardiomegaly");
    let data = CheXpert::new(root, Split::Test, policy.clone()).open().unwrap();
    assert_eq!(present(&data, 0), [0]);
    assert_eq!(data.attributes(0).unwrap().len(), 1, "only the study is known");

    let reader = CheXpert::new(root, Split::Train, policy);
    let text = std::fs::read_to_string(root.join("train.csv")).unwrap();
    for (bad, words) in [
        (text.replacen(",-1.0,", ",2.0,", 1), "line 3, column 'Cardiomegaly': label '2.0'"),
        (text.replace("patient00001/", ""), "has no folder 'patient…'"),
        (text.replace("Age", "Sex"), "column 'Sex' stands twice"),
        (text.replace("Cardiomegaly", "Heart"), "no column 'Cardiomegaly'"),
        (text.replace("small/train/patient00001", "small/../../patient00001"), "below the root"),
    ] {
        write(&root.join("train.csv"), &bad);
        let message = reader.open().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn lists_of_chexpert() {
    let folder = chexpert("CheXpert-v1.0-small", "CheXpert-v1.0-small");
    let list = folder.path().join("train_1.txt");
    write(
        &list,
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg 0 0 0 0 0\n\
         CheXpert-v1.0-small/train/patient00002/study1/view2_lateral.jpg 0 1 0 0 1\n",
    );
    for kind in [XrayListKind::CheXpertMedPeft, XrayListKind::CheXpertMrm] {
        let reader = XrayList::new(folder.path(), &list, kind, ListPart::OnePercent);
        let data = reader.open().unwrap();
        assert_eq!(present(&data, 1), [1, 4]);
        assert_eq!(data.record(1).unwrap().group, "patient00002");
        assert_eq!(data.task().names()[4], "Pleural Effusion");
    }
}
