//! A pickle machine that can only make plain values, NumPy arrays and PyTorch tensors.
//!
//! A pickle is a program that may call anything; this machine knows a handful of constructors by name
//! and refuses a pickle that asks for another, naming it. Nothing is imported or run. Values live in one
//! arena and refer to each other by number, so depth and cycles cost nothing. May not know which
//! data set it reads.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::data::npy::Dtype;

/// Most that a pickle may make out of its own length, in bytes: lists take 16 per element of 2.
const GROWTH: usize = 64;
const LEAST_BUDGET: usize = 1 << 20;

/// Something on the machine's stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
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
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Dtype(String),
    Array(Array),
    Storage(Storage),
    Tensor(Tensor),
}

/// A NumPy array; `elements` is an object of bytes or, for Python objects, a list.
#[derive(Debug, Clone)]
pub struct Array {
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
            Dialect::Numpy => "NumPy arrays",
            Dialect::Torch => "dictionaries of float32 tensors",
        };
        let (module, name) = (module.escape_default(), name.escape_default());
        found.ok_or_else(|| {
            anyhow!(
                "the pickle asks for `{module}.{name}`; it is refused, as only {allowed} are read"
            )
        })
    }
}

/// What a pickle left behind.
#[derive(Debug)]
pub struct Pickled {
    pub root: Value,
    objects: Vec<Object>,
    /// How many bytes of the input the pickle took.
    pub length: usize,
}

impl Pickled {
    /// Runs the pickle at the beginning of `bytes`.
    pub fn load(bytes: &[u8], dialect: Dialect) -> Result<Pickled> {
        let budget = bytes.len().saturating_mul(GROWTH).saturating_add(LEAST_BUDGET);
        let mut machine = Machine {
            input: bytes,
            at: 0,
            dialect,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            budget,
        };
        let root = machine.run()?;
        Ok(Pickled { root, objects: machine.objects, length: machine.at })
    }

    pub fn object(&self, value: Value) -> Option<&Object> {
        object(&self.objects, value)
    }

    /// Returns the value that a dictionary holds under a text or bytes key.
    pub fn get(&self, dict: Value, key: &str) -> Option<Value> {
        let Some(Object::Dict(items)) = self.object(dict) else { return None };
        items.iter().rev().find(|item| self.text(item.0) == Some(key)).map(|item| item.1)
    }

