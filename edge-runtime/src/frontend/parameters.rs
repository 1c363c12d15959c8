//! What features are made of, as the text that an image carries.

use super::mel;
use core::fmt::{self, Display, Formatter};
use core::ops::RangeInclusive;
use no_std_core::Model;

/// The last step of the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Logarithms of the energies of mel bands.
    LogMel,
    /// Their cosine transform: mel-frequency cepstral coefficients.
    Mfcc,
}

/// Checked parameters; their text is what a model's metadata holds under [`Parameters::KEY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    kind: Kind,
    values: [u16; NAMES.len()],
}

/// Names in the text, in its order, and what each may be.
const NAMES: [(&str, RangeInclusive<u16>); 11] = [
    ("rate", 1_000..=48_000),
    ("window", 2..=2048),
    ("hop", 1..=2048),
    ("fft", 64..=2048),
    ("mels", 2..=128),
    ("low", 0..=24_000),
    ("high", 1..=24_000),
    ("floor", 0..=40),
    ("steps", 1..=64),
    ("frames", 1..=1024),
    ("coefficients", 1..=128),
];

const RATE: usize = 0;
const WINDOW: usize = 1;
const HOP: usize = 2;
const FFT: usize = 3;
const MELS: usize = 4;
const LOW: usize = 5;
const HIGH: usize = 6;
const FLOOR: usize = 7;
const STEPS: usize = 8;
const FRAMES: usize = 9;
const COEFFICIENTS: usize = 10;

/// Why a text is not a description of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterError {
    /// The first word is neither `log-mel` nor `mfcc`.
    Kind,
    /// A word that is not `name=number` of a name there is, each once.
    Word,
    /// A parameter without a number.
    Missing(&'static str),
    /// A number out of its range.
    Range(&'static str, u16, u16),
    /// The size of the transform is no power of two.
    Fft,
    /// A frame is longer than the transform, or shorter than the step to the next one.
    Window,
    /// The band edges are not in order, or above half the sampling rate.
    Edges,
    /// A band so narrow that no bin of the spectrum is within it.
    Bands,
    /// More coefficients than bands, or some of log-mel features.
    Coefficients,
}

impl Display for ParameterError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => write!(f, "expected features of log-mel or mfcc"),
            Self::Word => write!(f, "expected name=number, each name once, of ")
                .and_then(|()| NAMES.iter().try_for_each(|(name, _)| write!(f, "{name} "))),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Range(name, low, high) => write!(f, "{name} must be from {low} to {high}"),
            Self::Fft => write!(f, "fft must be a power of two"),
            Self::Window => write!(f, "expected hop ≤ window ≤ fft"),
            Self::Edges => write!(f, "expected low < high ≤ rate/2"),
            Self::Bands => write!(
                f,
                "a mel band is narrower than a bin of the spectrum; take fewer mels or a larger fft"
            ),
            Self::Coefficients => {
                write!(
                    f,
                    "mfcc has as many coefficients as mels at most, log-mel none"
                )
            }
        }
    }
}

impl core::error::Error for ParameterError {}

/// Memory that [`FrontEnd::new`](super::FrontEnd::new) needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Words of 32 bits.
    pub words: usize,
    /// Halfwords of 16 bits.
    pub halves: usize,
}

impl Parameters {
    /// Key of a model's metadata.
    pub const KEY: &'static str = "audio";

    /// What an image says about its input, if it takes audio features.
    pub fn of(model: &Model) -> Option<Result<Self, ParameterError>> {
        let mut metadata = model.metadata();
        metadata
            .find(|(key, _)| *key == Self::KEY)
            .map(|(_, text)| Self::parse(text))
    }

