//! Named float32 tensors out of `.safetensors` and PyTorch's `.pth`, old and new.
//!
//! Must not depend on which network they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::{SafeTensorError, SafeTensors};

use crate::data::archive::{Unpacked, first_bytes, read_zip, shown_name};
use crate::data::import::naming::{Shapes, TensorNames};
use crate::data::npy::{self, Dtype, byte_count};
use crate::data::pickle::{Dialect, Object, Pickled, PickledValue, Tensor};
use crate::data::signature;

/// Weights of ResNet-50 have 100 MB, with the two moments of Adam 300 MB.
const LIMIT: u64 = 512 << 20;
/// What is said of the tensors has 100 KB, with an optimiser 1 MB.
const MOST_PICKLE: usize = 16 << 20;
/// First byte of a pickle of protocol 2 and later.
const PICKLE: u8 = 0x80;
/// First pickle of a file of PyTorch before 1.6: 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A tensor in C order, little-endian float32.
#[derive(Debug)]
pub struct Weight {
    pub bytes: Vec<u8>,
}

/// Says by names and shapes which tensors are read, and under which names.
pub type Choose<'a> = dyn Fn(&Shapes) -> Result<TensorNames> + 'a;

/// Returns the tensors of a file that are chosen. No element is copied before the choice.
pub fn read(file: &mut File, choose: &Choose) -> Result<BTreeMap<String, Weight>> {
    let begin = first_bytes(file)?;
    let is_safetensors = begins_as_safetensors(&begin, file.metadata()?.len());
    if !is_safetensors && begin.starts_with(b"PK\x03\x04") {
        let is_part = |path: &str| path.contains('/');
        return zipped(&read_zip(file, &is_part, LIMIT)?, choose);
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).context("cannot read the file")?;
    ensure!(bytes.len() as u64 <= LIMIT, "larger than {LIMIT} bytes, as no such file is");
    match begin.first() {
        _ if is_safetensors => safetensors(&bytes, choose),
        Some(&PICKLE) => legacy(&bytes, choose),
        _ => Err(signature::not_a("a .pth file of PyTorch or a .safetensors file", &begin)),
    }
}

/// A `.pth` of PyTorch 1.6 and later: a zip of `data.pkl` and one file per storage.
fn zipped(unpacked: &Unpacked, choose: &Choose) -> Result<BTreeMap<String, Weight>> {
    let files = &unpacked.files;
    let main = files.keys().find(|path| path.ends_with("/data.pkl"));
    let main = main.ok_or_else(|| {
        anyhow!("not a .pth file of PyTorch: a zip with no `data.pkl` in it{}", unpacked.held())
    })?;
    let root = main.trim_end_matches("data.pkl");
    let code = format!("{root}code/");
    ensure!(
        !files.keys().any(|path| path.starts_with(&code)),
        "it is a TorchScript program; save `model.state_dict()` with `torch.save` instead"
    );
    if let Some(order) = files.get(&format!("{root}byteorder")) {
        ensure!(order.as_slice() == b"little", "numbers are not little-endian");
    }
    let pickle = &files[main];
    let count = pickle.len();
    ensure!(count <= MOST_PICKLE, "`data.pkl` has {count} bytes; at most {MOST_PICKLE} are read");
    let pickled = Pickled::load(pickle, Dialect::Torch)?;
    let storage = |key: &str| files.get(&format!("{root}data/{key}")).map(Vec::as_slice);
    state_dict(&pickled, &storage, choose)
}

