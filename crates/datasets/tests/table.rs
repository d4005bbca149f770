//! Tables of files, with every mistake a table can have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;

use common::write_png;
use vit_datasets::{
    CsvFilter, CsvLabels, CsvOptions, CsvTable, Dataset, Error, Result, Target, describe,
    split_by_group,
};

fn single(column: &str) -> CsvLabels {
    CsvLabels::Single { column: column.into(), classes: None, skip_missing: false }
}

/// Options for a table beside the pictures `a.png`, `b.png` and `sub/c.png`.
fn folder() -> (tempfile::TempDir, CsvOptions) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "sub/c.png"] {
        write_png(&folder.path().join(name), 5);
    }
    let options = CsvOptions::new(folder.path(), "file");
    (folder, options)
}

fn open(folder: &Path, text: &str, options: &CsvOptions) -> Result<CsvTable> {
    let path = folder.join("table.csv");
    std::fs::write(&path, text).unwrap();
    CsvTable::open(&path, options)
}

#[test]
fn classes_that_are_numbers_are_sorted_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "file,class\n".to_owned();
    for class in ["10", "3", "1"] {
        write_png(&folder.path().join(format!("{class}.png")), 1);
        table += &format!("{class}.png,{class}\n");
    }
    let path = folder.path().join("t.csv");
    std::fs::write(&path, table).unwrap();
    let mut options = CsvOptions::new(folder.path(), "file");
    options.labels =
        CsvLabels::Single { column: "class".into(), classes: None, skip_missing: false };
    let data = CsvTable::open(&path, &options).unwrap();
    assert_eq!(data.task().names(), ["1", "3", "10"]);
}

#[test]
fn the_real_radiographs() {
    let Some(root) = common::data("hannover-cxr") else { return };
    let mut options = CsvOptions::new(&root, "image_id");
    options.file_suffix = ".png".into();
    options.labels = single("projection");
    options.group_column = Some("patient_id".into());
    let data = CsvTable::open(&root.join("data.csv"), &options).unwrap();
    let description = describe(&data).unwrap();
    assert_eq!((description.len, description.groups), (243, 71));
    assert_eq!(data.task().names(), ["ap", "pa"]);
    let sample = data.get(0).unwrap();
    assert_eq!(sample.record.id, "fff13f3a.png");
    assert_eq!(sample.record.group, "024e7871");
    assert_eq!(sample.image.width().min(sample.image.height()), 224);
    println!("{description}");

    let parts = split_by_group(&data, &[0.6, 0.2, 0.2], 1).unwrap();
    vit_datasets::check_parts_disjoint(&data, &parts).unwrap();
    for part in &parts {
        let ap = part.iter().filter(|&&i| data.record(i).unwrap().target == Target::Class(0));
        println!("{} pictures, {} ap", part.len(), ap.count());
    }
}

#[test]
fn classes_groups_filter_and_nested_files() {
    let (folder, mut options) = folder();
    options.labels = single("class");
    options.group_column = Some("who".into());
    let text = "file,class,who,use\n./a.png, x ,1,yes\nsub/c.png,y,2,yes\nb.png,z,1,no\n";
    let data = open(folder.path(), text, &options).unwrap();
    assert_eq!(data.task().names(), ["x", "y", "z"]);
    assert_eq!(data.record(0).unwrap().id, "a.png");
    assert_eq!(data.get(1).unwrap().image, common::grey(6, 4, 5));
    assert!(data.path(1).unwrap().ends_with("sub/c.png"));

    options.filter = Some(CsvFilter { column: "use".into(), value: "yes".into() });
    let data = open(folder.path(), text, &options).unwrap();
    assert_eq!((data.len(), data.task().names().len()), (2, 2));
    options.filter = Some(CsvFilter { column: "use".into(), value: "maybe".into() });
    assert!(matches!(open(folder.path(), text, &options), Err(Error::Empty { .. })));
}

#[test]
fn columns_become_attributes() {
    let (folder, mut options) = folder();
    let text = "file,who,sex,,age\na.png,p1,f,x,40\nb.png,p2,,y,7\n";
    options.group_column = Some("who".into());
    options.attribute_columns = vec!["age".into()];
    let data = open(folder.path(), text, &options).unwrap();
    assert_eq!(data.attribute_names(), ["age"]);
    // All but file, group and what has no name.
    options.attribute_columns = vec!["*".into()];
    let data = open(folder.path(), text, &options).unwrap();
    assert_eq!(data.attribute_names(), ["sex", "age"]);
    assert_eq!(data.attribute(0, "sex").unwrap().as_deref(), Some("f"));
    assert_eq!(data.attribute(1, "sex").unwrap(), None);
    assert_eq!(data.attribute(1, "age").unwrap().as_deref(), Some("7"));
}