    /// Reads a description: `log-mel` or `mfcc`, then each parameter as `name=number`, in any order.
    /// Hertz for `rate`, `low` and `high`; samples for `window`, `hop` and `fft`.
    ///
    /// # Errors
    /// When a parameter is missing, unknown, out of range or at odds with another.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next() {
            Some("log-mel") => Kind::LogMel,
            Some("mfcc") => Kind::Mfcc,
            _ => return Err(ParameterError::Kind),
        };
        let mut given = [None; NAMES.len()];
        if kind == Kind::LogMel {
            given[COEFFICIENTS] = Some(0);
        }
        for word in words {
            let (name, number) = word.split_once('=').ok_or(ParameterError::Word)?;
            let mut slots = NAMES.iter().zip(&mut given);
            let (_, slot) = slots
                .find(|((known, _), _)| *known == name)
                .ok_or(ParameterError::Word)?;
            let number = number.parse().map_err(|_| ParameterError::Word)?;
            if slot.replace(number).is_some() {
                return Err(if kind == Kind::LogMel && name == NAMES[COEFFICIENTS].0 {
                    ParameterError::Coefficients
                } else {
                    ParameterError::Word
                });
            }
        }
        let mut values = [0; NAMES.len()];
        for ((value, given), (name, _)) in values.iter_mut().zip(given).zip(NAMES) {
            *value = given.ok_or(ParameterError::Missing(name))?;
        }
        Self { kind, values }.checked()
    }

    fn checked(self) -> Result<Self, ParameterError> {
        let counted = if self.kind == Kind::Mfcc {
            NAMES.len()
        } else {
            COEFFICIENTS
        };
        for ((name, range), value) in NAMES.into_iter().zip(self.values).take(counted) {
            if !range.contains(&value) {
                return Err(ParameterError::Range(name, *range.start(), *range.end()));
            }
        }
        let [low, high] = self.edges();
        if !self.fft().is_power_of_two() {
            Err(ParameterError::Fft)
        } else if self.hop() > self.window() || self.window() > self.fft() {
            Err(ParameterError::Window)
        } else if low >= high || 2 * high > self.rate() {
            Err(ParameterError::Edges)
        } else if self.frame_len() > self.mels() {
            Err(ParameterError::Coefficients)
        } else if !mel::every_band_hears(&self) {
            Err(ParameterError::Bands)
        } else {
            Ok(self)
        }
    }

    /// The last step.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Samples a second.
    pub const fn rate(&self) -> u32 {
        self.values[RATE] as u32
    }

    /// Samples of a frame.
    pub const fn window(&self) -> usize {
        self.values[WINDOW] as usize
    }

    /// Samples from one frame to the next.
    pub const fn hop(&self) -> usize {
        self.values[HOP] as usize
    }

    /// Points of the transform.
    pub const fn fft(&self) -> usize {
        self.values[FFT] as usize
    }

    /// Bands.
    pub const fn mels(&self) -> usize {
        self.values[MELS] as usize
    }

    /// Edges of all bands together, in hertz.
    pub(super) fn edges(&self) -> [u32; 2] {
        [self.values[LOW].into(), self.values[HIGH].into()]
    }

    /// Units of int8 in an octave of power.
    pub(super) const fn steps(&self) -> u8 {
        self.values[STEPS] as u8
    }

    /// Frames of a clip.
    pub const fn frames(&self) -> usize {
        self.values[FRAMES] as usize
    }

    /// Features of a frame: bands, or coefficients of MFCCs.
    pub const fn frame_len(&self) -> usize {
        match self.kind {
            Kind::LogMel => self.mels(),
            Kind::Mfcc => self.values[COEFFICIENTS] as usize,
        }
    }

    /// Features of a clip, frame by frame: the elements of the image's input.
    pub const fn features(&self) -> usize {
        self.frames() * self.frame_len()
    }

    /// Samples of a clip.
    pub const fn samples(&self) -> usize {
        (self.frames() - 1) * self.hop() + self.window()
    }

    /// The feature that stands for 0.
    pub const fn zero_point(&self) -> i8 {
        match self.kind {
            Kind::LogMel => i8::MIN,
            Kind::Mfcc => 0,
        }
    }

    /// What the front end needs.
    pub const fn workspace(&self) -> Workspace {
        Workspace {
            words: self.fft() + self.circle_len() + self.dct_len() + self.mels(),
            halves: self.window() + self.hann_len() + self.bins() + self.counts_len(),
        }
    }

    pub(super) const fn fft_bits(&self) -> u32 {
        self.fft().trailing_zeros()
    }

    /// The logarithm, in Q15, of the energy of the floor.
    pub(super) const fn reference_q15(&self) -> i32 {
        // Bits of a windowed sample below an int16's unit, twice in its square.
        let below = 2 * (15 - self.fft_bits() as i32);
        (below + mel::ENERGY_BITS + self.values[FLOOR] as i32) << 15
    }

    /// Bins below half the sampling rate.
    pub(super) const fn bins(&self) -> usize {
        self.fft() / 2
    }

    pub(super) const fn circle_len(&self) -> usize {
        self.fft() / 4 + 1
    }

    pub(super) const fn hann_len(&self) -> usize {
        self.window() / 2 + 1
    }

    pub(super) const fn counts_len(&self) -> usize {
        self.mels() + 2
    }

    pub(super) const fn dct_len(&self) -> usize {
        match self.kind {
            Kind::LogMel => 0,
            Kind::Mfcc => self.mels() + 1,
        }
    }
}