/// A `.pth` of earlier versions: five pickles, then the storages one after the other.
fn legacy(bytes: &[u8], choose: &Choose) -> Result<BTreeMap<String, Weight>> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickled> {
        let pickled = Pickled::load(rest, Dialect::Torch)?;
        rest = &rest[pickled.length..];
        Ok(pickled)
    };
    let magic = next()?;
    let is_legacy = matches!(magic.object(magic.root), Some(Object::Long(b)) if *b == LEGACY_MAGIC);
    ensure!(is_legacy, "not a .pth file of PyTorch: its first pickle is not the magic number");
    let version = next()?;
    ensure!(version.root == PickledValue::Int(1001), "a .pth file of an unknown version");
    let system = next()?;
    let is_little = system.get(system.root, "little_endian");
    ensure!(is_little == Some(PickledValue::Bool(true)), "numbers are not little-endian");
    let (pickled, keys) = (next()?, next()?);
    let dtypes = pickled.storages().map(|storage| (storage.key.as_str(), storage.dtype));
    let dtypes = dtypes.collect::<BTreeMap<_, _>>();
    let mut storages = BTreeMap::new();
    for key in keys.items(keys.root).ok_or_else(|| anyhow!("no list of storages"))? {
        let key = keys.text(*key).ok_or_else(|| anyhow!("a storage without a name"))?;
        let dtype = dtypes.get(key).ok_or_else(|| anyhow!("storage `{key}` belongs to nothing"))?;
        let count = rest.split_off(..8).ok_or_else(|| anyhow!("the file is truncated"))?;
        let count = <[u8; 8]>::try_from(count).map(u64::from_le_bytes)?;
        let length = usize::try_from(count)?.checked_mul(dtype.size());
        let elements = length.and_then(|length| rest.split_off(..length));
        storages.insert(key, elements.ok_or_else(|| anyhow!("the file is truncated"))?);
    }
    ensure!(rest.is_empty(), "{} bytes too many at the end", rest.len());
    state_dict(&pickled, &|key| storages.get(key).copied(), choose)
}

fn state_dict<'a>(
    pickled: &Pickled,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
    choose: &Choose,
) -> Result<BTreeMap<String, Weight>> {
    let (whose, items) = tensors_of(pickled)?;
    let mut tensors = BTreeMap::new();
    for (name, value) in items {
        let name = pickled.text(*name).ok_or_else(|| anyhow!("a tensor without a name"))?;
        let tensor = pickled.tensor(*value);
        let tensor = tensor.ok_or_else(|| anyhow!("`{}` is not a tensor", shown_name(name)))?;
        tensors.insert(name.to_owned(), tensor);
    }
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone()));
    let names = choose(&shapes.collect());
    let names = match whose {
        Some(key) => names.with_context(|| format!("in the checkpoint's `{}`", shown_name(key)))?,
        None => names?,
    };
    let mut weights = BTreeMap::new();
    for (name, stands_for) in names {
        let tensor = tensors[&name];
        let elements = storage(&tensor.storage.key);
        let elements = elements
            .ok_or_else(|| anyhow!("the elements of `{}` are missing", shown_name(&name)))?;
        let bytes =
            gather(tensor, elements).with_context(|| format!("tensor `{}`", shown_name(&name)))?;
        weights.insert(stands_for, Weight { bytes });
    }
    Ok(weights)
}

/// What a dictionary holds.
type Items = [(PickledValue, PickledValue)];

/// Returns the dictionary of tensors: the whole, or the only one that a checkpoint has, with its key.
fn tensors_of(pickled: &Pickled) -> Result<(Option<&str>, &Items)> {
    let Some(Object::Dict(items)) = pickled.object(pickled.root) else {
        let held = pickled.held(pickled.root);
        bail!(
            "not a dictionary of tensors, as `torch.save(model.state_dict(), file)` writes; {held}"
        )
    };
    let has_tensor =
        |items: &Items| items.iter().any(|(_, value)| pickled.tensor(*value).is_some());
    let mut seen = BTreeSet::new();
    let mut inner = Vec::new();
    for (key, value) in items {
        // One dictionary may stand under a million keys: it is looked at once.
        let is_new = matches!(value, PickledValue::Object(id) if seen.insert(*id));
        if let Some(Object::Dict(items)) = pickled.object(*value)
            && is_new
            && has_tensor(items)
        {
            inner.push((pickled.text(*key).unwrap_or("?"), items.as_slice()));
        }
    }
    match inner[..] {
        [(key, items)] => Ok((Some(key), items)),
        [] if has_tensor(items) => Ok((None, items)),
        [] => bail!("not a dictionary of tensors; {}", pickled.held(pickled.root)),
        [..] => {
            let keys = inner.iter().map(|(key, _)| format!("`{}`", shown_name(key)));
            let keys = keys.take(4).collect::<Vec<_>>().join(" and ");
            bail!("it has several dictionaries of tensors, {keys}; save one of them alone")
        }
    }
}

