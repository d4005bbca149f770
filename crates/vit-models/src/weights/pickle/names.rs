use super::StorageType;
use crate::weights::values::StoredType;

/// What a call of a name means here. There is no other call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// `torch._utils._rebuild_tensor` and its second form: `(storage, offset, shape, strides, …)`.
    Tensor,
    /// The third form, with the type after six arguments.
    TypedTensor,
    /// `(tensor, …)`: the tensor.
    Parameter,
    /// `(function, class, arguments, state)`: the function of the arguments.
    Through,
    /// A dictionary; items follow.
    Dict,
    /// A list; items follow.
    List,
    /// Data that weights do not need.
    Opaque,
    /// An object; its attributes follow.
    Object,
    /// `(class, …)`: an object of the class.
    Reconstruct,
}

/// Names that may be called. All of them build values of PyTorch, NumPy and Python's own
/// containers as training programs leave them beside the weights.
const CALLS: &[(&str, &str, Call)] = &[
    ("torch._utils", "_rebuild_tensor", Call::Tensor),
    ("torch._utils", "_rebuild_tensor_v2", Call::Tensor),
    ("torch._utils", "_rebuild_tensor_v3", Call::TypedTensor),
    ("torch._utils", "_rebuild_parameter", Call::Parameter),
    ("torch._utils", "_rebuild_parameter_with_state", Call::Parameter),
    ("torch._tensor", "_rebuild_from_type_v2", Call::Through),
    ("collections", "OrderedDict", Call::Dict),
    ("collections", "defaultdict", Call::Dict),
    ("collections", "Counter", Call::Dict),
    ("builtins", "dict", Call::Dict),
    ("builtins", "list", Call::List),
    ("builtins", "set", Call::Opaque),
    ("builtins", "frozenset", Call::Opaque),
    ("builtins", "tuple", Call::Opaque),
    ("builtins", "bytearray", Call::Opaque),
    ("builtins", "complex", Call::Opaque),
    ("builtins", "slice", Call::Opaque),
    ("builtins", "range", Call::Opaque),
    ("__builtin__", "set", Call::Opaque),
    ("__builtin__", "bytearray", Call::Opaque),
    ("_codecs", "encode", Call::Opaque),
    ("numpy", "dtype", Call::Object),
    ("numpy", "ndarray", Call::Object),
    ("numpy.core.multiarray", "scalar", Call::Opaque),
    ("numpy._core.multiarray", "scalar", Call::Opaque),
    ("numpy.core.multiarray", "_reconstruct", Call::Reconstruct),
    ("numpy._core.multiarray", "_reconstruct", Call::Reconstruct),
    ("copyreg", "_reconstructor", Call::Reconstruct),
    ("copy_reg", "_reconstructor", Call::Reconstruct),
    ("argparse", "Namespace", Call::Object),
    ("types", "SimpleNamespace", Call::Object),
    ("easydict", "EasyDict", Call::Dict),
    ("yacs.config", "CfgNode", Call::Dict),
    ("fvcore.common.config", "CfgNode", Call::Dict),
    ("omegaconf.dictconfig", "DictConfig", Call::Object),
    ("omegaconf.listconfig", "ListConfig", Call::Object),
    ("omegaconf.base", "ContainerMetadata", Call::Object),
    ("omegaconf.base", "Metadata", Call::Object),
    ("omegaconf.nodes", "AnyNode", Call::Object),
    ("pathlib", "PosixPath", Call::Opaque),
    ("pathlib", "WindowsPath", Call::Opaque),
    ("pathlib", "PurePosixPath", Call::Opaque),
    ("pathlib._local", "PosixPath", Call::Opaque),
    ("pathlib._local", "WindowsPath", Call::Opaque),
    ("datetime", "datetime", Call::Opaque),
    ("datetime", "timedelta", Call::Opaque),
    ("torch", "Size", Call::Opaque),
    ("torch", "device", Call::Opaque),
    ("torch.torch_version", "TorchVersion", Call::Opaque),
    ("torch.serialization", "_get_layout", Call::Opaque),
];

/// What a call of `module.name` means, if it may be called.
pub(super) fn call(module: &str, name: &str) -> Option<Call> {
    // NumPy 2's types of arrays: `numpy.dtypes.Float64DType` and so on.
    if module == "numpy.dtypes" && name.ends_with("DType") {
        return Some(Call::Object);
    }
    CALLS.iter().find(|(m, n, _)| (*m, *n) == (module, name)).map(|(_, _, call)| *call)
}

/// Types of storages, by the first part of their class.
const STORAGES: &[(&str, StoredType)] = &[
    ("Double", StoredType::F64),
    ("Float", StoredType::F32),
    ("Half", StoredType::F16),
    ("BFloat16", StoredType::Bf16),
    ("Long", StoredType::I64),
    ("Int", StoredType::I32),
    ("Short", StoredType::I16),
    ("Char", StoredType::I8),
    ("Byte", StoredType::U8),
    ("Bool", StoredType::Bool),
];

/// The type of a storage's class.
pub(super) fn storage(module: &str, name: &str) -> Option<StorageType> {
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    let kind = name.strip_suffix("Storage")?;
    if kind == "Untyped" {
        return Some(StorageType::Untyped);
    }
    STORAGES.iter().find(|(class, _)| *class == kind).map(|(_, kind)| StorageType::Typed(*kind))
}

/// `torch.float32` and so on.
pub(super) fn dtype(module: &str, name: &str) -> Option<StoredType> {
    if module != "torch" {
        return None;
    }
    Some(match name {
        "float64" => StoredType::F64,
        "float32" => StoredType::F32,
        "float16" => StoredType::F16,
        "bfloat16" => StoredType::Bf16,
        "float8_e4m3fn" => StoredType::F8E4M3,
        "int64" => StoredType::I64,
        "int32" => StoredType::I32,
        "int16" => StoredType::I16,
        "int8" => StoredType::I8,
        "uint8" => StoredType::U8,
        "uint16" => StoredType::U16,
        "uint32" => StoredType::U32,
        "bool" => StoredType::Bool,
        _ => return None,
    })
}
