//! Audio features in integers: int16 samples go in, the int8 elements of an image's input come out.
//!
//! ```
//! # fn listen(model: &no_std_core::Model, samples: &[i16], features: &mut [i8]) -> Option<()> {
//! use edge_runtime::frontend::{FrontEnd, Parameters};
//!
//! let parameters = Parameters::of(model)?.ok()?; // the image says how its input is made
//! let (mut words, mut halves) = ([0; 512], [0; 1024]);
//! let mut front_end = FrontEnd::new(&parameters, &mut words, &mut halves).ok()?;
//! front_end.clip(samples, features);
//! # Some(())
//! # }
//! ```
//!
//! # What is computed
//!
//! Every `hop` samples a frame of `window` samples: times a Hann window, its spectrum of `fft` points,
//! the power under `mels` triangles that are even on HTK's mel scale (Young et al., The HTK Book,
//! 5.4), and the binary logarithm of each, in octaves of power above `floor`. That is `log-mel`. `mfcc`
//! goes on to the `coefficients` first elements of the orthonormal DCT-II of those, but for the
//! first, which is their mean.
//!
//! An octave of power (3 dB) is `steps` units of int8. Log-mel begins at −128, the floor and silence;
//! so does the mean of MFCCs, while their other coefficients have 0 for nothing.
//!
//! # How exactly
//!
//! ```text
//! FrontEnd        samples into frames, frames into a clip          mod
//!  ├ Parameters   as text, all ranges checked                      parameters
//!  ├ Hann, Wave   tables, by integers alone                        wave
//!  ├ spectrum     32 bits, no scaling: Σ|x| fits                   fft
//!  ├ Bank         64-bit energies                                  mel
//!  ├ log2         Q15, from a table of 65                          logarithm
//!  └ Dct                                                           dct
//! ```
//!
//! Of `n = log2(fft)`, windowed samples have `15 − n` bits below an int16's unit, so that no sum of
//! them leaves 30 bits. Where a band's energy is at least 2¹² squared units of int16 and not more than 72 dB
//! below that of all frequencies, a feature is within 0.55 units of the real number it stands for, at 8
//! `steps` (a test compares with a direct computation in double precision). All tables are made by integers, so that every machine has the
//! same.
//!
//! # When can this fail
//!
//! [`Parameters::parse`] refuses what is out of range, [`FrontEnd::new`] fails when the workspace is
//! too small. Nothing after it fails or panics, whatever the samples.

mod dct;
mod fft;
mod logarithm;
mod mel;
mod parameters;
mod wave;

pub use parameters::{Kind, ParameterError, Parameters, Workspace};

use dct::Dct;
use logarithm::log2_q15;
use mel::Bank;
use wave::{Hann, Wave};

/// A feature `q` stands for the real number `(q − zero_point) / 2^FRACTION_BITS`.
pub const FRACTION_BITS: u32 = 5;

/// The workspace is smaller than [`Parameters::workspace`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceTooSmall {
    /// What is needed.
    pub needed: Workspace,
}

impl core::fmt::Display for WorkspaceTooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Workspace { words, halves } = self.needed;
        write!(
            f,
            "the front end needs {words} words of 32 bits and {halves} of 16"
        )
    }
}

impl core::error::Error for WorkspaceTooSmall {}

/// Turns samples into features.
#[derive(Debug)]
pub struct FrontEnd<'w> {
    parameters: Parameters,
    /// The last `window` samples, around and around.
    history: &'w mut [i16],
    /// Where the next sample goes, which is where the oldest one is.
    next: usize,
    /// Samples until the next frame is whole.
    due: u16,
    hann: Hann<'w>,
    spectrum: &'w mut [i32],
    circle: Wave<'w>,
    bank: Bank<'w>,
    /// A band's logarithm each, in Q15 above the floor.
    logs: &'w mut [i32],
    dct: Dct<'w>,
}

impl<'w> FrontEnd<'w> {
    /// Makes the tables in the workspace, which is taken as it is.
    ///
    /// # Errors
    /// When the workspace is smaller than [`Parameters::workspace`].
    // Not inline: what making tables needs of the stack is free again when samples come.
    #[inline(never)]
    pub fn new(
        parameters: &Parameters,
        words: &'w mut [i32],
        halves: &'w mut [i16],
    ) -> Result<Self, WorkspaceTooSmall> {
        let needed = parameters.workspace();
        Self::within(parameters, words, halves).ok_or(WorkspaceTooSmall { needed })
    }