/// Returns the elements that a view of a storage shows, in C order.
fn gather(tensor: &Tensor, elements: &[u8]) -> Result<Vec<u8>> {
    let Tensor { storage, offset, shape, strides } = tensor;
    ensure!(storage.dtype == Dtype::Float32, "type {}, not float32", storage.dtype.as_str());
    let held = storage.count.checked_mul(4);
    ensure!(held == Some(elements.len()), "{} bytes for {} numbers", elements.len(), storage.count);
    let length = byte_count(Dtype::Float32, shape)?;
    // A stride of 0 could blow up a small file.
    ensure!(length <= elements.len() as u64, "more elements than its storage has");
    let reach = shape.iter().zip(strides).try_fold(*offset, |reach, (size, stride)| {
        size.saturating_sub(1).checked_mul(*stride)?.checked_add(reach)
    });
    let is_inside = length == 0 || reach.is_some_and(|reach| reach < storage.count);
    ensure!(is_inside, "it reaches beyond its storage");
    Ok(npy::gather(elements, 4, *offset, shape, strides))
}

/// Whether a file begins as safetensors do: the length of a header that fits, then its brace.
///
/// Asked first, as the length may begin with any byte: 0x80 as a pickle does, `PK`, ` {`. A pickle's second byte is
/// its protocol.
fn begins_as_safetensors(begin: &[u8], file_bytes: u64) -> bool {
    let Some((length, rest)) = begin.split_first_chunk() else { return false };
    let fits = u64::from_le_bytes(*length) <= file_bytes.saturating_sub(8);
    let is_pickle = length[0] == PICKLE && (2..=5).contains(&length[1]);
    rest.first() == Some(&b'{') && (fits || !is_pickle)
}

fn safetensors(bytes: &[u8], choose: &Choose) -> Result<BTreeMap<String, Weight>> {
    let tensors = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let shapes = tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec()));
    let mut weights = BTreeMap::new();
    for (name, stands_for) in choose(&shapes.collect())? {
        let tensor = tensors.tensor(&name).map_err(unreadable)?;
        let dtype = tensor.dtype();
        ensure!(
            dtype == safetensors::Dtype::F32,
            "tensor `{}` is of type `{dtype}`, not F32; save it as float32",
            shown_name(&name)
        );
        weights.insert(stands_for, Weight { bytes: tensor.data().to_vec() });
    }
    Ok(weights)
}

