//! A pickle machine that can only make plain values, NumPy arrays and PyTorch tensors.
//!
//! A pickle is a program that may call anything; this machine knows a handful of constructors by name
//! and refuses a pickle that asks for another, naming it. Nothing is imported or run. Values live in one
//! arena and refer to each other by number, so depth and cycles cost nothing. Must not depend on which
//! data set it reads.

use std::borrow::Cow;

use anyhow::{Result, anyhow};

use crate::data::archive::shown_name;
use crate::data::npy::{Dtype, Element, in_c_order};
use machine::PickleMachine;

mod calls;
mod machine;

/// Something on the machine's stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PickledValue {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Global(Global),
    Object(usize),
}

/// Something in the arena.
#[derive(Debug)]
pub enum Object {
    Bytes(Vec<u8>),
    Text(String),
    /// A whole number of more than 64 bits, little-endian.
    Long(Vec<u8>),
    List(Vec<PickledValue>),
    Tuple(Vec<PickledValue>),
    Dict(Vec<(PickledValue, PickledValue)>),
    Dtype(String),
    Array(PickledArray),
    Storage(Storage),
    Tensor(Tensor),
}

/// A NumPy array; `elements` is an object of bytes or, for Python objects, a list.
#[derive(Debug, Clone)]
pub struct PickledArray {
    pub descr: String,
    pub shape: Vec<usize>,
    pub is_fortran: bool,
    pub elements: Option<usize>,
}

/// Memory that tensors share, by the key of its file.
#[derive(Debug, Clone)]
pub struct Storage {
    pub dtype: Dtype,
    pub key: String,
    pub count: usize,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The constructors that a pickle may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Global {
    Reconstruct,
    FromBuffer,
    Scalar,
    NdArray,
    Dtype,
    Encode,
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// Which constructors a file of some kind may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dialect {
    Numpy,
    Torch,
}

impl Dialect {
    fn global(self, module: &str, name: &str) -> Result<Global> {
        let found = match (self, module, name) {
            (
                Dialect::Numpy,
                "numpy.core.multiarray" | "numpy._core.multiarray" | "numpy.core._multiarray_umath",
                name,
            ) => match name {
                "_reconstruct" => Some(Global::Reconstruct),
                "scalar" => Some(Global::Scalar),
                _ => None,
            },
            (Dialect::Numpy, "numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                Some(Global::FromBuffer)
            }
            (Dialect::Numpy, "numpy", "ndarray") => Some(Global::NdArray),
            (Dialect::Numpy, "numpy", "dtype") => Some(Global::Dtype),
            (Dialect::Numpy, "_codecs", "encode") => Some(Global::Encode),
            (Dialect::Torch, "collections", "OrderedDict") => Some(Global::OrderedDict),
            (Dialect::Torch, "torch._utils", "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
            (Dialect::Torch, "torch._utils", "_rebuild_parameter") => {
                Some(Global::RebuildParameter)
            }
            (Dialect::Torch, "torch", "FloatStorage") => Some(Global::Storage(Dtype::Float32)),
            (Dialect::Torch, "torch", "LongStorage") => Some(Global::Storage(Dtype::Int64)),
            _ => None,
        };
        let allowed = match self {
            Dialect::Numpy => "as only NumPy arrays are read",
            Dialect::Torch if is_model(module) => {
                "as only dictionaries of float32 tensors are read: a whole model? Save its `state_dict()`"
            }
            Dialect::Torch => {
                "as only dictionaries of float32 tensors are read; save the model's `state_dict()` alone"
            }
        };
        found.ok_or_else(|| {
            let (module, name) = (shown_name(module), shown_name(name));
            anyhow!("the pickle asks for `{module}.{name}`; it is refused, {allowed}")
        })
    }
}

/// Whether a class of this module may be a network.
fn is_model(module: &str) -> bool {
    ["torchvision.models", "timm.", "torch.nn.modules", "__torch__", "__main__", "transformers."]
        .iter()
        .any(|begin| module.starts_with(begin))
}

/// What a pickle left behind.
#[derive(Debug)]
pub struct Pickled {
    pub root: PickledValue,
    objects: Vec<Object>,
    /// How many bytes of the input the pickle took.
    pub length: usize,
}

impl Pickled {
    /// Runs the pickle at the beginning of `bytes`.
    pub fn load(bytes: &[u8], dialect: Dialect) -> Result<Pickled> {
        let mut machine = PickleMachine::new(bytes, dialect);
        let root = machine.run()?;
        Ok(Pickled { root, objects: machine.objects, length: machine.at })
    }

