//! Features of clips of sound, by the very code that runs on the device.

use super::dataset::labelled;
use super::folders::{self, Classes};
use super::{DataError, Dataset, Splits};
use crate::names::meant;
use edge_runtime::frontend::{FRACTION_BITS, FrontEnd, Parameters};
use hound::{SampleFormat, WavReader, WavSpec};
use rayon::prelude::*;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Which features to make of clips, as far as it was said; the rest follows from their sampling rate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioFeatures {
    /// Names and values as given, in that order.
    given: Vec<(String, String)>,
}

/// What may be given, and the usual value at a sampling rate. Frames of 32 ms, half overlapping, for
/// a second.
const OPTIONS: [(&str, Usual); 11] = [
    ("features", |_| 0),
    ("window", window),
    ("hop", hop),
    ("fft", |rate| window(rate).next_power_of_two().max(64)),
    ("mels", |_| 32),
    ("low", |_| 60),
    ("high", |rate| (rate * 19 / 40).min(7_600)),
    ("floor", |_| 11),
    ("steps", |_| 8),
    ("frames", |rate| (rate - window(rate)) / hop(rate) + 1),
    ("coefficients", |_| 13),
];

/// At a sampling rate.
type Usual = fn(u32) -> u32;

fn window(rate: u32) -> u32 {
    rate * 32 / 1000
}

fn hop(rate: u32) -> u32 {
    window(rate).div_ceil(2)
}

impl AudioFeatures {
    /// Takes the options off the end of a specification: the rest of it, and them.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(super) fn split(text: &str) -> Result<(&str, Self), String> {
        let (mut rest, mut given) = (text, Vec::new());
        while let Some((before, option)) = rest.rsplit_once(',')
            && let Some((name, value)) = option.split_once('=')
        {
            let names = OPTIONS.map(|(name, _)| name);
            if !names.contains(&name) {
                let hint = meant(name, names);
                return Err(format!(
                    "expected {}=…, not {name}{hint}",
                    names.join("=…, ")
                ));
            }
            let kind = name == "features";
            if kind && !["log-mel", "mfcc"].contains(&value)
                || !kind && value.parse::<u16>().is_err()
            {
                let expected = if kind { "log-mel or mfcc" } else { "a number" };
                return Err(format!("expected {name}={expected}, not '{value}'"));
            }
            given.insert(0, (name.to_owned(), value.to_owned()));
            rest = before;
        }
        Ok((rest, Self { given }))
    }

    fn given(&self, name: &str) -> Option<&str> {
        let mut given = self.given.iter();
        given
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameters at a sampling rate.
    fn at(&self, rate: u32) -> Result<Parameters, String> {
        let kind = self.given("features").unwrap_or("log-mel");
        let mut text = format!("{kind} rate={rate}");
        for (name, usual) in OPTIONS.iter().skip(1) {
            match self.given(name) {
                Some(value) => text += &format!(" {name}={value}"),
                None if *name == "coefficients" && kind == "log-mel" => {}
                // Rates out of range are refused by the parameters.
                None => text += &format!(" {name}={}", usual(rate.clamp(1_000, 48_000))),
            }
        }
        Parameters::parse(&text).map_err(|e| format!("no features of '{text}': {e}"))
    }
}

impl Display for AudioFeatures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut given = self.given.iter();
        given.try_for_each(|(name, value)| write!(f, ",{name}={value}"))
    }
}

/// Clips named as in the Free Spoken Digit Dataset, `{digit}_{speaker}_{index}.wav`, in the folder or in
/// its folder `recordings`, of which indices 0 to 4 are the test split; or `split/class/file.wav`, where
/// the test split may be absent. An input is `[1, frames, features]`.
pub(super) fn clips(
    dir: &Path,
    features: &AudioFeatures,
    split_off_test: impl Fn(Dataset) -> Result<Splits, DataError>,
) -> Result<Splits, DataError> {
    let recordings = dir.join("recordings");
    let digits = if recordings.is_dir() {
        &recordings
    } else {
        dir
    };
    let train = dir.join("train");
    if recordings.is_dir() || folders::entries(dir)?.iter().any(|path| is_clip(path)) {
        let (test, train): (Vec<Clip>, Vec<Clip>) =
            self::digits(digits)?.into_iter().partition(|c| c.test);
        let parameters = parameters(digits, train.iter().chain(&test), features)?;
        let load = |clips: &[Clip]| dataset(digits, clips, DIGITS, &parameters);
        return Ok(Splits {
            train: load(&train)?,
            test: load(&test)?,
        });
    }
    if !train.is_dir() {
        let classes = Classes::of(&folders::names(dir, KIND)?);
        let clips = files(dir, &classes)?;
        let parameters = parameters(dir, &clips, features)?;
        return split_off_test(dataset(dir, &clips, classes.count(), &parameters)?);
    }
    let classes = Classes::of(&folders::names(&train, KIND)?);
    let (train, test) = (
        files(&train, &classes)?,
        files(&dir.join("test"), &classes)?,
    );
    let parameters = parameters(dir, train.iter().chain(&test), features)?;
    let load = |clips: &[Clip]| dataset(dir, clips, classes.count(), &parameters);
    Ok(Splits {
        train: load(&train)?,
        test: load(&test)?,
    })
}

/// What the files of a class are, for messages.
const KIND: &str = "WAV files";

const DIGITS: usize = 10;

/// Indices of the test split.
const TEST_INDICES: std::ops::Range<u32> = 0..5;

