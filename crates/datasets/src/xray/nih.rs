use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sex;
use crate::card::CHEST_XRAY14;
use crate::files::{Builder, Line, List, Lookup, Row, Sheet, attribute, first_file};
use crate::{Error, FileDataset, FileOptions, FindingBox, OnMissing, Result, Target, Task};

/// Which part of `ChestX-ray14`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChestXray14Part {
    /// Every row of the table.
    #[default]
    All,
    /// The pictures of `train_val_list.txt`.
    TrainVal,
    /// The pictures of `test_list.txt`.
    Test,
}

/// How to read [NIH ChestX-ray14](https://nihcc.app.box.com/v/ChestXray-NIHCC) with its own table
/// and lists; [`crate::XrayList`] reads the lists of others.
///
/// The pictures may lie anywhere below the root: in `images_001/images`, in `images`, or flat. The
/// patient is the first part of the file name. Both tables are read: the one of 2017, with a comma
/// at the end of each line and ages such as `058Y`, and the one of 2020; their headers hold an
/// unquoted comma, which makes two columns of one name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChestXray14 {
    /// The folder with tables and pictures.
    pub root: PathBuf,
    /// Which part.
    #[serde(default)]
    pub part: ChestXray14Part,
    /// The table; without one, `Data_Entry_2017_v2020.csv` or `Data_Entry_2017.csv`.
    #[serde(default)]
    pub table: Option<PathBuf>,
    /// The list of the part; without one, the official name below the root.
    #[serde(default)]
    pub list: Option<PathBuf>,
    /// `BBox_List_2017.csv`, for [`FileDataset::boxes`].
    #[serde(default)]
    pub boxes: Option<PathBuf>,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

impl ChestXray14 {
    /// All pictures below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (part, files) = <(ChestXray14Part, FileOptions)>::default();
        Self { root: root.into(), part, table: None, list: None, boxes: None, files }
    }

    /// Reads table and list and looks for the pictures.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Row`] for a picture of the list that the table does
    /// not have, and for one whose name occurs in several folders; [`Error::Layout`] for names of
    /// the list, or of the boxes of all pictures, that the table does not have.
    pub fn open(&self) -> Result<FileDataset> {
        let table = match &self.table {
            Some(table) => table.clone(),
            None => first_file(&self.root, &["Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"])?,
        };
        let sheet = Sheet::read(&table, b',')?;
        let [file, labels, age, gender, view, study] = sheet.columns([
            "Image Index",
            "Finding Labels",
            "Patient Age",
            "Patient Gender",
            "View Position",
            "Follow-up #",
        ])?;
        let mut wanted = self.wanted()?;
        let mut boxes = self.boxes.as_deref().map(read_boxes).transpose()?.unwrap_or_default();
        let attributes = [attribute::AGE, attribute::SEX, attribute::VIEW, attribute::STUDY];
        let mut builder = Builder::new(&table, &self.root, self.files, &attributes)?;
        let places = Places::new(&builder, self.files)?;
        for line in sheet.lines() {
            let name = line.required(file)?;
            if wanted.as_mut().is_some_and(|wanted| !wanted.names.remove(name)) {
                continue;
            }
            let path = places.find(name).map_err(|reason| line.error(reason))?;
            let years = years(line.cell(age));
            let values = vec![&*years, sex(line.cell(gender)), line.cell(view), line.cell(study)];
            let row = Row::new(line.number, path, findings(line, labels)?);
            let row = Row { boxes: boxes.remove(name).unwrap_or_default(), ..row };
            builder.add(row.group(patient(name)).attributes(values))?;
        }
        match (wanted, boxes.keys().min()) {
            (Some(wanted), _) => wanted.check_all_found(&table)?,
            // Of a part, the other boxes are those of other parts.
            (None, Some(name)) => {
                let path = self.boxes.clone().unwrap_or_default();
                let reason = format!(
                    "boxes of {} picture(s) that {} does not have; the first is '{name}'",
                    boxes.len(),
                    table.display()
                );
                return Err(Error::Layout { path, reason });
            }
            (None, None) => {}
        }
        let findings = CHEST_XRAY14.labels.iter().map(ToString::to_string).collect();
        let part = match self.part {
            ChestXray14Part::All => "all",
            ChestXray14Part::TrainVal => "train+val",
            ChestXray14Part::Test => "test",
        };
        Ok(builder.finish(Task::MultiLabel { findings })?.described(&CHEST_XRAY14, part))
    }

    fn wanted(&self) -> Result<Option<Wanted>> {
        let name = match self.part {
            ChestXray14Part::All => return Ok(None),
            ChestXray14Part::TrainVal => "train_val_list.txt",
            ChestXray14Part::Test => "test_list.txt",
        };
        let path = match &self.list {
            Some(list) => list.clone(),
            None => first_file(&self.root, &[name])?,
        };
        let list = List::read(&path, 0)?;
        let names = list.entries.into_iter().map(|entry| entry.name).collect();
        Ok(Some(Wanted { path, names }))
    }
}

