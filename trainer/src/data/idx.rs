//! The IDX format of MNIST: a magic number, big-endian sizes, bytes.

use super::dataset::labelled;
use super::{DataError, Dataset, Splits};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// `images` or `labels` as IDX names them: type 8 (unsigned byte), three or one dimensions.
const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// Most elements of one file: four times MNIST's largest variant.
const MAX_ELEMENTS: usize = 1 << 31;

/// MNIST and its like: four files with the usual names, gzipped or not.
pub(super) fn mnist(dir: &Path, unit: f32) -> Result<Splits, DataError> {
    let split = |name: &str| {
        let images = find(dir, &format!("{name}-images"), "idx3-ubyte")?;
        let labels = find(dir, &format!("{name}-labels"), "idx1-ubyte")?;
        pair(&images, &labels, unit, MAX_DIGIT)
    };
    let (mut train, mut test) = (split("train")?, split("t10k")?);
    let classes = train.classes.max(test.classes);
    (train.classes, test.classes) = (classes, classes);
    if train.input_shape != test.input_shape {
        return Err(DataError::file(dir, "train and test images differ in size"));
    }
    Ok(Splits { train, test })
}

fn find(dir: &Path, stem: &str, kind: &str) -> Result<PathBuf, DataError> {
    let names = [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")];
    let paths = names.map(|(joint, ending)| dir.join(format!("{stem}{joint}{kind}{ending}")));
    let missing = || DataError::file(&paths[0], "there is no such file, gzipped or not");
    paths
        .iter()
        .find(|p| p.is_file())
        .cloned()
        .ok_or_else(missing)
}

/// Images `[n, height, width]` and their labels, 0 to `most`.
pub(super) fn pair(
    images: &Path,
    labels: &Path,
    unit: f32,
    most: u32,
) -> Result<Dataset, DataError> {
    let (sizes, pixels) = read::<3>(images, IMAGES)?;
    let ([count], classes) = read::<1>(labels, LABELS)?;
    if sizes[0] != count {
        return Err(DataError::file(
            labels,
            format!("there are {count} labels for {} images", sizes[0]),
        ));
    }
    let inputs = pixels.iter().map(|&p| p as f32 / unit).collect();
    let numbers = classes.iter().map(|&c| c as i64).collect();
    labelled(labels, vec![1, sizes[1], sizes[2]], inputs, numbers, most)
}

/// Largest label of MNIST, and of what has its file names: Fashion-MNIST, KMNIST.
const MAX_DIGIT: u32 = 9;

/// Largest label of this family of files (EMNIST has 62 classes); what is above is damage.
pub(super) const MAX_LABEL: u32 = 61;

fn read<const D: usize>(path: &Path, kind: u32) -> Result<([usize; D], Vec<u8>), DataError> {
    let mut reader = open(path)?;
    let mut word = || {
        let mut bytes = [0; 4];
        reader
            .read_exact(&mut bytes)
            .map_err(|_| DataError::file(path, "the file is truncated"))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let magic = word()?;
    if magic != kind {
        let what = if kind == IMAGES { "images" } else { "labels" };
        return Err(DataError::file(
            path,
            format!("not an IDX file of {what}: it begins with {magic:#010x}, not {kind:#010x}"),
        ));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = word()? as usize;
    }
    let total = sizes
        .iter()
        .try_fold(1usize, |n, &s| n.checked_mul(s))
        .filter(|&n| n <= MAX_ELEMENTS);
    let total =
        total.ok_or_else(|| DataError::file(path, format!("claims impossible sizes {sizes:?}")))?;
    // Grows as bytes arrive: a false claim allocates nothing.
    let mut bytes = Vec::new();
    let read = reader.take(total as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| DataError::file(path, format!("damaged: {e}")))?;
    match bytes.len() {
        n if n < total => Err(DataError::file(
            path,
            format!("truncated: {n} of {total} bytes"),
        )),
        n if n > total => Err(DataError::file(
            path,
            format!("more than the {total} bytes its header claims"),
        )),
        _ => Ok((sizes, bytes)),
    }
}

/// A file, unzipped on the way if it begins as gzip does.
fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let fail = |e: std::io::Error| DataError::file(path, e);
    let mut start = [0; 2];
    let begins_as_gzip = File::open(path)
        .map_err(fail)?
        .read_exact(&mut start)
        .is_ok()
        && start == [0x1f, 0x8b];
    let file = BufReader::new(File::open(path).map_err(fail)?);
    Ok(if begins_as_gzip {
        Box::new(flate2::bufread::GzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn images(sizes: [u32; 3], pixels: &[u8]) -> Vec<u8> {
        let words = [IMAGES, sizes[0], sizes[1], sizes[2]];
        words
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .chain(pixels.iter().copied())
            .collect()
    }

    fn labels(classes: &[u8]) -> Vec<u8> {
        let words = [LABELS, classes.len() as u32];
        words
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .chain(classes.iter().copied())
            .collect()
    }

    fn load(x: &[u8], y: &[u8]) -> Result<Dataset, String> {
        let dir = tempfile::tempdir().expect("temp dir");
        let (xp, yp) = (dir.path().join("x"), dir.path().join("y"));
        std::fs::write(&xp, x).expect("writes");
        std::fs::write(&yp, y).expect("writes");
        pair(&xp, &yp, 255.0, MAX_LABEL).map_err(|e| e.to_string())
    }

    #[test]
    fn pixels_and_labels_arrive() {
        let data =
            load(&images([2, 1, 2], &[0, 255, 51, 102]), &labels(&[3, 1])).expect("well-formed");
        assert_eq!(data.input_shape, [1, 1, 2]);
        assert_eq!(data.inputs, [0.0, 1.0, 0.2, 0.4]);
        assert_eq!((data.labels, data.classes), (vec![3, 1], 4));
    }

    #[test]
    fn gzip_is_seen_by_its_first_bytes() {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(&images([1, 1, 1], &[255])).expect("writes");
        let data = load(&zip.finish().expect("finishes"), &labels(&[0])).expect("well-formed");
        assert_eq!(data.inputs, [1.0]);
    }

    #[test]
    fn every_defect_has_its_line() {
        let good = images([2, 1, 2], &[1, 2, 3, 4]);
        let defects = [
            (
                good[..17].to_vec(),
                labels(&[0, 1]),
                "truncated: 1 of 4 bytes",
            ),
            (good[..9].to_vec(), labels(&[0, 1]), "truncated"),
            (
                [good.clone(), vec![9]].concat(),
                labels(&[0, 1]),
                "more than the 4 bytes",
            ),
            (good.clone(), labels(&[0]), "1 labels for 2 images"),
            (good.clone(), labels(&[0, 200]), "label 200 of example 1"),
            (labels(&[1]), labels(&[1]), "not an IDX file of images"),
            (
                images([u32::MAX, u32::MAX, u32::MAX], &[]),
                labels(&[0]),
                "impossible sizes",
            ),
            (
                images([1 << 15, 256, 256], &[]),
                labels(&[0]),
                "truncated: 0 of",
            ),
        ];
        for (x, y, line) in defects {
            let error = load(&x, &y).expect_err(line);
            assert!(error.contains(line) && !error.contains('\n'), "{error}");
        }
        let missing = mnist(Path::new("/nowhere"), 1.0)
            .expect_err("missing")
            .to_string();
        assert!(
            missing.contains("/nowhere/train-images-idx3-ubyte: there is no such file"),
            "{missing}"
        );
    }
}
