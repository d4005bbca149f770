//! Made-up medical pictures for tests, examples and trials without data.

mod canvas;
mod endoscopy;
mod findings;
mod xray;

use serde::{Deserialize, Serialize};
use vit_random::rand::Rng;
use vit_random::rand::seq::SliceRandom;
use vit_random::{Stream, Streams};
use vit_transforms::{Image, Pixels};

use crate::{Dataset, Error, Record, Result, Sample, Target, Task};
use canvas::View;
use findings::Mark;

pub use findings::PhantomFinding;

/// Sides a phantom may have.
const SIZES: std::ops::RangeInclusive<usize> = 16..=4096;

/// How often a finding is present in a multi-label picture.
const PREVALENCE: f64 = 0.35;

/// What a phantom looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomKind {
    /// Grey, like a frontal chest radiograph.
    Xray,
    /// RGB, like a look into the bowel.
    Endoscopy,
}

/// What the labels of a phantom are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhantomTask {
    /// One class: `normal`, each finding alone, and `mixed` (two of them) where there are several.
    SingleLabel,
    /// Each finding present (35 %) or absent, independently.
    MultiLabel,
}

/// What a [`Phantom`] makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// What the pictures look like.
    pub kind: PhantomKind,
    /// What the labels are.
    pub task: PhantomTask,
    /// Findings that occur, each at most once in this list.
    pub findings: Vec<PhantomFinding>,
    /// Side in pixels, 16 to 4096.
    pub size: usize,
    /// Number of pictures.
    pub len: usize,
    /// Number of patients; picture `i` is of patient `i % patients`.
    pub patients: usize,
    /// Number of sites (machines); patient `p` is of site `p % sites`.
    pub sites: usize,
    /// How strongly findings stand out: 1 is easy to see, below about 0.3 they drown in noise.
    pub contrast: f32,
    /// The same seed and configuration give the same pictures, in any order of reading.
    pub seed: u64,
}

impl Default for PhantomConfig {
    /// 500 radiographs of 100 patients from 3 sites, 32 pixels, one label, all findings.
    fn default() -> Self {
        Self {
            kind: PhantomKind::Xray,
            task: PhantomTask::SingleLabel,
            findings: PhantomFinding::ALL.to_vec(),
            size: 32,
            len: 500,
            patients: 100,
            sites: 3,
            contrast: 1.0,
            seed: 0,
        }
    }
}

/// A data set that is drawn, not read: each picture is a pure function of configuration and index.
///
/// Anatomy is that of the patient, gain, contrast and shading are those of the site, pose and noise
/// are those of the picture. What a finding adds in brightness is taken away around it, so that the
/// mean of a channel says nothing about the label; it must be seen.
///
/// The pictures resemble medical ones in layout only. They test code; they prove nothing about
/// medicine.
///
/// # Examples
/// ```
/// use vit_datasets::{Dataset, Phantom, PhantomConfig};
/// let data = Phantom::new(PhantomConfig { size: 48, ..PhantomConfig::default() })?;
/// let sample = data.get(7)?;
/// assert_eq!((sample.image.width(), sample.image.channels()), (48, 1));
/// assert_eq!(sample, data.get(7)?);
/// # Ok::<(), vit_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Phantom {
    config: PhantomConfig,
    task: Task,
    streams: Streams,
}

