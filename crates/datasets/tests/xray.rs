//! Chest X-ray tables: small copies with the headers, quirks and folders of the real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::io::Write;
use std::path::Path;

use common::write_png;
use vit_datasets::{
    CheXpert, ChestXray14, ChestXray14Part, Covidx, CovidxVersion, Dataset, Error, FileOptions,
    LabelPolicy, ListPart, MimicCxr, MimicLabels, OnBadLabel, OnMissing, RsnaPneumonia, RsnaTask,
    Split, Target, XrayList, XrayListKind, attribute, describe,
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
    let reader =
        ChestXray14 { boxes: Some(root.join("BBox_List_2017.csv")), ..ChestXray14::new(root) };
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
    assert_eq!((data.len(), data.skipped()), (2, 1));
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
        (text.replace("0 1", "0 2"), "line 1: label '2' is not one of 0 and 1"),
        (text.replace("png 0", "png -1"), "label '-1'"),
    ] {
        write(&root.join("list.txt"), &text);
        let list = XrayList::new(root, root.join("list.txt"), kind, ListPart::Train);
        let message = list.open().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
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
        (text.replace("0,Frontal,AP,1.0,,,", "0,Frontal,AP,1.0,,7,"), ""),
        (text.replacen(",-1.0,", ",2.0,", 1), "line 3, column 'Cardiomegaly': label '2.0'"),
        (text.replace("patient00001/", ""), "has no folder 'patient…'"),
        (text.replace("Age", "Sex"), "column 'Sex' stands twice"),
        (text.replace("Cardiomegaly", "Heart"), "no column 'Cardiomegaly'"),
        (text.replace("small/train/patient00001", "small/../../patient00001"), "below the root"),
    ] {
        if words.is_empty() {
            continue;
        }
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

const RSNA: &str = "patientId,x,y,width,height,Target\n\
     0004cfab,,,,,0\n\
     00436515,264.0,152.0,213.0,379.0,1\n\
     00436515,562.0,152.0,256.0,453.0,1\n\
     00322d4d,,,,,0\n";
const RSNA_CLASSES: &str = "patientId,class\n\
     0004cfab,No Lung Opacity / Not Normal\n00436515,Lung Opacity\n00436515,Lung Opacity\n\
     00322d4d,Normal\n";

fn rsna() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (position, id) in ["0004cfab", "00436515", "00322d4d"].iter().enumerate() {
        write_png(&root.join(format!("stage_2_train_images/{id}.png")), position as u8);
    }
    write(&root.join("stage_2_train_labels.csv"), RSNA);
    write(&root.join("stage_2_detailed_class_info.csv"), RSNA_CLASSES);
    folder
}

