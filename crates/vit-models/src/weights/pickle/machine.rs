use std::collections::HashMap;
use std::io::Read;

use super::names::{Call, call, dtype, storage};
use super::value::{Heap, Storage, StorageType, TensorRef, Value};
use super::{Input, MAX_STEPS, Reason};

/// Dimensions a tensor may have.
const MAX_DIMS: usize = 16;

/// Bytes of a name or key.
const MAX_NAME: usize = 512;

/// Reads one pickle; its values are added to `heap`.
pub(in crate::weights) fn run<R: Read>(
    input: &mut Input<R>,
    heap: &mut Heap,
) -> Result<Value, Reason> {
    let mut machine = Machine { heap, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    for _ in 0..MAX_STEPS {
        let place = input.place();
        let at = |reason: Reason| format!("byte {place} of its pickle: {reason}");
        let code = input.byte().map_err(at)?;
        if code == b'.' {
            return machine.pop().map_err(at);
        }
        machine.step(code, input).map_err(at)?;
    }
    Err(format!("its pickle has more than {MAX_STEPS} steps"))
}

struct Machine<'a> {
    heap: &'a mut Heap,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn step<R: Read>(&mut self, code: u8, input: &mut Input<R>) -> Result<(), Reason> {
        match code {
            // Protocol and frames.
            0x80 => match input.byte()? {
                0..=5 => {}
                other => return Err(format!("protocol {other} is not known")),
            },
            0x95 => drop(input.array::<8>()?),
            // The stack.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            // Items of a set are not looked at, so both only take them off.
            b'1' | 0x90 => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            // The memo.
            b'p' => self.put(number(&input.line()?)?)?,
            b'q' => self.put(u32::from(input.byte()?))?,
            b'r' => self.put(u32::from_le_bytes(input.array()?))?,
            0x94 => self.put(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            b'g' => self.get(number(&input.line()?)?)?,
            b'h' => self.get(u32::from(input.byte()?))?,
            b'j' => self.get(u32::from_le_bytes(input.array()?))?,
            // Containers.
            b']' => self.push_list(Vec::new()),
            b')' => self.push_tuple(Vec::new()),
            b'}' => {
                let dict = self.heap.add_dict();
                self.stack.push(dict);
            }
            b'l' => {
                let items = self.above_mark()?;
                self.push_list(items);
            }
            b't' => {
                let items = self.above_mark()?;
                self.push_tuple(items);
            }
            0x85..=0x87 => {
                let items = self.take(usize::from(code - 0x84))?;
                self.push_tuple(items);
            }
            b'd' => {
                let items = self.above_mark()?;
                let dict = self.heap.add_dict();
                self.stack.push(dict);
                self.set_items(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let pair = self.take(2)?;
                self.set_items(&pair)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set_items(&items)?;
            }
            // Sets.
            0x8f => self.stack.push(Value::Opaque),
            0x91 => {
                self.above_mark()?;
                self.stack.push(Value::Opaque);
            }
            // Names and calls.
            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                if module.len().max(name.len()) > MAX_NAME {
                    return Err("it has a name of unusual length".to_string());
                }
                let (module, name) = (self.heap.add_text(module), self.heap.add_text(name));
                let name = self.heap.add_name(module, name);
                self.stack.push(name);
            }
            0x93 => self.stack_global()?,
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = self.call(function, arguments)?;
                self.stack.push(result);
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let result = self.call(class, arguments)?;
                self.stack.push(result);
            }
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                let storage = self.persistent(id)?;
                self.stack.push(storage);
            }
            _ => {
                let value = self.scalar(code, input)?;
                self.stack.push(value);
            }
        }
        Ok(())
    }

    /// Steps that push one value without looking at the stack.
    fn scalar<R: Read>(&mut self, code: u8, input: &mut Input<R>) -> Result<Value, Reason> {
        let opaque = |input: &mut Input<R>, count: u64| input.bytes(count).map(|_| Value::Opaque);
        Ok(match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' => match input.line()?.as_str() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                text => text.parse().map_or(Value::Opaque, Value::Int),
            },
            b'K' => Value::Int(i64::from(input.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(input.array()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(input.array()?))),
            b'L' => input.line()?.trim_end_matches('L').parse().map_or(Value::Opaque, Value::Int),
            0x8a => {
                let count = u64::from(input.byte()?);
                long(&input.bytes(count)?)
            }
            0x8b => {
                let count = u64::from(u32::from_le_bytes(input.array()?));
                long(&input.bytes(count)?)
            }
            b'F' => input.line()?.parse().map_or(Value::Opaque, Value::Float),
            b'G' => Value::Float(f64::from_be_bytes(input.array()?)),
            b'X' => self.text(input, |input| Ok(u32::from_le_bytes(input.array()?).into()))?,
            0x8c | b'U' => self.text(input, |input| Ok(input.byte()?.into()))?,
            b'T' => self.text(input, |input| Ok(u32::from_le_bytes(input.array()?).into()))?,
            0x8d => self.text(input, |input| Ok(u64::from_le_bytes(input.array()?)))?,
            b'V' => {
                let line = input.line()?;
                self.heap.add_text(line)
            }
            b'S' => {
                let line = input.line()?;
                self.heap.add_text(line.trim_matches(['\'', '"']).to_string())
            }
            b'C' => {
                let count = u64::from(input.byte()?);
                opaque(input, count)?
            }
            b'B' => {
                let count = u32::from_le_bytes(input.array()?).into();
                opaque(input, count)?
            }
            0x8e | 0x96 => {
                let count = u64::from_le_bytes(input.array()?);
                opaque(input, count)?
            }
            b'i' | b'o' => {
                return Err("it makes objects in a way (INST, OBJ) that is refused".to_string());
            }
            0x82..=0x84 => return Err("it uses Python's extension registry: refused".to_string()),
            b'P' => return Err("it refers to something by a text outside of it".to_string()),
            other => return Err(format!("there is no step {other:#04x}")),
        })
    }

    fn text<R: Read>(
        &mut self,
        input: &mut Input<R>,
        length: impl FnOnce(&mut Input<R>) -> Result<u64, Reason>,
    ) -> Result<Value, Reason> {
        let length = length(input)?;
        Ok(self.heap.add_text(input.text(length)?))
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, Reason> {
        if self.stack.len() <= self.floor() {
            return Err("it takes from an empty stack".to_string());
        }
        self.stack.pop().ok_or_else(|| "it takes from an empty stack".to_string())
    }

    fn top(&self) -> Result<Value, Reason> {
        self.stack.last().copied().ok_or_else(|| "it looks at an empty stack".to_string())
    }

    fn take(&mut self, count: usize) -> Result<Vec<Value>, Reason> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => Err("it takes from an empty stack".to_string()),
        }
    }

    fn above_mark(&mut self) -> Result<Vec<Value>, Reason> {
        let mark =
            self.marks.pop().ok_or_else(|| "it takes up to a mark there is not".to_string())?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push_list(&mut self, items: Vec<Value>) {
        let list = self.heap.add_list(items);
        self.stack.push(list);
    }

    fn push_tuple(&mut self, items: Vec<Value>) {
        let tuple = self.heap.add_tuple(items);
        self.stack.push(tuple);
    }

    fn put(&mut self, place: u32) -> Result<(), Reason> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), Reason> {
        let value = self.memo.get(&place).ok_or_else(|| format!("it has no memory {place}"))?;
        self.stack.push(*value);
        Ok(())
    }

    fn append(&mut self, items: &[Value]) -> Result<(), Reason> {
        let target = self.top()?;
        match self.heap.list_mut(target) {
            Some(list) => list.extend_from_slice(items),
            // Lists and deques of classes we do not look into.
            None if matches!(target, Value::Object(_) | Value::Opaque) => {}
            None => return Err("it appends to what is no list".to_string()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), Reason> {
        let target = self.top()?;
        let pairs = items.chunks_exact(2).filter_map(|pair| match pair {
            [key, value] => Some((*key, *value)),
            _ => None,
        });
        match self.heap.dict_mut(target) {
            _ if !items.len().is_multiple_of(2) => Err("it sets a key without a value".to_string()),
            Some(dict) => {
                dict.extend(pairs);
                Ok(())
            }
            None if matches!(target, Value::Object(_) | Value::Opaque) => Ok(()),
            None => Err("it sets items of what is no dictionary".to_string()),
        }
    }

    fn stack_global(&mut self) -> Result<(), Reason> {
        let pair = self.take(2)?;
        let short =
            |value: &Value| self.heap.text(*value).is_some_and(|text| text.len() <= MAX_NAME);
        match pair.as_slice() {
            [module, name] if short(module) && short(name) => {
                let name = self.heap.add_name(*module, *name);
                self.stack.push(name);
                Ok(())
            }
            _ => Err("it names something by what is no text, or a long one".to_string()),
        }
    }

    fn call(&mut self, function: Value, arguments: Value) -> Result<Value, Reason> {
        let Value::Name(place) = function else {
            return Err("it calls what is not a name".to_string());
        };
        let (module, name) = self.heap.name(place);
        let Some(call) = call(module, name) else { return Err(refusal(module, name)) };
        // Seven at most are looked at: copying a long list at each call would take for ever.
        let items = self.heap.items(arguments).unwrap_or_default();
        let items: Vec<Value> = items.iter().take(8).copied().collect();
        let first = items.first().copied();
        Ok(match call {
            Call::Tensor => self.tensor(&items, None)?,
            Call::TypedTensor => {
                let kind = match items.get(6) {
                    Some(Value::Name(place)) => {
                        let (module, name) = self.heap.name(*place);
                        dtype(module, name)
                            .ok_or_else(|| format!("a tensor of type {module}.{name}"))?
                    }
                    _ => return Err("a tensor without a type".to_string()),
                };
                self.tensor(&items, Some(kind))?
            }
            Call::Parameter => match first {
                Some(tensor @ Value::Tensor(_)) => tensor,
                _ => return Err("a parameter that is no tensor".to_string()),
            },
            // Once: a pickle must not be able to nest our calls.
            Call::Through => match (first, items.get(2)) {
                (Some(inner @ Value::Name(place)), Some(arguments)) => {
                    let (module, name) = self.heap.name(place);
                    match super::names::call(module, name) {
                        Some(Call::Tensor | Call::TypedTensor | Call::Parameter) => {
                            self.call(inner, *arguments)?
                        }
                        _ => return Err(refusal(module, name)),
                    }
                }
                _ => return Err("a tensor of a class, without arguments".to_string()),
            },
            Call::Dict => self.heap.add_dict(),
            Call::List => self.heap.add_list(Vec::new()),
            Call::Opaque => Value::Opaque,
            Call::Object => self.heap.add_object(),
            Call::Reconstruct => match first {
                Some(Value::Name(class)) => {
                    let (module, name) = self.heap.name(class);
                    if super::names::call(module, name).is_none() {
                        return Err(refusal(module, name));
                    }
                    self.heap.add_object()
                }
                _ => return Err("it rebuilds what is not a class".to_string()),
            },
        })
    }

    fn build(&mut self) -> Result<(), Reason> {
        let state = self.pop()?;
        let target = self.top()?;
        match self.heap.object_mut(target) {
            Some(object) => object.state = state,
            // `OrderedDict` and tensors carry attributes of PyTorch's own (`_metadata`).
            None if matches!(target, Value::Dict(_) | Value::Tensor(_) | Value::Opaque) => {}
            None => return Err("it sets attributes of what has none".to_string()),
        }
        Ok(())
    }

    /// `('storage', class, key, device, elements[, view])`.
    fn persistent(&mut self, id: Value) -> Result<Value, Reason> {
        let fault = || "it refers to something outside of it that is no storage".to_string();
        let items = self.heap.items(id).ok_or_else(fault)?;
        let [tag, Value::Name(class), key, _, Value::Int(elements), rest @ ..] = items else {
            return Err(fault());
        };
        if self.heap.text(*tag) != Some("storage") {
            return Err(fault());
        }
        if rest.iter().any(|value| *value != Value::None) {
            return Err("it has a view of a storage, as PyTorch before 0.4 wrote".to_string());
        }
        let (module, name) = self.heap.name(*class);
        let kind = storage(module, name)
            .ok_or_else(|| format!("a storage of the type {module}.{name} is not read"))?;
        let elements = u64::try_from(*elements).map_err(|_| fault())?;
        let key = *key;
        if self.heap.text(key).is_none_or(|key| key.len() > MAX_NAME) {
            return Err(fault());
        }
        Ok(self.heap.add_storage(Storage { key, kind, elements }))
    }

    /// `(storage, offset, shape, strides, …)`.
    fn tensor(
        &mut self,
        items: &[Value],
        kind: Option<crate::weights::values::StoredType>,
    ) -> Result<Value, Reason> {
        let [Value::Storage(storage), Value::Int(offset), shape, strides, ..] = items else {
            return Err(
                "a tensor whose arguments are not a storage, a place and a shape".to_string()
            );
        };
        let own = match self.heap.storage(*storage).map(|storage| storage.kind) {
            Some(StorageType::Typed(kind)) => Some(kind),
            _ => None,
        };
        let dtype = kind.or(own).ok_or("a tensor without a type")?;
        let tensor = TensorRef {
            storage: *storage,
            dtype,
            offset: u64::try_from(*offset).map_err(|_| format!("a tensor at place {offset}"))?,
            shape: self.sizes(*shape)?,
            strides: self.sizes(*strides)?,
        };
        if tensor.shape.len() != tensor.strides.len() {
            return Err("a tensor with more strides or fewer than dimensions".to_string());
        }
        Ok(self.heap.add_tensor(tensor))
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>, Reason> {
        let items = self.heap.items(value).ok_or("a tensor whose shape is no list")?;
        if items.len() > MAX_DIMS {
            return Err(format!("a tensor of {} dimensions", items.len()));
        }
        let size = |item: &Value| match item {
            Value::Int(size) => usize::try_from(*size).map_err(|_| format!("a size of {size}")),
            _ => Err("a size that is no number".to_string()),
        };
        items.iter().map(size).collect()
    }
}

fn refusal(module: &str, name: &str) -> Reason {
    let whole = "; it holds objects of a program, not only tensors: load it in PyTorch and save its state_dict()";
    let hint = if module.contains('.') { whole } else { "" };
    format!("it calls '{module}.{name}', which is refused (nothing of it was run){hint}")
}

fn number(text: &str) -> Result<u32, Reason> {
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

/// A little-endian integer of two's complement.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    match whole.get_mut(..bytes.len()) {
        Some(part) => {
            part.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(whole))
        }
        None => Value::Opaque,
    }
}
