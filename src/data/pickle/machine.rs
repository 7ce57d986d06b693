//! The machine: input, stack, memo and the opcodes that move values between them.
//!
//! Must not depend on what constructors do.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Dialect, Object, PickledValue, object};

/// Most that a pickle may make out of its own length, in bytes: lists take 16 per element of 2.
const GROWTH: usize = 64;
const LEAST_BUDGET: usize = 1 << 20;
/// However long it is: a pickle may come out of a zip that is a thousandth of its size.
const MOST_BUDGET: usize = 1 << 29;

pub(super) struct PickleMachine<'a> {
    input: &'a [u8],
    pub(super) at: usize,
    dialect: Dialect,
    stack: Vec<PickledValue>,
    marks: Vec<usize>,
    memo: HashMap<u32, PickledValue>,
    pub(super) objects: Vec<Object>,
    budget: usize,
}

impl PickleMachine<'_> {
    pub(super) fn new(input: &[u8], dialect: Dialect) -> PickleMachine<'_> {
        PickleMachine {
            input,
            at: 0,
            dialect,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            budget: input.len().saturating_mul(GROWTH).clamp(LEAST_BUDGET, MOST_BUDGET),
        }
    }

    pub(super) fn run(&mut self) -> Result<PickledValue> {
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
            b'N' => self.push(PickledValue::None)?,
            0x88 => self.push(PickledValue::Bool(true))?,
            0x89 => self.push(PickledValue::Bool(false))?,
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
        line.context("a line of the pickle is not a text")
    }

    // Stack and arena

    pub(super) fn push(&mut self, value: PickledValue) -> Result<()> {
        self.spend(size_of::<PickledValue>())?;
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or_else(|| anyhow!("the pickle grows out of all proportion"))?;
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<PickledValue> {
        let floor = self.marks.last().copied().unwrap_or(0);
        ensure!(self.stack.len() > floor, "the pickle takes from an empty stack");
        Ok(self.stack.pop().unwrap_or(PickledValue::None))
    }

    pub(super) fn top(&self) -> Result<PickledValue> {
        self.stack.last().copied().ok_or_else(|| anyhow!("the pickle looks at an empty stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<PickledValue>> {
        let mark = self.marks.pop().ok_or_else(|| anyhow!("the pickle lacks a mark"))?;
        ensure!(mark <= self.stack.len(), "the pickle's mark is gone");
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn allocate(&mut self, object: Object) -> Result<usize> {
        let size = match &object {
            Object::Bytes(bytes) | Object::Long(bytes) => bytes.len(),
            Object::Text(text) => text.len(),
            _ => 0,
        };
        self.spend(size + size_of::<Object>())?;
        self.objects.push(object);
        Ok(self.objects.len() - 1)
    }

    pub(super) fn push_object(&mut self, object: Object) -> Result<()> {
        let id = self.allocate(object)?;
        self.push(PickledValue::Object(id))
    }

    pub(super) fn object(&self, value: PickledValue) -> Option<&Object> {
        object(&self.objects, value)
    }

    pub(super) fn object_mut(&mut self, value: PickledValue) -> Result<&mut Object> {
        let PickledValue::Object(id) = value else { bail!("the pickle fills a plain value") };
        self.objects.get_mut(id).ok_or_else(|| anyhow!("the pickle fills nothing"))
    }

    // Opcodes

    fn number(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'K' => PickledValue::Int(i64::from(self.byte()?)),
            b'M' => PickledValue::Int(i64::from(u16::from_le_bytes(self.fixed()?))),
            b'J' => PickledValue::Int(i64::from(i32::from_le_bytes(self.fixed()?))),
            b'G' => PickledValue::Float(f64::from_be_bytes(self.fixed()?)),
            b'F' => PickledValue::Float(self.line()?.trim().parse()?),
            b'I' | b'L' => match self.line()?.trim() {
                "00" => PickledValue::Bool(false),
                "01" => PickledValue::Bool(true),
                digits => PickledValue::Int(digits.trim_end_matches('L').parse()?),
            },
            _ => {
                let bytes = self.sized(if code == 0x8a { 1 } else { 4 })?.to_vec();
                if bytes.len() > 8 {
                    return self.push_object(Object::Long(bytes));
                }
                let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut all = [if is_negative { 0xff } else { 0 }; 8];
                all[..bytes.len()].copy_from_slice(&bytes);
                PickledValue::Int(i64::from_le_bytes(all))
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
        self.spend(items.len() * size_of::<PickledValue>())?;
        match self.object_mut(list)? {
            Object::List(all) => all.extend(items),
            _ => bail!("the pickle appends to what is not a list"),
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
        self.spend(items.len() * size_of::<PickledValue>())?;
        match self.object_mut(dict)? {
            Object::Dict(all) => all.extend(pairs),
            _ => bail!("the pickle sets items of what is not a dictionary"),
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
        self.spend(size_of::<(u32, PickledValue)>() * 2)?;
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
        self.push(PickledValue::Global(global))
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
