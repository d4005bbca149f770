//! Label policies and the common vocabulary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::sync::Arc;

use common::Toy;
use vit_datasets::{
    Annotation, BlankRule, DataSource, Dataset, Error, Harmonized, LabelPolicy, Target, Task,
    UncertainRule, Vocabulary,
};

use Annotation::{Blank, Negative, Positive, Uncertain};

fn labels(target: &Target) -> &[Option<f32>] {
    match target {
        Target::Labels(labels) => labels,
        other => panic!("{other:?}"),
    }
}

fn apply(policy: &LabelPolicy, annotations: &[Annotation]) -> Vec<Option<f32>> {
    labels(&policy.target("sample", annotations, Blank).unwrap()).to_vec()
}

#[test]
fn every_rule() {
    let all = [Positive, Negative, Uncertain, Blank];
    let with = |uncertain, blank| {
        let policy = LabelPolicy::uniform("p", &["a", "b", "c", "d"], uncertain, blank);
        policy.check().unwrap();
        apply(&policy, &all)
    };
    let yes = Some(1.0);
    let no = Some(0.0);
    assert_eq!(with(UncertainRule::Ones, BlankRule::Zero), [yes, no, yes, no]);
    assert_eq!(with(UncertainRule::Zeros, BlankRule::Missing), [yes, no, no, None]);
    assert_eq!(with(UncertainRule::Ignore, BlankRule::Zero), [yes, no, None, no]);
    let own = with(UncertainRule::OwnClass, BlankRule::Zero);
    assert_eq!(own, [yes, no, no, no, no, no, yes, no]);
    for (cell, annotation) in [("1", Positive), ("0.0", Negative), ("-1.0", Uncertain), ("", Blank)]
    {
        assert_eq!(Annotation::parse(cell), Some(annotation));
    }
    for cell in ["2", "-2", "yes", "1.5", "NaN"] {
        assert_eq!(Annotation::parse(cell), None);
    }
}

#[test]
fn soft_labels_are_fixed_per_sample_and_spread_evenly() {
    let rule = UncertainRule::Soft { low: 0.55, high: 0.85 };
    let policy = LabelPolicy::uniform("soft", &["a", "b"], rule, BlankRule::Zero);
    let draw = |policy: &LabelPolicy, key: &str| {
        let target = policy.target(key, &[Uncertain, Uncertain], Blank).unwrap();
        [labels(&target)[0].unwrap(), labels(&target)[1].unwrap()]
    };
    assert_eq!(draw(&policy, "x"), draw(&policy, "x"));
    assert_ne!(draw(&policy, "x"), draw(&policy, "y"));
    assert_ne!(draw(&policy, "x")[0], draw(&policy, "x")[1], "findings are drawn on their own");
    assert_ne!(draw(&policy, "x"), draw(&LabelPolicy { seed: 1, ..policy.clone() }, "x"));
    let n = 4000;
    let draws: Vec<f32> = (0..n).map(|i| draw(&policy, &i.to_string())[0]).collect();
    assert!(draws.iter().all(|value| (0.55..=0.85).contains(value)));
    // Mean and standard deviation of the even distribution, within five standard errors.
    let mean = draws.iter().sum::<f32>() / n as f32;
    assert!((mean - 0.7).abs() < 5.0 * 0.0866 / (n as f32).sqrt(), "{mean}");
    let var = draws.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / n as f32;
    assert!((var.sqrt() - 0.0866).abs() < 0.005, "{var}");
}

#[test]
fn presets_read_back_and_say_what_they_do() {
    for name in LabelPolicy::PRESETS {
        let policy = LabelPolicy::preset(name).unwrap();
        policy.check().unwrap();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<LabelPolicy>(&text).unwrap(), policy);
        assert!(policy.to_string().starts_with(name), "{policy}");
    }
    assert!(LabelPolicy::preset("mine").is_none());
    let doubt = [Uncertain; 5];
    let expected = |values: [f32; 5]| values.map(Some).to_vec();
    let policy = LabelPolicy::preset("med_peft").unwrap();
    assert_eq!(apply(&policy, &doubt), expected([1.0, 0.0, 0.0, 1.0, 1.0]));
    let policy = LabelPolicy::preset("medical_mae").unwrap();
    assert_eq!(apply(&policy, &doubt), expected([0.0, 1.0, 0.0, 1.0, 0.0]));
    let policy = LabelPolicy::preset("medical_mae_mimic").unwrap();
    let target = policy.target("s", &[Blank; 13], Positive).unwrap();
    assert_eq!(labels(&target), [Some(0.0); 13]);
    let target = policy.target("s", &[Uncertain; 13], Blank).unwrap();
    assert_eq!(labels(&target), [None; 13]);
}