#[test]
fn rsna_rows_of_a_patient_are_one_sample() {
    let folder = rsna();
    let reader = RsnaPneumonia::new(folder.path());
    let data = reader.open().unwrap();
    assert_eq!((data.len(), data.task().names()), (3, &["Pneumonia".to_owned()][..]));
    assert_eq!(labels(&data, 1), [Some(1.0)]);
    assert_eq!((data.boxes(1).len(), data.boxes(1)[1].height), (2, 453.0));
    assert_eq!(value(&data, 2, "class"), "Normal");
    let detailed = RsnaPneumonia { task: RsnaTask::Detailed, ..reader.clone() };
    let data = detailed.open().unwrap();
    assert_eq!(data.record(0).unwrap().target, Target::Class(1));

    for (labels, classes, words) in [
        (RSNA.replace("379.0,1", "379.0,0"), RSNA_CLASSES.into(), "target 0 with 4 of 4"),
        (RSNA.replace("379.0,1", ",1"), RSNA_CLASSES.into(), "target 1 with 3 of 4"),
        (RSNA.replace("379.0,1", "379.0,2"), RSNA_CLASSES.into(), "label '2'"),
        (RSNA.replace("379.0", "-1"), RSNA_CLASSES.into(), "a box of 213 x -1 pixels"),
        (RSNA.replace("379.0", "inf"), RSNA_CLASSES.into(), "column 'height': label 'inf'"),
        (RSNA.replace("00322d4d", "00436515"), RSNA_CLASSES.into(), "contradicts line 3"),
        (RSNA.replace("00322d4d", "0004cfab"), RSNA_CLASSES.into(), "contradicts line 2"),
        (RSNA.into(), RSNA_CLASSES.replace("\n00322d4d", "\n0004cfab"), "has two classes"),
        (RSNA.into(), RSNA_CLASSES.replace("00322d4d,Normal\n", ""), "line 5: patient '00322d4d'"),
        (RSNA.into(), RSNA_CLASSES.replace(",Normal", ",normal"), "label 'normal'"),
    ] {
        write(&folder.path().join("stage_2_train_labels.csv"), &labels);
        write(&folder.path().join("stage_2_detailed_class_info.csv"), &classes);
        let message = detailed.open().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn lists_of_rsna_end_in_a_blank() {
    let folder = rsna();
    let list = folder.path().join("train_1.txt");
    write(&list, "stage_2_train_images/00436515.dcm 1 \nstage_2_train_images/0004cfab.dcm 0 \n");
    let data = XrayList::new(folder.path(), &list, XrayListKind::Rsna, ListPart::OnePercent)
        .open()
        .unwrap();
    assert_eq!(labels(&data, 0), [Some(1.0)]);
    let record = data.record(0).unwrap();
    assert_eq!((&*record.id, &*record.group), ("stage_2_train_images/00436515.png", "00436515"));
}

/// With the feature `dicom`: a real radiograph stands for one of RSNA.
#[cfg(feature = "dicom")]
#[test]
fn rsna_pictures_are_dicom() {
    use vit_transforms::{DecodeOptions, DicomDepth, DicomRule, Pixels};
    let Some(dicom) = common::data("dicom") else { return };
    let folder = rsna();
    let picture = folder.path().join("stage_2_train_images/0004cfab.dcm");
    std::fs::copy(dicom.join("RG1_J2KI.dcm"), picture).unwrap();
    let data = RsnaPneumonia::new(folder.path()).open().unwrap();
    assert_eq!(data.record(0).unwrap().id, "stage_2_train_images/0004cfab.dcm");
    let sample = data.get(0).unwrap();
    assert!(sample.image.width() > 1000, "{}", sample.image.width());
    // The references' rule: 255 / max, 8 bit.
    let decode = DecodeOptions { dicom: DicomRule::MaxTo255, ..DecodeOptions::default() };
    let files = FileOptions { decode, ..FileOptions::default() };
    let data = RsnaPneumonia { files, ..RsnaPneumonia::new(folder.path()) }.open().unwrap();
    assert!(matches!(data.get(0).unwrap().image.pixels(), Pixels::U8(_)));
    let _ = DicomDepth::default();
}

fn gz(path: &Path, text: &str) {
    let file = std::fs::File::create(path).unwrap();
    let mut writer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap();
}

const MIMIC_LABELS: &str = "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,\
     Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,\
     Pleural Other,Pneumonia,Pneumothorax,Support Devices\n\
     10000032,50414267,,,,,,,,,1.0,,,,,\n\
     10000764,57375967,,,1.0,,,,,,,-1.0,,0.0,,\n";
const MIMIC_METADATA: &str = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,\
     ViewPosition,Rows,Columns,StudyDate,StudyTime\n\
     02aa-a,10000032,50414267,\"CHEST (PA, LAT)\",PA,3056,2544,21800506,213014.531\n\
     174f-b,10000032,50414267,\"CHEST (PA, LAT)\",LATERAL,3056,2544,21800506,213014.531\n\
     096e-c,10000764,57375967,CHEST,AP,2000,2000,21321015,83652.2\n\
     ffff-d,10000935,99999999,CHEST,AP,2000,2000,21321015,83652.2\n";
const MIMIC_SPLIT: &str = "dicom_id,study_id,subject_id,split\n02aa-a,50414267,10000032,train\n\
     174f-b,50414267,10000032,train\n096e-c,57375967,10000764,validate\nffff-d,99999999,10000935,test\n";

fn mimic() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (position, path) in [
        "files/p10/p10000032/s50414267/02aa-a.jpg",
        "files/p10/p10000032/s50414267/174f-b.jpg",
        "files/p10/p10000764/s57375967/096e-c.jpg",
        "files/p10/p10000935/s99999999/ffff-d.jpg",
    ]
    .iter()
    .enumerate()
    {
        write_png(&root.join(path), position as u8);
    }
    gz(&root.join("mimic-cxr-2.0.0-chexpert.csv.gz"), MIMIC_LABELS);
    gz(&root.join("mimic-cxr-2.0.0-metadata.csv.gz"), MIMIC_METADATA);
    gz(&root.join("mimic-cxr-2.0.0-split.csv.gz"), MIMIC_SPLIT);
    folder
}

#[test]
fn mimic_joins_three_packed_tables() {
    let folder = mimic();
    let root = folder.path();
    let policy = LabelPolicy::preset("medical_mae_mimic").unwrap();
    let reader = MimicCxr::new(root, policy);
    let data = reader.open().unwrap();
    // The last study has no labels.
    assert_eq!((data.len(), data.task().names().len()), (3, 13));
    assert_eq!(labels(&data, 0), [Some(0.0); 13], "no finding makes all absent");
    let third = labels(&data, 2);
    assert_eq!((third[2], third[8], third[10], third[0]), (Some(1.0), None, Some(0.0), None));
    assert_eq!(data.record(2).unwrap().group, "10000764");
    let known = [attribute::VIEW, attribute::STUDY, attribute::SPLIT].map(|n| value(&data, 1, n));
    assert_eq!(known, ["LATERAL", "50414267", "train"]);
    assert_eq!(data.get(2).unwrap().image, common::grey(6, 4, 2));

    let views = vec!["AP".to_owned(), "PA".to_owned()];
    let frontal = MimicCxr { views, ..reader.clone() };
    assert_eq!(frontal.open().unwrap().len(), 2);
    let train = MimicCxr { split: Some(Split::Train), first_per_patient: true, ..reader.clone() };
    assert_eq!(train.open().unwrap().len(), 1);
    let mut all = reader.clone();
    all.policy.findings.clear();
    let all = all.open().unwrap();
    assert_eq!((all.len(), all.record(3).unwrap().target), (4, Target::None));

    let error = MimicCxr { labels: MimicLabels::Negbio, ..reader.clone() }.open().unwrap_err();
    assert!(error.to_string().contains("negbio"), "{error}");
    // A table cut anywhere, and other damage.
    let path = root.join("mimic-cxr-2.0.0-split.csv.gz");
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = reader.open().unwrap_err();
        assert!(error.to_string().contains("split.csv.gz"), "{error}");
    }
    for (split, words) in [
        (MIMIC_SPLIT.replace("validate", "valid"), "column 'split': label 'valid'"),
        (MIMIC_SPLIT.replace("096e-c", "xxxx"), "does not have '096e-c'"),
    ] {
        gz(&path, &split);
        let message = reader.open().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    gz(&path, &MIMIC_SPLIT.replace("02aa-a", "../../../x"));
    gz(
        &root.join("mimic-cxr-2.0.0-metadata.csv.gz"),
        &MIMIC_METADATA.replace("02aa-a", "../../../x"),
    );
    let message = reader.open().unwrap_err().to_string();
    assert!(message.contains("below the root"), "{message}");
    gz(
        &root.join("mimic-cxr-2.0.0-metadata.csv.gz"),
        &MIMIC_METADATA.replace(",10000032,", ",10/../..,"),
    );
    gz(&path, MIMIC_SPLIT);
    let message = reader.open().unwrap_err().to_string();
    assert!(message.contains("'10/../..' is no number of a patient"), "{message}");
}

#[test]
fn covidx_lists_old_and_new() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["train/a b.jpg", "train/c.png", "train/d.png"] {
        write_png(&root.join(name), 1);
    }
    let list = root.join("train_COVIDx9A.txt");
    write(&list, "3 a b.jpg COVID-19 cohen\n3 c.png normal rsna\nx d.png pneumonia\n");
    let data = Covidx::new(root, &list, Split::Train).open().unwrap();
    let classes: Vec<Target> = (0..3).map(|index| data.record(index).unwrap().target).collect();
    assert_eq!(classes, [Target::Class(3), Target::Class(0), Target::Class(2)]);
    let groups: Vec<String> = (0..3).map(|index| data.record(index).unwrap().group).collect();
    assert_eq!(groups, ["cohen/3", "rsna/3", "x"]);
    assert_eq!(value(&data, 1, attribute::SOURCE), "rsna");

    write(&list, "3 c.png negative rsna\n4 d.png positive cohen\n");
    let nine_b = Covidx { version: CovidxVersion::V9B, ..Covidx::new(root, &list, Split::Train) };
    assert_eq!(nine_b.open().unwrap().record(1).unwrap().target, Target::Class(1));
    for (text, words) in [
        ("3 c.png covid rsna\n", "class 'covid'"),
        ("3 c.png covid\n", "class 'covid'"),
        ("c.png\n", "1 word(s)"),
        ("3 ../../c.png positive x\n", "below the root"),
    ] {
        write(&list, text);
        let message = nine_b.open().unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains(words), "{message}");
    }
}

#[test]
fn covid_lists_with_the_corrupt_label() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("gr1_lrg-a.jpg"), 1);
    write_png(&root.join("images/b.png"), 2);
    let list = root.join("isviral_test.txt");
    write(&list, "gr1_lrg-a.jpg 11\nb.png 1\n");
    let kind = XrayListKind::Viral { repeat: 1 };
    let reader = XrayList::new(root, &list, kind, ListPart::Test);
    let message = reader.open().unwrap_err().to_string();
    assert!(message.contains("line 1: label '11'"), "{message}");
    let data = XrayList { bad_labels: OnBadLabel::Skip, ..reader.clone() }.open().unwrap();
    assert_eq!((data.len(), data.record(0).unwrap().target), (1, Target::Class(1)));
    assert_eq!((&*data.record(0).unwrap().id, data.part()), ("images/b.png", "test 1"));
    let sixth = XrayList { kind: XrayListKind::Covid { repeat: 6 }, ..reader };
    assert!(matches!(sixth.open(), Err(Error::Config { .. })));
}
