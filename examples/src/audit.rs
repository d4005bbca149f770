mod effect;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use vit_datasets::audit::{
    Attributes, Audit, AuditOptions, AuditReport, FileList, ListLabels, ListOptions, Severity,
};
use vit_datasets::{Dataset, GroupRule, ImageFolder, ImageFolderOptions, attribute};
use vit_models::write_atomic;

use crate::DataArgs;
use crate::progress::{count, counter};
use effect::Given;

/// Name and pictures of a split.
type Part = (String, Arc<dyn Dataset>);

/// What to audit, and where the report goes: the flags, and which of them were given.
#[derive(Debug, Clone)]
pub struct AuditArgs {
    flags: Flags,
    given: Given,
}

#[derive(Debug, Clone, Args)]
struct Flags {
    /// The data, with their splits.
    #[command(flatten)]
    data: DataArgs,
    /// A folder or table as one split, `train=FOLDER`; several times, in place of `--data`. The
    /// `--csv-...` and `--group-separator` flags hold for these too.
    #[arg(long = "part", value_name = "NAME=PATH")]
    parts: Vec<String>,
    /// A list of files as one split, `train=FILE.csv`, of which the pictures are not at hand;
    /// several times, in place of `--data`.
    #[arg(long = "list", value_name = "NAME=CSV")]
    lists: Vec<String>,
    /// The table that holds the truth about labels.
    #[arg(long, value_name = "CSV")]
    master: Option<PathBuf>,
    /// Master: column with the file names (default: that of the lists).
    #[arg(long)]
    master_file: Option<String>,
    /// Master: column with the class, or several, comma-separated (default: that of the lists).
    #[arg(long)]
    master_label: Option<String>,
    /// Master: between the names of several findings in one column (default: that of the lists).
    #[arg(long)]
    master_separator: Option<char>,
    /// Master: between two columns (default: that of the lists).
    #[arg(long)]
    master_delimiter: Option<char>,
    /// Lists each of which must contain the one before, `1%.csv,10%.csv,100%.csv`, beside the data;
    /// several times.
    #[arg(long, value_name = "CSV,CSV,...")]
    nested: Vec<String>,
    /// Lists: column with the file names.
    #[arg(long, default_value = "file")]
    list_file: String,
    /// Lists: column with the class; or several, comma-separated, for findings.
    #[arg(long, default_value = "")]
    list_label: String,
    /// Lists: between the names of several findings in one column, as `|`.
    #[arg(long)]
    list_separator: Option<char>,
    /// Lists: column with the patient.
    #[arg(long)]
    list_group: Option<String>,
    /// Lists: between two columns.
    #[arg(long, default_value_t = ',')]
    list_delimiter: char,
    /// A table with ages and subgroups.
    #[arg(long, value_name = "CSV")]
    attributes: Option<PathBuf>,
    /// Attributes: column with the file name, the id or the patient.
    #[arg(long, default_value = "file")]
    attributes_key: String,
    /// Column with ages to check, of the attributes or of what the data say (where they have `age`,
    /// that is checked anyway).
    #[arg(long)]
    age: Option<String>,
    /// The highest age in years that is believed.
    #[arg(long, default_value_t = AuditOptions::default().max_age)]
    max_age: f64,
    /// Columns to count labels by, of the attributes or of what the data say; several times.
    #[arg(long = "subgroup")]
    subgroups: Vec<String>,
    /// Leaves the pictures unread: names, patients and labels only.
    #[arg(long)]
    no_pictures: bool,
    /// How many of the 256 bits of two perceptual hashes may differ in nearly equal pictures.
    #[arg(long, default_value_t = AuditOptions::default().near_bits)]
    near_bits: u32,
    /// How much the miniatures of nearly equal pictures correlate at least.
    #[arg(long, default_value_t = AuditOptions::default().near_correlation)]
    near_correlation: f32,
    /// Compares pictures as they are only: mirrored and turned copies are not looked for.
    #[arg(long)]
    near_upright: bool,
    /// Folder for `audit.json`, `audit.txt` and `audit.html`.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The exit code is 1 if there is a finding at least this bad.
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
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
/// When a flag has no effect beside the others, data or tables cannot be opened, or the report cannot
/// be written.
pub fn audit(args: &AuditArgs) -> Result<bool> {
    let Flags { out, fail_on, .. } = &args.flags;
    effect::check(&args.flags, &args.given)?;
    let audit = args.flags.build(&args.given)?;
    let bar = counter("pictures");
    let report = audit.run(&|done, total| count(&bar, done, total))?;
    bar.finish_and_clear();
    println!("{report}");
    if let Some(folder) = out {
        write_report(&audit, &report, folder, &args.flags.title())?;
    }
    let limit = fail_on.severity();
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

impl FromArgMatches for AuditArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        Ok(Self { flags, given: Given::of(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for AuditArgs {
    fn augment_args(command: Command) -> Command {
        effect::hide(Flags::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        effect::hide(Flags::augment_args_for_update(command))
    }
}

impl Flags {
    /// Whether `--part` or `--list` say what to look at, and `--data` does not.
    fn names_parts(&self) -> bool {
        !self.parts.is_empty() || !self.lists.is_empty()
    }

    fn title(&self) -> String {
        let named: Vec<&str> = self.parts.iter().chain(&self.lists).map(String::as_str).collect();
        let data = if named.is_empty() { self.data.data.clone() } else { named.join(", ") };
        format!("Audit of {data}")
    }

    fn build(&self, given: &Given) -> Result<Audit> {
        let parts = self.datasets()?;
        let path = self.attributes.as_deref();
        let attributes =
            path.map(|path| Attributes::read(path, &self.attributes_key, ',')).transpose()?;
        let options = self.options(&parts, attributes.as_ref())?;
        if options.age.is_none() && given.has("max_age") {
            bail!("--max-age has no effect here: no column with ages is known; name it with --age");
        }
        let mut audit = Audit::new(options).workers(self.data.num_workers);
        if let Some(attributes) = attributes {
            audit = audit.attributes(attributes);
        }
        for (name, part) in parts {
            audit = audit.part(name, part);
        }
        let lists = self.list_options();
        for list in &self.lists {
            let (name, path) = named(list)?;
            audit = audit.list(name, FileList::read(path, &lists)?);
        }
        // Of these the files are compared, nothing else.
        let plain =
            ListOptions { delimiter: self.list_delimiter, ..ListOptions::new(&self.list_file) };
        for chain in &self.nested {
            let list =
                |(name, path): (String, &str)| Ok((name, FileList::read(Path::new(path), &plain)?));
            audit = audit.nested(short_names(chain).into_iter().map(list).collect::<Result<_>>()?);
        }
        if let Some(master) = &self.master {
            audit = audit.master(FileList::read(master, &self.master_options())?);
        }
        Ok(audit)
    }

    /// Ages are checked where they are asked for, and where they are known anyway.
    fn options(&self, parts: &[Part], table: Option<&Attributes>) -> Result<AuditOptions> {
        let asked = self.age.iter().chain(&self.subgroups);
        let has = |name: &str| table.is_some_and(|table| table.has(name));
        if let Some(path) = self.attributes.as_ref()
            && !asked.map(String::as_str).chain([attribute::AGE]).any(has)
        {
            bail!(
                "--attributes {}: none of its columns is asked for; name some with --age or \
                 --subgroup",
                path.display()
            );
        }
        let told = |name: &str| {
            parts.iter().any(|(_, part)| part.attribute_names().iter().any(|own| own == name))
        };
        let usual =
            || (has(attribute::AGE) || told(attribute::AGE)).then(|| attribute::AGE.to_owned());
        let age = self.age.clone().or_else(usual);
        Ok(AuditOptions {
            // Lists alone have none.
            pictures: !self.no_pictures && !parts.is_empty(),
            near_bits: self.near_bits,
            near_correlation: self.near_correlation,
            near_turned: !self.near_upright,
            age,
            max_age: self.max_age,
            subgroups: self.subgroups.clone(),
            ..AuditOptions::default()
        })
    }

    /// The splits whose pictures are at hand.
    fn datasets(&self) -> Result<Vec<Part>> {
        if !self.names_parts() {
            let open = self.data.open_unchecked()?;
            return Ok(open.parts().map(|(name, part)| (name.to_owned(), part.clone())).collect());
        }
        let open = |part: &String| {
            let (name, path) = named(part)?;
            Ok((name.to_owned(), self.dataset(path)?))
        };
        self.parts.iter().map(open).collect()
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

    fn list_options(&self) -> ListOptions {
        ListOptions {
            labels: labels(&self.list_label, self.list_separator),
            group: self.list_group.clone(),
            delimiter: self.list_delimiter,
            ..ListOptions::new(&self.list_file)
        }
    }

    /// The table of all labels may have other columns than the lists.
    fn master_options(&self) -> ListOptions {
        let column = self.master_label.as_ref().unwrap_or(&self.list_label);
        let separator = self.master_separator.or(self.list_separator);
        ListOptions {
            labels: labels(column, separator),
            delimiter: self.master_delimiter.unwrap_or(self.list_delimiter),
            ..ListOptions::new(self.master_file.as_ref().unwrap_or(&self.list_file))
        }
    }
}

/// The paths of a chain and their names without folders, unless two have the same: the result is not
/// to depend on where the files lie.
fn short_names(chain: &str) -> Vec<(String, &str)> {
    let short = |path: &str| {
        Path::new(path)
            .file_name()
            .map_or_else(|| path.into(), |name| name.to_string_lossy().into())
    };
    let named: Vec<(String, &str)> = chain.split(',').map(|path| (short(path), path)).collect();
    let mut seen = BTreeSet::new();
    if named.iter().all(|(name, _)| seen.insert(name)) {
        return named;
    }
    chain.split(',').map(|path| (path.to_owned(), path)).collect()
}

/// One column of names, or several of findings.
fn labels(columns: &str, separator: Option<char>) -> ListLabels {
    match columns.split(',').map(str::to_owned).collect::<Vec<_>>().as_slice() {
        [column] if column.is_empty() => ListLabels::None,
        [column] => ListLabels::Names { column: column.clone(), separator },
        columns => ListLabels::Columns(columns.to_vec()),
    }
}

/// `NAME=PATH` as its two parts.
fn named(text: &str) -> Result<(&str, &Path)> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name, Path::new(path))),
        _ => bail!("'{text}' is not NAME=PATH"),
    }
}
