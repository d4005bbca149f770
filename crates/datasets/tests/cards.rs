//! Cards of known data sets: their labels, what is expected of which part, and of what is put
//! together from several.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Toy, write_png};
use vit_datasets::{
    CheXpert, Concat, Dataset, FileDataset, FileOptions, GastroVisionClasses, Harmonized,
    HyperKvasirClasses, ImageNet, ImageNetVariant, InMemory, InPopulation, LabelPolicy, ListPart,
    MimicCxr, OnMissing, RsnaPneumonia, RsnaTask, Split, SslEndoscopyCsv, Subset, Vocabulary,
    XrayList, XrayListKind, describe,
};

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn unchecked() -> FileOptions {
    FileOptions { missing: OnMissing::Unchecked, ..FileOptions::default() }
}

const CHEXPERT: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,\
     Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,\
     Pleural Effusion,Pleural Other,Fracture,Support Devices\n";

fn chexpert(root: &Path, policy: &str) -> FileDataset {
    let row = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,\
               0.0,1.0,0.0,1.0,0.0,0.0,0.0,0.0,-1.0,0.0,0.0,0.0,0.0,\n";
    write(&root.join("valid.csv"), &format!("{CHEXPERT}{row}"));
    let policy = LabelPolicy::preset(policy).unwrap();
    CheXpert { files: unchecked(), ..CheXpert::new(root, Split::Val, policy) }.open().unwrap()
}

#[test]
fn the_labels_are_the_columns_of_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let columns: Vec<&str> = CHEXPERT.trim().split(',').skip(5).collect();
    // A policy of five findings changes neither the card nor what is expected.
    for policy in ["medical_mae", "ignore"] {
        let data = chexpert(root, policy);
        assert_eq!(data.card().unwrap().labels, columns);
        let description = describe(&data).unwrap();
        let found: Vec<String> =
            description.differences().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["samples 1 instead of 234", "groups 1 instead of 200"]);
    }

    let classes = "patientId,class\na,Normal\nb,Lung Opacity\n";
    write(&root.join("stage_2_detailed_class_info.csv"), classes);
    let rows = "patientId,x,y,width,height,Target\na,,,,,0\nb,1,1,2,2,1\n";
    write(&root.join("stage_2_train_labels.csv"), rows);
    let reader = RsnaPneumonia { files: unchecked(), ..RsnaPneumonia::new(root) };
    for (task, labels) in [
        (RsnaTask::Pneumonia, &["Pneumonia"][..]),
        (RsnaTask::Detailed, &["Normal", "No Lung Opacity / Not Normal", "Lung Opacity"]),
    ] {
        let data = RsnaPneumonia { task, ..reader.clone() }.open().unwrap();
        let card = data.card().unwrap();
        assert_eq!((card.labels, data.task().names()), (labels, &*owned(labels)));
        assert_eq!(card.expected(data.part()).unwrap().samples, 26_684);
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn mimic_is_compared_only_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut policy = LabelPolicy::preset("medical_mae_mimic").unwrap();
    let columns = ["No Finding"].into_iter().chain(policy.findings.iter().map(|f| &*f.finding));
    let mut columns: Vec<&str> = columns.collect();
    columns.sort_unstable();
    let header = format!("subject_id,study_id,{}\n", columns.join(","));
    let row = format!("10,20{}\n", ",".repeat(14));
    write(&root.join("mimic-cxr-2.0.0-chexpert.csv"), &(header + &row));
    let rows = "dicom_id,subject_id,study_id,ViewPosition\nx,10,20,PA\n";
    write(&root.join("mimic-cxr-2.0.0-metadata.csv"), rows);
    write(&root.join("mimic-cxr-2.0.0-split.csv"), "dicom_id,split\nx,train\n");
    let open = |policy: &LabelPolicy, views: &[&str]| {
        let views = views.iter().map(ToString::to_string).collect();
        let reader = MimicCxr { views, files: unchecked(), ..MimicCxr::new(root, policy.clone()) };
        reader.open().unwrap()
    };
    let data = open(&policy, &[]);
    assert_eq!(data.card().unwrap().labels, columns);
    assert!(!describe(&data).unwrap().is_checked(), "only studies with labels");
    policy.findings.clear();
    assert!(!describe(&open(&policy, &["PA"])).unwrap().is_checked(), "only some views");
    assert!(describe(&open(&policy, &[])).unwrap().is_checked());
}

#[test]
fn imagenet_has_a_card_per_variant() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_png(&root.join("n01443537/y.JPEG"), 2);
    let mut names = std::collections::HashSet::new();
    for variant in
        [ImageNetVariant::Val, ImageNetVariant::A, ImageNetVariant::R, ImageNetVariant::Sketch]
    {
        let data = ImageNet::new(root, variant).open().unwrap();
        let card = data.card().unwrap();
        assert_eq!((card.labels.len(), card.labels[1]), (1000, "n01443537"));
        assert_eq!(owned(card.labels), data.task().names());
        assert!(describe(&data).unwrap().is_checked());
        assert!(names.insert(card.name));
        let text = card.to_string();
        assert!(text.contains("labels: 1000 from n01440764 to n15075141"), "{text}");
    }
    // A hundred of the thousand classes, as they are often used.
    write(&root.join("some.txt"), "n01443537\n");
    let some = ImageNet {
        classes: Some(root.join("some.txt")),
        ..ImageNet::new(root, ImageNetVariant::Val)
    };
    assert!(!describe(&some.open().unwrap()).unwrap().is_checked());
}

