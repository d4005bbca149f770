//! From names in published files to torchvision's.

use std::borrow::Cow;

/// What stands before a network's own names in files: a wrapper's module, or the encoder of a
/// segmentation model. `medical_mae` keeps its pre-trained DenseNet as `model.encoder.*` of a
/// U-Net from segmentation-models, and takes what follows that text wherever it stands.
const WRAPPERS: [&str; 3] = ["model.encoder.", "module.", "encoder."];

/// Parts of a segmentation model that a classifier has no use for.
const OTHERS: [&str; 4] =
    ["model.decoder.", "model.segmentation_head.", "decoder.", "segmentation_head."];

/// The name that torchvision gives the tensor called `name` in a file; `None` for one that its
/// networks do not need: a decoder's, or a batch norm's `num_batches_tracked`, of which nothing
/// depends.
///
/// Understood are wrappers' prefixes, encoders of segmentation-models, and DenseNet layers as
/// torchvision named them before 0.3 (`norm.1`, `conv.2`; now `norm1`, `conv2`). Other names come
/// back as they are.
///
/// ```
/// use vit_models::cnn::names::torchvision_name;
///
/// let old = "module.model.encoder.features.denseblock1.denselayer2.norm.1.weight";
/// let new = "features.denseblock1.denselayer2.norm1.weight";
/// assert_eq!(torchvision_name(old).as_deref(), Some(new));
/// ```
#[must_use]
pub fn torchvision_name(name: &str) -> Option<Cow<'_, str>> {
    let mut plain = name;
    if let Some((_, own)) = name.split_once("model.encoder.") {
        plain = own;
    }
    while let Some(shorter) = WRAPPERS.iter().find_map(|prefix| plain.strip_prefix(prefix)) {
        plain = shorter;
    }
    let other = OTHERS.iter().any(|prefix| plain.starts_with(prefix));
    if other || plain.ends_with(".num_batches_tracked") {
        return None;
    }
    Some(numbered(plain))
}

/// `….denselayer3.norm.1.weight` to `….denselayer3.norm1.weight`.
fn numbered(name: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = name.split('.').collect();
    let place = parts.windows(3).position(|part| {
        part[0].starts_with("denselayer")
            && matches!(part[1], "norm" | "conv")
            && matches!(part[2], "1" | "2")
    });
    let Some(place) = place else { return Cow::Borrowed(name) };
    let (head, tail) = parts.split_at(place + 1);
    match tail {
        [kind, number, rest @ ..] => {
            let joined = format!("{kind}{number}");
            Cow::Owned([head, &[joined.as_str()], rest].concat().join("."))
        }
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_published_files() {
        for (old, new) in [
            ("conv1.weight", Some("conv1.weight")),
            ("fc.bias", Some("fc.bias")),
            ("module.layer1.0.downsample.1.running_var", Some("layer1.0.downsample.1.running_var")),
            ("layer1.0.bn1.num_batches_tracked", None),
            (
                "features.denseblock2.denselayer11.conv.2.weight",
                Some("features.denseblock2.denselayer11.conv2.weight"),
            ),
            (
                "features.denseblock2.denselayer11.norm1.running_mean",
                Some("features.denseblock2.denselayer11.norm1.running_mean"),
            ),
            // Not a layer's: a transition has one of each.
            ("features.transition1.norm.weight", Some("features.transition1.norm.weight")),
            ("module.densenet121.features.conv0.weight", Some("densenet121.features.conv0.weight")),
            ("model.encoder.features.conv0.weight", Some("features.conv0.weight")),
            ("module.model.encoder.layer4.2.bn3.bias", Some("layer4.2.bn3.bias")),
            ("encoder.features.norm5.weight", Some("features.norm5.weight")),
            ("model.decoder.blocks.0.conv1.0.weight", None),
            ("module.model.segmentation_head.0.weight", None),
        ] {
            assert_eq!(torchvision_name(old).as_deref(), new, "{old}");
        }
    }
}
