//! Which flags of the audit have an effect beside which: a flag that silently does nothing lets
//! people believe that something was checked.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::{Flags, named};

/// Flags of the data that are for training: nothing of an audit depends on them.
const FOR_TRAINING: [&str; 5] =
    ["crop_pct", "audit_report", "cache", "cache_side", "skip_unreadable"];

/// The flags that were given, as opposed to those that have their usual values.
#[derive(Debug, Clone)]
pub(super) struct Given(BTreeSet<String>);

impl Given {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let given =
            |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Self(matches.ids().filter(given).map(ToString::to_string).collect())
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }
}

/// What has no effect is not offered.
pub(super) fn hide(command: Command) -> Command {
    FOR_TRAINING.iter().fold(command, |command, flag| command.mut_arg(flag, |arg| arg.hide(true)))
}

/// Flags, whether they have an effect, and what they would be for.
type Rule = (&'static [&'static str], bool, &'static str);

/// That every flag that was given has an effect.
pub(super) fn check(flags: &Flags, given: &Given) -> Result<()> {
    check_nested(flags, given)?;
    let rules = data_rules(flags).into_iter().chain(table_rules(flags));
    for (names, effective, purpose) in rules {
        if let Some(name) = names.iter().find(|name| !effective && given.has(name)) {
            bail!("--{} has no effect here: it is for {purpose}", name.replace('_', "-"));
        }
    }
    Ok(())
}

/// The lists say nothing of the data, and the data that stand in for none are in no list.
fn check_nested(flags: &Flags, given: &Given) -> Result<()> {
    if let Some(chain) = flags.nested.iter().find(|chain| !chain.contains(',')) {
        bail!("--nested {chain}: name at least two lists, the smallest first, with commas between");
    }
    if flags.nested.is_empty() || flags.names_parts() {
        return Ok(());
    }
    const WHICH: &str = "say with --data, --part or --list which data the lists are of (where only \
        lists are at hand, the largest of them: --list all=LARGEST.csv)";
    if !given.has("data") {
        bail!("--nested alone audits no data: {WHICH}");
    }
    if is_phantom(flags) {
        bail!(
            "--nested beside --data {}: made-up pictures are in no list; {WHICH}",
            flags.data.data
        );
    }
    Ok(())
}

fn is_phantom(flags: &Flags) -> bool {
    ["phantom", "phantom-endoscopy"].contains(&flags.data.data.as_str())
}

fn data_rules(flags: &Flags) -> Vec<Rule> {
    let (data, own) = (flags.data.data.as_str(), !flags.names_parts());
    let path = Path::new(data);
    let ends = |known: &[&str]| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension
            .is_some_and(|extension| known.iter().any(|end| extension.eq_ignore_ascii_case(end)))
    };
    let part_paths = || flags.parts.iter().filter_map(|part| Some(named(part).ok()?.1));
    let by_name = own && data.starts_with("medmnist:");
    let phantom = own && is_phantom(flags);
    let table = own && ends(&["csv", "parquet"]) || part_paths().any(|path| !path.is_dir());
    let folder = own && path.is_dir() || part_paths().any(Path::is_dir);
    let split = by_name || ends(&["npz"]) || path.join("train").is_dir();
    let some = own || !flags.parts.is_empty();
    let pictures = some && !flags.no_pictures;
    vec![
        (&["data"], own, "audits without --part and --list, which say what to look at instead"),
        (&["data_dir", "download"], by_name, "`--data medmnist:NAME`"),
        (&["mirror"], by_name && flags.data.download, "--download"),
        (
            &["csv_root", "csv_file", "csv_suffix", "csv_label", "csv_group"],
            table,
            "tables of pictures: `--data` or `--part` with a .csv or .parquet",
        ),
        (&["group_separator"], folder, "folders of pictures: `--data` or `--part` with a folder"),
        (&["phantom_len", "phantom_contrast", "input_size"], phantom, "phantoms"),
        (&["split_seed"], own && !split, "data that come without splits"),
        (&FOR_TRAINING, false, "training"),
        (&["no_pictures"], some, "data whose pictures are at hand"),
        (
            &["near_bits", "near_correlation", "near_upright", "num_workers"],
            pictures,
            "audits that read pictures",
        ),
    ]
}

fn table_rules(flags: &Flags) -> Vec<Rule> {
    let (lists, master) = (!flags.lists.is_empty(), flags.master.is_some());
    let nested = !flags.nested.is_empty();
    // What the master table has no flag of its own for is that of the lists.
    let of_master = |own: bool| master && !own;
    let one = |columns: &str| !columns.is_empty() && !columns.contains(',');
    let of_lists = lists && one(&flags.list_label);
    let master_label = flags.master_label.as_ref().unwrap_or(&flags.list_label);
    let separated = of_master(flags.master_separator.is_some()) && one(master_label);
    vec![
        (
            &["list_file"],
            lists || nested || of_master(flags.master_file.is_some()),
            "--list, --nested and --master",
        ),
        (
            &["list_delimiter"],
            lists || nested || of_master(flags.master_delimiter.is_some()),
            "--list, --nested and --master",
        ),
        (
            &["list_label"],
            lists || of_master(flags.master_label.is_some()),
            "--list and --master; of --nested, only the files are compared",
        ),
        (&["list_separator"], of_lists || separated, "one column of names (--list-label)"),
        (&["list_group"], lists, "--list"),
        (&["master_file", "master_label", "master_delimiter"], master, "--master"),
        (
            &["master_separator"],
            master && one(master_label),
            "one column of names in --master (--master-label)",
        ),
        (&["attributes_key"], flags.attributes.is_some(), "--attributes"),
    ]
}