#[test]
fn findings_with_blanks() {
    let (folder, mut options) = folder();
    options.labels = CsvLabels::Multi { columns: vec!["q".into(), "p".into()] };
    let data = open(folder.path(), "file,p,q\na.png,1,\nb.png,0.0,1.0\n", &options).unwrap();
    let labels = |index: usize| data.record(index).unwrap().target;
    assert_eq!(labels(0), Target::Labels(vec![None, Some(1.0)]));
    assert_eq!(labels(1), Target::Labels(vec![Some(1.0), Some(0.0)]));
    for bad in ["-1", "yes", "2", "NaN"] {
        let text = format!("file,p,q\na.png,1,0\nb.png,0,{bad}\n");
        let error = open(folder.path(), &text, &options).unwrap_err();
        assert!(matches!(&error, Error::Label { value, .. } if value == bad), "{error}");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
}

#[test]
fn a_missing_class_is_an_error_unless_skipped() {
    let (folder, mut options) = folder();
    options.labels = single("class");
    let text = "file,class\na.png,x\nb.png,\n";
    let error = open(folder.path(), text, &options).unwrap_err();
    assert!(matches!(error, Error::Row { line: 3, .. }), "{error}");
    options.labels =
        CsvLabels::Single { column: "class".into(), classes: None, skip_missing: true };
    assert_eq!(open(folder.path(), text, &options).unwrap().len(), 1);

    let classes = Some(vec!["w".to_owned(), "v".to_owned()]);
    options.labels = CsvLabels::Single { column: "class".into(), classes, skip_missing: true };
    let error = open(folder.path(), text, &options).unwrap_err();
    assert!(error.to_string().contains("line 2: class 'x' is not among the 2"), "{error}");
}

#[test]
fn columns_that_are_not_there() {
    let (folder, mut options) = folder();
    options.labels = single("Class");
    let error = open(folder.path(), "file,class\na.png,x\n", &options).unwrap_err();
    assert!(error.to_string().contains("no column 'Class'; it has file, class"), "{error}");
}

#[test]
fn files_twice_absent_or_outside() {
    let (folder, options) = folder();
    let error = open(folder.path(), "file\na.png\nb.png\n./a.png\n", &options).unwrap_err();
    assert!(error.to_string().contains("line 4: file 'a.png' is already in line 2"), "{error}");

    let error = open(folder.path(), "file\na.png\nx.png\nsub\n", &options).unwrap_err();
    assert!(matches!(error, Error::MissingFiles { count: 2, line: 3, .. }), "{error}");
    assert!(error.to_string().contains("x.png"), "{error}");

    for bad in ["/etc/passwd", "../x.png", "sub/../../x.png", "..", ".", "sub\\c.png"] {
        let error = open(folder.path(), &format!("file\na.png\n{bad}\n"), &options).unwrap_err();
        assert!(matches!(error, Error::Row { line: 3, .. }), "{error}");
        assert!(error.to_string().contains("below the root"), "{error}");
    }
}

#[test]
fn malformed_tables() {
    let (folder, mut options) = folder();
    let error = open(folder.path(), "file,n\na.png,1\nb.png\n", &options).unwrap_err();
    assert!(matches!(error, Error::Row { line: 3, .. }), "{error}");
    assert!(matches!(open(folder.path(), "", &options), Err(Error::Header { .. })));
    assert!(matches!(open(folder.path(), "file\n", &options), Err(Error::Empty { .. })));
    assert!(open(folder.path(), "file,x\n,1\n", &options).is_err());
    options.group_column = Some("who".into());
    let error = open(folder.path(), "file,who\na.png,\n", &options).unwrap_err();
    assert!(error.to_string().contains("group"), "{error}");
    let absent = CsvTable::open(&folder.path().join("absent.csv"), &options);
    assert!(matches!(absent, Err(Error::Io { .. })));
    std::fs::write(folder.path().join("bytes.csv"), [b'f', 0xff, b'\n', 0xfe]).unwrap();
    assert!(CsvTable::open(&folder.path().join("bytes.csv"), &options).is_err());
}

#[test]
fn a_picture_that_is_none() {
    let (folder, options) = folder();
    std::fs::write(folder.path().join("t.png"), "text").unwrap();
    let data = open(folder.path(), "file\nt.png\n", &options).unwrap();
    assert!(data.get(0).unwrap_err().to_string().contains("t.png"));
}
