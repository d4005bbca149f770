use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vit_datasets::audit::{
    Attributes, Audit, AuditOptions, AuditReport, FileList, ListLabels, ListOptions, Severity,
};
use vit_datasets::{Dataset, GroupRule, ImageFolder, ImageFolderOptions, attribute};
use vit_models::write_atomic;

use crate::DataArgs;
use crate::progress::{count, counter};

/// What `--data` is where nothing was said.
const PHANTOM: &str = "phantom";

/// What to audit, and where the report goes.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// The data, with their splits. Not looked at where there are `--part` or `--list`.
    #[command(flatten)]
    pub data: DataArgs,
    /// A folder or CSV as one split, `train=FOLDER`; several times. The `--csv-...` and
    /// `--group-separator` flags hold for these too.
    #[arg(long = "part", value_name = "NAME=PATH")]
    pub parts: Vec<String>,
    /// A list of files as one split, `train=FILE.csv`, of which the pictures are not at hand;
    /// several times.
    #[arg(long = "list", value_name = "NAME=CSV")]
    pub lists: Vec<String>,
    /// The table that holds the truth about labels.
    #[arg(long)]
    pub master: Option<PathBuf>,
    /// Lists each of which must contain the one before, `1%.csv,10%.csv,100%.csv`; several times.
    #[arg(long, value_name = "CSV,CSV,...")]
    pub nested: Vec<String>,
    /// Lists and master: column with the file names.
    #[arg(long, default_value = "file")]
    pub list_file: String,
    /// Lists and master: column with the class; or several, comma-separated, for findings.
    #[arg(long, default_value = "")]
    pub list_label: String,
    /// Lists and master: between the names of several findings in one column, as `|`.
    #[arg(long)]
    pub list_separator: Option<char>,
    /// Lists and master: column with the patient.
    #[arg(long)]
    pub list_group: Option<String>,
    /// Lists and master: between two columns.
    #[arg(long, default_value_t = ',')]
    pub list_delimiter: char,
    /// A CSV with ages and subgroups.
    #[arg(long)]
    pub attributes: Option<PathBuf>,
    /// Attributes: column with the file name, the id or the patient.
    #[arg(long, default_value = "file")]
    pub attributes_key: String,
    /// Column with ages to check, of the attributes or of what the data say (where they have `age`,
    /// that is checked anyway).
    #[arg(long)]
    pub age: Option<String>,
    /// Columns to count labels by, of the attributes or of what the data say; several times.
    #[arg(long = "subgroup")]
    pub subgroups: Vec<String>,
    /// Leaves the pictures unread: names, patients and labels only.
    #[arg(long)]
    pub no_pictures: bool,
    /// How many of the 256 bits of two perceptual hashes may differ in nearly equal pictures.
    #[arg(long, default_value_t = AuditOptions::default().near_bits)]
    pub near_bits: u32,
    /// How much the miniatures of nearly equal pictures correlate at least.
    #[arg(long, default_value_t = AuditOptions::default().near_correlation)]
    pub near_correlation: f32,
    /// Folder for `audit.json`, `audit.txt` and `audit.html`.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The exit code is 1 if there is a finding at least this bad.
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    pub fail_on: FailOn,
}

/// How bad a finding must be to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Results would be wrong.
    Error,
    /// Results may be biased.
    Warning,
    /// Anything at all.
    Info,
    /// Whatever is found is fine.
    Never,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Info => Some(Severity::Info),
            Self::Never => None,
        }
    }
}

/// Prints and writes the report; `false` when a finding is as bad as `--fail-on`.
///
/// # Errors
/// When data or tables cannot be opened, or the report cannot be written.
pub fn audit(args: &AuditArgs) -> Result<bool> {
    let audit = args.build()?;
    let bar = counter("pictures");
    let report = audit.run(&|done, total| count(&bar, done, total))?;
    bar.finish_and_clear();
    println!("{report}");
    if let Some(folder) = &args.out {
        write_report(&audit, &report, folder, &args.title())?;
    }
    let limit = args.fail_on.severity();
    Ok(limit.is_none_or(|limit| report.worst().is_none_or(|worst| worst < limit)))
}

