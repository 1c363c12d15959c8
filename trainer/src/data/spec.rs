use super::dataset::split_off_test;
use super::{AudioFeatures, DataError, Splits, arrays, glyphs, idx, pictures, table, wav};
use crate::names::meant;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where data comes from, as given to `--data`.
///
/// Kinds without a test split of their own (`idx`, `csv`, `npy`, `npz` with x and y, `images` and
/// `wav` without `train`) keep the last
/// sixth of a seeded shuffle as their test split, always the same one. `npy` with one file is inputs
/// without labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    kind: Kind,
    /// Images of bytes as 0…255 rather than 0…1.
    raw_scale: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Glyphs(usize),
    Mnist(PathBuf),
    Idx(PathBuf, PathBuf),
    Csv(PathBuf, Option<String>),
    Npz(PathBuf),
    Npy(PathBuf, PathBuf),
    /// Without labels.
    NpyInputs(PathBuf),
    Cifar10(PathBuf),
    Images(PathBuf),
    Wav(PathBuf, AudioFeatures),
}

/// Training glyphs unless told otherwise.
const DEFAULT_GLYPHS: usize = 10_000;

/// Most glyphs: a third of a gigabyte a hundred thousand.
const MAX_GLYPHS: usize = 1_000_000;

impl FromStr for DataSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (body, raw_scale) = match text.strip_suffix(",scale=255") {
            Some(body) => (body, true),
            None => (text.strip_suffix(",scale=1").unwrap_or(text), false),
        };
        let wrong = |reason: &str| DataError::Spec {
            spec: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (name, rest) = body.split_once(':').unwrap_or((body, ""));
        let file = |expected: &str| {
            if rest.is_empty() {
                Err(wrong(&format!("expected {expected}")))
            } else {
                Ok(PathBuf::from(rest))
            }
        };
        let two = |expected: &str| {
            let parts = rest
                .split_once(',')
                .filter(|(a, b)| !a.is_empty() && !b.is_empty());
            parts
                .map(|(a, b)| (a.into(), b.into()))
                .ok_or_else(|| wrong(&format!("expected {expected}")))
        };
        if ["csv", "wav"].contains(&name) && body != text {
            return Err(wrong(
                "tables and features are taken as they are; leave the scale out, it is for images",
            ));
        }
        let kind = match name {
            "glyphs" if rest.is_empty() => Kind::Glyphs(DEFAULT_GLYPHS),
            "glyphs" => {
                let count = rest.parse().ok().filter(|n| (10..=MAX_GLYPHS).contains(n));
                Kind::Glyphs(
                    count.ok_or_else(|| wrong("expected glyphs:N with N from 10 to 1000000"))?,
                )
            }
            "mnist" => Kind::Mnist(file("mnist:DIR")?),
            "idx" => two("idx:IMAGES,LABELS").map(|(x, y)| Kind::Idx(x, y))?,
            "npy" if !rest.contains(',') => Kind::NpyInputs(file("npy:X.npy,Y.npy or npy:X.npy")?),
            "npy" => two("npy:X.npy,Y.npy").map(|(x, y)| Kind::Npy(x, y))?,
            "npz" => Kind::Npz(file("npz:FILE")?),
            "csv" => match rest.split_once(",label=") {
                Some((path, label)) => Kind::Csv(path.into(), Some(label.to_owned())),
                None => Kind::Csv(file("csv:FILE or csv:FILE,label=NAME")?, None),
            },
            "cifar10" => Kind::Cifar10(file("cifar10:DIR")?),
            "images" => Kind::Images(file("images:DIR")?),
            "wav" => match AudioFeatures::split(rest).map_err(|reason| wrong(&reason))? {
                ("", _) => return Err(wrong("expected wav:DIR")),
                (dir, features) => Kind::Wav(dir.into(), features),
            },
            _ => {
                let kinds = [
                    "glyphs", "mnist", "cifar10", "images", "wav", "idx", "csv", "npz", "npy",
                ];
                return Err(DataError::Unknown {
                    spec: text.to_owned(),
                    hint: meant(name, kinds),
                });
            }
        };
        Ok(Self { kind, raw_scale })
    }
}