/// Says what is wrong with a file in the words of a person who has it.
fn unreadable(error: SafeTensorError) -> anyhow::Error {
    let header = "the .safetensors header";
    match error {
        SafeTensorError::HeaderTooSmall => anyhow!("too short for a .safetensors file"),
        SafeTensorError::HeaderTooLarge => anyhow!("{header} claims more than 100 MB"),
        SafeTensorError::InvalidHeaderLength => anyhow!("{header} is cut off: truncated?"),
        SafeTensorError::InvalidHeader(error) => anyhow!("{header} is not a text: {error}"),
        SafeTensorError::InvalidHeaderDeserialization(error) => {
            anyhow!("{header} cannot be read: {error}")
        }
        SafeTensorError::InvalidOffset(name) => {
            anyhow!("the elements of `{name}` do not follow those of the tensor before it")
        }
        SafeTensorError::TensorInvalidInfo => anyhow!("elements do not fill the shape of a tensor"),
        SafeTensorError::ValidationOverflow => anyhow!("the shape of a tensor is too large"),
        SafeTensorError::MetadataIncompleteBuffer => {
            anyhow!("its elements do not end where the file ends: truncated?")
        }
        other => anyhow!("not a .safetensors file: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::{Shapes, Weight, read};

    const ZIPPED: &[u8] = include_bytes!("../../../tests/fixtures/data/torch.pth");
    const LEGACY: &[u8] = include_bytes!("../../../tests/fixtures/data/torch-legacy.pth");
    const SAFE: &[u8] = include_bytes!("../../../tests/fixtures/data/torch.safetensors");

    fn load(bytes: &[u8]) -> Result<std::collections::BTreeMap<String, Weight>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let choose = |shapes: &Shapes| {
            if shapes.contains_key("a.weight") {
                assert_eq!((&shapes["a.weight"], &shapes["t"]), (&vec![2, 3, 4], &vec![3, 2]));
            }
            let names = shapes.keys().filter(|name| *name != "a.num_batches_tracked");
            Ok(names.map(|name| (name.clone(), name.clone())).collect())
        };
        read(&mut file, &choose).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn files_that_pytorch_wrote_agree() {
        for bytes in [ZIPPED, LEGACY, SAFE] {
            let weights = load(bytes).unwrap();
            let values = |name: &str| {
                let four = weights[name].bytes.chunks_exact(4);
                four.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect::<Vec<_>>()
            };
            assert_eq!(weights.len(), 5);
            assert_eq!(values("a.weight"), (0..24u8).map(f32::from).collect::<Vec<_>>());
            assert_eq!(values("a.bias"), [0.5, -1.0]);
            // A transposed view, a parameter, and every second element from the middle of a storage.
            assert_eq!(values("t"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(values("p"), [1.0, 1.0]);
            assert_eq!(values("v"), [2.0, 4.0, 6.0]);
        }
    }

    fn safetensors(length: u64, header: &str, elements: &[u8]) -> Vec<u8> {
        [length.to_le_bytes().as_slice(), header.as_bytes(), elements].concat()
    }

    #[test]
    fn a_header_of_any_length_is_a_header() {
        // Lengths that begin as a pickle, a zip, a JSON text, gzip, an HTML page do.
        for length in [0x180u64, 0x7080, 0x4b50, 0x7b20, 0x7b, 0x8b1f, 0x683c, 0x0280] {
            let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
            let header = format!("{one:<width$}", width = length as usize);
            assert_eq!(load(&safetensors(length, &header, &[0; 8])).unwrap().len(), 1, "{length}");
            let begin = &length.to_le_bytes();
            assert!(crate::data::signature::refuse_messages(begin).is_ok(), "{length}");
            let cut = load(&safetensors(length + 9, &header, &[])[..length as usize]).unwrap_err();
            assert!(cut.contains("safetensors") || cut.contains("pickle"), "{cut}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            let header = format!(
                "{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}"
            );
            safetensors(header.len() as u64, &header, &[0; 8])
        };
        assert_eq!(load(&one("F32", "[2]", "[0,8]")).unwrap().len(), 1);
        let cases = [
            (one("F16", "[4]", "[0,8]"), "is of type `F16`, not F32"),
            (one("F32", "[3]", "[0,8]"), "do not fill the shape"),
            (one("F32", "[4]", "[0,16]"), "do not end where the file ends: truncated?"),
            (one("F32", "[1]", "[0,4]"), "do not end where the file ends"),
            (one("F32", "[1]", "[4,8]"), "the elements of `a` do not follow"),
            (one("F32", "[2]", "[8,0]"), "the elements of `a` do not follow"),
            (one("F32", "[4294967296,4294967296]", "[0,8]"), "is too large"),
            (one("F32", "[-1]", "[0,8]"), "header cannot be read: invalid value: integer `-1`"),
            (one("F31", "[2]", "[0,8]"), "header cannot be read: unknown variant `F31`"),
            (safetensors(1 << 60, "{}", &[]), "header claims"),
            (safetensors(100, "{}", &[]), "header is cut off"),
            (safetensors(2, "{]", &[]), "header cannot be read"),
            (LEGACY[..LEGACY.len() - 4].to_vec(), "the file is truncated"),
            ([LEGACY, &[0; 4]].concat(), "4 bytes too many"),
            (ZIPPED[..ZIPPED.len() - 40].to_vec(), "truncated or damaged"),
            (b"\x80\x02K\x01.".to_vec(), "not the magic number"),
            (Vec::new(), "it is an empty file"),
        ];
        for (bytes, expected) in cases {
            let error = load(&bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
