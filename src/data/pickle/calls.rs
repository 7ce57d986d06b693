//! What the constructors make, and the state that objects are given.
//!
//! Must not depend on opcodes.

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::machine::PickleMachine;
use super::{Global, Object, PickledArray, PickledValue, Storage, Tensor};
use crate::data::npy::{ALLOWED, Element};

impl PickleMachine<'_> {
    pub(super) fn reduce(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let PickledValue::Global(global) = callable else {
            bail!("the pickle calls what is not a function")
        };
        let Some(Object::Tuple(arguments)) = self.object(arguments) else {
            bail!("the pickle calls without a tuple of arguments")
        };
        let arguments = arguments.clone();
        let made = self.call(global, &arguments);
        let value = made.with_context(|| format!("the pickle misuses {global:?}"))?;
        self.push(value)
    }

    fn call(&mut self, global: Global, arguments: &[PickledValue]) -> Result<PickledValue> {
        let object = match (global, arguments) {
            (Global::Reconstruct, [PickledValue::Global(Global::NdArray), ..]) => {
                Object::Array(PickledArray {
                    descr: String::new(),
                    shape: Vec::new(),
                    is_fortran: false,
                    elements: None,
                })
            }
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
            (Global::FromBuffer, [PickledValue::Object(elements), dtype, shape, order]) => {
                let (descr, shape) = (self.descr(*dtype)?, self.sizes(*shape)?);
                let is_fortran = self.word(*order)? == "F";
                let array = PickledArray { descr, shape, is_fortran, elements: Some(*elements) };
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
        Ok(PickledValue::Object(self.allocate(object)?))
    }

    fn pairs(&mut self, value: PickledValue) -> Result<Vec<(PickledValue, PickledValue)>> {
        let Some(Object::List(items)) = self.object(value) else { bail!("no list of pairs") };
        let items = items.clone();
        self.spend(items.len() * 2 * size_of::<PickledValue>())?;
        let pair = |value| match self.object(value) {
            Some(Object::Tuple(pair) | Object::List(pair)) if pair.len() == 2 => {
                Ok((pair[0], pair[1]))
            }
            _ => Err(anyhow!("no pair")),
        };
        items.into_iter().map(pair).collect()
    }

    fn scalar(&mut self, dtype: PickledValue, bytes: PickledValue) -> Result<PickledValue> {
        let element = Element::from_descr(&self.descr(dtype)?);
        let element = element.ok_or_else(|| anyhow!("a scalar of unknown type"))?;
        let Some(Object::Bytes(bytes)) = self.object(bytes) else { bail!("no bytes") };
        ensure!(bytes.len() == element.size(), "a scalar of {} bytes", bytes.len());
        match element.integers(bytes) {
            Ok(numbers) => Ok(PickledValue::Int(numbers[0])),
            Err(odd) => bail!("a scalar {} that is not a whole number", odd.number),
        }
    }

    /// BUILD gives an object its state: the elements of an array, the byte order of a type.
    pub(super) fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match self.object(target) {
            Some(Object::Array(_)) => {
                let array = self.array_state(state).context("an array cannot be read")?;
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

    fn array_state(&self, state: PickledValue) -> Result<PickledArray> {
        let Some(Object::Tuple(state)) = self.object(state) else { bail!("it is not a tuple") };
        let [PickledValue::Int(_), shape, dtype, is_fortran, PickledValue::Object(elements)] =
            state[..]
        else {
            bail!("it has {} parts", state.len())
        };
        let is_fortran = match is_fortran {
            PickledValue::Bool(value) => value,
            PickledValue::Int(value) => value != 0,
            _ => bail!("its order is neither C nor Fortran"),
        };
        let (descr, shape) = (self.descr(dtype)?, self.sizes(shape)?);
        let array = PickledArray { descr, shape, is_fortran, elements: Some(elements) };
        self.check_array(&array)?;
        Ok(array)
    }

    fn check_array(&self, array: &PickledArray) -> Result<()> {
        let count = array.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        let count = count.ok_or_else(|| anyhow!("its shape is too large"))?;
        let elements = array.elements.and_then(|id| self.objects.get(id));
        let fits = match elements {
            Some(Object::List(items)) => array.descr.contains('O') && items.len() == count,
            Some(Object::Bytes(bytes)) => {
                let element = Element::from_descr(&array.descr);
                let element = element
                    .ok_or_else(|| anyhow!("elements of type `{}`; {ALLOWED}", array.descr))?;
                count.checked_mul(element.size()) == Some(bytes.len())
            }
            _ => false,
        };
        ensure!(fits, "its elements do not fill its shape");
        Ok(())
    }

    fn dtype_state(&self, kind: &str, state: PickledValue) -> Result<String> {
        let Some(Object::Tuple(state)) = self.object(state) else { bail!("a type without state") };
        let [_, order, PickledValue::None, PickledValue::None, PickledValue::None, ..] = state[..]
        else {
            bail!("structured types are not read")
        };
        match self.word(order)?.as_str() {
            order @ ("<" | ">" | "|") => Ok(format!("{order}{kind}")),
            order => bail!("byte order `{order}` is not read"),
        }
    }

    pub(super) fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let Some(Object::Tuple(parts)) = self.object(id) else { bail!("a persistent id of old") };
        let [kind, PickledValue::Global(Global::Storage(dtype)), key, _, count, ..] = parts[..]
        else {
            bail!("a persistent id that is not a storage of float32 or int64")
        };
        ensure!(self.word(kind)? == "storage", "a persistent id that is not a storage");
        if let Some(view) = parts.get(5) {
            ensure!(*view == PickledValue::None, "a storage that is a view of another");
        }
        let storage = Storage { dtype, key: self.word(key)?, count: size(count)? };
        self.push_object(Object::Storage(storage))
    }

    fn word(&self, value: PickledValue) -> Result<String> {
        match self.object(value) {
            Some(Object::Text(text)) if text.len() <= 100 => Ok(text.clone()),
            Some(Object::Bytes(bytes)) if bytes.len() <= 100 => {
                Ok(String::from_utf8(bytes.clone())?)
            }
            _ => bail!("a short text is missing"),
        }
    }

    fn descr(&self, value: PickledValue) -> Result<String> {
        match self.object(value) {
            Some(Object::Dtype(descr)) => Ok(descr.clone()),
            _ => bail!("a type is missing"),
        }
    }

    fn sizes(&self, value: PickledValue) -> Result<Vec<usize>> {
        let Some(Object::Tuple(sizes)) = self.object(value) else { bail!("a shape is missing") };
        ensure!(sizes.len() <= 32, "an array of {} axes", sizes.len());
        sizes.iter().map(|value| size(*value)).collect()
    }
}

fn size(value: PickledValue) -> Result<usize> {
    match value {
        PickledValue::Int(number) => usize::try_from(number).context("a negative size"),
        _ => bail!("a size that is not a whole number"),
    }
}
