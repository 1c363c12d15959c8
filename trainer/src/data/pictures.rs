//! Pictures in folders named after their classes, on disk or in zip archives, and CIFAR-10's records.

use super::dataset::labelled;
use super::folders::{self, Classes, unreadable};
use super::{DataError, Dataset, Splits};
use image::{DynamicImage, ImageReader, Limits};
use rayon::prelude::*;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// `split/class/file` below a folder. The test split may be absent.
pub(super) fn images(
    dir: &Path,
    unit: f32,
    split_off_test: impl Fn(Dataset) -> Result<Splits, DataError>,
) -> Result<Splits, DataError> {
    let (train, test) = (dir.join("train"), dir.join("test"));
    if !train.is_dir() {
        let classes = Classes::of(&folders::names(dir, KIND)?);
        return split_off_test(dataset(dir, &files(dir, &classes)?, &classes, unit)?);
    }
    let classes = Classes::of(&folders::names(&train, KIND)?);
    let load = |split: &Path| dataset(split, &files(split, &classes)?, &classes, unit);
    splits(dir, load(&train)?, load(&test)?)
}

/// The binary batches, or `train.zip` and `test.zip` of `split/class/file`, or class folders.
pub(super) fn cifar10(
    dir: &Path,
    unit: f32,
    split_off_test: impl Fn(Dataset) -> Result<Splits, DataError>,
) -> Result<Splits, DataError> {
    let unpacked = dir.join("cifar-10-batches-bin");
    for folder in [dir, &unpacked] {
        if folder.join(TEST_BATCH).is_file() {
            return batches(folder, unit);
        }
    }
    if dir.join("train.zip").is_file() {
        return archives(dir, unit);
    }
    images(dir, unit, split_off_test)
}

/// What the files of a class are, for messages.
const KIND: &str = "PNG or JPEG files";

fn splits(dir: &Path, train: Dataset, test: Dataset) -> Result<Splits, DataError> {
    if train.input_shape != test.input_shape {
        let reason = "train and test pictures differ in size or colours";
        return Err(DataError::file(dir, reason));
    }
    Ok(Splits { train, test })
}

/// A picture and where it is.
struct Picture {
    class: usize,
    /// For messages; what to read, where there are no bytes.
    path: PathBuf,
    /// From an archive.
    bytes: Option<Vec<u8>>,
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    ["png", "jpg", "jpeg"]
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known))
}

/// The pictures in a split's class folders, in the order of their names.
fn files(split: &Path, classes: &Classes) -> Result<Vec<Picture>, DataError> {
    let files = folders::files(split, classes, is_picture)?;
    let picture = |(class, path)| Picture {
        class,
        path,
        bytes: None,
    };
    Ok(files.into_iter().map(picture).collect())
}

fn archives(dir: &Path, unit: f32) -> Result<Splits, DataError> {
    let (train, test) = (dir.join("train.zip"), dir.join("test.zip"));
    let entries = unzip(&train)?;
    let names: Vec<String> = entries.iter().map(|(class, ..)| class.clone()).collect();
    let classes = Classes::of(&names);
    let load = |path: &Path, entries: Vec<Entry>| {
        let picture = |(class, name, bytes): Entry| {
            Ok(Picture {
                class: classes.number(&class, path)?,
                path: path.join(name),
                bytes: Some(bytes),
            })
        };
        let pictures: Vec<Picture> = entries.into_iter().map(picture).collect::<Result<_, _>>()?;
        dataset(path, &pictures, &classes, unit)
    };
    let test_entries = unzip(&test)?;
    splits(dir, load(&train, entries)?, load(&test, test_entries)?)
}

/// Class, name and bytes of a picture in an archive.
type Entry = (String, String, Vec<u8>);

/// Largest picture file.
const MAX_BYTES: u64 = 1 << 26;

/// The pictures of an archive, in the order of their names; the folder a picture is in is its class.
fn unzip(path: &Path) -> Result<Vec<Entry>, DataError> {
    let damaged = |e: &dyn std::fmt::Display| DataError::file(path, format!("damaged: {e}"));
    let file = fs::File::open(path).map_err(unreadable(path))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| damaged(&e))?;
    let mut entries = Vec::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| damaged(&e))?;
        let name = entry.name().to_owned();
        let parts: Vec<&str> = name.rsplit('/').collect();
        let (true, [_, class, ..]) = (is_picture(Path::new(&name)), parts.as_slice()) else {
            continue;
        };
        let class = (*class).to_owned();
        let mut bytes = Vec::new();
        let read = entry.take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(|e| damaged(&format!("{name}: {e}")))?;
        entries.push((class, name, bytes));
    }
    entries.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    Ok(entries)
}

