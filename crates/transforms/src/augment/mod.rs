//! Random policies: RandAugment, AutoAugment, AugMix, after timm.

mod augmix;
mod auto_augment;
mod kind;
mod parse;
mod policies;
mod rand_augment;

pub use augmix::AugMix;
pub use auto_augment::{AutoAugment, PolicyStep};
pub use kind::{AugmentSettings, Noise, OperationKind, TimmRules};
pub use parse::parse_augment;
pub use rand_augment::RandAugment;
