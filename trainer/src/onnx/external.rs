//! Weights in files beside the model.

use super::error::Fault;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataLocation;

/// The bytes of an initializer whose data is in another file, `None` where it is in the model.
pub(super) fn bytes(proto: &TensorProto, folder: Option<&Path>) -> Result<Option<Vec<u8>>, Fault> {
    let external = proto.data_location == Some(DataLocation::External as i32);
    if !external && proto.external_data.is_empty() {
        return Ok(None);
    }
    let entry = |key: &str| {
        let entries = &proto.external_data;
        entries
            .iter()
            .find(|e| e.key == key)
            .map(|e| e.value.as_str())
    };
    let location = entry("location").unwrap_or_default();
    let path = inside(folder, location)?;
    let number = |key| match entry(key).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(n)) => Ok(Some(n)),
        Some(Err(_)) => Err(damaged(location, &format!("has no number for {key}"))),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    read(&path, offset, length)
        .map(Some)
        .map_err(|why| damaged(location, &why))
}

/// The file's path, which must not lead out of the model's folder.
fn inside(folder: Option<&Path>, location: &str) -> Result<PathBuf, Fault> {
    let path = Path::new(location);
    let plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    match folder {
        Some(folder) if !location.is_empty() && path.components().all(plain) => {
            Ok(folder.join(path))
        }
        _ => Err(damaged(location, "is not to be read")),
    }
}

fn damaged(location: &str, why: &str) -> Fault {
    let why: Cow<str> = why.into();
    Fault::new(
        format!(
            "its data is in another file, '{}', which {why}",
            location.escape_debug()
        ),
        "keep that file in the model's folder, or save the model with its weights inside, \
         as with onnx.save(..., save_as_external_data=False)",
    )
}

fn read(path: &Path, offset: u64, length: Option<u64>) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("cannot be read: {e}");
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let left = metadata.len().checked_sub(offset);
    let length = left.and_then(|left| match length {
        Some(length) => (length <= left).then_some(length),
        None => Some(left),
    });
    let Some(length) = length.filter(|_| metadata.is_file()) else {
        return Err(format!("holds {} bytes, too few", metadata.len()));
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