impl Display for DataSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Glyphs(count) => write!(f, "glyphs:{count}"),
            Kind::Mnist(dir) => write!(f, "mnist:{}", dir.display()),
            Kind::Idx(x, y) => write!(f, "idx:{},{}", x.display(), y.display()),
            Kind::Csv(path, None) => write!(f, "csv:{}", path.display()),
            Kind::Csv(path, Some(label)) => write!(f, "csv:{},label={label}", path.display()),
            Kind::Npz(path) => write!(f, "npz:{}", path.display()),
            Kind::Npy(x, y) => write!(f, "npy:{},{}", x.display(), y.display()),
            Kind::NpyInputs(x) => write!(f, "npy:{}", x.display()),
            Kind::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            Kind::Images(dir) => write!(f, "images:{}", dir.display()),
            Kind::Wav(dir, features) => write!(f, "wav:{}{features}", dir.display()),
        }?;
        if self.raw_scale {
            write!(f, ",scale=255")
        } else {
            Ok(())
        }
    }
}

impl DataSpec {
    /// The files it names itself, not those in a folder.
    pub fn files(&self) -> Vec<&Path> {
        match &self.kind {
            Kind::Glyphs(_)
            | Kind::Mnist(_)
            | Kind::Cifar10(_)
            | Kind::Images(_)
            | Kind::Wav(..) => Vec::new(),
            Kind::Idx(x, y) | Kind::Npy(x, y) => vec![x, y],
            Kind::Csv(path, _) | Kind::Npz(path) | Kind::NpyInputs(path) => vec![path],
        }
    }

    /// Reads the data.
    ///
    /// # Errors
    /// When a file is missing, truncated or mislabelled.
    pub fn load(&self) -> Result<Splits, DataError> {
        let unit = if self.raw_scale { 1.0 } else { 255.0 };
        match &self.kind {
            Kind::Glyphs(count) => Ok(glyphs::generate(*count, unit)),
            Kind::Mnist(dir) => idx::mnist(dir, unit),
            Kind::Idx(x, y) => split_off_test(y, idx::pair(x, y, unit, idx::MAX_LABEL)?),
            Kind::Csv(path, label) => split_off_test(path, table::csv(path, label.as_deref())?),
            Kind::Npz(path) => arrays::npz(path, unit, |all| split_off_test(path, all)),
            Kind::Npy(x, y) => split_off_test(y, arrays::npy(x, y, unit)?),
            Kind::NpyInputs(x) => split_off_test(x, arrays::npy_inputs(x, unit)?),
            Kind::Cifar10(dir) => pictures::cifar10(dir, unit, |all| split_off_test(dir, all)),
            Kind::Images(dir) => pictures::images(dir, unit, |all| split_off_test(dir, all)),
            Kind::Wav(dir, features) => wav::clips(dir, features, |all| split_off_test(dir, all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_read_as_they_are_written() {
        for text in [
            "glyphs:500",
            "mnist:some/dir",
            "idx:a,b",
            "csv:t.csv,label=kind",
            "npz:f.npz,scale=255",
            "npy:x.npy,y.npy",
            "npy:x.npy",
            "cifar10:dir,scale=255",
            "images:dir",
            "wav:some,dir",
            "wav:dir,features=mfcc,mels=40",
        ] {
            assert_eq!(text.parse::<DataSpec>().expect(text).to_string(), text);
        }
        assert_eq!(
            "glyphs".parse::<DataSpec>().expect("default").to_string(),
            "glyphs:10000"
        );
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        let error = |text: &str| text.parse::<DataSpec>().expect_err(text).to_string();
        assert!(error("minst:dir").contains("do you mean mnist?"));
        assert!(error("idx:only-one").contains("idx:IMAGES,LABELS"));
        assert!(error("glyphs:few").contains("glyphs:N"));
        assert!(error("wav:").contains("expected wav:DIR"));
        assert!(error("wav:,mels=3").contains("expected wav:DIR"));
        assert!(error("wav:dir,mel=40").contains("do you mean mels?"));
        assert!(error("wav:dir,features=lpc").contains("features=log-mel or mfcc"));
        assert!(error("wav:dir,hop=-1").contains("hop=a number"));
        assert!(error("wav:dir,scale=255").contains("leave the scale out"));
        assert!(error("cifar10").contains("cifar10:DIR"));
        assert!(error("mnist:").contains("expected mnist:DIR"));
        assert!(error("csv:t.csv,scale=255").contains("leave the scale out"));
        assert!(error("csv:t.csv,label=a,scale=1").contains("leave the scale out"));
    }
}
