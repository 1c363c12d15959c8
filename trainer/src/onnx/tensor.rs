use super::error::Fault;
use half::f16;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

/// A tensor known while importing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    /// The initializer it came from, also after a cast.
    pub(super) name: String,
    /// As many elements as `data` holds.
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
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
}

impl Constant {
    /// Reads an initializer. Never allocates more than the file holds.
    pub(super) fn from_proto(proto: &TensorProto) -> Result<Self, Fault> {
        if proto.data_location == Some(DataLocation::External as i32)
            || !proto.external_data.is_empty()
        {
            return Err(Fault::new(
                "its data is in another file",
                "save the model with its weights inside, as with onnx.save(..., save_as_external_data=False)",
            ));
        }
        let shape = shape(&proto.dims)?;
        let data = data(proto)?;
        let expected = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        if expected != Some(data.len()) {
            return Err(Fault::new(
                format!("has shape {shape:?} but {} elements", data.len()),
                "the file is damaged, export the model again",
            ));
        }
        Ok(Self {
            name: proto.name.clone(),
            shape,
            data,
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

fn data(proto: &TensorProto) -> Result<Data, Fault> {
    let raw = proto.raw_data.as_slice();
    Ok(match DataType::try_from(proto.data_type) {
        Ok(DataType::Float) if raw.is_empty() => Data::Float(proto.float_data.clone()),
        Ok(DataType::Float) => Data::Float(unpack(raw, f32::from_le_bytes)?),
        Ok(DataType::Double) if raw.is_empty() => {
            Data::Float(proto.double_data.iter().map(|&v| v as f32).collect())
        }
        Ok(DataType::Double) => Data::Float(unpack(raw, |b| f64::from_le_bytes(b) as f32)?),
        // Half floats stand in the low bits of 32-bit integers when not raw.
        Ok(DataType::Float16) if raw.is_empty() => {
            let half = |&v: &i32| f16::from_bits(v as u16).to_f32();
            Data::Float(proto.int32_data.iter().map(half).collect())
        }
        Ok(DataType::Float16) => Data::Float(unpack(raw, |b| f16::from_le_bytes(b).to_f32())?),
        Ok(DataType::Int32) if raw.is_empty() => {
            Data::Int(proto.int32_data.iter().map(|&v| i64::from(v)).collect())
        }
        Ok(DataType::Int32) => Data::Int(unpack(raw, |b| i64::from(i32::from_le_bytes(b)))?),
        Ok(DataType::Int64) if raw.is_empty() => Data::Int(proto.int64_data.clone()),
        Ok(DataType::Int64) => Data::Int(unpack(raw, i64::from_le_bytes)?),
        Ok(DataType::Bool) if raw.is_empty() => {
            Data::Int(proto.int32_data.iter().map(|&v| i64::from(v)).collect())
        }
        Ok(DataType::Bool) => Data::Int(unpack(raw, |[b]| i64::from(b))?),
        kind => {
            let kind = kind.map_or("an unknown kind", |k| k.as_str_name());
            return Err(Fault::new(
                format!("holds {kind} elements"),
                "export the model in float32, Pith does the quantizing",
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
