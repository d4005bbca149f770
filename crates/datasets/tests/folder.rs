//! Folders of pictures, tidy and untidy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

mod common;

use std::path::Path;

use common::write_png;
use vit_datasets::{
    Dataset, Error, GroupRule, ImageFolder, ImageFolderOptions, Split, Target, Task, describe,
};

fn open(root: &Path) -> Result<ImageFolder, Error> {
    ImageFolder::open(root, &ImageFolderOptions::default())
}

fn open_split(root: &Path, split: Split) -> Result<ImageFolder, Error> {
    ImageFolder::open(root, &ImageFolderOptions { split: Some(split), ..Default::default() })
}

fn ids(data: &dyn Dataset) -> Vec<String> {
    (0..data.len()).map(|index| data.record(index).unwrap().id).collect()
}

#[test]
fn the_real_cells() {
    let Some(root) = common::data("bccd-cells") else { return };
    let mut total = 0;
    for split in Split::ALL {
        let data = open_split(&root, split).unwrap();
        assert_eq!(data.task().names(), ["Platelets", "RBC", "WBC"]);
        total += data.len();
        let sample = data.get(data.len() / 2).unwrap();
        assert_eq!(sample.image.channels(), 3);
        println!("{split}: {}", describe(&data).unwrap());
    }
    assert_eq!(total, 4886);
}

#[test]
fn classes_sorted_by_name_nested_files_and_other_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b/2.PNG", "b/deep/er/1.png", "a/2.png", "c/2.jpeg", ".hidden/1.png"] {
        write_png(&folder.path().join(name), 7);
    }
    std::fs::write(folder.path().join("a/notes.txt"), "x").unwrap();
    std::fs::write(folder.path().join("README.md"), "x").unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.task().names(), ["a", "b", "c"]);
    assert_eq!(ids(&data), ["a/2.png", "b/2.PNG", "b/deep/er/1.png", "c/2.jpeg"]);
    assert_eq!(data.record(2).unwrap().target, Target::Class(1));
    assert_eq!(data.get(0).unwrap().image, common::grey(6, 4, 7));
    assert!(data.path(0).unwrap().ends_with("a/2.png"));
    assert!(matches!(data.get(4), Err(Error::Index { .. })));
}

#[test]
fn a_flat_folder_and_a_nested_one_without_labels() {
    let folder = tempfile::tempdir().unwrap();
    write_png(&folder.path().join("2.png"), 1);
    write_png(&folder.path().join("1.png"), 1);
    let data = open(folder.path()).unwrap();
    assert_eq!(
        (data.task(), ids(&data)),
        (&Task::Unlabelled, vec!["1.png".into(), "2.png".into()])
    );

    write_png(&folder.path().join("a/3.png"), 1);
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("1.png lies beside class folders"), "{error}");
    let options = ImageFolderOptions { unlabelled: true, ..Default::default() };
    assert_eq!(ImageFolder::open(folder.path(), &options).unwrap().len(), 3);
}

#[test]
fn a_class_that_only_the_validation_has() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["train/a/1.png", "train/c/1.png", "valid/c/1.png"] {
        write_png(&folder.path().join(name), 1);
    }
    let data = open_split(folder.path(), Split::Val).unwrap();
    assert_eq!(data.task().names(), ["a", "c"]);
    assert_eq!(data.record(0).unwrap().target, Target::Class(1), "numbers are those of train");
    assert_eq!(ids(&data), ["valid/c/1.png"]);

    write_png(&folder.path().join("valid/b/1.png"), 1);
    let error = open_split(folder.path(), Split::Val).unwrap_err();
    assert!(matches!(&error, Error::UnknownClass { class, .. } if class == "b"), "{error}");
    assert!(error.to_string().contains("(a, c)"), "{error}");

    let classes = Some(vec!["c".to_owned()]);
    let options = ImageFolderOptions { split: Some(Split::Train), classes, ..Default::default() };
    let error = ImageFolder::open(folder.path(), &options).unwrap_err();
    assert!(matches!(&error, Error::UnknownClass { class, .. } if class == "a"), "{error}");
}

#[test]
fn empty_absent_and_misread_folders() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()), Err(Error::Empty { .. })));
    assert!(matches!(open(&folder.path().join("absent")), Err(Error::Io { .. })));
    assert!(matches!(open_split(folder.path(), Split::Train), Err(Error::Layout { .. })));
    write_png(&folder.path().join("train/a/1.png"), 1);
    write_png(&folder.path().join("val/a/1.png"), 1);
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("are splits, not classes"), "{error}");
    std::fs::create_dir(folder.path().join("train/b")).unwrap();
    let error = open_split(folder.path(), Split::Train).unwrap_err();
    assert!(matches!(&error, Error::Empty { path, .. } if path.ends_with("train/b")), "{error}");
}

#[test]
fn a_text_file_named_png_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    write_png(&folder.path().join("a/1.png"), 1);
    std::fs::write(folder.path().join("a/2.png"), "not a picture").unwrap();
    let whole = std::fs::read(folder.path().join("a/1.png")).unwrap();
    std::fs::write(folder.path().join("a/3.png"), &whole[..whole.len() / 2]).unwrap();
    let data = open(folder.path()).unwrap();
    assert!(data.get(0).is_ok());
    for (index, id) in [(1, "a/2.png"), (2, "a/3.png")] {
        let error = data.get(index).unwrap_err();
        assert!(error.to_string().contains(id), "{error}");
    }
}

#[test]
fn groups_from_file_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/p1_1.png", "b/p1_2.png", "b/p2.png"] {
        write_png(&folder.path().join(name), 1);
    }
    let group = GroupRule::FileNamePrefix { separator: '_' };
    let data =
        ImageFolder::open(folder.path(), &ImageFolderOptions { group, ..Default::default() })
            .unwrap();
    let groups: Vec<String> = (0..3).map(|index| data.record(index).unwrap().group).collect();
    assert_eq!(groups, ["p1", "p1", "p2"]);
    assert_eq!(open(folder.path()).unwrap().record(0).unwrap().group, "a/p1_1.png");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_png(&inside.path().join("a/1.png"), 1);
    write_png(&outside.path().join("secret.png"), 1);
    std::os::unix::fs::symlink(outside.path(), inside.path().join("a/out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.png"), inside.path().join("a/0.png"))
        .unwrap();
    assert_eq!(ids(&open(inside.path()).unwrap()), ["a/1.png"]);
}
