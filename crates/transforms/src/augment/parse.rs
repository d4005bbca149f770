//! timm's strings.

use std::str::FromStr;

use super::kind::{AugmentSettings, LEVELS, Noise, OperationKind, TimmRules};
use super::policies::{
    AUGMIX, RAND, RAND_INCREASING, THREE, THREE_WEIGHTED, WEIGHTED, WEIGHTS_0, policy,
};
use super::{AugMix, AutoAugment, RandAugment};
use crate::{Error, Result, Step};

/// The step one of timm's `--aa` strings means: `rand-m9-mstd0.5-inc1` (RandAugment),
/// `augmix-m5-w4-d2` (AugMix), or a policy's name, `original-mstd0.5` (AutoAugment: `v0`, `v0r`,
/// `original`, `originalr`, `3a`).
///
/// Sections are letters and a number. The rules of [`TimmRules`] hold; in all releases a section
/// without a digit is ignored. Of several sections of noise (`mstd`), and of the largest magnitude
/// (`mmax`), the first holds, of all others the last.
///
/// # Errors
/// [`Error::Parameter`] with the section that this release of timm does not know, or whose number
/// cannot be read.
pub fn parse_augment(text: &str, settings: AugmentSettings) -> Result<Step> {
    let mut sections = text.split('-');
    let first = sections.next().unwrap_or_default();
    let sections = sections.collect();
    let parser = Parser { text, sections };
    if first.starts_with("rand") {
        if first != "rand" {
            return Err(parser.unknown(first));
        }
        parser.rand(settings).map(Step::RandAugment)
    } else if first.starts_with("augmix") {
        if first != "augmix" {
            return Err(parser.unknown(first));
        }
        parser.augmix(settings).map(Step::AugMix)
    } else {
        parser.auto(first, settings).map(Step::AutoAugment)
    }
}

