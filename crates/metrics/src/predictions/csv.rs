//! Predictions as a table: `id,group,target…,score…,columns…`.

use std::io::Read;
use std::path::Path;

use super::{Part, Predictions, RowTarget};
use crate::files::write_atomic;
use crate::{MetricsError, Result, Task};

/// Before the name of a class, in the header of its score.
const SCORE: &str = "score:";
/// Before the name of a finding, in the header of its truth.
const TARGET: &str = "target:";
/// Before the name of a column.
const COLUMN: &str = "column:";

impl Predictions {
    /// Writes a CSV file: `id`, `group`, the truth (`target` with the class name, or one
    /// `target:FINDING` of 0, 1 or empty per finding), `score:CLASS` per class, `column:NAME` per
    /// column. Scores are written so that they read back to the bit. The file is whole or absent.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |error: csv::Error| file_error(path, &error);
        writer.write_record(self.header()).map_err(failed)?;
        for row in 0..self.len() {
            writer.write_record(self.record(row)).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|error| file_error(path, &error.error()))?;
        write_atomic(path, |file| file.write_all(&bytes))
    }

    fn header(&self) -> Vec<String> {
        let targets = match self.task {
            Task::SingleLabel => vec!["target".to_owned()],
            Task::MultiLabel => self.classes.iter().map(|c| format!("{TARGET}{c}")).collect(),
        };
        let scores = self.classes.iter().map(|class| format!("{SCORE}{class}"));
        let columns = self.columns.keys().map(|name| format!("{COLUMN}{name}"));
        let fixed = ["id", "group"].map(str::to_owned);
        fixed.into_iter().chain(targets).chain(scores).chain(columns).collect()
    }

    fn record(&self, row: usize) -> Vec<String> {
        let text = |values: &[String]| values.get(row).cloned().unwrap_or_default();
        let targets: Vec<String> = match self.task {
            Task::SingleLabel => {
                let name = self.class_of(row).and_then(|class| self.classes.get(class));
                vec![name.cloned().unwrap_or_default()]
            }
            Task::MultiLabel => {
                let cell = |truth: Option<bool>| truth.map_or("", |t| if t { "1" } else { "0" });
                (0..self.classes.len()).map(|c| cell(self.is_positive(row, c)).to_owned()).collect()
            }
        };
        let group = self.groups.get(row).cloned().flatten().unwrap_or_default();
        let scores = self.row(row).iter().map(f32::to_string);
        let columns = self.columns.values().map(|values| text(values));
        [text(&self.ids), group].into_iter().chain(targets).chain(scores).chain(columns).collect()
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote.
    ///
    /// # Errors
    /// The file cannot be read or has another header; a row is malformed (it is named).
    pub fn read_csv(path: &Path, part: Part) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|error| file_error(path, &error))?;
        Self::from_csv(file, &path.display().to_string(), part)
    }

    /// As [`read_csv`](Self::read_csv), from any reader; `name` is for error messages.
    ///
    /// # Errors
    /// As [`read_csv`](Self::read_csv).
    pub fn from_csv(reader: impl Read, name: &str, part: Part) -> Result<Self> {
        let failed = |message: String| MetricsError::File { path: name.to_owned(), message };
        let mut reader = csv::Reader::from_reader(reader);
        let header = reader.headers().map_err(|error| failed(error.to_string()))?.clone();
        let layout = Layout::of(&header).map_err(failed)?;
        let mut predictions = Self::new(layout.task, layout.classes.clone(), part)?;
        let mut columns = vec![Vec::new(); layout.columns.len()];
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|error| failed(error.to_string()))?;
            layout.push(&mut predictions, &record, name, row + 1)?;
            for (values, (place, _)) in columns.iter_mut().zip(&layout.columns) {
                values.push(record.get(*place).unwrap_or_default().to_owned());
            }
        }
        for ((_, name), values) in layout.columns.iter().zip(columns) {
            predictions = predictions.with_column(name, values)?;
        }
        Ok(predictions)
    }
}

/// Where what is.
struct Layout {
    task: Task,
    classes: Vec<String>,
    id: usize,
    group: Option<usize>,
    targets: Vec<usize>,
    scores: Vec<usize>,
    columns: Vec<(usize, String)>,
}

impl Layout {
    fn of(header: &csv::StringRecord) -> std::result::Result<Self, String> {
        let place = |wanted: &str| header.iter().position(|name| name == wanted);
        let with = |prefix: &str| -> Vec<(usize, String)> {
            let names = header.iter().enumerate();
            names.filter_map(|(i, n)| Some((i, n.strip_prefix(prefix)?.to_owned()))).collect()
        };
        let (scores, findings) = (with(SCORE), with(TARGET));
        let classes: Vec<String> = scores.iter().map(|(_, name)| name.clone()).collect();
        if classes.is_empty() {
            return Err(format!("no column is named {SCORE}CLASS"));
        }
        let (task, targets) = match place("target") {
            Some(target) if findings.is_empty() => (Task::SingleLabel, vec![target]),
            _ if findings.iter().map(|(_, name)| name).eq(&classes) => {
                (Task::MultiLabel, findings.iter().map(|(place, _)| *place).collect())
            }
            _ => {
                return Err(format!(
                    "needs a column \"target\", or one {TARGET}NAME for each {SCORE}NAME in the \
                     same order"
                ));
            }
        };
        Ok(Self {
            task,
            classes,
            id: place("id").ok_or("no column is named \"id\"")?,
            group: place("group"),
            targets,
            scores: scores.into_iter().map(|(place, _)| place).collect(),
            columns: with(COLUMN),
        })
    }

    fn push(
        &self,
        predictions: &mut Predictions,
        record: &csv::StringRecord,
        path: &str,
        row: usize,
    ) -> Result<()> {
        let cell = |place: usize| record.get(place).unwrap_or_default();
        let number = |place: &usize| {
            cell(*place).parse::<f32>().map_err(|_| MetricsError::File {
                path: path.to_owned(),
                message: format!("row {row}: {:?} is no number", cell(*place)),
            })
        };
        let scores = self.scores.iter().map(number).collect::<Result<Vec<f32>>>()?;
        let group = self.group.map(cell).filter(|group| !group.is_empty());
        let id = cell(self.id);
        if self.task == Task::SingleLabel {
            let label = self.targets.first().map_or("", |place| cell(*place));
            let class = self.classes.iter().position(|class| class == label);
            if class.is_none() && !label.is_empty() {
                let (path, label) = (path.to_owned(), label.to_owned());
                let classes = self.classes.len();
                return Err(MetricsError::UnknownLabel { path, row, label, classes });
            }
            return predictions.push(id, group, &scores, RowTarget::Class(class));
        }
        let target = |place: &usize| match cell(*place) {
            "" => Ok(None),
            _ => number(place).map(Some),
        };
        let targets = self.targets.iter().map(target).collect::<Result<Vec<_>>>()?;
        predictions.push(id, group, &scores, RowTarget::Findings(&targets))
    }
}

/// An error of a file.
fn file_error(path: &Path, error: &dyn std::fmt::Display) -> MetricsError {
    MetricsError::File { path: path.display().to_string(), message: error.to_string() }
}