impl Display for Parameters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, count) = match self.kind {
            Kind::LogMel => ("log-mel", COEFFICIENTS),
            Kind::Mfcc => ("mfcc", NAMES.len()),
        };
        write!(f, "{kind}")?;
        let mut values = NAMES.iter().zip(self.values).take(count);
        values.try_for_each(|((name, _), value)| write!(f, " {name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const SPEECH: &str = "mfcc rate=16000 window=400 hop=160 fft=512 mels=40 low=20 high=7600 floor=8 \
                          steps=8 frames=98 coefficients=13";

    #[test]
    fn a_description_reads_as_it_is_written() {
        let p = Parameters::parse(SPEECH).expect("valid");
        assert_eq!(p.to_string(), SPEECH);
        assert_eq!((p.features(), p.samples()), (98 * 13, 97 * 160 + 400));
        let log_mel = SPEECH
            .replace("mfcc", "log-mel")
            .replace(" coefficients=13", "");
        let p = Parameters::parse(&log_mel).expect("valid");
        assert_eq!((p.to_string(), p.features()), (log_mel, 98 * 40));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use ParameterError::*;
        let with = |from: &str, to: &str| Parameters::parse(&SPEECH.replace(from, to));
        assert_eq!(with("mfcc", "mffc"), Err(Kind));
        assert_eq!(Parameters::parse(""), Err(Kind));
        assert_eq!(with("hop=160", "hop=160 hop=160"), Err(Word));
        assert_eq!(with("hop", "hops"), Err(Word));
        assert_eq!(with("hop=160", "hop=-1"), Err(Word));
        assert_eq!(with(" hop=160", ""), Err(Missing("hop")));
        assert_eq!(
            with("rate=16000", "rate=60000"),
            Err(Range("rate", 1000, 48000))
        );
        assert_eq!(with("fft=512", "fft=500"), Err(Fft));
        assert_eq!(with("fft=512", "fft=256"), Err(Window));
        assert_eq!(with("hop=160", "hop=401"), Err(Window));
        assert_eq!(with("high=7600", "high=8001"), Err(Edges));
        assert_eq!(with("low=20", "low=7600"), Err(Edges));
        assert_eq!(with("mels=40", "mels=128"), Err(Bands));
        assert_eq!(
            with("coefficients=13", "coefficients=41"),
            Err(Coefficients)
        );
        assert_eq!(with("mfcc", "log-mel"), Err(Coefficients));
    }
}