    /// Returns a text, or bytes that are one.
    pub fn text(&self, value: Value) -> Option<&str> {
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
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub fn array(&self, value: Value) -> Option<&Array> {
        match self.object(value)? {
            Object::Array(array) => Some(array),
            _ => None,
        }
    }

    pub fn tensor(&self, value: Value) -> Option<&Tensor> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the raw elements of an array of numbers.
    pub fn bytes(&self, array: &Array) -> Option<&[u8]> {
        match self.objects.get(array.elements?)? {
            Object::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the elements of an array of Python objects.
    pub fn objects_of(&self, array: &Array) -> Option<&[Value]> {
        self.items(Value::Object(array.elements?))
    }

    /// Returns the whole numbers of a list, a tuple or a one-dimensional array.
    pub fn integers(&self, value: Value) -> Option<Vec<i64>> {
        if let Some(array) = self.array(value) {
            if array.shape.len() != 1 {
                return None;
            }
            if let Some(values) = self.objects_of(array) {
                return values.iter().map(integer).collect();
            }
            return decode_integers(Dtype::from_descr(&array.descr)?, self.bytes(array)?);
        }
        self.items(value)?.iter().map(integer).collect()
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

/// Returns little-endian whole numbers.
pub fn decode_integers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    let four = |c: &[u8]| <[u8; 4]>::try_from(c).unwrap_or_default();
    let eight = |c: &[u8]| <[u8; 8]>::try_from(c).unwrap_or_default();
    let chunks = bytes.chunks_exact(dtype.size());
    match dtype {
        Dtype::Uint8 => Some(bytes.iter().map(|byte| i64::from(*byte)).collect()),
        Dtype::Int32 => Some(chunks.map(|c| i64::from(i32::from_le_bytes(four(c)))).collect()),
        Dtype::Uint32 => Some(chunks.map(|c| i64::from(u32::from_le_bytes(four(c)))).collect()),
        Dtype::Int64 => Some(chunks.map(|c| i64::from_le_bytes(eight(c))).collect()),
        Dtype::Float32 | Dtype::Float64 => None,
    }
}

fn object(objects: &[Object], value: Value) -> Option<&Object> {
    match value {
        Value::Object(id) => objects.get(id),
        _ => None,
    }
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    dialect: Dialect,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    budget: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value> {
        loop {
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code).with_context(|| format!("in the pickle at byte {}", self.at))?;
        }
    }

    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => {
                let version = self.byte()?;
                ensure!(version <= 5, "pickle protocol {version} is unknown");
            }
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'F' | b'G' => self.number(code)?,
            b'S' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.bytes(code)?,
            b'V' | b'X' | 0x8c | 0x8d => self.text(code)?,
            b']' | b'l' | b'a' | b'e' => self.list(code)?,
            b')' | b't' | 0x85..=0x87 => self.tuple(code)?,
            b'}' | b'd' | b's' | b'u' => self.dict(code)?,
            b'p' | b'q' | b'r' | 0x94 => self.remember(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            b'c' | b'i' | 0x93 => self.global(code)?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            code => bail!("opcode 0x{code:02x} is refused"),
        }
        Ok(())
    }

    // Input

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.input.len());
        let end = end.ok_or_else(|| anyhow!("the pickle is cut off"))?;
        let taken = &self.input[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(<[u8; N]>::try_from(self.take(N)?)?)
    }

    fn sized(&mut self, width: usize) -> Result<&[u8]> {
        let length = match width {
            1 => u64::from(self.byte()?),
            4 => u64::from(u32::from_le_bytes(self.fixed()?)),
            _ => u64::from_le_bytes(self.fixed()?),
        };
        self.take(usize::try_from(length)?)
    }

    fn line(&mut self) -> Result<&str> {
        let length = self.input[self.at..].iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| anyhow!("the pickle is cut off"))?;
        let line = std::str::from_utf8(&self.take(length + 1)?[..length]);
        line.context("a line of the pickle is no text")
    }

    // Stack and arena