#[test]
fn tables_of_ssl_endoscopy_mae_have_the_cards_of_their_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let open = |name: &str, classes: &[&str], set: Option<&str>| {
        let mut text = ",loc,filename,label,set_type,GT\n".to_owned();
        for set in ["Train", "Validation"] {
            for (number, class) in classes.iter().enumerate() {
                text += &format!("0,{set}\\{class},{number}.png,{class},{set},{number}\n");
            }
        }
        let list = root.join(name);
        write(&list, &text);
        let set_type = set.map(str::to_owned);
        let reader =
            SslEndoscopyCsv { set_type, files: unchecked(), ..SslEndoscopyCsv::new(root, list) };
        let data = reader.open().unwrap();
        data.card().map(|card| (card.name, data.part().to_owned(), card.expected(data.part())))
    };
    let samples = |found: &Option<(&str, String, Option<&vit_datasets::Expected>)>| {
        found.as_ref().and_then(|(_, _, expected)| Some(expected.as_ref()?.samples))
    };
    let classes = GastroVisionClasses::ByFrequency22.names();
    for (set, count) in [(None, 7930), (Some("Train"), 4757), (Some("Validation"), 1587)] {
        let found = open("supervised_gastrovision.csv", &classes, set);
        assert_eq!((found.as_ref().unwrap().0, samples(&found)), ("GastroVision", Some(count)));
    }
    // In the spelling of the folders, as the tables have them.
    let mut sixteen = HyperKvasirClasses::Large16.names().to_vec();
    (sixteen[2], sixteen[8], sixteen[15]) = ("cecum", "polyps", "z-line");
    let (train, val) = (Some("Train"), Some("Validation"));
    for (name, set, count) in [
        ("supervised_hyper-kvasir_16Categories_fold1.csv", train, Some(5235)),
        ("supervised_hyper-kvasir_16Categories_fold1.csv", val, Some(5244)),
        ("supervised_hyper-kvasir_16Categories_fold2.csv", train, Some(5244)),
        ("supervised_hyper-kvasir_16Categories_fold2.csv", val, Some(5235)),
        ("supervised_hyper-kvasir_16Categories_fold1_filt.csv", train, Some(5111)),
        ("supervised_hyper-kvasir_16Categories_fold2_filt.csv", train, Some(5126)),
        ("supervised_hyper-kvasir_16Categories_fold2_filt.csv", None, Some(10_237)),
        ("mine.csv", None, Some(10_479)),
        ("mine.csv", train, None),
    ] {
        let found = open(name, &sixteen, set);
        let card = found.as_ref().unwrap().0;
        assert_eq!((card, samples(&found)), ("HyperKvasir, 16 classes", count), "{name} {set:?}");
    }
    let all = HyperKvasirClasses::All23.names();
    let found = open("supervised_hyper-kvasir_23Categories_fold1.csv", all, train);
    assert_eq!(samples(&found), Some(5324));
    assert_eq!(open("mine.csv", &["a", "b"], None), None);
}

/// A list of one picture, of which the card says 218,414.
fn listed(root: &Path) -> Arc<dyn Dataset> {
    let list = root.join("list.txt");
    write(&list, "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg 1 0 0 0 0\n");
    let reader = XrayList::new(root, &list, XrayListKind::CheXpertMrm, ListPart::Train);
    Arc::new(XrayList { files: unchecked(), ..reader }.open().unwrap())
}

#[test]
fn what_is_put_together_or_translated_is_compared_part_by_part() {
    let folder = tempfile::tempdir().unwrap();
    let list = listed(folder.path());
    let official: Arc<dyn Dataset> = Arc::new(chexpert(folder.path(), "ignore"));
    let vocabulary = Vocabulary::xray_union().unwrap();
    let harmonized = |data: &Arc<dyn Dataset>| -> Arc<dyn Dataset> {
        let data = Arc::new(InPopulation::new(Arc::clone(data), "chexpert"));
        Arc::new(Harmonized::new(data, &vocabulary, "chexpert").unwrap())
    };
    let parts = vec![("a".to_owned(), harmonized(&list)), ("b".to_owned(), harmonized(&official))];
    let data: Arc<dyn Dataset> = Arc::new(Concat::new(parts).unwrap());
    let data: Arc<dyn Dataset> = Arc::new(InMemory::new(data, 1000));
    let description = describe(data.as_ref()).unwrap();
    assert!(description.is_checked());
    let names: Vec<&str> = description.constituents.iter().map(|part| &*part.name).collect();
    assert_eq!(names, ["a: CheXpert, lists of MRM, train", "b: CheXpert, val"]);
    let found: Vec<String> = description.differences().iter().map(ToString::to_string).collect();
    let expected = [
        "a: CheXpert, lists of MRM, train: samples 1 instead of 218414",
        "b: CheXpert, val: samples 1 instead of 234",
        "b: CheXpert, val: groups 1 instead of 200",
    ];
    assert_eq!(found, expected);
    let text = description.to_string();
    assert!(text.contains("of b: CheXpert, val: 1 samples; NOT as expected: samples"), "{text}");
    // A part of them is no longer what the cards are about.
    let some = Subset::new(data, vec![0]).unwrap();
    assert!(!describe(&some).unwrap().is_checked());

    let toy: Arc<dyn Dataset> = Arc::new(Toy::unlabelled(2));
    let unknown = Concat::new(vec![("x".to_owned(), toy)]).unwrap();
    let description = describe(&unknown).unwrap();
    assert!(!description.is_checked() && description.differences().is_empty());
    assert!(description.to_string().contains("of x: 2 samples; not checked"), "{description}");
}
