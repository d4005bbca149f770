use std::path::PathBuf;

/// What can go wrong reading a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sample was asked for that does not exist.
    #[error("sample {index} was asked for, but the data set has {len}")]
    Index {
        /// The index asked for.
        index: usize,
        /// Number of samples.
        len: usize,
    },
    /// Decoding or transforming a picture failed.
    #[error("sample '{id}': {source}")]
    Transform {
        /// The sample.
        id: String,
        /// Why.
        source: vit_transforms::Error,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not a (whole) archive.
    #[error("{path} is not a readable archive: {reason}")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An array of an npz archive is missing or not what it must be.
    #[error("{path}: array '{array}': {reason}")]
    Array {
        /// The archive.
        path: PathBuf,
        /// Name of the array without `.npy`.
        array: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A label is not one of those that exist.
    #[error("{place}: label '{value}' is not one of {expected}")]
    Label {
        /// File and row or sample.
        place: String,
        /// What stands there.
        value: String,
        /// What may stand there.
        expected: String,
    },
    /// A folder holds no picture.
    #[error("{path} holds no {what}")]
    Empty {
        /// The folder or file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A folder is not laid out as one class per folder.
    #[error("{path}: {reason}")]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is unexpected, and what to do about it.
        reason: String,
    },
    /// A class that the list of classes does not have: usually one that only the validation has.
    #[error(
        "{place}: class '{class}' is not among the {} known ones ({})",
        known.len(), known.join(", ")
    )]
    UnknownClass {
        /// Folder, or file and row.
        place: String,
        /// The class.
        class: String,
        /// The classes there are.
        known: Vec<String>,
    },
    /// A row of a table cannot be used.
    #[error("{path}, line {line}: {reason}")]
    Row {
        /// The table.
        path: PathBuf,
        /// Line, counted from 1 with the header.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A table has no such column.
    #[error("{path} has no column '{column}'; it has {}", available.join(", "))]
    Column {
        /// The table.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns there are.
        available: Vec<String>,
    },
    /// The header of a table cannot be used.
    #[error("{path}: {reason}")]
    Header {
        /// The table.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A table holds bytes that are no text.
    #[error("{path}, line {line}, column {column}: the text is not UTF-8")]
    NotUtf8 {
        /// The table.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// The column's name in quotes, or its number counted from 1.
        column: String,
    },
    /// A symbolic link leads out of the data set's folder.
    #[error("{path} leads out of {root} by a symbolic link")]
    Outside {
        /// The folder that nothing may leave.
        root: PathBuf,
        /// The file that does.
        path: PathBuf,
    },
    /// A JSON file is not what it must be.
    #[error("{path}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        reason: String,
    },
    /// Data sets that are put together do not mean the same.
    #[error("cannot put '{second}' behind '{first}': {reason}")]
    Mismatch {
        /// The first of them.
        first: String,
        /// The one that does not fit.
        second: String,
        /// In what they differ.
        reason: String,
    },
    /// A download failed.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// A file could not be had from the Hugging Face hub.
    #[cfg(feature = "hub")]
    #[error("{address}: {fault}")]
    Hub {
        /// Repository and revision.
        address: String,
        /// What is wrong.
        fault: vit_hub::HubFault,
    },
    /// A file is whole but not the one expected.
    #[error("{path} has MD5 {found}, but {expected} is expected")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The known sum, in hexadecimal digits.
        expected: String,
        /// The sum of the file.
        found: String,
    },
    /// Files that a table names are not there.
    #[error(
        "{path} names {count} file(s) that do not exist; the first, in line {line}, is {first}"
    )]
    MissingFiles {
        /// The table.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Line of the first.
        line: u64,
        /// The first.
        first: PathBuf,
    },
    /// Parts that must not share a patient do.
    #[error(
        "group '{group}' is in part {first} and in part {second}: a patient must be in one part only"
    )]
    SharedGroup {
        /// The patient.
        group: String,
        /// First part that has it, counted from 0.
        first: usize,
        /// Another part that has it.
        second: usize,
    },
    /// Groups cannot be divided as asked.
    #[error("cannot split {groups} group(s) into {parts} parts: {reason}")]
    Split {
        /// Number of groups.
        groups: usize,
        /// Number of parts.
        parts: usize,
        /// Why.
        reason: String,
    },
    /// An option makes no sense.
    #[error("{option}: {reason}")]
    Config {
        /// Which option, with its type.
        option: &'static str,
        /// Its value and what is allowed.
        reason: String,
    },
    /// Pictures of one batch differ in size.
    #[error(
        "sample '{id}' is {got:?} (channels, height, width) but the first of its batch is {expected:?}: the pipeline must bring all pictures to one size and kind"
    )]
    BatchShape {
        /// The sample that does not fit.
        id: String,
        /// Channels, height and width of the first sample of the batch.
        expected: [usize; 3],
        /// Channels, height and width of this one.
        got: [usize; 3],
    },
    /// Code of a data set or transform panicked.
    #[error("reading sample '{id}' panicked: {message}")]
    Panic {
        /// The sample.
        id: String,
        /// What the panic said.
        message: String,
    },
    /// More samples could not be read than the error policy allows.
    #[error("{count} sample(s) skipped, allowed are {allowed}; the last, '{id}': {reason}")]
    TooManySkipped {
        /// Samples skipped so far, each counted once.
        count: usize,
        /// What the policy allows.
        allowed: String,
        /// The last one.
        id: String,
        /// Why it was skipped.
        reason: String,
    },
    /// A cache file could not be written, or what it holds is damaged.
    #[error("cache {path}: {reason}")]
    Cache {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Worker threads could not be started or ended before their time.
    #[error("loader threads: {reason}")]
    Threads {
        /// Why.
        reason: String,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