#[test]
fn policies_that_make_no_sense() {
    let twice = LabelPolicy::uniform("p", &["a", "a"], UncertainRule::Ones, BlankRule::Zero);
    assert!(twice.check().unwrap_err().to_string().contains("'a' stands twice"));
    for (low, high) in [(0.5, 0.4), (-0.1, 0.5), (0.5, 1.5), (f32::NAN, 1.0)] {
        let rule = UncertainRule::Soft { low, high };
        let policy = LabelPolicy::uniform("p", &["a"], rule, BlankRule::Zero);
        assert!(matches!(policy.check(), Err(Error::Config { .. })), "{low} {high}");
    }
    let policy = LabelPolicy::preset("ones").unwrap();
    assert!(policy.target("s", &[Blank; 3], Blank).is_err());
}

fn nih() -> Toy {
    let findings = [
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Pleural_Thickening",
        "Hernia",
    ];
    let task = Task::MultiLabel { findings: findings.map(str::to_owned).to_vec() };
    // Sample i has finding i only.
    let row = |i: usize| {
        let labels = (0..14).map(|j| Some(f32::from(i == j))).collect();
        (format!("p{i}"), Target::Labels(labels))
    };
    Toy::new(task, (0..14).map(row))
}

#[test]
fn the_union_is_that_of_medical_mae() {
    let vocabulary = Vocabulary::xray_union().unwrap();
    assert_eq!(vocabulary.names().len(), 21);
    assert_eq!(vocabulary.sources().collect::<Vec<_>>(), ["nih", "chexpert", "mimic"]);
    // Positions in the union from the published code.
    let nih_positions = [1, 2, 5, 11, 13, 14, 18, 19, 3, 4, 6, 8, 16, 10];
    let chexpert_positions = [15, 7, 2, 0, 12, 4, 3, 18, 1, 19, 5, 17, 9, 20];
    let data = Harmonized::new(Arc::new(nih()), &vocabulary, "nih").unwrap();
    assert_eq!(data.task().names(), vocabulary.names());
    for (finding, &position) in nih_positions.iter().enumerate() {
        let sample = data.get(finding).unwrap();
        let values = labels(&sample.record.target).to_vec();
        assert_eq!(values[position], Some(1.0), "{finding}");
        assert_eq!(values.iter().filter(|value| **value == Some(1.0)).count(), 1);
        assert_eq!(values.iter().filter(|value| value.is_none()).count(), 7);
        assert_eq!(data.record(finding).unwrap(), sample.record);
    }
    let chexpert = LabelPolicy::preset("ignore").unwrap().labels();
    for source in ["chexpert", "mimic"] {
        let mapping = vocabulary.mapping(source, &chexpert).unwrap();
        for (finding, &position) in chexpert_positions.iter().enumerate() {
            assert_eq!(mapping[position], Some(finding), "{source}");
        }
    }
    // A policy of five findings leaves the others unknown.
    let five = LabelPolicy::preset("medical_mae").unwrap().labels();
    let mapping = vocabulary.mapping("chexpert", &five).unwrap();
    assert_eq!(mapping.iter().flatten().count(), 5);
}

#[test]
fn a_vocabulary_from_a_file_and_what_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.csv");
    std::fs::write(&path, "mine,nih,other\nHeart,Cardiomegaly,heart\nRest,,rest\n").unwrap();
    let vocabulary = Vocabulary::read(&path).unwrap();
    assert_eq!(vocabulary.names(), ["Heart", "Rest"]);
    let heart = ["heart".to_owned()];
    assert_eq!(vocabulary.mapping("other", &heart).unwrap(), [Some(0), None]);
    let error = vocabulary.mapping("nih", &heart).unwrap_err();
    assert!(error.to_string().contains("'heart' is not among the 1"), "{error}");
    let error = vocabulary.mapping("them", &heart).unwrap_err();
    assert!(error.to_string().contains("class 'them'"), "{error}");
    let error = Harmonized::new(Arc::new(nih()), &vocabulary, "nih").err().unwrap();
    assert!(error.to_string().contains("Atelectasis"), "{error}");
    let single = Toy::new(Task::SingleLabel { classes: vec!["a".into()] }, []);
    let refused = Harmonized::new(Arc::new(single), &vocabulary, "nih");
    assert!(matches!(refused.err(), Some(Error::Mismatch { .. })));
    for bad in ["", "mine,nih\n", "mine,nih\n,x\n", "mine,nih\na,x\nb,x\n", "mine,nih\na\n"] {
        std::fs::write(&path, bad).unwrap();
        assert!(Vocabulary::read(&path).is_err(), "{bad}");
    }
}