    pub fn object(&self, value: PickledValue) -> Option<&Object> {
        object(&self.objects, value)
    }

    /// Returns the value that a dictionary holds under a text or bytes key.
    pub fn get(&self, dict: PickledValue, key: &str) -> Option<PickledValue> {
        let Some(Object::Dict(items)) = self.object(dict) else { return None };
        items.iter().rev().find(|item| self.text(item.0) == Some(key)).map(|item| item.1)
    }

    /// Returns a text, or bytes that are one.
    pub fn text(&self, value: PickledValue) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            Object::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns every storage that the pickle names.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// Returns the items of a list or tuple.
    pub fn items(&self, value: PickledValue) -> Option<&[PickledValue]> {
        match self.object(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Says what a value is, for a refusal: the keys of a dictionary, else its kind.
    pub fn held(&self, value: PickledValue) -> String {
        const MOST: usize = 8;
        match self.object(value) {
            Some(Object::Dict(items)) if items.is_empty() => "it has nothing in it".to_owned(),
            Some(Object::Dict(items)) => {
                let name = |item: &(PickledValue, PickledValue)| {
                    self.text(item.0).map_or("?".to_owned(), shown_name)
                };
                let names = items.iter().take(MOST).map(name).collect::<Vec<_>>().join("`, `");
                let rest = items.len().saturating_sub(MOST);
                let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
                format!("it has `{names}`{rest}")
            }
            Some(Object::List(items) | Object::Tuple(items)) => {
                format!("it is a list of {}", items.len())
            }
            Some(Object::Array(_)) => "it is a NumPy array".to_owned(),
            Some(Object::Tensor(_)) => "it is a single tensor".to_owned(),
            Some(Object::Text(_) | Object::Bytes(_)) => "it is a text".to_owned(),
            _ => "it is a plain value".to_owned(),
        }
    }

    pub fn array(&self, value: PickledValue) -> Option<&PickledArray> {
        match self.object(value)? {
            Object::Array(array) => Some(array),
            _ => None,
        }
    }

    pub fn tensor(&self, value: PickledValue) -> Option<&Tensor> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the elements of an array of numbers, in C order.
    pub fn elements(&self, array: &PickledArray) -> Option<(Element, Cow<'_, [u8]>)> {
        let element = Element::from_descr(&array.descr)?;
        let Object::Bytes(bytes) = self.objects.get(array.elements?)? else { return None };
        let in_order = match array.is_fortran {
            true => Cow::Owned(in_c_order(bytes, &array.shape, element.size())),
            false => Cow::Borrowed(bytes.as_slice()),
        };
        Some((element, in_order))
    }

    /// Returns the elements of an array of Python objects.
    pub fn objects_of(&self, array: &PickledArray) -> Option<&[PickledValue]> {
        self.items(PickledValue::Object(array.elements?))
    }

    /// Returns the whole numbers of a list, a tuple or a one-dimensional array.
    pub fn integers(&self, value: PickledValue) -> Option<Vec<i64>> {
        if let Some(array) = self.array(value) {
            if array.shape.len() != 1 {
                return None;
            }
            if let Some(values) = self.objects_of(array) {
                return values.iter().map(integer).collect();
            }
            let (element, bytes) = self.elements(array)?;
            return element.integers(&bytes).ok();
        }
        self.items(value)?.iter().map(integer).collect()
    }
}

fn integer(value: &PickledValue) -> Option<i64> {
    match value {
        PickledValue::Int(number) => Some(*number),
        _ => None,
    }
}

fn object(objects: &[Object], value: PickledValue) -> Option<&Object> {
    match value {
        PickledValue::Object(id) => objects.get(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Object, Pickled, PickledValue};

    fn numpy(bytes: &[u8]) -> Result<Pickled, String> {
        Pickled::load(bytes, Dialect::Numpy).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn plain_values_of_every_protocol() {
        // pickle.dumps({'a': [1, -2, 300, 70000], 'b': (True, None, 1.5)}, protocol=N)
        let zero = b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naI300\naI70000\nasVb\np3\n(I01\nNF1.5\ntp4\ns.";
        let two = b"\x80\x02}q\0(X\x01\0\0\0aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\0eX\x01\0\0\0bq\x03\x88NG?\xf8\0\0\0\0\0\0\x87q\x04u.";
        for bytes in [zero.as_slice(), two] {
            let pickled = numpy(bytes).unwrap();
            assert_eq!(pickled.length, bytes.len());
            let list = pickled.get(pickled.root, "a").unwrap();
            assert_eq!(pickled.integers(list), Some(vec![1, -2, 300, 70_000]));
            let tuple = pickled.items(pickled.get(pickled.root, "b").unwrap()).unwrap();
            assert_eq!(
                tuple,
                [PickledValue::Bool(true), PickledValue::None, PickledValue::Float(1.5)]
            );
        }
    }

    #[test]
    fn string_literals_of_protocol_0() {
        let pickled = numpy(b"S'a\\n\\x00\\'b'\n.").unwrap();
        assert!(matches!(pickled.object(pickled.root), Some(Object::Bytes(b)) if b == b"a\n\0'b"));
    }

    #[test]
    fn arrays_of_numpy_1_and_2() {
        for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
            let bytes = array(module, b"u1", &[2, 2], b"\x01\x02\x03\x04");
            let pickled = numpy(&bytes).unwrap();
            let array = pickled.array(pickled.root).unwrap();
            assert_eq!((array.descr.as_str(), array.shape.as_slice()), ("|u1", [2, 2].as_slice()));
            let (element, bytes) = pickled.elements(array).unwrap();
            assert_eq!((element.to_string().as_str(), &bytes[..]), ("uint8", &[1, 2, 3, 4][..]));
        }
    }

    /// A pickle of protocol 2 as NumPy writes it.
    fn array(module: &str, kind: &[u8], shape: &[u8], elements: &[u8]) -> Vec<u8> {
        let mut bytes = format!("\x02c{module}\n_reconstruct\ncnumpy\nndarray\n").into_bytes();
        bytes.insert(0, 0x80);
        bytes.extend(b"K\0\x85U\x01b\x87R(K\x01(");
        shape.iter().for_each(|size| bytes.extend([b'K', *size]));
        bytes.extend(b"tcnumpy\ndtype\nU\x02");
        bytes.extend(kind);
        bytes.extend(b"K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U");
        bytes.push(elements.len() as u8);
        bytes.extend(elements);
        bytes.extend(b"tb.");
        bytes
    }

    #[test]
    fn hostile_pickles_are_refused() {
        let mut copies = b"\x80\x02c_codecs\nencode\nX\0\0\x01\0".to_vec();
        copies.extend(vec![b'a'; 1 << 16]);
        copies.extend(b"X\x06\0\0\0latin1\x86q\0");
        for _ in 0..100 {
            copies.extend(b"0c_codecs\nencode\nh\0R");
        }
        let deep = [vec![b'('; 1 << 16], b"t".to_vec()].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"cos\nsystem\n(S'id'\ntR.", "asks for `os.system`"),
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "asks for `posix.system`"),
            (b"cbuiltins\neval\n(S'1'\ntR.", "asks for `builtins.eval`"),
            (b"(S'id'\nios\nsystem\n.", "asks for `os.system`"),
            (b"cnumpy\nload\n.", "asks for `numpy.load`"),
            (b"cnumpy.core.multiarray\nfromfile\n.", "`numpy.core.multiarray.fromfile`"),
            (b"ctorch\nFloatStorage\n.", "asks for `torch.FloatStorage`"),
            (b"\x80\x02N}\x81.", "opcode 0x81 is refused"),
            (b"Pid\n.", "opcode 0x50 is refused"),
            (b"\x80\x09N.", "protocol 9 is unknown"),
            (b"K\x01K\x02R.", "calls what is not a function"),
            (b"(K\x01", "cut off"),
            (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "cut off"),
            (b".", "empty stack"),
            (b"e.", "lacks a mark"),
            (b"h\x05.", "recalls what it never kept"),
            (b"NK\x01a.", "fills a plain value"),
            (&copies, "out of all proportion"),
            (&deep, "cut off"),
        ];
        for (bytes, expected) in cases {
            let error = numpy(bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let wrong = array("numpy.core.multiarray", b"u1", &[2, 3], b"\x01\x02\x03\x04");
        assert!(numpy(&wrong).unwrap_err().contains("do not fill its shape"));
    }
}
