//! What in a DICOM file may say who the patient is.

use dicom_object::{InMemDicomObject, Tag};

use super::attributes::Attributes;
use super::{contained, open};
use crate::{DecodeLimits, Result};

/// How an attribute can identify somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IdentifierKind {
    /// Names, numbers and addresses of the patient or of staff.
    Direct,
    /// Dates, times, places, devices and traits, which identify together.
    Indirect,
    /// Free text, which may hold anything.
    FreeText,
    /// Unique identifiers, which lead back to the archive.
    Uid,
    /// Private attributes, whose meaning the standard does not know.
    Private,
    /// Planes drawn over the picture.
    Overlay,
}

/// An attribute that is there and not empty. Its value is not kept, so that a report can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// Group and element, with the sequences that lead there: `"(0040,0275)/(0010,0010)"`.
    pub tag: String,
    /// Keyword of the standard, or the value representation where this crate has none.
    pub keyword: String,
    /// How it can identify somebody.
    pub kind: IdentifierKind,
}

/// Whether text may be part of the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BurnedIn {
    /// The file says there is none.
    No,
    /// The file says there is.
    Yes,
    /// The file says nothing, and it is a screen capture, a scan or an ultrasound or endoscopy
    /// picture, which often has.
    Likely,
    /// The file says nothing.
    Unknown,
}

/// The outcome of [`deidentification_report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeidentificationReport {
    /// Identifying attributes, in the order of the file.
    pub identifiers: Vec<Identifier>,
    /// Burned-in annotation (0028,0301).
    pub burned_in: BurnedIn,
    /// Whether the picture may show a face: recognisable visual features (0028,0302).
    pub recognisable: Option<bool>,
    /// Whether the file says that the identity was removed (0012,0062).
    pub identity_removed: Option<bool>,
}

impl DeidentificationReport {
    /// Whether nothing speaks against passing the file on: no direct identifier, no free text, no
    /// private attribute, no overlay, no burned-in text known or likely, no recognisable features.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let harmless = |kind| matches!(kind, Indirect | Uid);
        self.identifiers.iter().all(|identifier| harmless(identifier.kind))
            && !matches!(self.burned_in, BurnedIn::Yes | BurnedIn::Likely)
            && self.recognisable != Some(true)
    }
}

