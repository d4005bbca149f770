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

#[test]
fn two_folders_that_are_splits_are_no_classes() {
    for names in [&["train", "test", "extra"][..], &["Training", "Testing"], &["a", "val", "test"]]
    {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            write_png(&folder.path().join(name).join("a/1.png"), 1);
        }
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("are splits, not classes"), "{error}");
        assert!(error.contains("ImageFolderOptions::split"), "{error}");
        // Whoever names them as classes means it.
        let classes = Some(names.iter().map(ToString::to_string).collect());
        let options = ImageFolderOptions { classes, ..Default::default() };
        assert_eq!(ImageFolder::open(folder.path(), &options).unwrap().len(), names.len());
    }
    // One alone may be a class.
    let folder = tempfile::tempdir().unwrap();
    for name in ["train/1.png", "car/1.png"] {
        write_png(&folder.path().join(name), 1);
    }
    assert_eq!(open(folder.path()).unwrap().task().names(), ["car", "train"]);
}

#[test]
fn a_name_without_a_group_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/p1_1.png", "a/_2.png"] {
        write_png(&folder.path().join(name), 1);
    }
    let group = GroupRule::FileNamePrefix { separator: '_' };
    let options = ImageFolderOptions { group, ..Default::default() };
    let error = ImageFolder::open(folder.path(), &options).unwrap_err().to_string();
    assert!(error.contains("a/_2.png: its name has no group (patient)"), "{error}");
}

#[test]
fn files_that_are_no_pictures_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/1.png", "a/deep/2.png"] {
        write_png(&folder.path().join(name), 1);
    }
    for name in ["README.md", "a/notes.txt", "a/deep/x.jfif", ".hidden"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let left_out = open(folder.path()).unwrap().left_out();
    let reason = "files that are no pictures by their names";
    assert_eq!((left_out.len(), left_out[0].count, &*left_out[0].reason), (1, 3, reason));
    // A flat folder is looked at twice and counted once.
    let flat = folder.path().join("a/deep");
    assert_eq!(open(&flat).unwrap().left_out()[0].count, 1);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_root_are_refused_and_others_are_counted() {
    use std::os::unix::fs::symlink;
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, out) = (inside.path(), outside.path());
    write_png(&root.join("a/1.png"), 1);
    write_png(&root.join("b/1.png"), 1);
    write_png(&out.join("c/secret.png"), 1);
    symlink(root.join("b/1.png"), root.join("a/2.png")).unwrap();
    symlink(root.join("absent"), root.join("a/3.png")).unwrap();
    symlink(root.join("a"), root.join("c")).unwrap();
    let data = open(root).unwrap();
    assert_eq!(ids(&data), ["a/1.png", "b/1.png"]);
    let left_out = data.left_out();
    assert_eq!((left_out.len(), left_out[0].count, &*left_out[0].reason), (1, 3, "symbolic links"));

    let refused = |options: &ImageFolderOptions, link: &str, target: &Path| {
        let link = root.join(link);
        symlink(target, &link).unwrap();
        let error = ImageFolder::open(root, options).unwrap_err();
        assert!(matches!(&error, Error::Outside { path, .. } if *path == link), "{error}");
        std::fs::remove_file(link).unwrap();
    };
    let options = ImageFolderOptions::default();
    refused(&options, "a/0.png", &out.join("c/secret.png"));
    refused(&options, "a/out", out);
    refused(&options, "d", &out.join("c"));
    refused(&ImageFolderOptions { unlabelled: true, ..options.clone() }, "d", &out.join("c"));
    // A split is no exception, nor is the training split that names the classes.
    write_png(&root.join("val/a/1.png"), 1);
    for split in [Split::Train, Split::Val] {
        refused(&ImageFolderOptions { split: Some(split), ..options.clone() }, "train", out);
    }
    // A split may be a link to a place inside, and the root may be one.
    std::fs::create_dir(root.join("v2")).unwrap();
    std::fs::rename(root.join("val"), root.join("v2/val")).unwrap();
    symlink(root.join("v2/val"), root.join("val")).unwrap();
    assert_eq!(ids(&open_split(root, Split::Val).unwrap()), ["val/a/1.png"]);
    let link = out.join("link");
    symlink(root, &link).unwrap();
    assert_eq!(ids(&open_split(&link, Split::Val).unwrap()), ["val/a/1.png"]);
}
