//! What a data set leaves out is counted, and every wrapper passes it on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::write_png;
use vit_datasets::{
    CacheOptions, Cached, Concat, CsvLabels, CsvOptions, CsvTable, Dataset, Harmonized, InMemory,
    InPopulation, LeftOut, OnMissing, Subset, Vocabulary, describe,
};

/// Two pictures; one row has no class and three no file.
fn table(root: &Path) -> CsvTable {
    write_png(&root.join("a.png"), 1);
    write_png(&root.join("b.png"), 2);
    let text = "file,class\na.png,x\nc.png,x\nb.png,y\na.png,\nd.png,x\ne.png,y\n";
    std::fs::write(root.join("t.csv"), text).unwrap();
    let mut options = CsvOptions::new(root, "file");
    options.labels =
        CsvLabels::Single { column: "class".into(), classes: None, skip_missing: true };
    options.missing = OnMissing::Skip;
    CsvTable::open(&root.join("t.csv"), &options).unwrap()
}

fn said(left_out: &[LeftOut]) -> Vec<String> {
    left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn rows_without_file_or_class_are_counted_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = table(folder.path());
    assert_eq!(data.len(), 2);
    let absent = folder.path().join("c.png");
    let expected = [
        "1 left out: rows without a class (the first: line 5)".to_owned(),
        format!("3 left out: files that do not exist (the first: line 3, {})", absent.display()),
    ];
    assert_eq!(said(&data.left_out()), expected);
    let text = describe(&data).unwrap().to_string();
    assert!(expected.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn every_wrapper_passes_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let data: Arc<dyn Dataset> = Arc::new(table(folder.path()));
    let expected = data.left_out();
    assert_eq!(expected.len(), 2);
    let cache = folder.path().join("cache");
    let wrapped: Vec<Arc<dyn Dataset>> = vec![
        Arc::new(Subset::new(Arc::clone(&data), vec![1]).unwrap()),
        Arc::new(InMemory::new(Arc::clone(&data), 1000)),
        Arc::new(InPopulation::new(Arc::clone(&data), "here")),
        Arc::new(Cached::open(Arc::clone(&data), &cache, &CacheOptions::default()).unwrap()),
    ];
    for wrapper in wrapped {
        assert_eq!(wrapper.left_out(), expected);
    }
    let parts = vec![("one".to_owned(), Arc::clone(&data))];
    let joined = Concat::new(parts).unwrap().left_out();
    assert_eq!(joined[0].first, "one: line 5");
    assert_eq!((joined.len(), joined[1].count), (2, 3));

    let words = folder.path().join("words.csv");
    std::fs::write(&words, "mine,here\nHeart,x\n").unwrap();
    let mut options = CsvOptions::new(folder.path(), "file");
    options.labels = CsvLabels::Multi { columns: vec!["x".into()] };
    options.missing = OnMissing::Skip;
    let path = folder.path().join("m.csv");
    std::fs::write(&path, "file,x\na.png,1\nz.png,0\n").unwrap();
    let data: Arc<dyn Dataset> = Arc::new(CsvTable::open(&path, &options).unwrap());
    let vocabulary = Vocabulary::read(&words).unwrap();
    let harmonized = Harmonized::new(Arc::clone(&data), &vocabulary, "here").unwrap();
    assert_eq!(harmonized.left_out(), data.left_out());
    assert_eq!(harmonized.left_out()[0].count, 1);
}