    fn within(p: &Parameters, words: &'w mut [i32], halves: &'w mut [i16]) -> Option<Self> {
        let (spectrum, words) = words.split_at_mut_checked(p.fft())?;
        let (circle, words) = words.split_at_mut_checked(p.circle_len())?;
        let (cosines, words) = words.split_at_mut_checked(p.dct_len())?;
        let (logs, _) = words.split_at_mut_checked(p.mels())?;
        let (history, halves) = halves.split_at_mut_checked(p.window())?;
        let (hann, halves) = halves.split_at_mut_checked(p.hann_len())?;
        let (weights, halves) = halves.split_at_mut_checked(p.bins())?;
        let (counts, _) = halves.split_at_mut_checked(p.counts_len())?;
        let mut front_end = Self {
            parameters: *p,
            history,
            next: 0,
            due: 0,
            hann: Hann::fill(hann, p.window()),
            spectrum,
            circle: Wave::fill(circle, wave::ONE),
            bank: Bank::fill(p, weights, counts),
            logs,
            dct: Dct::fill(cosines, p.mels()),
        };
        front_end.reset();
        Some(front_end)
    }

    /// What it was made with.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Forgets all samples: the next frame is whole after `window` more.
    pub fn reset(&mut self) {
        self.next = 0;
        self.due = self.parameters.window() as u16;
    }

    /// Takes a sample. Where it completes a frame, writes the frame's features, as many as `frame`
    /// takes and [`Parameters::frame_len`] at most, and returns true.
    #[inline]
    pub fn push(&mut self, sample: i16, frame: &mut [i8]) -> bool {
        if let Some(oldest) = self.history.get_mut(self.next) {
            *oldest = sample;
        }
        self.next += 1;
        if self.next >= self.history.len() {
            self.next = 0;
        }
        self.due = self.due.saturating_sub(1);
        if self.due > 0 {
            return false;
        }
        self.due = self.parameters.hop() as u16;
        self.frame(frame);
        true
    }

    /// The features of a whole clip, frame by frame: [`Parameters::features`] of them. A shorter
    /// clip than [`Parameters::samples`] is centred in silence, of a longer one the middle is heard.
    pub fn clip(&mut self, samples: &[i16], features: &mut [i8]) {
        self.reset();
        let mut heard = centred(samples, self.parameters.samples());
        for frame in features.chunks_mut(self.parameters.frame_len().max(1)) {
            while let Some(sample) = heard.next()
                && !self.push(sample, frame)
            {}
        }
    }

    fn frame(&mut self, frame: &mut [i8]) {
        let shift = self.parameters.fft_bits();
        let (newer, older) = self.history.split_at_checked(self.next).unwrap_or_default();
        let samples = older.iter().chain(newer);
        fft::load(self.spectrum, self.hann.times(samples, shift));
        let bins = fft::spectrum(self.spectrum, self.circle);
        let reference = self.parameters.reference_q15();
        let energies = self.bank.energies(bins);
        let pairs = self.logs.iter_mut().zip(energies);
        pairs.for_each(|(log, energy)| *log = log2_q15(energy) - reference);
        let steps = self.parameters.steps();
        match self.parameters.kind() {
            Kind::LogMel => {
                let pairs = frame.iter_mut().zip(self.logs.iter());
                pairs.for_each(|(q, &log)| *q = unit(log.into(), steps, i8::MIN));
            }
            Kind::Mfcc => {
                let len = self.parameters.frame_len();
                for (k, q) in frame.iter_mut().take(len).enumerate() {
                    let zero = if k == 0 { i8::MIN } else { 0 };
                    *q = unit(self.dct.coefficient(self.logs, k), steps, zero);
                }
            }
        }
    }
}

/// Octaves in Q15, of a magnitude below 2³², as units of int8: `round(octaves · steps) + zero`, ties
/// up.
#[inline(always)]
fn unit(octaves_q15: i64, steps: u8, zero: i8) -> i8 {
    let units = (octaves_q15 * i64::from(steps) + (1 << 14)) >> 15;
    (units + i64::from(zero)).clamp(i8::MIN.into(), i8::MAX.into()) as i8
}

/// The middle `count` samples, with zeros around where there are fewer.
fn centred(samples: &[i16], count: usize) -> impl Iterator<Item = i16> {
    let before = count.saturating_sub(samples.len()) / 2;
    let skipped = samples.len().saturating_sub(count) / 2;
    let silence = core::iter::repeat_n(0, before);
    let heard = samples.iter().skip(skipped).copied();
    silence
        .chain(heard)
        .chain(core::iter::repeat(0))
        .take(count)
}
