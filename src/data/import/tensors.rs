//! Named float32 tensors out of `.safetensors` and PyTorch's `.pth`, old and new.
//!
//! Must not depend on which network they belong to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::{SafeTensorError, SafeTensors};

use crate::data::archive::{Files, first_bytes, read_zip};
use crate::data::npy::{self, Dtype, byte_count};
use crate::data::pickle::{Dialect, Object, Pickled, Tensor, Value};

/// Files of ResNet-50 have 100 MB.
const LIMIT: u64 = 256 << 20;
/// First byte of a pickle of protocol 2 and later.
const PICKLE: u8 = 0x80;
/// First pickle of a file of PyTorch before 1.6: 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A tensor in C order, little-endian float32.
#[derive(Debug)]
pub struct Weight {
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Returns the tensors of a file that `is_wanted`.
pub fn read(file: &mut File, is_wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Weight>> {
    let begin = first_bytes(file)?;
    if begin.starts_with(b"PK\x03\x04") {
        let is_part = |path: &str| path.contains('/');
        return zipped(&read_zip(file, &is_part, LIMIT)?, is_wanted);
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).context("cannot read the file")?;
    ensure!(bytes.len() as u64 <= LIMIT, "larger than {LIMIT} bytes, as no such file is");
    match begin.first() {
        _ if begins_as_safetensors(&bytes) => safetensors(&bytes, is_wanted),
        Some(&PICKLE) => legacy(&bytes, is_wanted),
        _ => bail!("neither a .pth file of PyTorch nor a .safetensors file"),
    }
}

/// A `.pth` of PyTorch 1.6 and later: a zip of `data.pkl` and one file per storage.
fn zipped(files: &Files, is_wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Weight>> {
    let main = files.keys().find(|path| path.ends_with("/data.pkl"));
    let main = main.ok_or_else(|| anyhow!("no `data.pkl`: no .pth file of PyTorch"))?;
    let root = main.trim_end_matches("data.pkl");
    if let Some(order) = files.get(&format!("{root}byteorder")) {
        ensure!(order.as_slice() == b"little", "numbers are not little-endian");
    }
    let pickled = Pickled::load(&files[main], Dialect::Torch)?;
    let storage = |key: &str| files.get(&format!("{root}data/{key}")).map(Vec::as_slice);
    state_dict(&pickled, &storage, is_wanted)
}

/// A `.pth` of earlier versions: five pickles, then the storages one after the other.
fn legacy(bytes: &[u8], is_wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Weight>> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickled> {
        let pickled = Pickled::load(rest, Dialect::Torch)?;
        rest = &rest[pickled.length..];
        Ok(pickled)
    };
    let magic = next()?;
    let is_legacy = matches!(magic.object(magic.root), Some(Object::Long(b)) if *b == LEGACY_MAGIC);
    ensure!(is_legacy, "no .pth file of PyTorch: its first pickle is not the magic number");
    let version = next()?;
    ensure!(version.root == Value::Int(1001), "a .pth file of an unknown version");
    let system = next()?;
    let is_little = system.get(system.root, "little_endian");
    ensure!(is_little == Some(Value::Bool(true)), "numbers are not little-endian");
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
    state_dict(&pickled, &|key| storages.get(key).copied(), is_wanted)
}

fn state_dict<'a>(
    pickled: &Pickled,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Weight>> {
    let Some(Object::Dict(items)) = pickled.object(pickled.root) else {
        bail!("no dictionary of tensors, as `torch.save(model.state_dict(), file)` writes")
    };
    let mut weights = BTreeMap::new();
    for (name, value) in items {
        let name = pickled.text(*name).ok_or_else(|| anyhow!("a tensor without a name"))?;
        if !is_wanted(name) {
            continue;
        }
        let tensor = pickled.tensor(*value).ok_or_else(|| anyhow!("`{name}` is no tensor"))?;
        let elements = storage(&tensor.storage.key);
        let elements = elements.ok_or_else(|| anyhow!("the elements of `{name}` are missing"))?;
        let bytes = gather(tensor, elements).with_context(|| format!("tensor `{name}`"))?;
        weights.insert(name.to_owned(), Weight { shape: tensor.shape.clone(), bytes });
    }
    Ok(weights)
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
/// The length may begin with 0x80 as a pickle does, so it is asked first.
fn begins_as_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else { return false };
    let fits = u64::from_le_bytes(*length) <= rest.len() as u64;
    rest.first() == Some(&b'{') && (fits || bytes[0] != PICKLE)
}

fn safetensors(bytes: &[u8], is_wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, Weight>> {
    let tensors = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut weights = BTreeMap::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_wanted(name)) {
        let dtype = tensor.dtype();
        ensure!(
            dtype == safetensors::Dtype::F32,
            "tensor `{name}` is of type `{dtype}`, not F32; save it as float32"
        );
        let (shape, bytes) = (tensor.shape().to_vec(), tensor.data().to_vec());
        weights.insert(name.to_owned(), Weight { shape, bytes });
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

    use super::{Weight, read};

    const ZIPPED: &[u8] = include_bytes!("../../../tests/fixtures/data/torch.pth");
    const LEGACY: &[u8] = include_bytes!("../../../tests/fixtures/data/torch-legacy.pth");
    const SAFE: &[u8] = include_bytes!("../../../tests/fixtures/data/torch.safetensors");

    fn load(bytes: &[u8]) -> Result<std::collections::BTreeMap<String, Weight>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let is_wanted = |name: &str| name != "a.num_batches_tracked";
        read(&mut file, &is_wanted).map_err(|error| format!("{error:#}"))
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
            assert_eq!(weights["a.weight"].shape, [2, 3, 4]);
            assert_eq!(values("a.weight"), (0..24u8).map(f32::from).collect::<Vec<_>>());
            assert_eq!(values("a.bias"), [0.5, -1.0]);
            // A transposed view, a parameter, and every second element from the middle of a storage.
            assert_eq!(values("t"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(values("p"), [1.0, 1.0]);
            assert_eq!(values("v"), [2.0, 4.0, 6.0]);
        }
    }

    #[test]
    fn a_header_whose_length_begins_as_a_pickle_is_a_header() {
        // 0x180 bytes: the first byte of the file is 0x80, which is a pickle's too.
        let bytes = include_bytes!("../../../tests/fixtures/data/header-0x180.safetensors");
        assert_eq!(bytes[0], 0x80);
        let weights = load(bytes).unwrap();
        assert_eq!(weights.len(), 1);
        assert_eq!(weights["bn1.bias"].shape, [64]);
    }

    fn safetensors(length: u64, header: &str, elements: &[u8]) -> Vec<u8> {
        [length.to_le_bytes().as_slice(), header.as_bytes(), elements].concat()
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
            (Vec::new(), "neither a .pth file"),
        ];
        for (bytes, expected) in cases {
            let error = load(&bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
