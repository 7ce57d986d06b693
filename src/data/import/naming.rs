//! Which tensor of a file stands for which of a network: names of torchvision and of Hugging Face, behind one prefix.
//!
//! Only what can be mapped without doubt is mapped: a tensor that the network has no place for is of another network.
//! Must not depend on what a file looks like.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use crate::data::archive::shown_name;
use crate::data::npy::shown;

/// Tensors by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// TensorNames in the network, by name in the file.
pub type TensorNames = BTreeMap<String, String>;

/// More parts than a prefix ever has.
const MOST_PREFIXES: usize = 16;

/// Returns for each tensor of the network the one of the file, or says what the file holds instead.
pub fn assign(found: &Shapes, wanted: &[(String, Vec<usize>)]) -> Result<TensorNames> {
    let wanted_shapes =
        wanted.iter().map(|(name, shape)| (name.as_str(), shape)).collect::<BTreeMap<_, _>>();
    let is_known = |name: &str| wanted_shapes.contains_key(canonical(name).as_str());
    let common = common_prefix(found);
    let dots = common.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    let mut prefixes = std::iter::once("").chain(dots.map(|(dot, _)| &common[..=dot]));
    let prefix = prefixes
        .by_ref()
        .take(MOST_PREFIXES)
        .find(|prefix| found.keys().any(|name| name.strip_prefix(prefix).is_some_and(is_known)));
    let prefix = prefix.unwrap_or_default();
    let (mut names, mut taken, mut surplus) = (TensorNames::new(), BTreeMap::new(), Vec::new());
    for name in found.keys() {
        let canonical = canonical(name.strip_prefix(prefix).unwrap_or(name));
        if !wanted_shapes.contains_key(canonical.as_str()) {
            if !is_of_no_account(&canonical) {
                surplus.push((name, canonical));
            }
            continue;
        }
        if let Some(other) = taken.insert(canonical.clone(), name) {
            let (one, other) = (shown_name(name), shown_name(other));
            bail!("both `{other}` and `{one}` stand for `{canonical}`; one of them is expected");
        }
        names.insert(name.clone(), canonical);
    }
    // The kernel of the first block that is too many tells most.
    surplus.sort_by_key(|(name, _)| (!name.ends_with(".weight"), name.len()));
    if let Some((name, canonical)) = surplus.first() {
        let more = match surplus.len() - 1 {
            0 => String::new(),
            1 => ", nor is 1 other".to_owned(),
            more => format!(", nor are {more} others"),
        };
        let guess = guess(canonical, &wanted_shapes);
        let all = if names.is_empty() { holds(found, common) } else { String::new() };
        bail!("`{}` is not part of ResNet-50{more}{guess}{all}", shown_name(name));
    }
    let missing = wanted.iter().filter(|(name, _)| !taken.contains_key(name));
    let missing = missing.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    if let Some(first) = missing.first() {
        let (count, all) = (missing.len(), wanted.len());
        bail!(
            "{count} of {all} tensors are missing, `{first}` first; names of torchvision or of Hugging Face are expected{}",
            if names.is_empty() { holds(found, common) } else { behind(prefix) }
        );
    }
    for (name, canonical) in &names {
        let (is, should) = (&found[name], wanted_shapes[canonical.as_str()]);
        ensure!(
            is == should,
            "tensor `{}` is {}, not {}",
            shown_name(name),
            shown(is),
            shown(should)
        );
    }
    Ok(names)
}

/// Returns torchvision's name of what Hugging Face's ResNet names otherwise, and any other name as it is.
fn canonical(name: &str) -> String {
    translated(name).unwrap_or_else(|| name.to_owned())
}

