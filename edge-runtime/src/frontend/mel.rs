//! Energies under triangles that are even on the mel scale.
//!
//! A bin between the centres of two neighbouring bands belongs to both, in parts that sum to one: so
//! much to the upper one as it is beyond the lower one's centre, measured in mel.

use super::Parameters;
use super::fft::Complex;
use super::logarithm::log2_q24;

/// Bits of a bin's part.
const PART_BITS: u32 = 12;
const WHOLE: i16 = 1 << PART_BITS;

/// Bits that powers lose, so that the energy of all bins, at most 2⁵⁹ by Parseval but for roundings,
/// times a part fits 63 bits.
const POWER_SHIFT: u32 = 9;

/// Energies have so many bits below the square of the spectrum's unit; negative ones are lost.
pub(super) const ENERGY_BITS: i32 = PART_BITS as i32 - POWER_SHIFT as i32;

/// The filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bank<'t> {
    /// What of each bin belongs to the upper one of its bands, in units of a [`WHOLE`].
    parts: &'t [i16],
    /// Bins below the first centre's band, then between each centre and the next, from the lower edge
    /// to the upper.
    counts: &'t [i16],
}

impl<'t> Bank<'t> {
    pub(super) fn fill(p: &Parameters, parts: &'t mut [i16], counts: &'t mut [i16]) -> Self {
        counts.fill(0);
        for (bin, part) in parts.iter_mut().enumerate() {
            let place = place(p, bin);
            *part = (place & (WHOLE as u32 - 1)) as i16;
            // Place 0 is below the lower edge.
            if let Some(count) = counts.get_mut((place >> PART_BITS) as usize) {
                *count += 1;
            }
        }
        Self { parts, counts }
    }

    /// The bands' energies, from the lowest. Bins have magnitudes of at most 2³⁰ but for roundings.
    #[inline(always)]
    pub(super) fn energies(&self, bins: &[Complex]) -> impl Iterator<Item = u64> {
        let mut counts = self.counts.iter().map(|&count| count as usize);
        let below = counts.next().unwrap_or(0);
        let mut bins = bins.iter().zip(self.parts).skip(below);
        // What the band to come has of the bins below its centre.
        let mut rising = 0;
        let mut between = counts.map(move |count| {
            let mut falling = rising;
            rising = 0;
            for (bin, &part) in bins.by_ref().take(count) {
                let power = power(*bin);
                let upper = power * u64::from(part as u16);
                rising += upper;
                falling += (power << PART_BITS) - upper;
            }
            falling
        });
        // Nothing stands below the first.
        between.next();
        between
    }
}

/// At most 2⁵¹, of bins of at most 2³⁰.
#[inline(always)]
fn power([re, im]: Complex) -> u64 {
    let square = |x: i32| (i64::from(x) * i64::from(x)) as u64;
    (square(re) + square(im)) >> POWER_SHIFT
}

/// Where a bin stands, in [`WHOLE`]s: from 1 at the lower edge to `mels + 2` at the upper; 0 below, and
/// `mels + 2` above. HTK's scale is `log(1 + f/700)` but for a factor, which does not matter.
pub(super) fn place(p: &Parameters, bin: usize) -> u32 {
    // Below 2²⁷: fft ≤ 2048, rate ≤ 48,000.
    let mel = |hertz_times_fft: u32| log2_q24(700 * p.fft() as u32 + hertz_times_fft);
    let [low, high] = p.edges().map(|hertz| hertz * p.fft() as u32);
    let frequency = bin as u32 * p.rate();
    let bands = p.mels() as u32 + 1;
    if frequency < low {
        return 0;
    }
    if frequency >= high {
        return (bands + 1) << PART_BITS;
    }
    let (beyond, range) = (mel(frequency) - mel(low), mel(high) - mel(low));
    // Below 2²⁷ · 2⁸ · 2¹².
    let place = ((u64::from(beyond) * u64::from(bands)) << PART_BITS) / u64::from(range.max(1));
    place as u32 + (1 << PART_BITS)
}

/// Whether every band has a bin under its triangle, which is open on both sides.
pub(super) fn every_band_hears(p: &Parameters) -> bool {
    let mut heard = 0;
    let places = (0..p.bins()).map(|bin| place(p, bin));
    let inside = places.filter(|place| (1..=p.mels() as u32 + 1).contains(&(place >> PART_BITS)));
    for place in inside {
        // The centre of band b stands at b + 2, its neighbours' at b + 1 and b + 3.
        let lowest = (place >> PART_BITS).saturating_sub(2);
        if lowest > heard {
            return false;
        }
        let above_highest = (place.div_ceil(1 << PART_BITS)).saturating_sub(1);
        heard = heard.max(above_highest);
    }
    heard >= p.mels() as u32
}
