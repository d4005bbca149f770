//! Where the numbers of a tensor lie in a file, and how they become a tensor.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use candle_core::{DType, Device, Tensor, WithDType};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use serde::Serialize;

use crate::{Error, Result};

/// The type of numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoredType {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// Half precision with single precision's exponent.
    Bf16,
    /// Eight bits, four of them exponent.
    F8E4M3,
    /// Signed.
    I64,
    /// Signed.
    I32,
    /// Signed.
    I16,
    /// Signed.
    I8,
    /// Unsigned.
    U32,
    /// Unsigned.
    U16,
    /// Unsigned.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// A type whose values are not read.
    Other,
}

impl StoredType {
    /// Bytes of one element; 0 for [`StoredType::Other`].
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Other => 0,
        }
    }

    /// Whether it has fractions.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16 | Self::F8E4M3)
    }

    /// The type of the tensor that is read: the same, or the next larger that candle has.
    fn dtype(self) -> Option<DType> {
        Some(match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            Self::F8E4M3 => DType::F8E4M3,
            Self::I64 | Self::I8 => DType::I64,
            Self::I32 => DType::I32,
            Self::I16 => DType::I16,
            Self::U32 | Self::U16 => DType::U32,
            Self::U8 | Self::Bool => DType::U8,
            Self::Other => return None,
        })
    }
}

/// A tensor of a file: what it is and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: StoredType,
    /// In elements; nothing where the tensor lies row by row.
    pub(super) strides: Option<Vec<usize>>,
    /// Which of the files.
    pub(super) file: usize,
    /// First byte.
    pub(super) start: u64,
    /// Elements from the first to the last, those between views included.
    pub(super) span: usize,
    /// Whether the bytes of a number stand in the other order.
    pub(super) swapped: bool,
}

/// An open file with its name.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if about.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { path: path.to_path_buf(), file, length: about.len() })
    }

    /// Fills `buffer` from a place. The file's own position is not used, so threads can share it.
    pub(super) fn read_at(&self, buffer: &mut [u8], place: u64) -> Result<()> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, place).map_err(io);
        #[cfg(windows)]
        {
            let mut done = 0;
            while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
                let at = place + done as u64;
                match std::os::windows::fs::FileExt::seek_read(&self.file, rest, at).map_err(io)? {
                    0 => return Err(io(std::io::ErrorKind::UnexpectedEof.into())),
                    count => done += count,
                }
            }
            Ok(())
        }
    }
}

/// Elements that are converted at a time: they stay in the cache, and no second copy exists.
const CHUNK: usize = 1 << 15;

impl Entry {
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values on the CPU, as `wanted` or else in the file's own type.
    ///
    /// Bytes go from the file straight into the tensor's memory, or through a small buffer where
    /// they are converted: what is resident afterwards is the tensor and nothing else.
    pub(super) fn read(&self, source: &Source, wanted: Option<DType>) -> Result<Tensor> {
        let fault = |reason: String| Error::File { path: source.path.clone(), reason };
        let own = self
            .dtype
            .dtype()
            .ok_or_else(|| fault("has a type of numbers that is not read".to_string()))?;
        let wanted = wanted.unwrap_or(own);
        match (self.dtype, wanted) {
            (StoredType::F32, DType::F32) => return self.same::<f32>(source),
            (StoredType::F16, DType::F32) => {
                return self.converted::<u16, f32>(source, |from, to| {
                    from.reinterpret_cast::<f16>().convert_to_f32_slice(to);
                });
            }
            (StoredType::Bf16, DType::F32) => {
                return self.converted::<u16, f32>(source, |from, to| {
                    from.reinterpret_cast::<bf16>().convert_to_f32_slice(to);
                });
            }
            (StoredType::F64, DType::F32) => {
                return self.converted::<f64, f32>(source, each(|value| value as f32));
            }
            _ => {}
        }
        let tensor = match self.dtype {
            StoredType::F64 => self.same::<f64>(source),
            StoredType::F32 => self.same::<f32>(source),
            StoredType::F16 => self.converted::<u16, f16>(source, each(f16::from_bits)),
            StoredType::Bf16 => self.converted::<u16, bf16>(source, each(bf16::from_bits)),
            StoredType::I64 => self.same::<i64>(source),
            StoredType::I32 => self.same::<i32>(source),
            StoredType::I16 => self.same::<i16>(source),
            StoredType::I8 => self.converted::<i8, i64>(source, each(i64::from)),
            StoredType::U32 => self.same::<u32>(source),
            StoredType::U16 => self.converted::<u16, u32>(source, each(u32::from)),
            StoredType::U8 => self.same::<u8>(source),
            StoredType::Bool => {
                self.converted::<u8, u8>(source, each(|value| u8::from(value != 0)))
            }
            StoredType::F8E4M3 => {
                let bytes = self.values::<u8>(source)?;
                Ok(Tensor::from_raw_buffer(&bytes, own, &self.shape, &Device::Cpu)?)
            }
            StoredType::Other => Err(fault("has a type of numbers that is not read".to_string())),
        }?;
        Ok(if wanted == own { tensor } else { tensor.to_dtype(wanted)? })
    }

