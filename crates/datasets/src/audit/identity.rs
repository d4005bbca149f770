//! Who a DICOM file may be of.

use std::collections::BTreeMap;

use vit_transforms::{BurnedIn, DecodeLimits, IdentifierKind, deidentification_report};

use super::picture::format_of;

/// What speaks against passing the file on, by names of attributes and never by their values;
/// `None` where nothing does, or it is no DICOM file that can be read.
pub(super) fn identifying(bytes: &[u8]) -> Option<String> {
    if format_of(bytes) != Some("dcm") {
        return None;
    }
    let report = deidentification_report("the file", bytes, &DecodeLimits::default()).ok()?;
    if report.is_clean() {
        return None;
    }
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut private = 0;
    for identifier in &report.identifiers {
        let kind = match identifier.kind {
            IdentifierKind::Direct => "direct identifiers",
            IdentifierKind::FreeText => "free text",
            IdentifierKind::Overlay => "overlays",
            IdentifierKind::Private => {
                private += 1;
                continue;
            }
            // Dates and the like are in every file.
            _ => continue,
        };
        kinds.entry(kind).or_default().push(&identifier.keyword);
    }
    let mut reasons: Vec<String> =
        kinds.into_iter().map(|(kind, names)| format!("{kind}: {}", names.join(", "))).collect();
    if private > 0 {
        reasons.push(format!("{private} private attributes"));
    }
    match report.burned_in {
        BurnedIn::Yes => reasons.push("text is burned into the picture".into()),
        BurnedIn::Likely => reasons.push("text may be burned into the picture".into()),
        _ => {}
    }
    if report.recognisable == Some(true) {
        reasons.push("the patient may be recognised".into());
    }
    Some(reasons.join("; "))
}