fn write_report(audit: &Audit, report: &AuditReport, folder: &Path, title: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let write = |name: &str, text: String| {
        write_atomic(&folder.join(name), |file| file.write_all(text.as_bytes()))
    };
    write("audit.json", serde_json::to_string_pretty(report)? + "\n")?;
    write("audit.txt", format!("{report}\n"))?;
    write("audit.html", audit.html(report, title))?;
    println!("report -> {}", folder.join("audit.html").display());
    Ok(())
}

impl AuditArgs {
    fn title(&self) -> String {
        let named: Vec<&str> = self.parts.iter().chain(&self.lists).map(String::as_str).collect();
        let data = if named.is_empty() { self.data.data.clone() } else { named.join(", ") };
        format!("Audit of {data}")
    }

    fn build(&self) -> Result<Audit> {
        let parts = self.datasets()?;
        let attributes = match &self.attributes {
            Some(path) => Attributes::read(path, &self.attributes_key, ',')?,
            None => Attributes::of(parts.iter().map(|(_, part)| part.as_ref()))?,
        };
        let usual = || attributes.has(attribute::AGE).then(|| attribute::AGE.to_owned());
        let mut audit = Audit::new(AuditOptions {
            pictures: !self.no_pictures,
            near_bits: self.near_bits,
            near_correlation: self.near_correlation,
            age: self.age.clone().or_else(usual),
            subgroups: self.subgroups.clone(),
            workers: self.data.num_workers,
            ..AuditOptions::default()
        })
        .attributes(attributes);
        for (name, part) in parts {
            audit = audit.part(name, part);
        }
        for list in &self.lists {
            let (name, path) = named(list)?;
            audit = audit.list(name, self.read_list(path)?);
        }
        for chain in &self.nested {
            let list = |path: &str| Ok((path.to_owned(), self.read_list(Path::new(path))?));
            audit = audit.nested(chain.split(',').map(list).collect::<Result<_>>()?);
        }
        if let Some(master) = &self.master {
            audit = audit.master(self.read_list(master)?);
        }
        Ok(audit)
    }

    /// The splits whose pictures are at hand.
    fn datasets(&self) -> Result<Vec<(String, Arc<dyn Dataset>)>> {
        let mut parts = Vec::new();
        // Beside nested lists alone, the data count where they are not the built-in phantoms.
        let only_nested = !self.nested.is_empty() && self.data.data == PHANTOM;
        if self.parts.is_empty() && self.lists.is_empty() && !only_nested {
            let open = self.data.open_unchecked()?;
            parts.extend(open.parts().map(|(name, part)| (name.to_owned(), Arc::clone(part))));
        }
        for part in &self.parts {
            let (name, path) = named(part)?;
            parts.push((name.to_owned(), self.dataset(path)?));
        }
        Ok(parts)
    }

    fn dataset(&self, path: &Path) -> Result<Arc<dyn Dataset>> {
        if !path.is_dir() {
            return self.data.csv(path);
        }
        let group = self.data.group_separator;
        let group =
            group.map_or(GroupRule::PerFile, |separator| GroupRule::FileNamePrefix { separator });
        let options = ImageFolderOptions { group, ..ImageFolderOptions::default() };
        Ok(Arc::new(ImageFolder::open(path, &options)?))
    }

    fn read_list(&self, path: &Path) -> Result<FileList> {
        let columns: Vec<String> = self.list_label.split(',').map(str::to_owned).collect();
        let labels = match columns.as_slice() {
            [column] if column.is_empty() => ListLabels::None,
            [column] => {
                ListLabels::Names { column: column.clone(), separator: self.list_separator }
            }
            _ => ListLabels::Columns(columns),
        };
        let options = ListOptions {
            labels,
            group: self.list_group.clone(),
            delimiter: self.list_delimiter,
            ..ListOptions::new(self.list_file.clone())
        };
        Ok(FileList::read(path, &options)?)
    }
}

/// `NAME=PATH` as its two parts.
fn named(text: &str) -> Result<(&str, &Path)> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name, Path::new(path))),
        _ => bail!("'{text}' is not NAME=PATH"),
    }
}
