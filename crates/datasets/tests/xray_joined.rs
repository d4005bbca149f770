//! RSNA, MIMIC-CXR and COVID tables: small copies with the headers, quirks and folders of the real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::io::Write;
use std::path::Path;

use common::write_png;
#[cfg(feature = "dicom")]
use vit_datasets::FileOptions;
use vit_datasets::{
    Covidx, CovidxVersion, Dataset, Error, LabelPolicy, ListPart, MimicCxr, MimicLabels,
    OnBadLabel, RsnaPneumonia, RsnaTask, Split, Target, XrayList, XrayListKind, attribute,
    describe,
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

fn value(data: &dyn Dataset, index: usize, name: &str) -> String {
    data.attribute(index, name).unwrap().unwrap_or_default()
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
    use vit_transforms::{DecodeOptions, DicomRule, Pixels};
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
    let left_out = data.left_out().remove(0);
    assert_eq!((left_out.count, &*left_out.first), (1, "line 5"));
    assert_eq!(left_out.reason, "pictures of studies without labels");
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
    assert_eq!(all.left_out(), []);

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
fn mimic_pictures_that_stand_twice_are_refused() {
    let folder = mimic();
    let root = folder.path();
    // Of another study, so that the path is another one.
    let metadata = MIMIC_METADATA.replace("096e-c", "02aa-a");
    let splits = format!("{MIMIC_SPLIT}02aa-a,57375967,10000764,test\n");
    let policy = LabelPolicy::preset("medical_mae_mimic").unwrap();
    for views in [vec![], vec!["LATERAL".to_owned()]] {
        let reader = MimicCxr { views, ..MimicCxr::new(root, policy.clone()) };
        for (name, whole, twice, line) in
            [("metadata", MIMIC_METADATA, &metadata, 4), ("split", MIMIC_SPLIT, &splits, 6)]
        {
            let path = root.join(format!("mimic-cxr-2.0.0-{name}.csv.gz"));
            gz(&path, twice);
            let message = reader.open().unwrap_err().to_string();
            let words = format!("line {line}: picture '02aa-a' stands twice");
            assert!(message.contains(name) && message.contains(&words), "{message}");
            gz(&path, whole);
        }
        reader.open().unwrap();
    }
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
    let said = data.left_out()[0].to_string();
    assert_eq!(said, "1 left out: labels that are neither 0 nor 1 (the first: line 1)");
    assert_eq!(data.record(0).unwrap().id, "images/b.png");
    // The published list has 85 lines; without the one, 84 are as expected.
    assert_eq!(data.part(), "test 1, without bad labels");
    assert_eq!(describe(&data).unwrap().expected.unwrap().samples, 84);
    let sixth = XrayList { kind: XrayListKind::Covid { repeat: 6 }, ..reader };
    assert!(matches!(sixth.open(), Err(Error::Config { .. })));
}
