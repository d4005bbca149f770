use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::card::{RSNA, RSNA_DETAILED};
use crate::files::{Builder, Line, Row, Sheet, first_file};
use crate::{Card, Error, FileDataset, FileOptions, FindingBox, Result, Target, Task};

/// What is to be told of an RSNA radiograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RsnaTask {
    /// One finding, pneumonia.
    #[default]
    Pneumonia,
    /// One of three classes: normal, not normal without opacity, lung opacity.
    Detailed,
}

/// How to read the [RSNA Pneumonia Detection
/// Challenge](https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018),
/// stage 2: pictures as DICOM (with the feature `dicom`), PNG or JPEG, one per patient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RsnaPneumonia {
    /// The folder with `stage_2_train_images` and the tables.
    pub root: PathBuf,
    /// What the targets are. Detailed classes need their table.
    #[serde(default)]
    pub task: RsnaTask,
    /// The table; without one, `stage_2_train_labels.csv`.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// The table of the three classes; without one, `stage_2_detailed_class_info.csv` where it is.
    #[serde(default)]
    pub detailed: Option<PathBuf>,
    /// How to treat the files.
    #[serde(default)]
    pub files: FileOptions,
}

/// What the rows of one patient say together.
struct Patient {
    line: u64,
    id: String,
    boxes: Vec<FindingBox>,
}

impl RsnaPneumonia {
    /// Pneumonia or not, for all patients below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (task, files) = <(RsnaTask, FileOptions)>::default();
        Self { root: root.into(), task, labels: None, detailed: None, files }
    }

    /// Reads the tables, one row per box, and puts the rows of each patient together.
    ///
    /// # Errors
    /// As [`crate::CsvTable::open`]; [`Error::Label`] for a target that is not 0 or 1;
    /// [`Error::Row`] for a target without its box or a box without its target, rows of one patient
    /// that contradict each other, and a patient without a class when classes are asked for.
    pub fn open(&self) -> Result<FileDataset> {
        let table = match &self.labels {
            Some(labels) => labels.clone(),
            None => first_file(&self.root, &["stage_2_train_labels.csv"])?,
        };
        let sheet = Sheet::read(&table, b',')?;
        let patients = patients(&sheet)?;
        let classes = self.classes()?;
        let mut builder = Builder::new(&table, &self.root, self.files, &["class"])?;
        for patient in patients {
            let class = classes.get(&patient.id).copied();
            let target = match (self.task, class) {
                (RsnaTask::Pneumonia, _) => {
                    Target::Labels(vec![Some(f32::from(!patient.boxes.is_empty()))])
                }
                (RsnaTask::Detailed, Some(class)) => Target::Class(class),
                (RsnaTask::Detailed, None) => {
                    let reason = format!("patient '{}' has no detailed class", patient.id);
                    return Err(Error::Row { path: table, line: patient.line, reason });
                }
            };
            let name = class
                .and_then(|class| RSNA_DETAILED.labels.get(class))
                .copied()
                .unwrap_or_default();
            let mut row = Row::new(patient.line, "", target);
            row.paths = places(&format!("stage_2_train_images/{}.dcm", patient.id));
            row.boxes = patient.boxes;
            builder.add(row.group(patient.id).attributes(vec![name]))?;
        }
        let names = |card: &Card| card.labels.iter().map(ToString::to_string).collect();
        let (card, task): (&'static Card, _) = match self.task {
            RsnaTask::Pneumonia => (&RSNA, Task::MultiLabel { findings: names(&RSNA) }),
            RsnaTask::Detailed => {
                (&RSNA_DETAILED, Task::SingleLabel { classes: names(&RSNA_DETAILED) })
            }
        };
        Ok(builder.finish(task)?.described(card, "train"))
    }

    /// The detailed class of each patient; rows are repeated once per box.
    fn classes(&self) -> Result<HashMap<String, usize>> {
        let path = match &self.detailed {
            Some(path) => path.clone(),
            None => match first_file(&self.root, &["stage_2_detailed_class_info.csv"]) {
                Ok(path) => path,
                Err(error) if self.task == RsnaTask::Detailed => return Err(error),
                Err(_) => return Ok(HashMap::new()),
            },
        };
        let sheet = Sheet::read(&path, b',')?;
        let [id, class] = sheet.columns(["patientId", "class"])?;
        let mut classes = HashMap::new();
        for line in sheet.lines() {
            let name = line.required(class)?;
            let number = RSNA_DETAILED.labels.iter().position(|known| *known == name);
            let Some(number) = number else {
                return Err(line.label_error(class, &RSNA_DETAILED.labels.join(", ")));
            };
            let known = *classes.entry(line.required(id)?.to_owned()).or_insert(number);
            if known != number {
                return Err(line.error(format!("patient '{}' has two classes", line.cell(id))));
            }
        }
        Ok(classes)
    }
}

fn patients(sheet: &Sheet) -> Result<Vec<Patient>> {
    let [id, target] = sheet.columns(["patientId", "Target"])?;
    let bounds = sheet.columns(["x", "y", "width", "height"])?;
    let mut positions: HashMap<&str, usize> = HashMap::new();
    let mut patients: Vec<Patient> = Vec::new();
    for line in sheet.lines() {
        let name = line.required(id)?;
        let filled = bounds.iter().filter(|&&column| !line.cell(column).is_empty()).count();
        let bounds = match (line.cell(target), filled) {
            ("0", 0) => None,
            ("1", 4) => Some(rectangle(line, bounds, "Lung Opacity")?),
            ("0" | "1", _) => {
                let target = line.cell(target);
                return Err(line.error(format!("target {target} with {filled} of 4 bounds")));
            }
            _ => return Err(line.label_error(target, "0 and 1")),
        };
        let next = patients.len();
        let position = *positions.entry(name).or_insert(next);
        match (patients.get_mut(position), bounds) {
            (None, bounds) => {
                let boxes = bounds.into_iter().collect();
                patients.push(Patient { line: line.number, id: name.to_owned(), boxes });
            }
            (Some(patient), Some(bounds)) if !patient.boxes.is_empty() => {
                patient.boxes.push(bounds);
            }
            (Some(patient), _) => {
                let first = patient.line;
                return Err(line.error(format!("patient '{name}' contradicts line {first}")));
            }
        }
    }
    Ok(patients)
}

/// A box from the cells of left, top, width and height.
pub(super) fn rectangle(line: Line<'_>, columns: [usize; 4], finding: &str) -> Result<FindingBox> {
    let mut numbers = [0f32; 4];
    for (number, column) in numbers.iter_mut().zip(columns) {
        let parsed = line.cell(column).parse().ok().filter(|value: &f32| value.is_finite());
        *number = parsed.ok_or_else(|| line.label_error(column, "the finite numbers"))?;
    }
    let [x, y, width, height] = numbers;
    if width <= 0.0 || height <= 0.0 {
        return Err(line.error(format!("a box of {width} x {height} pixels")));
    }
    Ok(FindingBox { finding: finding.to_owned(), x, y, width, height })
}

/// The DICOM file, or the picture it was converted to.
pub(super) fn places(path: &str) -> Vec<String> {
    let stem = Path::new(path).extension().map_or(path, |extension| {
        path.strip_suffix(&*extension.to_string_lossy())
            .map_or(path, |stem| stem.trim_end_matches('.'))
    });
    let others = ["dcm", "png", "jpg"].map(|extension| format!("{stem}.{extension}"));
    let mut paths = vec![path.to_owned()];
    paths.extend(others.into_iter().filter(|other| other != path));
    paths
}
