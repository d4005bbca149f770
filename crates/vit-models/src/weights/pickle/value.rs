use crate::weights::values::StoredType;

/// A value of a pickle. Small and without ownership: what it refers to lies in the [`Heap`], so a
/// pickle cannot make a structure that is deep to drop or circular to walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::weights) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(u32),
    Tuple(u32),
    List(u32),
    Dict(u32),
    /// A mentioned name, `module.name`.
    Name(u32),
    /// Something with attributes: usually a dictionary of them.
    Object(u32),
    Storage(u32),
    Tensor(u32),
    /// Something no weight file is read for: bytes, sets, large integers, NumPy's scalars.
    Opaque,
}

/// What a storage's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::weights) enum StorageType {
    Typed(StoredType),
    /// Bytes; the tensor says what they are.
    Untyped,
}

/// Numbers that lie outside the pickle, under a key.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::weights) struct Storage {
    /// A text of the [`Heap`].
    pub(in crate::weights) key: Value,
    pub(in crate::weights) kind: StorageType,
    /// Elements it claims to have.
    pub(in crate::weights) elements: u64,
}

/// A view of a storage, as claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::weights) struct TensorRef {
    pub(in crate::weights) storage: u32,
    pub(in crate::weights) dtype: StoredType,
    /// In elements.
    pub(in crate::weights) offset: u64,
    pub(in crate::weights) shape: Vec<usize>,
    /// In elements.
    pub(in crate::weights) strides: Vec<usize>,
}

/// An object whose class is known to be harmless data.
#[derive(Debug, Clone, Copy)]
pub(in crate::weights) struct Object {
    pub(in crate::weights) state: Value,
}

/// Everything a pickle made.
#[derive(Debug, Default)]
pub(in crate::weights) struct Heap {
    texts: Vec<String>,
    tuples: Vec<Box<[Value]>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    /// Texts, by their places: a pickle can mention one text many times.
    names: Vec<(Value, Value)>,
    objects: Vec<Object>,
    storages: Vec<Storage>,
    tensors: Vec<TensorRef>,
}

/// Puts an item at the end and gives its place.
fn put<T>(items: &mut Vec<T>, item: T) -> u32 {
    items.push(item);
    // The number of steps, and so of items, is far smaller.
    u32::try_from(items.len() - 1).unwrap_or(u32::MAX)
}

fn at<T>(items: &[T], place: u32) -> Option<&T> {
    items.get(place as usize)
}

impl Heap {
    pub(super) fn add_text(&mut self, text: String) -> Value {
        Value::Text(put(&mut self.texts, text))
    }

    pub(super) fn add_tuple(&mut self, items: Vec<Value>) -> Value {
        Value::Tuple(put(&mut self.tuples, items.into_boxed_slice()))
    }

    pub(super) fn add_list(&mut self, items: Vec<Value>) -> Value {
        Value::List(put(&mut self.lists, items))
    }

    pub(super) fn add_dict(&mut self) -> Value {
        Value::Dict(put(&mut self.dicts, Vec::new()))
    }

    pub(super) fn add_name(&mut self, module: Value, name: Value) -> Value {
        Value::Name(put(&mut self.names, (module, name)))
    }

    pub(super) fn add_object(&mut self) -> Value {
        Value::Object(put(&mut self.objects, Object { state: Value::None }))
    }

    pub(super) fn add_storage(&mut self, storage: Storage) -> Value {
        Value::Storage(put(&mut self.storages, storage))
    }

    pub(super) fn add_tensor(&mut self, tensor: TensorRef) -> Value {
        Value::Tensor(put(&mut self.tensors, tensor))
    }

    pub(in crate::weights) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Text(place) => at(&self.texts, place).map(String::as_str),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub(in crate::weights) fn items(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(place) => at(&self.tuples, place).map(|items| &items[..]),
            Value::List(place) => at(&self.lists, place).map(|items| &items[..]),
            _ => None,
        }
    }

    pub(in crate::weights) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(place) => at(&self.dicts, place).map(|items| &items[..]),
            _ => None,
        }
    }

    pub(in crate::weights) fn name(&self, place: u32) -> (&str, &str) {
        let text = |value: &Value| self.text(*value).unwrap_or("?");
        at(&self.names, place).map_or(("?", "?"), |(module, name)| (text(module), text(name)))
    }

    pub(in crate::weights) fn object(&self, value: Value) -> Option<Object> {
        match value {
            Value::Object(place) => at(&self.objects, place).copied(),
            _ => None,
        }
    }

    pub(in crate::weights) fn storage(&self, place: u32) -> Option<&Storage> {
        at(&self.storages, place)
    }

    pub(in crate::weights) fn storages(&self) -> &[Storage] {
        &self.storages
    }

    pub(in crate::weights) fn tensor(&self, value: Value) -> Option<&TensorRef> {
        match value {
            Value::Tensor(place) => at(&self.tensors, place),
            _ => None,
        }
    }

    pub(super) fn list_mut(&mut self, value: Value) -> Option<&mut Vec<Value>> {
        match value {
            Value::List(place) => self.lists.get_mut(place as usize),
            _ => None,
        }
    }

    pub(super) fn dict_mut(&mut self, value: Value) -> Option<&mut Vec<(Value, Value)>> {
        match value {
            Value::Dict(place) => self.dicts.get_mut(place as usize),
            _ => None,
        }
    }

    pub(super) fn object_mut(&mut self, value: Value) -> Option<&mut Object> {
        match value {
            Value::Object(place) => self.objects.get_mut(place as usize),
            _ => None,
        }
    }
}