struct Parser<'a> {
    text: &'a str,
    sections: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn fail(&self, reason: &str) -> Error {
        let reason = format!("\"{}\": {reason}", self.text);
        Error::Parameter { transform: "parse_augment", reason }
    }

    fn unknown(&self, section: &str) -> Error {
        self.fail(&format!("unknown section \"{section}\""))
    }

    fn number<T: FromStr>(&self, key: &str, value: &str) -> Result<T> {
        value.parse().map_err(|_| self.fail(&format!("\"{value}\" is no number for {key}")))
    }

    /// Letters and number of each section; those without a digit are left out.
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pair = |section: &'a str| {
            let digit = section.find(|c: char| c.is_ascii_digit())?;
            Some(section.split_at(digit))
        };
        self.sections.clone().into_iter().filter_map(pair)
    }

    fn rand(&self, settings: AugmentSettings) -> Result<RandAugment> {
        let rules = settings.rules;
        let mut result = RandAugment {
            layers: 2,
            magnitude: LEVELS,
            probability: 0.5,
            operations: RAND.to_vec(),
            weights: Vec::new(),
            settings,
        };
        let modern = rules == TimmRules::V1_0;
        let is_set = |section: &&str| modern && section.starts_with('t');
        let (mut noise, mut most) = (None, None);
        let set = self.sections.iter().copied().find(is_set);
        for (key, value) in self.pairs().filter(|(key, _)| !is_set(key)) {
            match key {
                "m" => result.magnitude = f64::from(self.number::<u32>(key, value)?),
                "n" => result.layers = self.number(key, value)?,
                "mstd" => {
                    let std: f64 = self.number(key, value)?;
                    let uniform = std > 100.0 && rules != TimmRules::V0_3_2;
                    noise.get_or_insert(if uniform { Noise::Uniform } else { Noise::Normal(std) });
                }
                // Before 1.0 the text is asked, not the number: any digit means yes.
                "inc" => {
                    if !modern || self.number::<i64>(key, value)? != 0 {
                        result.operations = RAND_INCREASING.to_vec();
                    } else {
                        result.operations = RAND.to_vec();
                    }
                }
                "mmax" if rules != TimmRules::V0_3_2 => {
                    most.get_or_insert(self.number::<u32>(key, value)?);
                }
                "p" if modern => result.probability = self.number(key, value)?,
                "w" if !modern && self.number::<u32>(key, value)? == 0 => {
                    result.weights = WEIGHTS_0.to_vec();
                }
                _ => return Err(self.unknown(key)),
            }
        }
        if let Some(noise) = noise {
            result.settings.noise = noise;
        }
        // 0 is as good as none: Python's `magnitude_max or 10`.
        if let Some(most) = most {
            result.settings.most = if most == 0 { LEVELS } else { f64::from(most) };
        }
        match set.map(|set| set.get(1..).unwrap_or_default()) {
            Some("weights") => (result.operations, result.weights) = unzip(&WEIGHTED),
            Some("3aw") => (result.operations, result.weights) = unzip(&THREE_WEIGHTED),
            Some("3a") => result.operations = THREE.to_vec(),
            // Any other name means the default set.
            _ => {}
        }
        result.validate()?;
        Ok(result)
    }

    fn augmix(&self, settings: AugmentSettings) -> Result<AugMix> {
        let mut result = AugMix {
            operations: AUGMIX.to_vec(),
            magnitude: 3.0,
            alpha: 1.0,
            width: 3,
            depth: None,
            blended: false,
            settings,
        };
        // In timm's `create_transform`; the paper's shifts are smaller than RandAugment's.
        result.settings.translate_fraction = 0.3;
        let mut noise = None;
        for (key, value) in self.pairs() {
            match key {
                "m" => result.magnitude = f64::from(self.number::<u32>(key, value)?),
                "w" => result.width = self.number(key, value)?,
                "d" => result.depth = Some(self.number(key, value)?).filter(|&depth| depth > 0),
                "a" => result.alpha = self.number(key, value)?,
                "b" => result.blended = self.number::<i64>(key, value)? != 0,
                "mstd" => {
                    noise.get_or_insert(Noise::Normal(self.number(key, value)?));
                }
                _ => return Err(self.unknown(key)),
            }
        }
        result.settings.noise = noise.unwrap_or(match result.settings.rules {
            TimmRules::V0_3_2 => Noise::None,
            _ => Noise::Uniform,
        });
        result.validate()?;
        Ok(result)
    }

    fn auto(&self, name: &str, settings: AugmentSettings) -> Result<AutoAugment> {
        let Some(policy) = policy(name) else {
            return Err(self.fail(&format!(
                "unknown policy \"{name}\"; there are rand, augmix, v0, v0r, original, originalr, 3a"
            )));
        };
        let mut noise = None;
        let mut result = AutoAugment { policy, settings };
        for (key, value) in self.pairs() {
            match key {
                "mstd" => {
                    noise.get_or_insert(Noise::Normal(self.number(key, value)?));
                }
                _ => return Err(self.unknown(key)),
            }
        }
        result.settings.noise = noise.unwrap_or(result.settings.noise);
        result.validate()?;
        Ok(result)
    }
}

fn unzip(table: &[(OperationKind, f64)]) -> (Vec<OperationKind>, Vec<f64>) {
    table.iter().copied().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn rand(text: &str) -> AugmentSettings {
        let settings = AugmentSettings::for_size(TimmRules::V1_0, 224, &[0.5; 3], Filter::Bicubic);
        match parse_augment(text, settings).unwrap() {
            Step::RandAugment(step) => step.settings,
            Step::AugMix(step) => step.settings,
            Step::AutoAugment(step) => step.settings,
            step => panic!("{step:?}"),
        }
    }

    /// timm's `setdefault` and `or`.
    #[test]
    fn the_first_noise_and_the_first_largest_magnitude_hold() {
        assert_eq!(rand("rand-mmax0").most, 10.0);
        assert_eq!(rand("rand-mmax20-mmax30").most, 20.0);
        assert_eq!(rand("rand-mmax0-mmax30").most, 10.0);
        for name in ["rand", "augmix", "original"] {
            let noise = rand(&format!("{name}-mstd0.5-mstd2")).noise;
            assert_eq!(noise, Noise::Normal(0.5), "{name}");
        }
    }
}
