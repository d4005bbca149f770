use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::card::{INATURALIST_17, INATURALIST_18, INATURALIST_19};
use crate::files::{Builder, Row, read_json};
use crate::{Card, Error, FileDataset, FileOptions, Result, Split, Target, Task};

/// Which competition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum INaturalistYear {
    /// 5,089 classes.
    Y2017,
    /// 8,142 classes.
    Y2018,
    /// 1,010 classes.
    Y2019,
}

/// How to read an annotation file of an [iNaturalist
/// competition](https://github.com/visipedia/inat_comp) (COCO's form).
///
/// The classes are sorted by their number in the file. Files without annotations give pictures
/// without labels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct INaturalist {
    /// The folder that `file_name` begins in.
    pub root: PathBuf,
    /// `train2018.json` and the like.
    pub annotations: PathBuf,
    /// Which competition.
    pub year: INaturalistYear,
    /// Which part the file is: decides what [`crate::describe`] expects.
    pub split: Split,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

#[derive(Deserialize)]
struct Document {
    images: Vec<Picture>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Picture {
    id: u64,
    file_name: String,
    #[serde(default)]
    rights_holder: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
    #[serde(default)]
    supercategory: Option<String>,
}

impl INaturalist {
    fn card(&self) -> &'static Card {
        match self.year {
            INaturalistYear::Y2017 => &INATURALIST_17,
            INaturalistYear::Y2018 => &INATURALIST_18,
            INaturalistYear::Y2019 => &INATURALIST_19,
        }
    }

    /// Reads the file and checks that the pictures are there.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`], with the place of a picture in the file for its line;
    /// [`Error::Json`] when the file is no such JSON, two categories, pictures or annotations have
    /// one number, or an annotation names a category or picture that is not there.
    pub fn open(&self) -> Result<FileDataset> {
        let mut document: Document = read_json(&self.annotations)?;
        let fail = |reason| Error::Json { path: self.annotations.clone(), reason };
        document.categories.sort_by_key(|category| category.id);
        let mut numbers = HashMap::new();
        for (number, category) in document.categories.iter().enumerate() {
            if numbers.insert(category.id, number).is_some() {
                return Err(fail(format!("category {} stands twice", category.id)));
            }
        }
        let mut classes = HashMap::new();
        for annotation in &document.annotations {
            let Annotation { image_id, category_id } = annotation;
            let Some(&number) = numbers.get(category_id) else {
                return Err(fail(format!(
                    "picture {image_id} has category {category_id}, which is not there"
                )));
            };
            if classes.insert(*image_id, number).is_some() {
                return Err(fail(format!("picture {image_id} has two annotations")));
            }
        }
        let mut pictures = HashSet::new();
        if let Some(twice) = document.images.iter().find(|picture| !pictures.insert(picture.id)) {
            return Err(fail(format!("picture {} stands twice", twice.id)));
        }
        if let Some(absent) = document.annotations.iter().find(|a| !pictures.contains(&a.image_id))
        {
            let image = absent.image_id;
            return Err(fail(format!("an annotation names picture {image}, which is not there")));
        }
        let labelled = !document.annotations.is_empty();
        let names = ["supercategory", "rights_holder"];
        let mut builder = Builder::new(&self.annotations, &self.root, self.files, &names)?;
        for (position, picture) in document.images.iter().enumerate() {
            let class = classes.get(&picture.id).copied();
            let target = match class {
                Some(class) => Target::Class(class),
                None if labelled => {
                    return Err(fail(format!("picture {} has no annotation", picture.id)));
                }
                None => Target::None,
            };
            let category = class.and_then(|class| document.categories.get(class));
            let kind = category.and_then(|category| category.supercategory.as_deref());
            let holder = picture.rights_holder.as_deref();
            let row = Row::new(position as u64 + 1, picture.file_name.clone(), target);
            builder
                .add(row.attributes(vec![kind.unwrap_or_default(), holder.unwrap_or_default()]))?;
        }
        let task = if labelled {
            let classes = document.categories.iter().map(|category| category.name.clone());
            Task::SingleLabel { classes: classes.collect() }
        } else {
            Task::Unlabelled
        };
        Ok(builder.finish(task)?.described(self.card(), self.split.name()))
    }
}