/// A file and what it is an example of.
struct Clip {
    class: usize,
    path: PathBuf,
    test: bool,
}

fn is_clip(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("wav"))
}

fn files(split: &Path, classes: &Classes) -> Result<Vec<Clip>, DataError> {
    let files = folders::files(split, classes, is_clip)?;
    let clip = |(class, path)| Clip {
        class,
        path,
        test: false,
    };
    Ok(files.into_iter().map(clip).collect())
}

/// The clips of a folder by their names, in the order of these.
fn digits(dir: &Path) -> Result<Vec<Clip>, DataError> {
    let mut paths = folders::entries(dir)?;
    paths.retain(|path| is_clip(path));
    paths.sort_unstable();
    paths.into_iter().map(digit).collect()
}

fn digit(path: PathBuf) -> Result<Clip, DataError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let parts: Vec<&str> = stem.split('_').collect();
    let read = match parts.as_slice() {
        [digit, _, index] => digit.parse().ok().zip(index.parse::<u32>().ok()),
        _ => None,
    };
    match read.filter(|(digit, _)| *digit < DIGITS) {
        Some((class, index)) => Ok(Clip {
            class,
            test: TEST_INDICES.contains(&index),
            path,
        }),
        None => Err(DataError::file(
            &path,
            "expected a name of digit_speaker_index.wav, such as 7_anna_12.wav",
        )),
    }
}

/// The parameters of all clips by the rate of the first.
fn parameters<'c>(
    dir: &Path,
    clips: impl IntoIterator<Item = &'c Clip>,
    features: &AudioFeatures,
) -> Result<Parameters, DataError> {
    let first = clips.into_iter().next();
    let first = first.ok_or_else(|| DataError::file(dir, format!("there are no {KIND}")))?;
    let rate = open(&first.path)?.spec().sample_rate;
    features
        .at(rate)
        .map_err(|e| DataError::file(&first.path, e))
}

fn dataset(
    place: &Path,
    clips: &[Clip],
    classes: usize,
    p: &Parameters,
) -> Result<Dataset, DataError> {
    let features: Vec<Vec<f32>> = clips
        .par_iter()
        .map_init(
            || Workspace::of(p),
            |workspace, clip| workspace.features(p, &clip.path),
        )
        .collect::<Result<_, _>>()?;
    let labels = clips.iter().map(|clip| clip.class as i64).collect();
    let shape = vec![1, p.frames(), p.frame_len()];
    let most = classes.saturating_sub(1) as u32;
    let mut data = labelled(place, shape, features.concat(), labels, most)?;
    data.classes = classes;
    data.metadata
        .insert(Parameters::KEY.to_owned(), p.to_string());
    Ok(data)
}

/// Of one thread.
struct Workspace {
    words: Vec<i32>,
    halves: Vec<i16>,
    features: Vec<i8>,
}

impl Workspace {
    fn of(p: &Parameters) -> Self {
        let needed = p.workspace();
        Self {
            words: vec![0; needed.words],
            halves: vec![0; needed.halves],
            features: vec![0; p.features()],
        }
    }

    /// Real numbers that an image's input quantizes to the device's integers.
    fn features(&mut self, p: &Parameters, path: &Path) -> Result<Vec<f32>, DataError> {
        let samples = clip(path, p.rate())?;
        let mut front_end = FrontEnd::new(p, &mut self.words, &mut self.halves)
            .map_err(|e| DataError::file(path, e))?;
        front_end.clip(&samples, &mut self.features);
        let unit = 1.0 / (1 << FRACTION_BITS) as f32;
        let real = |&q: &i8| f32::from(i16::from(q) - i16::from(p.zero_point())) * unit;
        Ok(self.features.iter().map(real).collect())
    }
}

/// The samples of a WAV file: 16-bit PCM, one channel, at this rate.
///
/// # Errors
/// When the file is anything else.
pub fn clip(path: &Path, rate: u32) -> Result<Vec<i16>, DataError> {
    let reader = open(path)?;
    let found = reader.spec().sample_rate;
    if found != rate {
        let reason = format!("has {found} samples a second, not {rate}; resample it");
        return Err(DataError::file(path, reason));
    }
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    let samples = samples.map_err(|e| DataError::file(path, format!("truncated: {e}")))?;
    if samples.is_empty() {
        return Err(DataError::file(path, "holds no samples"));
    }
    Ok(samples)
}

fn open(path: &Path) -> Result<WavReader<std::io::BufReader<std::fs::File>>, DataError> {
    let wrong = |e| match e {
        hound::Error::IoError(e) if e.kind() != std::io::ErrorKind::Other => {
            DataError::file(path, e)
        }
        e => DataError::file(path, format!("not a WAV file that can be read: {e}")),
    };
    let reader = WavReader::open(path).map_err(wrong)?;
    let WavSpec {
        channels,
        bits_per_sample,
        sample_format,
        ..
    } = reader.spec();
    let reason = match (channels, bits_per_sample, sample_format) {
        (1, 16, SampleFormat::Int) => return Ok(reader),
        (1, bits, SampleFormat::Int) => {
            format!("has {bits} bits a sample; convert it to 16-bit PCM")
        }
        (1, _, SampleFormat::Float) => {
            "has floating-point samples; convert it to 16-bit PCM".to_owned()
        }
        (channels, ..) => format!("has {channels} channels; mix it down to one"),
    };
    Err(DataError::file(path, reason))
}

#[cfg(test)]
mod tests;