    fn same<T: Number + WithDType>(&self, source: &Source) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values::<T>(source)?, self.shape.as_slice(), &Device::Cpu)?)
    }

    fn converted<F: Number, T: WithDType>(
        &self,
        source: &Source,
        convert: impl Fn(&[F], &mut [T]),
    ) -> Result<Tensor> {
        let mut out = vec![T::from_f64(0.); self.elements()];
        if self.strides.is_some() {
            convert(&self.values::<F>(source)?, &mut out);
        } else {
            let mut buffer = vec![F::zeroed(); CHUNK.min(out.len())];
            let mut place = self.start;
            for part in out.chunks_mut(CHUNK) {
                let Some(buffer) = buffer.get_mut(..part.len()) else { continue };
                self.fill(source, buffer, place)?;
                convert(buffer, part);
                place += size_of_val(buffer) as u64;
            }
        }
        Ok(Tensor::from_vec(out, self.shape.as_slice(), &Device::Cpu)?)
    }

    /// The values row by row.
    fn values<T: Number>(&self, source: &Source) -> Result<Vec<T>> {
        let mut raw: Vec<T> = bytemuck::zeroed_vec(self.span);
        self.fill(source, &mut raw, self.start)?;
        match &self.strides {
            None => Ok(raw),
            Some(strides) => Ok(gather(&raw, &self.shape, strides)),
        }
    }

    fn fill<T: Number>(&self, source: &Source, values: &mut [T], place: u64) -> Result<()> {
        source.read_at(bytemuck::cast_slice_mut(values), place)?;
        if self.swapped {
            for value in values {
                *value = value.swapped();
            }
        }
        Ok(())
    }
}

/// The elements of a view, row by row. Places outside of `raw` give zero; the entry's span was
/// made from shape and strides, so there are none.
fn gather<T: Number>(raw: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
    let elements: usize = shape.iter().product();
    let mut out = Vec::with_capacity(elements);
    let mut index = vec![0usize; shape.len()];
    let mut place = 0usize;
    for _ in 0..elements {
        out.push(raw.get(place).copied().unwrap_or(T::zeroed()));
        // Like an odometer: the last index first.
        for ((i, size), stride) in index.iter_mut().zip(shape).zip(strides).rev() {
            *i += 1;
            place += stride;
            if *i < *size {
                break;
            }
            place -= *i * stride;
            *i = 0;
        }
    }
    out
}

fn each<F: Copy, T>(convert: impl Fn(F) -> T) -> impl Fn(&[F], &mut [T]) {
    move |from, to| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = convert(*from);
        }
    }
}

/// A number whose bytes can be turned round.
pub(super) trait Number: Pod {
    fn swapped(self) -> Self;
}

macro_rules! numbers {
    ($($whole:ty),*; $($float:ty),*) => {
        $(impl Number for $whole {
            fn swapped(self) -> Self {
                self.swap_bytes()
            }
        })*
        $(impl Number for $float {
            fn swapped(self) -> Self {
                Self::from_bits(self.to_bits().swap_bytes())
            }
        })*
    };
}

numbers!(u8, i8, u16, i16, u32, i32, i64; f32, f64);