/// Names of a list that are still to be found in the table.
struct Wanted {
    path: PathBuf,
    names: HashSet<String>,
}

impl Wanted {
    fn check_all_found(&self, table: &Path) -> Result<()> {
        let Some(first) = self.names.iter().min() else { return Ok(()) };
        let reason = format!(
            "{} of its names are not in {}; the first is '{first}'",
            self.names.len(),
            table.display()
        );
        Err(Error::Layout { path: self.path.clone(), reason })
    }
}

/// Where the pictures lie, unless nobody wants to know.
pub(super) struct Places(Option<Lookup>);

impl Places {
    pub(super) fn new(builder: &Builder, files: FileOptions) -> Result<Self> {
        if files.missing == OnMissing::Unchecked {
            return Ok(Self(None));
        }
        Ok(Self(Some(Lookup::walk(builder.root())?)))
    }

    pub(super) fn find(&self, name: &str) -> std::result::Result<String, String> {
        match &self.0 {
            Some(lookup) => lookup.find(name),
            None => Ok(name.to_owned()),
        }
    }
}

/// `00000001` of `00000001_003.png`.
pub(super) fn patient(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

fn findings(line: Line<'_>, column: usize) -> Result<Target> {
    let known = CHEST_XRAY14.labels;
    let mut labels = vec![Some(0.0); known.len()];
    for finding in line.required(column)?.split('|').map(str::trim) {
        let position = known.iter().position(|name| *name == finding);
        match (position.and_then(|position| labels.get_mut(position)), finding) {
            (Some(label), _) => *label = Some(1.0),
            (None, "No Finding") => {}
            (None, _) => {
                return Err(Error::UnknownClass {
                    place: line.place(),
                    class: finding.into(),
                    known: known.iter().map(ToString::to_string).collect(),
                });
            }
        }
    }
    Ok(Target::Labels(labels))
}

/// Years from `58`, `058Y`, `011M` or `004D`; other texts stay as they are.
fn years(age: &str) -> String {
    let (number, unit) = match age.char_indices().last() {
        Some((position, unit)) if unit.is_ascii_alphabetic() => (age.get(..position), unit),
        _ => (Some(age), 'Y'),
    };
    match (number.and_then(|number| number.parse::<u32>().ok()), unit) {
        (Some(years), 'Y') => years.to_string(),
        (Some(months), 'M') => (months / 12).to_string(),
        (Some(days), 'D') => (days / 365).to_string(),
        _ => age.to_owned(),
    }
}

/// Boxes by file name. The header is `Image Index,Finding Label,Bbox [x,y,w,h],,,`.
fn read_boxes(path: &Path) -> Result<HashMap<String, Vec<FindingBox>>> {
    let sheet = Sheet::read(path, b',')?;
    let [file, label, x, y, width, height] =
        sheet.columns(["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"])?;
    let mut boxes: HashMap<String, Vec<FindingBox>> = HashMap::new();
    for line in sheet.lines() {
        // The one name that differs from the labels.
        let finding = match line.required(label)? {
            "Infiltrate" => "Infiltration",
            other => other,
        };
        let bounds = super::rsna::rectangle(line, [x, y, width, height], finding)?;
        boxes.entry(line.required(file)?.to_owned()).or_default().push(bounds);
    }
    Ok(boxes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_of_both_tables() {
        let ages = [("58", "58"), ("058Y", "58"), ("011M", "0"), ("030M", "2"), ("004D", "0")];
        for (text, years) in ages {
            assert_eq!(super::years(text), years);
        }
        for odd in ["", "Y", "ü", "about 5"] {
            assert_eq!(super::years(odd), odd);
        }
    }
}