#[test]
fn policies_in_json() {
    let policy: LabelPolicy = serde_json::from_str("\"med_peft\"").unwrap();
    assert_eq!(policy, LabelPolicy::preset("med_peft").unwrap());
    let text = r#"{"name": "mine", "findings": [
        {"finding": "Edema", "uncertain": {"soft": {"low": 0.55, "high": 0.85}}},
        {"finding": "Fracture", "uncertain": "own_class", "blank": "missing"}]}"#;
    let policy: LabelPolicy = serde_json::from_str(text).unwrap();
    assert_eq!(policy.labels(), ["Edema", "Fracture", "Fracture uncertain"]);
    assert_eq!(
        policy.to_string(),
        "mine: Edema uncertain=0.55..0.85 blank=0, Fracture uncertain=own label blank=unknown"
    );
    let error = serde_json::from_str::<LabelPolicy>("\"mine\"").unwrap_err();
    assert!(error.to_string().contains("'mine' is none of medical_mae, med_peft"), "{error}");
    let error = serde_json::from_str::<LabelPolicy>(&text.replace("0.85", "0.25")).unwrap_err();
    assert!(error.to_string().contains("from 0.55 to 0.25"), "{error}");
}

#[test]
fn a_wrong_rule_in_json_is_named_with_its_finding() {
    let rule = |rules: &str| {
        format!(
            r#"{{"name": "mine", "findings": [
            {{"finding": "Edema", "uncertain": "ones"}}, {{"finding": "Fracture", {rules}}}]}}"#
        )
    };
    let soft = r#"{"soft": {"low": 0.55, "high": 0.85}}"#;
    for (rules, words) in [
        (r#""uncertain": "onse""#, vec!["`uncertain` is \"onse\"", "\"zeros\"", soft]),
        (r#""uncertain": -1"#, vec!["`uncertain` is -1", "\"own_class\""]),
        (r#""uncertain": {"soft": {"low": 0.5}}"#, vec!["`uncertain` is", "missing field `high`"]),
        (r#""uncertain": "ones", "blank": null"#, vec!["`blank` is null", "\"missing\""]),
        (
            r#""uncertain": "ones", "blank": "nothing""#,
            vec!["`blank` is \"nothing\", but may be \"zero\" or \"missing\""],
        ),
    ] {
        let text = rule(rules);
        let alone = serde_json::from_str::<LabelPolicy>(&text).unwrap_err().to_string();
        // A reader with a tag goes through another part of serde.
        let source = format!(
            r#"{{"reader": "che_xpert", "root": "r", "split": "train", "policy": {text}}}"#
        );
        let within = serde_json::from_str::<DataSource>(&source).unwrap_err().to_string();
        for message in [alone, within] {
            assert!(message.contains("finding 'Fracture'"), "{message}");
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
    let misspelt = rule(r#""uncertain": "ones", "blnak": "missing""#);
    let message = serde_json::from_str::<LabelPolicy>(&misspelt).unwrap_err().to_string();
    assert!(message.contains("blnak"), "{message}");
    let message = serde_json::from_str::<LabelPolicy>("[1]").unwrap_err().to_string();
    assert!(message.contains("medical_mae, med_peft"), "{message}");
    let message = serde_json::from_str::<LabelPolicy>(r#"{"name": "a"}"#).unwrap_err().to_string();
    assert!(message.contains("missing field `findings`"), "{message}");
}

#[test]
fn no_finding_itself_stays_present() {
    let rules = ["No Finding", "Edema", "Fracture"];
    let mut policy = LabelPolicy::uniform("own", &rules, UncertainRule::Ignore, BlankRule::Missing);
    policy.no_finding_means_absent = true;
    let cells = [Positive, Blank, Positive];
    let target = policy.target("a", &cells, Positive).unwrap();
    assert_eq!(target, Target::Labels(vec![Some(1.0), Some(0.0), Some(0.0)]));
}
