//! Names of tensors as patterns.
//!
//! A pattern is a name whose parts between points may be `#` (a number), `@` (`weight` or `bias`),
//! `?` (any one part) or, at its end, `*` (one part or more). What they stood for is put into
//! another pattern of the same kinds, so one pair of patterns renames in both directions.

/// What the wildcards of a pattern stood for.
#[derive(Debug, Default)]
struct Found<'a> {
    numbers: Vec<&'a str>,
    parts: Vec<&'a str>,
    kind: &'a str,
    rest: &'a str,
}

/// What the name becomes: `name` seen as `from`, written as `to`. Of several numbers the last
/// count, where `to` has fewer: the chunk of a chunked block is left out.
pub(super) fn rename(name: &str, from: &str, to: &str) -> Option<String> {
    let found = matched(name, from)?;
    let wanted = to.matches('#').count();
    let skip = found.numbers.len().checked_sub(wanted)?;
    let mut numbers = found.numbers.iter().skip(skip);
    let mut parts = found.parts.iter();
    let mut out = String::with_capacity(name.len());
    for letter in to.chars() {
        match letter {
            '#' => out.push_str(numbers.next()?),
            '?' => out.push_str(parts.next()?),
            '@' => out.push_str(found.kind),
            '*' => out.push_str(found.rest),
            other => out.push(other),
        }
    }
    Some(out)
}

/// Whether a name is of a pattern.
pub(super) fn fits(name: &str, pattern: &str) -> bool {
    matched(name, pattern).is_some()
}

fn matched<'a>(name: &'a str, pattern: &str) -> Option<Found<'a>> {
    let mut found = Found::default();
    let mut left = Some(name);
    for wanted in pattern.split('.') {
        let here = left?;
        if wanted == "*" {
            found.rest = here;
            return (!here.is_empty()).then_some(found);
        }
        let (part, next) = match here.split_once('.') {
            Some((part, next)) => (part, Some(next)),
            None => (here, None),
        };
        match wanted {
            "#" if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => {
                found.numbers.push(part);
            }
            "@" if matches!(part, "weight" | "bias") => found.kind = part,
            "?" => found.parts.push(part),
            literal if literal == part => {}
            _ => return None,
        }
        left = next;
    }
    left.is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_carry_over_in_both_directions() {
        let (theirs, ours) = ("encoder.layer.#.norm1.@", "blocks.#.norm1.@");
        let name = rename("encoder.layer.11.norm1.bias", theirs, ours);
        assert_eq!(name.as_deref(), Some("blocks.11.norm1.bias"));
        let back = rename("blocks.11.norm1.bias", ours, theirs);
        assert_eq!(back.as_deref(), Some("encoder.layer.11.norm1.bias"));
        let chunk = rename("blocks.1.7.ls1.gamma", "blocks.#.#.*", "blocks.#.*");
        assert_eq!(chunk.as_deref(), Some("blocks.7.ls1.gamma"));
        let dense = "features.?.?.norm.#.?";
        let new = rename("features.b1.l2.norm.1.weight", dense, "features.?.?.norm#.?");
        assert_eq!(new.as_deref(), Some("features.b1.l2.norm1.weight"));
    }

    #[test]
    fn what_is_longer_shorter_or_of_another_kind_does_not_fit() {
        for name in ["a.1", "a.1.weight.b", "a.x.weight", "a..weight", "a.1.gamma", "", "a"] {
            assert!(!fits(name, "a.#.@"), "{name}");
        }
        assert!(fits("a.1.weight", "a.#.@") && fits("a.b.c", "a.*") && !fits("a", "a.*"));
    }
}
