//! DICOM files: stored values, the tables that belong to them, and pictures made of both.

mod attributes;
mod codestream;
mod lengths;
mod pixels;
mod render;
mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dicom_object::{DefaultDicomObject, OpenFileOptions};

use crate::{DecodeLimits, Error, Result};

pub use pixels::{DicomPicture, Modality, Table, Voi};
pub use render::{DicomDepth, DicomRule};
pub use report::{
    BurnedIn, DeidentificationReport, Identifier, IdentifierKind, deidentification_report,
};

/// Whether the bytes begin as a DICOM file: `DICM` after a preamble of 128 bytes.
pub(crate) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

/// Reads a DICOM file in memory: the stored values of one frame and the tables that belong to
/// them. `name` is only used in errors.
///
/// # Errors
/// [`Error::Limit`] when the file or its picture is too large, [`Error::Decode`] when it is no
/// DICOM file, damaged, without this frame, or of a kind that cannot be read; the transfer syntax
/// or attribute at fault is named.
pub fn read_dicom(
    name: &str,
    bytes: &[u8],
    limits: &DecodeLimits,
    frame: u32,
) -> Result<DicomPicture> {
    let object = open(name, bytes, limits)?;
    contained(name, || pixels::read(name, &object, limits, frame))
}

fn open(name: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<DefaultDicomObject> {
    super::check_limit(name, "bytes", bytes.len() as u64, limits.max_bytes)?;
    if !is_dicom(bytes) {
        return Err(fail(name, "it is no DICOM file (no DICM after a preamble of 128 bytes)"));
    }
    lengths::check(bytes).map_err(|reason| fail(name, &reason))?;
    contained(name, || {
        OpenFileOptions::new().from_reader(bytes).map_err(|error| fail(name, &chain(&error)))
    })
}

/// Decoders of other people may stop the program at files they did not expect; a file must not be
/// able to do that.
fn contained<T>(name: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing that `read` was changing is looked at afterwards.
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(fail(name, "the DICOM file is malformed (its decoder gave up)")))
}

fn fail(name: &str, reason: &str) -> Error {
    Error::Decode { name: name.to_owned(), reason: reason.to_owned() }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
