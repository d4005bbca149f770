use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{GastroVisionClasses, hyperkvasir, with_extensions};
use crate::card::{GASTROVISION, HYPERKVASIR_16, HYPERKVASIR_23};
use crate::files::{Builder, Line, Row, Sheet, attribute};
use crate::{Card, Error, FileDataset, FileOptions, Result, Target, Task};

/// More classes than this are taken for a damaged table.
const MAX_CLASSES: usize = 10_000;

/// How to read the tables of [SSL-Endoscopy-MAE](https://github.com/DiegoBravoH/SSL-Endoscopy-MAE):
/// `loc` (with backslashes) and `filename`, and for supervised ones `label`, `set_type` and `GT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SslEndoscopyCsv {
    /// The folder that `loc` begins at.
    pub root: PathBuf,
    /// The table.
    pub list: PathBuf,
    /// Keeps the rows with this `set_type`: `Train`, `Validation` or `Test`.
    #[serde(default)]
    pub set_type: Option<String>,
    /// How to treat the files. A `.jpg` is taken where the table's `.png` is not there.
    #[serde(default)]
    pub files: FileOptions,
}

struct Columns {
    loc: usize,
    file: usize,
    set: Option<usize>,
    db: Option<usize>,
    labels: Option<(usize, usize)>,
}

impl SslEndoscopyCsv {
    /// Every row of `list`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, list: impl Into<PathBuf>) -> Self {
        let files = FileOptions::default();
        Self { root: root.into(), list: list.into(), set_type: None, files }
    }

    /// Reads the table and checks that the pictures are there. The classes are those of the whole
    /// table, numbered as `GT` says, so that they agree between its parts. Where they are those of
    /// `GastroVision` or `HyperKvasir`, so is the card.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Label`] for a `GT` that is no number, and
    /// [`Error::Row`] for one with two names or a number that no row has.
    pub fn open(&self) -> Result<FileDataset> {
        let sheet = Sheet::read(&self.list, b',')?;
        let columns = Columns {
            loc: sheet.column("loc")?,
            file: sheet.column("filename")?,
            set: self.set_type.as_ref().map(|_| sheet.column("set_type")).transpose()?,
            db: sheet.find("db"),
            labels: match sheet.find("GT") {
                Some(number) => Some((number, sheet.column("label")?)),
                None => None,
            },
        };
        let task = columns.task(&sheet)?;
        let attributes = [attribute::SOURCE, attribute::SPLIT];
        let mut builder = Builder::new(&self.list, &self.root, self.files, &attributes)?;
        let set_type = sheet.find("set_type");
        for line in sheet.lines() {
            if columns.set.is_some_and(|set| Some(line.cell(set)) != self.set_type.as_deref()) {
                continue;
            }
            let loc = line.required(columns.loc)?.replace('\\', "/");
            let paths = with_extensions(&format!("{loc}/{}", line.required(columns.file)?));
            let target = match columns.labels {
                Some((number, _)) => Target::Class(class_number(line, number)?),
                None => Target::None,
            };
            let cell = |column: Option<usize>| column.map_or("", |column| line.cell(column));
            let row = Row { paths, ..Row::new(line.number, "", target) };
            builder.add(row.attributes(vec![cell(columns.db), cell(set_type)]))?;
        }
        let known = self.known(task.names());
        let data = builder.finish(task)?;
        Ok(match known {
            Some((card, part)) => data.described(card, part),
            None => data,
        })
    }

    /// The data set that the classes are of, and the part that set and file name tell: the tables
    /// `…_fold1.csv` and `…_fold2.csv` train on the first and second of the official folds, and
    /// `…_filt.csv` lack look-alikes with two labels.
    fn known(&self, classes: &[String]) -> Option<(&'static Card, String)> {
        if classes == GastroVisionClasses::ByFrequency22.names() {
            let part = match self.set_type.as_deref() {
                None => "all, 22 classes",
                Some("Train") => "train",
                Some("Validation") => "val",
                Some("Test") => "test",
                Some(_) => "",
            };
            return Some((&GASTROVISION, part.to_owned()));
        }
        let names: Option<Vec<&str>> =
            classes.iter().map(|class| Some(hyperkvasir::find(class)?.0)).collect();
        let cards: [&'static Card; 2] = [&HYPERKVASIR_16, &HYPERKVASIR_23];
        let card = cards.into_iter().find(|card| names.as_deref() == Some(card.labels))?;
        let stem = self.list.file_stem().unwrap_or_default().to_string_lossy();
        let first = stem.contains("fold1");
        let part = match self.set_type.as_deref() {
            None => "all".to_owned(),
            Some(set @ ("Train" | "Validation")) if first || stem.contains("fold2") => {
                format!("2-fold {}", u8::from(first != (set == "Train")))
            }
            Some(_) => String::new(),
        };
        let filtered = stem.contains("_filt") && !part.is_empty();
        Some((card, if filtered { format!("{part}, filtered") } else { part }))
    }
}

impl Columns {
    fn task(&self, sheet: &Sheet) -> Result<Task> {
        let Some((number, label)) = self.labels else { return Ok(Task::Unlabelled) };
        let mut names: BTreeMap<usize, String> = BTreeMap::new();
        for line in sheet.lines() {
            let class = class_number(line, number)?;
            let name = line.required(label)?;
            let known = names.entry(class).or_insert_with(|| name.to_owned());
            if known != name {
                return Err(line.error(format!("class {class} is '{name}' and also '{known}'")));
            }
        }
        if let Some((position, _)) =
            names.keys().enumerate().find(|(position, class)| position != *class)
        {
            let reason = format!("no row has class {position}, but a higher number occurs");
            return Err(Error::Header { path: sheet.path.clone(), reason });
        }
        Ok(Task::SingleLabel { classes: names.into_values().collect() })
    }
}

fn class_number(line: Line<'_>, column: usize) -> Result<usize> {
    let number = line.required(column)?.parse().ok();
    number
        .filter(|&number| number < MAX_CLASSES)
        .ok_or_else(|| line.label_error(column, &format!("the whole numbers below {MAX_CLASSES}")))
}