    fn push(&mut self, value: Value) -> Result<()> {
        self.spend(size_of::<Value>())?;
        self.stack.push(value);
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or_else(|| anyhow!("the pickle grows out of all proportion"))?;
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        ensure!(self.stack.len() > floor, "the pickle takes from an empty stack");
        Ok(self.stack.pop().unwrap_or(Value::None))
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| anyhow!("the pickle looks at an empty stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| anyhow!("the pickle lacks a mark"))?;
        ensure!(mark <= self.stack.len(), "the pickle's mark is gone");
        Ok(self.stack.split_off(mark))
    }

    fn allocate(&mut self, object: Object) -> Result<usize> {
        let size = match &object {
            Object::Bytes(bytes) | Object::Long(bytes) => bytes.len(),
            Object::Text(text) => text.len(),
            _ => 0,
        };
        self.spend(size + size_of::<Object>())?;
        self.objects.push(object);
        Ok(self.objects.len() - 1)
    }

    fn push_object(&mut self, object: Object) -> Result<()> {
        let id = self.allocate(object)?;
        self.push(Value::Object(id))
    }

    fn object(&self, value: Value) -> Option<&Object> {
        object(&self.objects, value)
    }

    fn object_mut(&mut self, value: Value) -> Result<&mut Object> {
        let Value::Object(id) = value else { bail!("the pickle fills a plain value") };
        self.objects.get_mut(id).ok_or_else(|| anyhow!("the pickle fills nothing"))
    }

    // Opcodes

    fn number(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.fixed()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.fixed()?))),
            b'G' => Value::Float(f64::from_be_bytes(self.fixed()?)),
            b'F' => Value::Float(self.line()?.trim().parse()?),
            b'I' | b'L' => match self.line()?.trim() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => Value::Int(digits.trim_end_matches('L').parse()?),
            },
            _ => {
                let bytes = self.sized(if code == 0x8a { 1 } else { 4 })?.to_vec();
                if bytes.len() > 8 {
                    return self.push_object(Object::Long(bytes));
                }
                let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut all = [if is_negative { 0xff } else { 0 }; 8];
                all[..bytes.len()].copy_from_slice(&bytes);
                Value::Int(i64::from_le_bytes(all))
            }
        };
        self.push(value)
    }

    fn bytes(&mut self, code: u8) -> Result<()> {
        let bytes = match code {
            b'S' => unquote(self.line()?)?,
            b'U' | b'C' => self.sized(1)?.to_vec(),
            b'T' | b'B' => self.sized(4)?.to_vec(),
            _ => self.sized(8)?.to_vec(),
        };
        self.push_object(Object::Bytes(bytes))
    }

    fn text(&mut self, code: u8) -> Result<()> {
        let text = match code {
            b'V' => {
                let line = self.line()?;
                ensure!(!line.contains('\\'), "escapes in text of protocol 0 are not read");
                line.to_owned()
            }
            _ => {
                let width = match code {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                };
                let text = std::str::from_utf8(self.sized(width)?);
                text.context("text in the pickle is not UTF-8")?.to_owned()
            }
        };
        self.push_object(Object::Text(text))
    }

    fn list(&mut self, code: u8) -> Result<()> {
        let items = match code {
            b']' => Vec::new(),
            b'a' => vec![self.pop()?],
            _ => self.pop_mark()?,
        };
        if code == b']' || code == b'l' {
            return self.push_object(Object::List(items));
        }
        let list = self.top()?;
        self.spend(items.len() * size_of::<Value>())?;
        match self.object_mut(list)? {
            Object::List(all) => all.extend(items),
            _ => bail!("the pickle appends to what is no list"),
        }
        Ok(())
    }

    fn tuple(&mut self, code: u8) -> Result<()> {
        let items = match code {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => {
                let count = usize::from(code - 0x84);
                let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                items
            }
        };
        self.push_object(Object::Tuple(items))
    }

    fn dict(&mut self, code: u8) -> Result<()> {
        let items = match code {
            b'}' => Vec::new(),
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        ensure!(items.len() % 2 == 0, "the pickle has a key without a value");
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if code == b'}' || code == b'd' {
            return self.push_object(Object::Dict(pairs.collect()));
        }
        let dict = self.top()?;
        self.spend(items.len() * size_of::<Value>())?;
        match self.object_mut(dict)? {
            Object::Dict(all) => all.extend(pairs),
            _ => bail!("the pickle sets items of what is no dictionary"),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Result<()> {
        let index = match code {
            b'p' => self.line()?.trim().parse()?,
            b'q' => u32::from(self.byte()?),
            b'r' => u32::from_le_bytes(self.fixed()?),
            _ => u32::try_from(self.memo.len())?,
        };
        let top = self.top()?;
        self.spend(size_of::<(u32, Value)>() * 2)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<()> {
        let index = match code {
            b'g' => self.line()?.trim().parse()?,
            b'h' => u32::from(self.byte()?),
            _ => u32::from_le_bytes(self.fixed()?),
        };
        let value = self.memo.get(&index).copied();
        self.push(value.ok_or_else(|| anyhow!("the pickle recalls what it never kept"))?)
    }

    fn global(&mut self, code: u8) -> Result<()> {
        let (module, name) = if code == 0x93 {
            let (name, module) = (self.pop()?, self.pop()?);
            let text = |value| match self.object(value) {
                Some(Object::Text(text)) => Ok(text.clone()),
                _ => Err(anyhow!("the pickle asks for something without a name")),
            };
            (text(module)?, text(name)?)
        } else {
            (self.line()?.to_owned(), self.line()?.to_owned())
        };
        let global = self.dialect.global(&module, &name)?;
        ensure!(code != b'i', "opcode INST is refused");
        self.push(Value::Global(global))
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Global(global) = callable else { bail!("the pickle calls what is no function") };
        let Some(Object::Tuple(arguments)) = self.object(arguments) else {
            bail!("the pickle calls without a tuple of arguments")
        };
        let arguments = arguments.clone();
        let made = self.call(global, &arguments);
        let value = made.with_context(|| format!("the pickle misuses {global:?}"))?;
        self.push(value)
    }

    fn call(&mut self, global: Global, arguments: &[Value]) -> Result<Value> {
        let object = match (global, arguments) {
            (Global::Reconstruct, [Value::Global(Global::NdArray), ..]) => Object::Array(Array {
                descr: String::new(),
                shape: Vec::new(),
                is_fortran: false,
                elements: None,
            }),
            (Global::Dtype, [name, ..]) => Object::Dtype(self.word(*name)?),
            (Global::Encode, [text, encoding, ..]) => {
                let encoding = self.word(*encoding)?;
                ensure!(encoding == "latin1" || encoding == "latin-1", "encoding `{encoding}`");
                let Some(Object::Text(text)) = self.object(*text) else { bail!("no text") };
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                Object::Bytes(bytes.collect::<Result<_, _>>()?)
            }
            (Global::Encode, [text]) => match self.object(*text) {
                Some(Object::Text(text)) => Object::Bytes(text.clone().into_bytes()),
                _ => bail!("no text"),
            },
            (Global::FromBuffer, [Value::Object(elements), dtype, shape, order]) => {
                let (descr, shape) = (self.descr(*dtype)?, self.sizes(*shape)?);
                let is_fortran = self.word(*order)? == "F";
                let array = Array { descr, shape, is_fortran, elements: Some(*elements) };
                self.check_array(&array)?;
                Object::Array(array)
            }
            (Global::Scalar, [dtype, bytes]) => return self.scalar(*dtype, *bytes),
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            (Global::OrderedDict, [pairs]) => Object::Dict(self.pairs(*pairs)?),
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let Some(Object::Storage(storage)) = self.object(*storage) else {
                    bail!("no storage")
                };
                let storage = storage.clone();
                let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
                ensure!(shape.len() == strides.len(), "shape and strides differ in length");
                let offset = size(*offset)?;
                Object::Tensor(Tensor { storage, offset, shape, strides })
            }
            (Global::RebuildParameter, [tensor, ..]) => {
                ensure!(matches!(self.object(*tensor), Some(Object::Tensor(_))), "no tensor");
                return Ok(*tensor);
            }
            _ => bail!("{} arguments", arguments.len()),
        };
        Ok(Value::Object(self.allocate(object)?))
    }

    fn pairs(&mut self, value: Value) -> Result<Vec<(Value, Value)>> {
        let Some(Object::List(items)) = self.object(value) else { bail!("no list of pairs") };
        let items = items.clone();
        self.spend(items.len() * 2 * size_of::<Value>())?;
        let pair = |value| match self.object(value) {
            Some(Object::Tuple(pair) | Object::List(pair)) if pair.len() == 2 => {
                Ok((pair[0], pair[1]))
            }
            _ => Err(anyhow!("no pair")),
        };
        items.into_iter().map(pair).collect()
    }

    fn scalar(&mut self, dtype: Value, bytes: Value) -> Result<Value> {
        let dtype = Dtype::from_descr(&self.descr(dtype)?);
        let dtype = dtype.ok_or_else(|| anyhow!("a scalar of unknown type"))?;
        let Some(Object::Bytes(bytes)) = self.object(bytes) else { bail!("no bytes") };
        ensure!(bytes.len() == dtype.size(), "a scalar of {} bytes", bytes.len());
        let number = decode_integers(dtype, bytes).and_then(|numbers| numbers.first().copied());
        number.map(Value::Int).ok_or_else(|| anyhow!("a scalar that is no whole number"))
    }

    /// BUILD gives an object its state: the elements of an array, the byte order of a type.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match self.object(target) {
            Some(Object::Array(_)) => {
                let array = self.array_state(state).context("an array's state is not NumPy's")?;
                *self.object_mut(target)? = Object::Array(array);
            }
            Some(Object::Dtype(kind)) => {
                let descr = self.dtype_state(kind, state)?;
                *self.object_mut(target)? = Object::Dtype(descr);
            }
            // Attributes of an OrderedDict, such as `_metadata`, are of no interest.
            Some(Object::Dict(_)) => {}
            _ => bail!("the pickle sets the state of what has none"),
        }
        Ok(())
    }

    fn array_state(&self, state: Value) -> Result<Array> {
        let Some(Object::Tuple(state)) = self.object(state) else { bail!("it is no tuple") };
        let [Value::Int(_), shape, dtype, is_fortran, Value::Object(elements)] = state[..] else {
            bail!("it has {} parts", state.len())
        };
        let is_fortran = match is_fortran {
            Value::Bool(value) => value,
            Value::Int(value) => value != 0,
            _ => bail!("its order is neither C nor Fortran"),
        };
        let (descr, shape) = (self.descr(dtype)?, self.sizes(shape)?);
        let array = Array { descr, shape, is_fortran, elements: Some(elements) };
        self.check_array(&array)?;
        Ok(array)
    }

    fn check_array(&self, array: &Array) -> Result<()> {
        let count = array.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        let count = count.ok_or_else(|| anyhow!("its shape is too large"))?;
        let elements = array.elements.and_then(|id| self.objects.get(id));
        let fits = match elements {
            Some(Object::List(items)) => array.descr.contains('O') && items.len() == count,
            Some(Object::Bytes(bytes)) => {
                let dtype = Dtype::from_descr(&array.descr);
                let dtype = dtype.ok_or_else(|| anyhow!("elements of type `{}`", array.descr))?;
                count.checked_mul(dtype.size()) == Some(bytes.len())
            }
            _ => false,
        };
        ensure!(fits, "its elements do not fill its shape");
        Ok(())
    }

    fn dtype_state(&self, kind: &str, state: Value) -> Result<String> {
        let Some(Object::Tuple(state)) = self.object(state) else { bail!("a type without state") };
        let [_, order, Value::None, Value::None, Value::None, ..] = state[..] else {
            bail!("structured types are not read")
        };
        match self.word(order)?.as_str() {
            "<" => Ok(format!("<{kind}")),
            "|" => Ok(format!("|{kind}")),
            order => bail!("byte order `{order}` is not read"),
        }
    }

    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let Some(Object::Tuple(parts)) = self.object(id) else { bail!("a persistent id of old") };
        let [kind, Value::Global(Global::Storage(dtype)), key, _, count, ..] = parts[..] else {
            bail!("a persistent id that is no storage of float32 or int64")
        };
        ensure!(self.word(kind)? == "storage", "a persistent id that is no storage");
        if let Some(view) = parts.get(5) {
            ensure!(*view == Value::None, "a storage that is a view of another");
        }
        let storage = Storage { dtype, key: self.word(key)?, count: size(count)? };
        self.push_object(Object::Storage(storage))
    }

    fn word(&self, value: Value) -> Result<String> {
        match self.object(value) {
            Some(Object::Text(text)) if text.len() <= 100 => Ok(text.clone()),
            Some(Object::Bytes(bytes)) if bytes.len() <= 100 => {
                Ok(String::from_utf8(bytes.clone())?)
            }
            _ => bail!("a short text is missing"),
        }
    }

    fn descr(&self, value: Value) -> Result<String> {
        match self.object(value) {
            Some(Object::Dtype(descr)) => Ok(descr.clone()),
            _ => bail!("a type is missing"),
        }
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>> {
        let Some(Object::Tuple(sizes)) = self.object(value) else { bail!("a shape is missing") };
        ensure!(sizes.len() <= 32, "an array of {} axes", sizes.len());
        sizes.iter().map(|value| size(*value)).collect()
    }
}