fn translated(name: &str) -> Option<String> {
    let name = name.strip_prefix("resnet.").unwrap_or(name);
    if let Some(part) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{part}"));
    }
    if let Some(part) = name.strip_prefix("embedder.embedder.") {
        return match part.split_once('.')? {
            ("convolution", part) => Some(format!("conv1.{part}")),
            ("normalization", part) => Some(format!("bn1.{part}")),
            _ => None,
        };
    }
    let (stage, rest) = name.strip_prefix("encoder.stages.")?.split_once(".layers.")?;
    let (block, rest) = rest.split_once('.')?;
    let block = format!("layer{}.{block}", stage.parse::<u8>().ok()?.checked_add(1)?);
    if let Some(part) = rest.strip_prefix("shortcut.") {
        return match part.split_once('.')? {
            ("convolution", part) => Some(format!("{block}.downsample.0.{part}")),
            ("normalization", part) => Some(format!("{block}.downsample.1.{part}")),
            _ => None,
        };
    }
    let (unit, rest) = rest.strip_prefix("layer.")?.split_once('.')?;
    let unit = unit.parse::<u8>().ok()?.checked_add(1)?;
    match rest.split_once('.')? {
        ("convolution", part) => Some(format!("{block}.conv{unit}.{part}")),
        ("normalization", part) => Some(format!("{block}.bn{unit}.{part}")),
        _ => None,
    }
}

/// Whether a tensor has no part in what is computed: the classifier, which is not used, and counters.
fn is_of_no_account(canonical: &str) -> bool {
    canonical.starts_with("fc.") || canonical.ends_with(".num_batches_tracked")
}

/// Returns what all names begin with, up to a dot.
fn common_prefix(found: &Shapes) -> &str {
    let (Some(first), Some(last)) = (found.keys().next(), found.keys().next_back()) else {
        return "";
    };
    // TensorNames are in order: what the first and the last share, all share.
    let shared = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    first.as_bytes()[..shared]
        .iter()
        .rposition(|byte| *byte == b'.')
        .map_or("", |dot| &first[..=dot])
}

/// Says which other network has such a tensor, where its name tells.
fn guess(canonical: &str, wanted: &BTreeMap<&str, &Vec<usize>>) -> &'static str {
    let parts = canonical.split('.').collect::<Vec<_>>();
    let is_deeper = parts.len() > 2
        && parts[0].starts_with("layer")
        && parts[1].parse::<u16>().is_ok()
        && !wanted.contains_key(format!("{}.{}.conv1.weight", parts[0], parts[1]).as_str());
    let is_bias = canonical.ends_with(".bias")
        && (canonical.contains("conv") || canonical.contains("downsample.0"));
    match () {
        () if is_deeper => ": a deeper ResNet?",
        () if parts.contains(&"se") || canonical.contains(".se_") => ": squeeze and excitation?",
        () if is_bias => ": batch norms folded into the convolutions?",
        () if canonical.starts_with("conv1.") => ": another stem, as of ResNet-50-D?",
        () => "",
    }
}

fn behind(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!(" (behind `{}`, as all are here)", shown_name(prefix)),
    }
}

