//! NumPy arrays.

use super::dataset::{labelled, unlabelled};
use super::{DataError, Dataset, Splits};
use npyz::{DType, NpyFile, TypeChar};
use std::io::Read;
use std::path::Path;

/// Most classes of a labelled array.
const MAX_LABEL: u32 = 9999;

/// Most elements of one array: 4 GB of floats.
const MAX_ELEMENTS: u64 = 1 << 30;

/// An array as it is needed: its shape and its elements as floats.
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
    /// Whether the elements are integers.
    integers: bool,
    /// Whether they are unsigned bytes, as pixels are.
    bytes: bool,
}

/// Inputs and labels in two files. Images of bytes are divided by `unit`; everything else is taken as
/// it is.
pub(super) fn npy(x: &Path, y: &Path, unit: f32) -> Result<Dataset, DataError> {
    let (inputs, labels) = (read(x, open(x)?)?, read(y, open(y)?)?);
    dataset(y, inputs, labels, unit)
}

/// Arrays `x_train, y_train, x_test, y_test`, or `x, y` of which `split` takes a part for testing.
pub(super) fn npz(
    path: &Path,
    unit: f32,
    split: impl FnOnce(Dataset) -> Result<Splits, DataError>,
) -> Result<Splits, DataError> {
    let mut archive = npyz::npz::NpzArchive::open(path).map_err(|e| DataError::file(path, e))?;
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut get = |name: &str| match archive.by_name(name) {
        Ok(Some(file)) => read_array(path, file),
        Ok(None) => {
            let has = names.join(", ");
            Err(DataError::file(
                path,
                format!(
                    "there is no array '{name}' (it has {has}); expected x and y, or x_train, y_train, x_test, y_test"
                ),
            ))
        }
        Err(e) => Err(DataError::file(path, e)),
    };
    if !names.iter().any(|n| n == "x_train") {
        return split(dataset(path, get("x")?, get("y")?, unit)?);
    }
    let mut train = dataset(path, get("x_train")?, get("y_train")?, unit)?;
    let mut test = dataset(path, get("x_test")?, get("y_test")?, unit)?;
    let classes = train.classes.max(test.classes);
    (train.classes, test.classes) = (classes, classes);
    if train.input_shape != test.input_shape {
        return Err(DataError::file(path, "x_train and x_test differ in shape"));
    }
    Ok(Splits { train, test })
}

/// One float input of this shape, or a batch along the first axis; flattened ones fit too.
///
/// # Errors
/// When the file is not such an array.
pub fn read_inputs(path: &Path, shape: &[usize]) -> Result<Vec<f32>, DataError> {
    let array = read(path, open(path)?)?;
    if array.integers {
        let reason = "holds integers; expected float32, scaled as the model takes it";
        return Err(DataError::file(path, reason));
    }
    let fits = |given: &[usize]| {
        given.iter().product::<usize>() == shape.iter().product::<usize>()
            && (given.len() <= 1 || significant(given).eq(significant(shape)))
    };
    if !fits(&array.shape) && !array.shape.get(1..).is_some_and(fits) {
        let given = &array.shape;
        let reason = format!("has shape {given:?}; the model takes {shape:?}, or a batch of it");
        return Err(DataError::file(path, reason));
    }
    Ok(array.values)
}

/// Axes of more than one element.
fn significant(shape: &[usize]) -> impl Iterator<Item = &usize> {
    shape.iter().filter(|&&s| s != 1)
}

fn open(path: &Path) -> Result<impl Read, DataError> {
    let file = std::fs::File::open(path).map_err(|e| DataError::file(path, e))?;
    Ok(std::io::BufReader::new(file))
}

/// Inputs alone, in one file: for a teacher to label.
pub(super) fn npy_inputs(x: &Path, unit: f32) -> Result<Dataset, DataError> {
    let inputs = read(x, open(x)?)?;
    unlabelled(x, input_shape(x, &inputs)?, scaled(inputs, unit))
}

/// Shape of one input in an array of them.
fn input_shape(path: &Path, x: &Array) -> Result<Vec<usize>, DataError> {
    match *x.shape.as_slice() {
        [_, features] => Ok(vec![features]),
        [_, height, width] => Ok(vec![1, height, width]),
        [_, channels, height, width] => Ok(vec![channels, height, width]),
        _ => Err(DataError::file(
            path,
            format!(
                "inputs have shape {:?}; expected [N, features], [N, height, width] or [N, channels, height, width]",
                x.shape
            ),
        )),
    }
}

/// Bytes in an image are pixels, still to be scaled; integers in a table are what they are.
fn scaled(x: Array, unit: f32) -> Vec<f32> {
    let pixels = x.bytes && x.shape.len() > 2;
    let divisor = if pixels { unit } else { 1.0 };
    x.values.into_iter().map(|v| v / divisor).collect()
}