/// Looks for identifying attributes (after DICOM PS3.15, annex E, basic profile) anywhere in the
/// file, sequences included. `name` is only used in errors.
///
/// A report, not a proof: text within pixels is not looked for.
///
/// # Errors
/// [`crate::Error::Limit`] when the file is too large, [`crate::Error::Decode`] when it is no
/// DICOM file or damaged.
pub fn deidentification_report(
    name: &str,
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<DeidentificationReport> {
    let object = open(name, bytes, limits)?;
    contained(name, || {
        let mut identifiers = Vec::new();
        collect(&object, "", 0, &mut identifiers);
        let attributes = Attributes(&object);
        let flag = |tag| match attributes.text(tag).as_deref() {
            Some("YES") => Some(true),
            Some("NO") => Some(false),
            _ => None,
        };
        let burned_in = match flag(Tag(0x0028, 0x0301)) {
            Some(true) => BurnedIn::Yes,
            Some(false) => BurnedIn::No,
            None if often_burned_in(&attributes) => BurnedIn::Likely,
            None => BurnedIn::Unknown,
        };
        Ok(DeidentificationReport {
            identifiers,
            burned_in,
            recognisable: flag(Tag(0x0028, 0x0302)),
            identity_removed: flag(Tag(0x0012, 0x0062)),
        })
    })
}

/// Secondary captures, and modalities whose pictures carry text.
fn often_burned_in(attributes: &Attributes<'_>) -> bool {
    let class = attributes.text(Tag(0x0008, 0x0016)).unwrap_or_default();
    let modality = attributes.text(Tag(0x0008, 0x0060)).unwrap_or_default();
    class.starts_with("1.2.840.10008.5.1.4.1.1.7")
        || matches!(modality.as_str(), "US" | "ES" | "OT" | "SC" | "XC" | "DOC" | "IVUS")
}

/// Sequences within sequences deeper than this are not followed; real files have a handful.
const DEEPEST: usize = 32;

fn collect(object: &InMemDicomObject, path: &str, depth: usize, found: &mut Vec<Identifier>) {
    for element in object.iter() {
        let tag = element.header().tag;
        let place = format!("{path}({:04X},{:04X})", tag.group(), tag.element());
        if let Some(items) = element.items() {
            if depth < DEEPEST {
                for item in items {
                    collect(item, &format!("{place}/"), depth + 1, found);
                }
            }
            continue;
        }
        // Pixel data and empty attributes say nothing.
        if tag.group() == 0x7fe0 || is_empty(element) {
            continue;
        }
        if let Some((keyword, kind)) = judge(tag, element.vr().to_string()) {
            found.push(Identifier { tag: place, keyword, kind });
        }
    }
}

fn is_empty(element: &dicom_object::mem::InMemElement) -> bool {
    let text = element.to_str();
    let blank = text.is_ok_and(|text| text.trim_matches(['\0', ' ', '^', '\\']).is_empty());
    blank || element.value().primitive().is_some_and(|value| value.multiplicity() == 0)
}

fn judge(tag: Tag, representation: &str) -> Option<(String, IdentifierKind)> {
    let known = KNOWN.iter().find(|known| (known.0, known.1) == (tag.group(), tag.element()));
    if let Some(&(_, _, keyword, kind)) = known {
        return Some((keyword.to_owned(), kind));
    }
    let kind = match (tag.group(), representation) {
        (0x6000..=0x60ff, _) if matches!(tag.element(), 0x3000 | 0x4000) => IdentifierKind::Overlay,
        (0x5000..=0x50ff, _) => IdentifierKind::Overlay,
        (group, _) if group % 2 == 1 => IdentifierKind::Private,
        (_, "PN") => Direct,
        (_, "LT" | "ST" | "UT") => FreeText,
        (_, "DA" | "DT" | "TM") => Indirect,
        _ => return None,
    };
    Some((representation.to_owned(), kind))
}

use IdentifierKind::{Direct, FreeText, Indirect, Uid};

/// Attributes of the basic profile that are more than their value representation says.
const KNOWN: [(u16, u16, &str, IdentifierKind); 71] = [
    (0x0008, 0x0014, "InstanceCreatorUID", Uid),
    (0x0008, 0x0018, "SOPInstanceUID", Uid),
    (0x0008, 0x0050, "AccessionNumber", Direct),
    (0x0008, 0x0080, "InstitutionName", Indirect),
    (0x0008, 0x0081, "InstitutionAddress", Indirect),
    (0x0008, 0x0092, "ReferringPhysicianAddress", Direct),
    (0x0008, 0x0094, "ReferringPhysicianTelephoneNumbers", Direct),
    (0x0008, 0x0201, "TimezoneOffsetFromUTC", Indirect),
    (0x0008, 0x1010, "StationName", Indirect),
    (0x0008, 0x1030, "StudyDescription", FreeText),
    (0x0008, 0x103e, "SeriesDescription", FreeText),
    (0x0008, 0x1040, "InstitutionalDepartmentName", Indirect),
    (0x0008, 0x1080, "AdmittingDiagnosesDescription", FreeText),
    (0x0008, 0x1155, "ReferencedSOPInstanceUID", Uid),
    (0x0008, 0x2111, "DerivationDescription", FreeText),
    (0x0008, 0x4000, "IdentifyingComments", FreeText),
    (0x0010, 0x0010, "PatientName", Direct),
    (0x0010, 0x0020, "PatientID", Direct),
    (0x0010, 0x0021, "IssuerOfPatientID", Direct),
    (0x0010, 0x0030, "PatientBirthDate", Direct),
    (0x0010, 0x0032, "PatientBirthTime", Direct),
    (0x0010, 0x0040, "PatientSex", Indirect),
    (0x0010, 0x1000, "OtherPatientIDs", Direct),
    (0x0010, 0x1001, "OtherPatientNames", Direct),
    (0x0010, 0x1005, "PatientBirthName", Direct),
    (0x0010, 0x1010, "PatientAge", Indirect),
    (0x0010, 0x1020, "PatientSize", Indirect),
    (0x0010, 0x1030, "PatientWeight", Indirect),
    (0x0010, 0x1040, "PatientAddress", Direct),
    (0x0010, 0x1060, "PatientMotherBirthName", Direct),
    (0x0010, 0x1080, "MilitaryRank", Indirect),
    (0x0010, 0x1081, "BranchOfService", Indirect),
    (0x0010, 0x1090, "MedicalRecordLocator", Direct),
    (0x0010, 0x2000, "MedicalAlerts", FreeText),
    (0x0010, 0x2110, "Allergies", FreeText),
    (0x0010, 0x2150, "CountryOfResidence", Indirect),
    (0x0010, 0x2152, "RegionOfResidence", Indirect),
    (0x0010, 0x2154, "PatientTelephoneNumbers", Direct),
    (0x0010, 0x2160, "EthnicGroup", Indirect),
    (0x0010, 0x2180, "Occupation", Indirect),
    (0x0010, 0x21b0, "AdditionalPatientHistory", FreeText),
    (0x0010, 0x21f0, "PatientReligiousPreference", Indirect),
    (0x0010, 0x2299, "ResponsibleOrganization", Indirect),
    (0x0010, 0x4000, "PatientComments", FreeText),
    (0x0012, 0x0040, "ClinicalTrialSubjectID", Direct),
    (0x0018, 0x1000, "DeviceSerialNumber", Indirect),
    (0x0018, 0x1002, "DeviceUID", Uid),
    (0x0018, 0x1030, "ProtocolName", FreeText),
    (0x0018, 0x4000, "AcquisitionComments", FreeText),
    (0x0020, 0x000d, "StudyInstanceUID", Uid),
    (0x0020, 0x000e, "SeriesInstanceUID", Uid),
    (0x0020, 0x0010, "StudyID", Direct),
    (0x0020, 0x0052, "FrameOfReferenceUID", Uid),
    (0x0020, 0x0200, "SynchronizationFrameOfReferenceUID", Uid),
    (0x0020, 0x4000, "ImageComments", FreeText),
    (0x0020, 0x9158, "FrameComments", FreeText),
    (0x0032, 0x1030, "ReasonForStudy", FreeText),
    (0x0032, 0x1060, "RequestedProcedureDescription", FreeText),
    (0x0032, 0x4000, "StudyComments", FreeText),
    (0x0038, 0x0010, "AdmissionID", Direct),
    (0x0038, 0x0300, "CurrentPatientLocation", Indirect),
    (0x0038, 0x0500, "PatientState", FreeText),
    (0x0038, 0x4000, "VisitComments", FreeText),
    (0x0040, 0x0254, "PerformedProcedureStepDescription", FreeText),
    (0x0040, 0x0280, "CommentsOnThePerformedProcedureStep", FreeText),
    (0x0040, 0x1001, "RequestedProcedureID", Direct),
    (0x0040, 0x1400, "RequestedProcedureComments", FreeText),
    (0x0040, 0x2016, "PlacerOrderNumberImagingServiceRequest", Direct),
    (0x0040, 0x2017, "FillerOrderNumberImagingServiceRequest", Direct),
    (0x0040, 0xa124, "UID", Uid),
    (0x0040, 0xa160, "TextValue", FreeText),
];