impl Phantom {
    /// Checks the configuration; pictures are drawn when they are asked for.
    ///
    /// # Errors
    /// [`Error::Config`] when a number is out of the range given at its field, or a finding is
    /// listed twice or none is.
    pub fn new(config: PhantomConfig) -> Result<Self> {
        check(&config)?;
        let names = config.findings.iter().map(|finding| finding.name().to_owned());
        let task = match config.task {
            PhantomTask::MultiLabel => Task::MultiLabel { findings: names.collect() },
            PhantomTask::SingleLabel => {
                let mut classes = vec!["normal".to_owned()];
                classes.extend(names);
                if config.findings.len() > 1 {
                    classes.push("mixed".to_owned());
                }
                Task::SingleLabel { classes }
            }
        };
        let streams = Streams::new(config.seed);
        Ok(Self { config, task, streams })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &PhantomConfig {
        &self.config
    }

    /// Number of the patient of a picture.
    #[must_use]
    pub fn patient(&self, index: usize) -> usize {
        index % self.config.patients
    }

    /// Number of the site (machine) of a picture.
    #[must_use]
    pub fn site(&self, index: usize) -> usize {
        self.patient(index) % self.config.sites
    }

    fn stream(&self, purpose: &str, index: usize) -> Stream {
        self.streams.stream(purpose, 0, index as u64)
    }

    /// The label and the findings that the picture shows.
    fn label(&self, index: usize) -> (Target, Vec<PhantomFinding>) {
        let all = &self.config.findings;
        let mut rng = self.stream("phantom/label", index);
        if self.config.task == PhantomTask::MultiLabel {
            let present: Vec<bool> = all.iter().map(|_| rng.random_bool(PREVALENCE)).collect();
            let labels = present.iter().map(|&p| Some(f32::from(u8::from(p)))).collect();
            let shown = all.iter().zip(&present).filter(|&(_, &p)| p).map(|(&f, _)| f).collect();
            return (Target::Labels(labels), shown);
        }
        let class = self.class(index);
        let shown = match class.checked_sub(1) {
            None => Vec::new(),
            Some(finding) => match all.get(finding) {
                Some(&finding) => vec![finding],
                None => {
                    let mut two = all.clone();
                    two.shuffle(&mut rng);
                    two.truncate(2);
                    two
                }
            },
        };
        (Target::Class(class), shown)
    }

    /// Each run of as many pictures as there are classes has every class once, in random order.
    fn class(&self, index: usize) -> usize {
        let classes = self.task.names().len().max(1);
        let mut order: Vec<usize> = (0..classes).collect();
        order.shuffle(&mut self.stream("phantom/class", index / classes));
        order.get(index % classes).copied().unwrap_or(0)
    }

    /// Interleaved 8-bit pixels and their channels.
    fn draw(&self, index: usize, shown: &[PhantomFinding]) -> (usize, Vec<u8>) {
        let mut patient = self.stream("phantom/patient", self.patient(index));
        let mut site = self.stream("phantom/site", self.site(index));
        let mut rng = self.stream("phantom/image", index);
        let view = View::new(self.config.size, &mut rng);
        let mut canvas = match self.config.kind {
            PhantomKind::Xray => xray::paint(&view, &mut patient, &mut rng),
            PhantomKind::Endoscopy => endoscopy::paint(&view, &mut patient, &mut rng),
        };
        canvas.apply_site(&mut site);
        // A stream of its own: how many findings there are must not show in the noise.
        let mut placing = self.stream("phantom/finding", index);
        let marks: Vec<Mark> = shown
            .iter()
            .map(|&finding| Mark::place(finding, self.config.kind, &view, &mut placing))
            .collect();
        canvas.add_marks(&view, &marks, self.config.contrast);
        canvas.finish(&mut rng)
    }
}

fn check(config: &PhantomConfig) -> Result<()> {
    let fail = |option, reason| Err(Error::Config { option, reason });
    if !SIZES.contains(&config.size) {
        let reason = format!("{}, must be {} to {}", config.size, SIZES.start(), SIZES.end());
        return fail("PhantomConfig::size", reason);
    }
    if config.patients == 0 {
        return fail("PhantomConfig::patients", "0, must be at least 1".into());
    }
    if config.sites == 0 {
        return fail("PhantomConfig::sites", "0, must be at least 1".into());
    }
    if !(0.0..=10.0).contains(&config.contrast) {
        let reason = format!("{}, must be 0 to 10", config.contrast);
        return fail("PhantomConfig::contrast", reason);
    }
    let findings = &config.findings;
    let twice = findings.iter().enumerate().find(|&(i, f)| findings.iter().take(i).any(|e| e == f));
    match twice {
        Some((_, finding)) => {
            fail("PhantomConfig::findings", format!("'{}' is listed twice", finding.name()))
        }
        None if findings.is_empty() => {
            fail("PhantomConfig::findings", "at least one is needed".into())
        }
        None => Ok(()),
    }
}

impl Dataset for Phantom {
    fn len(&self) -> usize {
        self.config.len
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn record(&self, index: usize) -> Result<Record> {
        if index >= self.config.len {
            return Err(Error::Index { index, len: self.config.len });
        }
        let group = format!("p{:04}", self.patient(index));
        let id = format!("site{}/{group}/{index:05}", self.site(index));
        Ok(Record { id, group, target: self.label(index).0 })
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let record = self.record(index)?;
        let (_, shown) = self.label(index);
        let (channels, pixels) = self.draw(index, &shown);
        let size = self.config.size;
        let image = Image::new(size, size, channels, Pixels::U8(pixels))
            .map_err(|source| Error::Transform { id: record.id.clone(), source })?;
        Ok(Sample { record, image })
    }
}