fn size(value: Value) -> Result<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).context("a negative size"),
        _ => bail!("a size that is no whole number"),
    }
}

/// Returns the bytes that a Python 2 string literal means.
fn unquote(line: &str) -> Result<Vec<u8>> {
    let line = line.trim();
    let quote = line.chars().next().filter(|c| *c == '\'' || *c == '"');
    let inner = quote.and_then(|quote| line[1..].strip_suffix(quote));
    let mut rest = inner.ok_or_else(|| anyhow!("a string without quotes"))?.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [code, after @ ..] = rest else { bail!("a string that ends in `\\`") };
        rest = after;
        bytes.push(match code {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' | b'\'' | b'"' => *code,
            b'x' => {
                let digits = rest.get(..2).ok_or_else(|| anyhow!("`\\x` without digits"))?;
                rest = &rest[2..];
                u8::from_str_radix(std::str::from_utf8(digits)?, 16)?
            }
            _ => bail!("an unknown escape in a string"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Object, Pickled, Value};

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
            assert_eq!(tuple, [Value::Bool(true), Value::None, Value::Float(1.5)]);
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
            assert_eq!(pickled.bytes(array), Some([1, 2, 3, 4].as_slice()));
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
            (b"K\x01K\x02R.", "calls what is no function"),
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
