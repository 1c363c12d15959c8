use super::error::Fault;
use super::external;
use half::{bf16, f16};
use std::path::Path;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

/// What a tensor's elements are. Computed ones are carried as real numbers, whatever their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int8,
    Uint8,
    Int32,
    Int64,
    Bool,
}

impl Kind {
    /// Of an ONNX element type; other real numbers are carried as float32.
    pub(super) fn from_onnx(kind: i32) -> Result<Self, Fault> {
        Ok(match DataType::try_from(kind) {
            Ok(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => {
                Kind::Float
            }
            Ok(DataType::Int8) => Kind::Int8,
            Ok(DataType::Uint8) => Kind::Uint8,
            Ok(DataType::Int32) => Kind::Int32,
            Ok(DataType::Int64) => Kind::Int64,
            Ok(DataType::Bool) => Kind::Bool,
            _ => {
                return Err(Fault::new(
                    format!("holds {} elements", shown(kind)),
                    "float32, int8, uint8, int32, int64 and bool are supported, \
                     export the model in float32 or quantize it to 8 bits",
                ));
            }
        })
    }

    /// The least and the largest integer of 8 bits.
    pub(super) fn range(self) -> Option<[f32; 2]> {
        match self {
            Kind::Int8 => Some([-128.0, 127.0]),
            Kind::Uint8 => Some([0.0, 255.0]),
            _ => None,
        }
    }
}

/// The name of an ONNX element type, or its number where it is newer than its names here.
pub(super) fn shown(kind: i32) -> String {
    let known = DataType::try_from(kind).map(|k| k.as_str_name().to_owned());
    known.unwrap_or_else(|_| format!("type {kind}"))
}

/// A tensor known while importing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    /// The initializer it came from, also after a cast.
    pub(super) name: String,
    /// As many elements as `data` holds.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) data: Data,
    /// The integers that real numbers came from.
    pub(super) steps: Option<Steps>,
}

/// The steps between the real numbers that integers stand for, per tensor or along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steps {
    pub(super) scale: Vec<f32>,
    pub(super) axis: usize,
}

/// Its elements, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// The elements at these places.
    pub(super) fn pick(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Data::Float(v) => Data::Float(places.map(|i| v[i]).collect()),
            Data::Int(v) => Data::Int(places.map(|i| v[i]).collect()),
        }
    }
}

impl Constant {
    /// Real numbers that the file does not hold as they are.
    pub(super) fn of_floats(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            shape,
            kind: Kind::Float,
            data: Data::Float(values),
            steps: None,
        }
    }

    /// A list of integers that the file does not hold as it is.
    pub(super) fn of_ints(name: impl Into<String>, shape: Vec<usize>, values: Vec<i64>) -> Self {
        Self {
            name: name.into(),
            shape,
            kind: Kind::Int64,
            data: Data::Int(values),
            steps: None,
        }
    }

    /// Without elements.
    pub(super) fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Float => Self::of_floats("", vec![0], vec![]),
            kind => Self {
                kind,
                ..Self::of_ints("", vec![0], vec![])
            },
        }
    }

    /// Reads an initializer; `folder` is where the model's own external data may be. Never allocates
    /// more than the files hold.
    pub(super) fn from_proto(proto: &TensorProto, folder: Option<&Path>) -> Result<Self, Fault> {
        let kind = Kind::from_onnx(proto.data_type)?;
        let shape = shape(&proto.dims)?;
        let expected = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let data = match external::bytes(proto, folder)? {
            Some(bytes) => data(proto, &bytes)?,
            None => data(proto, &proto.raw_data)?,
        };
        if expected != Some(data.len()) {
            return Err(Fault::new(
                format!("has shape {shape:?} but {} elements", data.len()),
                "the file is damaged, export the model again",
            ));
        }
        let name = proto.name.clone();
        let steps = None;
        Ok(Self {
            name,
            shape,
            kind,
            data,
            steps,
        })
    }

    pub(super) fn floats(&self) -> Result<&[f32], Fault> {
        match &self.data {
            Data::Float(values) => Ok(values),
            Data::Int(_) => Err(Fault::new(
                format!(
                    "'{}' holds integers where real numbers belong",
                    self.name.escape_debug()
                ),
                "export the model in float32",
            )),
        }
    }

    pub(super) fn ints(&self) -> Result<&[i64], Fault> {
        match &self.data {
            Data::Int(values) => Ok(values),
            Data::Float(_) => Err(Fault::new(
                format!(
                    "'{}' holds real numbers where integers belong",
                    self.name.escape_debug()
                ),
                "export the model again",
            )),
        }
    }

    /// The elements as real numbers, of whatever kind.
    pub(super) fn reals(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(values) => values.clone(),
            Data::Int(values) => values.iter().map(|&v| v as f32).collect(),
        }
    }

    /// The one element.
    pub(super) fn real(&self) -> Result<f32, Fault> {
        match self.reals().as_slice() {
            &[value] => Ok(value),
            values => Err(Fault::new(
                format!(
                    "'{}' has {} elements",
                    self.name.escape_debug(),
                    values.len()
                ),
                "one is expected",
            )),
        }
    }
}