/// Says what a file holds whose names mean nothing here.
fn holds(found: &Shapes, common: &str) -> String {
    let count = found.len();
    match found.keys().next() {
        None => "; it holds no tensor".to_owned(),
        Some(_) if !common.is_empty() && count > 1 => {
            format!("; it holds {count} tensors, and all names begin with `{}`", shown_name(common))
        }
        Some(first) => {
            let word = if count == 1 { "tensor" } else { "tensors" };
            format!("; it holds {count} {word}, `{}` first", shown_name(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Shapes, assign};
    use crate::data::resnet50;

    type Rename = dyn Fn(&str) -> String;

    /// The tensors of ResNet-50 and its classifier, each under another name.
    fn named(name: impl Fn(&str) -> String) -> Shapes {
        let mut all = resnet50::shapes();
        all.push(("fc.weight".to_owned(), vec![1000, 2048]));
        all.push(("fc.bias".to_owned(), vec![1000]));
        all.push(("bn1.num_batches_tracked".to_owned(), vec![]));
        all.into_iter().map(|(old, shape)| (name(&old), shape)).collect()
    }

    /// Hugging Face's name, written the other way round than the code under test does it.
    fn hugging_face(name: &str) -> String {
        let parts = name.split('.').collect::<Vec<_>>();
        match parts[..] {
            ["fc", part] => format!("classifier.1.{part}"),
            ["conv1", part] => format!("resnet.embedder.embedder.convolution.{part}"),
            ["bn1", part] => format!("resnet.embedder.embedder.normalization.{part}"),
            [layer, block, "downsample", unit, part] => {
                let kind = ["convolution", "normalization"][unit.parse::<usize>().unwrap()];
                let stage = layer[5..].parse::<u8>().unwrap() - 1;
                format!("resnet.encoder.stages.{stage}.layers.{block}.shortcut.{kind}.{part}")
            }
            [layer, block, unit, part] => {
                let kind = if unit.starts_with("conv") { "convolution" } else { "normalization" };
                let stage = layer[5..].parse::<u8>().unwrap() - 1;
                let number = unit[unit.len() - 1..].parse::<u8>().unwrap() - 1;
                format!("resnet.encoder.stages.{stage}.layers.{block}.layer.{number}.{kind}.{part}")
            }
            _ => panic!("{name}"),
        }
    }

    fn refusal(found: &Shapes) -> String {
        assign(found, &resnet50::shapes()).unwrap_err().to_string()
    }

    #[test]
    fn names_of_torchvision_and_hugging_face_behind_any_prefix_are_mapped() {
        let cases: [(&str, &Rename); 7] = [
            ("torchvision", &str::to_owned),
            ("DataParallel", &|name| format!("module.{name}")),
            ("compiled", &|name| format!("_orig_mod.module.{name}")),
            ("backbone", &|name| format!("backbone.{name}")),
            ("Hugging Face", &hugging_face),
            ("Hugging Face's trunk", &|name| hugging_face(name).replace("resnet.", "")),
            ("Hugging Face in parallel", &|name| format!("module.{}", hugging_face(name))),
        ];
        for (what, name) in cases {
            let names = assign(&named(name), &resnet50::shapes()).unwrap();
            assert_eq!(names.len(), 265, "{what}");
            for (file, network) in names {
                assert_eq!(file, name(&network), "{what}");
            }
        }
    }

    #[test]
    fn what_belongs_to_another_network_is_named() {
        let with = |name: &str, shape: &[usize]| {
            let mut found = named(str::to_owned);
            found.insert(name.to_owned(), shape.to_vec());
            refusal(&found)
        };
        let cases = [
            ("layer3.6.conv1.weight", "`layer3.6.conv1.weight` is not part of ResNet-50: a deeper"),
            ("layer1.0.se.fc1.weight", "squeeze and excitation?"),
            ("layer2.0.downsample.0.bias", "folded into the convolutions?"),
            ("n_averaged", "`n_averaged` is not part of ResNet-50"),
            ("head.fc.weight", "`head.fc.weight` is not part"),
            ("module.conv1.weight", "`module.conv1.weight` is not part"),
            ("embedder.embedder.convolution.weight", "stand for `conv1.weight`"),
            ("layer3.9\u{1b}[31m.x.y", "`layer3.9\\u{1b}[31m.x.y` is not"),
        ];
        for (name, expected) in cases {
            let error = with(name, &[1]);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let wide = with("layer1.0.conv2.weight", &[128, 128, 3, 3]);
        assert!(wide.contains("is (128, 128, 3, 3), not (64, 64, 3, 3)"), "{wide}");
        let parts = named(|name| format!("{}.{name}", if name > "c" { "a" } else { "b" }));
        assert!(refusal(&parts).contains("it holds 268 tensors, `a.conv1.weight` first"));
        assert!(refusal(&Shapes::new()).contains("it holds no tensor"));
    }
}