fn dataset(
    place: &Path,
    pictures: &[Picture],
    classes: &Classes,
    unit: f32,
) -> Result<Dataset, DataError> {
    let decoded: Vec<([usize; 3], Vec<u8>)> =
        pictures.par_iter().map(decode).collect::<Result<_, _>>()?;
    let shape = decoded.first().map_or([0; 3], |(shape, _)| *shape);
    if let Some(other) = decoded.iter().position(|(s, _)| *s != shape) {
        let [channels, height, width] = decoded[other].0;
        return Err(DataError::file(
            &pictures[other].path,
            format!(
                "is {width}×{height} with {channels} channels, the first picture is {}×{} with {}",
                shape[2], shape[1], shape[0]
            ),
        ));
    }
    let inputs = decoded
        .iter()
        .flat_map(|(_, pixels)| pixels)
        .map(|&p| f32::from(p) / unit)
        .collect();
    let labels = pictures.iter().map(|p| p.class as i64).collect();
    let most = classes.count().saturating_sub(1) as u32;
    let mut data = labelled(place, shape.to_vec(), inputs, labels, most)?;
    data.classes = classes.count();
    Ok(data)
}

/// Largest width and height.
const MAX_SIDE: u32 = 1 << 12;

/// Shape and pixels of a picture, channel by channel: one where it is grey, else three.
fn decode(picture: &Picture) -> Result<([usize; 3], Vec<u8>), DataError> {
    let path = &picture.path;
    let bytes = match &picture.bytes {
        Some(bytes) => bytes,
        None => &fs::read(path).map_err(unreadable(path))?,
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(unreadable(path))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    let image = reader
        .decode()
        .map_err(|e| DataError::file(path, format!("not a picture that can be read: {e}")))?;
    Ok(planes(&image))
}

fn planes(image: &DynamicImage) -> ([usize; 3], Vec<u8>) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if !image.color().has_color() {
        return ([1, height, width], image.to_luma8().into_raw());
    }
    let rgb = image.to_rgb8().into_raw();
    let plane = |channel: usize| rgb.iter().skip(channel).step_by(3).copied();
    ([3, height, width], (0..3).flat_map(plane).collect())
}

const TEST_BATCH: &str = "test_batch.bin";

/// A label, then 32×32 pixels of red, of green and of blue.
const RECORD: usize = 1 + 3 * 32 * 32;

fn batches(dir: &Path, unit: f32) -> Result<Splits, DataError> {
    let train: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    let train = records(dir, &train, unit)?;
    let test = records(dir, &[TEST_BATCH.to_owned()], unit)?;
    splits(dir, train, test)
}