fn dataset(path: &Path, x: Array, y: Array, unit: f32) -> Result<Dataset, DataError> {
    let input_shape = input_shape(path, &x)?;
    if y.shape.iter().skip(1).any(|&s| s != 1) {
        return Err(DataError::file(
            path,
            format!("labels have shape {:?}; expected [N]", y.shape),
        ));
    }
    if let Some(bad) = y.values.iter().position(|v| v.fract() != 0.0) {
        return Err(DataError::file(
            path,
            format!(
                "label {} of example {bad} is not a whole number",
                y.values[bad]
            ),
        ));
    }
    labelled(
        path,
        input_shape,
        scaled(x, unit),
        y.values.into_iter().map(|v| v as i64).collect(),
        MAX_LABEL,
    )
}

fn read(path: &Path, reader: impl Read) -> Result<Array, DataError> {
    let incomplete = |e| DataError::file(path, format!("not a complete NumPy array: {e}"));
    let file = NpyFile::new(reader).map_err(incomplete)?;
    read_array(path, file)
}

fn read_array<R: Read>(path: &Path, file: NpyFile<R>) -> Result<Array, DataError> {
    let shape = file.shape().to_vec();
    let total = shape
        .iter()
        .try_fold(1u64, |n, &s| n.checked_mul(s))
        .filter(|&n| n <= MAX_ELEMENTS);
    if total.is_none() {
        return Err(DataError::file(
            path,
            format!("claims an impossible shape {shape:?}"),
        ));
    }
    if file.order() != npyz::Order::C {
        return Err(DataError::file(
            path,
            "the array is in Fortran order; save it in C order",
        ));
    }
    let DType::Plain(kind) = file.dtype() else {
        return Err(DataError::file(
            path,
            "the array is a structured one; expected numbers",
        ));
    };
    let integers = matches!(kind.type_char(), TypeChar::Int | TypeChar::Uint);
    let bytes = (kind.type_char(), kind.size_field()) == (TypeChar::Uint, 1);
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 4) => collect::<f32, R>(path, file, |v| v),
        (TypeChar::Float, 8) => collect::<f64, R>(path, file, |v| v as f32),
        (TypeChar::Uint, 1) => collect::<u8, R>(path, file, |v| v as f32),
        (TypeChar::Int, 1) => collect::<i8, R>(path, file, |v| v as f32),
        (TypeChar::Int, 4) => collect::<i32, R>(path, file, |v| v as f32),
        (TypeChar::Int, 8) => collect::<i64, R>(path, file, |v| v as f32),
        _ => Err(DataError::file(
            path,
            format!("elements of type {kind} are not read; save as float32, uint8 or int64"),
        )),
    }?;
    Ok(Array {
        shape: shape.into_iter().map(|s| s as usize).collect(),
        values,
        integers,
        bytes,
    })
}

fn collect<T: npyz::Deserialize, R: Read>(
    path: &Path,
    file: NpyFile<R>,
    float: impl Fn(T) -> f32,
) -> Result<Vec<f32>, DataError> {
    let data = file.data::<T>().map_err(|e| DataError::file(path, e))?;
    let mut values = Vec::new();
    for value in data {
        values.push(float(value.map_err(|e| {
            DataError::file(path, format!("truncated or damaged: {e}"))
        })?));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;

    fn write<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: &[T]) {
        let file = std::fs::File::create(path).expect("creates");
        let options = npyz::WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(file).begin_nd().expect("begins");
        writer.extend(values.iter().copied()).expect("writes");
        writer.finish().expect("finishes");
    }

    /// The inputs of two examples of four values each.
    fn inputs<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: [T; 8]) -> Vec<f32> {
        let folder = tempfile::tempdir().expect("a folder");
        let [x, y] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
        write(&x, shape, &values);
        write(&y, &[2], &[0i64, 1]);
        npy(&x, &y, 255.0).expect("well-formed").inputs
    }

    #[test]
    fn bytes_are_scaled_in_images_alone() {
        let bytes = [0u8, 51, 102, 153, 204, 255, 0, 51];
        let scaled = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.0, 0.2];
        assert_eq!(inputs(&[2, 2, 2], bytes), scaled);
        assert_eq!(inputs(&[2, 1, 2, 2], bytes), scaled);
        assert_eq!(inputs(&[2, 4], bytes), bytes.map(f32::from));
        let signed = [-3i64, 0, 1, 70, 255, 1000, -1, 2];
        assert_eq!(inputs(&[2, 4], signed), signed.map(|v| v as f32));
        assert_eq!(inputs(&[2, 2, 2], signed), signed.map(|v| v as f32));
    }
}