fn shape(dims: &[i64]) -> Result<Vec<usize>, Fault> {
    let dim = |&d: &i64| {
        usize::try_from(d).map_err(|_| {
            Fault::new(
                format!("has a dimension of {d}"),
                "the file is damaged, export the model again",
            )
        })
    };
    dims.iter().map(dim).collect()
}

fn data(proto: &TensorProto, raw: &[u8]) -> Result<Data, Fault> {
    let small = || proto.int32_data.iter();
    let ints = || Data::Int(small().map(|&v| i64::from(v)).collect());
    let kind = DataType::try_from(proto.data_type).unwrap_or(DataType::Undefined);
    Ok(match (kind, raw.is_empty()) {
        (DataType::Float, true) => Data::Float(proto.float_data.clone()),
        (DataType::Float, false) => Data::Float(unpack(raw, f32::from_le_bytes)?),
        (DataType::Double, true) => {
            Data::Float(proto.double_data.iter().map(|&v| v as f32).collect())
        }
        (DataType::Double, false) => Data::Float(unpack(raw, |b| f64::from_le_bytes(b) as f32)?),
        // Half floats stand in the low bits of 32-bit integers when not raw.
        (DataType::Float16, true) => Data::Float(
            small()
                .map(|&v| f16::from_bits(v as u16).to_f32())
                .collect(),
        ),
        (DataType::Float16, false) => Data::Float(unpack(raw, |b| f16::from_le_bytes(b).to_f32())?),
        (DataType::Bfloat16, true) => Data::Float(
            small()
                .map(|&v| bf16::from_bits(v as u16).to_f32())
                .collect(),
        ),
        (DataType::Bfloat16, false) => {
            Data::Float(unpack(raw, |b| bf16::from_le_bytes(b).to_f32())?)
        }
        (DataType::Int32 | DataType::Int8 | DataType::Uint8 | DataType::Bool, true) => ints(),
        (DataType::Int32, false) => Data::Int(unpack(raw, |b| i64::from(i32::from_le_bytes(b)))?),
        (DataType::Int64, true) => Data::Int(proto.int64_data.clone()),
        (DataType::Int64, false) => Data::Int(unpack(raw, i64::from_le_bytes)?),
        (DataType::Int8, false) => Data::Int(unpack(raw, |b| i64::from(i8::from_le_bytes(b)))?),
        (DataType::Uint8 | DataType::Bool, false) => Data::Int(unpack(raw, |[b]| i64::from(b))?),
        (kind, _) => {
            return Err(Fault::new(
                format!("holds {}", kind.as_str_name()),
                "export the model in float32",
            ));
        }
    })
}

/// Little-endian elements of `N` bytes.
fn unpack<const N: usize, T>(raw: &[u8], element: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Fault> {
    let (elements, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Fault::new(
            format!("has {} bytes of data, not a multiple of {N}", raw.len()),
            "the file is damaged, export the model again",
        ));
    }
    Ok(elements.iter().map(|&b| element(b)).collect())
}

/// A float32 initializer.
pub(super) fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, shape, DataType::Float, raw)
}

/// A float16 initializer, rounded to nearest.
pub(super) fn half_tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    let bytes = |&v: &f32| f16::from_f32(v).to_le_bytes();
    let raw = values.iter().flat_map(bytes).collect();
    raw_tensor(name, shape, DataType::Float16, raw)
}

/// A one-dimensional int64 initializer.
pub(super) fn int_tensor(name: &str, values: &[i64]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    raw_tensor(name, &[values.len()], DataType::Int64, raw)
}

pub(super) fn raw_tensor(
    name: &str,
    shape: &[usize],
    kind: DataType,
    raw_data: Vec<u8>,
) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: kind as i32,
        raw_data,
        ..TensorProto::default()
    }
}