fn records(dir: &Path, names: &[String], unit: f32) -> Result<Dataset, DataError> {
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let path = dir.join(name);
        let bytes = fs::read(&path).map_err(unreadable(&path))?;
        if !bytes.len().is_multiple_of(RECORD) {
            let reason = format!(
                "truncated: {} bytes are no whole records of {RECORD}",
                bytes.len()
            );
            return Err(DataError::file(&path, reason));
        }
        for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
            if record[0] > 9 {
                let reason = format!("label {} of example {i} is not in 0…9", record[0]);
                return Err(DataError::file(&path, reason));
            }
            labels.push(i64::from(record[0]));
            inputs.extend(record[1..].iter().map(|&p| f32::from(p) / unit));
        }
    }
    let mut data = labelled(dir, vec![3, 32, 32], inputs, labels, 9)?;
    data.classes = 10;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use std::io::Write;

    fn never(_: Dataset) -> Result<Splits, DataError> {
        panic!("there is a test split")
    }

    /// Two classes in two splits; the red of a picture is its class and number.
    fn colourful(dir: &Path) {
        for (split, count) in [("train", 3), ("test", 1)] {
            for (class, name) in ["cat", "dog"].iter().enumerate() {
                let folder = dir.join(split).join(name);
                fs::create_dir_all(&folder).expect("a folder");
                for i in 0..count {
                    let red = 100 * class as u8 + i;
                    let picture = RgbImage::from_fn(4, 2, |x, y| Rgb([red, x as u8, y as u8]));
                    picture
                        .save(folder.join(format!("{i}.png")))
                        .expect("saved");
                }
            }
        }
    }

    #[test]
    fn folders_are_classes_and_pixels_are_planes() {
        let dir = tempfile::tempdir().expect("a folder");
        colourful(dir.path());
        let Splits { train, test } = images(dir.path(), 1.0, never).expect("read");
        assert_eq!((train.len(), test.len(), train.classes), (6, 2, 2));
        assert_eq!(train.input_shape, [3, 2, 4]);
        assert_eq!(train.labels, [0, 0, 0, 1, 1, 1]);
        let expected: Vec<f32> = [[102.0; 8], [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]]
            .concat()
            .into_iter()
            .chain([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
            .collect();
        assert_eq!(train.input(5), expected);
        let scaled = images(dir.path(), 255.0, never).expect("read").train;
        assert_eq!(scaled.input(5)[0], 102.0 / 255.0);
    }

    #[test]
    fn archives_hold_what_folders_do() {
        let dir = tempfile::tempdir().expect("a folder");
        colourful(dir.path());
        let folders = images(dir.path(), 255.0, never).expect("read");
        for split in ["train", "test"] {
            let file = fs::File::create(dir.path().join(format!("{split}.zip"))).expect("a file");
            let mut archive = zip::ZipWriter::new(file);
            for class in ["cat", "dog"] {
                for entry in fs::read_dir(dir.path().join(split).join(class)).expect("a folder") {
                    let path = entry.expect("an entry").path();
                    let name = path
                        .file_name()
                        .expect("a name")
                        .to_string_lossy()
                        .into_owned();
                    let options = zip::write::FileOptions::default()
                        .compression_method(zip::CompressionMethod::Stored);
                    archive
                        .start_file(format!("{split}/{class}/{name}"), options)
                        .expect("begun");
                    archive
                        .write_all(&fs::read(path).expect("read"))
                        .expect("written");
                }
            }
            archive.finish().expect("finished");
        }
        assert_eq!(cifar10(dir.path(), 255.0, never).expect("read"), folders);
    }

    #[test]
    fn grey_pictures_have_one_channel() {
        let dir = tempfile::tempdir().expect("a folder");
        for class in ["a", "b"] {
            let folder = dir.path().join(class);
            fs::create_dir_all(&folder).expect("a folder");
            let picture = GrayImage::from_pixel(5, 3, Luma([7]));
            picture.save(folder.join("0.png")).expect("saved");
        }
        let whole = std::cell::RefCell::new(None);
        let keep = |data: Dataset| {
            *whole.borrow_mut() = Some(data.clone());
            Ok(Splits {
                train: data.clone(),
                test: data,
            })
        };
        images(dir.path(), 1.0, keep).expect("read");
        let data = whole.into_inner().expect("split off");
        assert_eq!(
            (data.input_shape.as_slice(), data.labels.as_slice()),
            (&[1, 3, 5][..], &[0, 1][..])
        );
        assert!(data.inputs.iter().all(|&p| p == 7.0));
    }

    #[test]
    fn records_are_labels_and_planes() {
        let dir = tempfile::tempdir().expect("a folder");
        let record = |label: u8| {
            let pixels = (0..RECORD - 1).map(move |i| (i / 1024) as u8 * 10 + label);
            std::iter::once(label).chain(pixels)
        };
        for i in 1..=5 {
            let bytes: Vec<u8> = record(i).chain(record(0)).collect();
            fs::write(dir.path().join(format!("data_batch_{i}.bin")), bytes).expect("written");
        }
        let test: Vec<u8> = record(9).collect();
        fs::write(dir.path().join(TEST_BATCH), &test).expect("written");
        let splits = cifar10(dir.path(), 1.0, never).expect("read");
        assert_eq!(splits.train.labels, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
        assert_eq!(splits.test.input(0)[1024], 19.0);
        let error = |bytes: &[u8]| {
            fs::write(dir.path().join(TEST_BATCH), bytes).expect("written");
            cifar10(dir.path(), 1.0, never)
                .expect_err("damaged")
                .to_string()
        };
        assert!(error(&test[1..]).contains("test_batch.bin: truncated"));
        let wrong: Vec<u8> = record(10).collect();
        assert!(error(&wrong).contains("label 10 of example 0"));
    }

    #[test]
    fn what_is_wrong_names_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = || {
            images(dir.path(), 1.0, never)
                .expect_err("wrong")
                .to_string()
        };
        assert!(error().contains("a folder for each class"));
        colourful(dir.path());
        let odd = dir.path().join("train/dog/odd.png");
        RgbImage::new(5, 2).save(&odd).expect("saved");
        assert!(error().contains("odd.png: is 5×2"), "{}", error());
        fs::write(&odd, "no picture").expect("written");
        assert!(error().contains("odd.png: not a picture"), "{}", error());
        fs::remove_file(&odd).expect("removed");
        fs::create_dir(dir.path().join("test/bird")).expect("a folder");
        assert!(error().contains("'bird' is no class"), "{}", error());
    }
}
