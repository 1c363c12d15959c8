//! Biases in their cheapest form: packed or under a Rice code, with the share of the input's zero point
//! or without it.

use super::bits::BitWriter;
use super::ledger::Category;
use super::weights::Written;
use super::writer::Writer;
use crate::program::Linear;
use no_std_core::operator::integers::{ASCENDING, MAX_RICE, MAX_UNITS, RICE};

/// Biases as they stand in the image.
pub(super) struct Biases {
    /// Whether the zero point's share is left out.
    pub(super) centred: bool,
    pub(super) written: Writer,
}

/// The smallest form that goes with the weights'.
pub(super) fn smallest(linear: &Linear, zero_point: i8, form: &Written) -> Biases {
    let whole = Biases {
        centred: false,
        written: packed(linear),
    };
    if !form.tight {
        return whole;
    }
    let centred = centred(linear, zero_point).filter(|_| !form.plain);
    let centred = centred.iter().flat_map(|biases| {
        let packed = within_packed(biases).then(|| {
            let mut writer = Writer::default();
            write_packed(&mut writer, Category::Biases, biases);
            writer
        });
        let written = coded(biases).into_iter().chain(packed);
        written.map(|written| Biases {
            centred: true,
            written,
        })
    });
    let coded = coded(&linear.biases).into_iter().map(|written| Biases {
        centred: false,
        written,
    });
    coded.chain(centred).fold(whole, |best, next| {
        if next.written.len() < best.written.len() {
            next
        } else {
            best
        }
    })
}

/// Biases without the share of the input's zero point, where 32 bits hold them.
pub(super) fn centred(linear: &Linear, zero_point: i8) -> Option<Vec<i32>> {
    let rows = linear.weights.chunks(linear.columns.max(1));
    let biases = rows.zip(&linear.biases).map(|(row, &bias)| {
        let sum: i64 = row.iter().map(|&w| i64::from(w)).sum();
        let bias = i64::from(bias) + sum * i64::from(zero_point);
        i32::try_from(bias).ok().filter(|bias| bias.abs() < 1 << 30)
    });
    biases.collect()
}

/// Packed, with the zero point's share.
pub(super) fn packed(linear: &Linear) -> Writer {
    let mut writer = Writer::default();
    write_packed(&mut writer, Category::Biases, &linear.biases);
    writer
}

/// Low bits that are zero in all.
fn trailing_zeros(integers: &[i32]) -> u8 {
    let zeros = integers
        .iter()
        .filter(|&&i| i != 0)
        .map(|i| i.trailing_zeros());
    zeros.min().unwrap_or(0) as u8
}

fn width_of(i: i32) -> usize {
    33 - (if i < 0 { !i } else { i }).leading_zeros() as usize
}

/// Whether packed integers may be as wide.
fn within_packed(integers: &[i32]) -> bool {
    let shift = trailing_zeros(integers);
    integers.iter().all(|&i| width_of(i >> shift) <= 25)
}

/// Integers at the least width that holds them all.
pub(super) fn write_packed(image: &mut Writer, category: Category, integers: &[i32]) {
    let shift = trailing_zeros(integers);
    let stored: Vec<i32> = integers.iter().map(|i| i >> shift).collect();
    if stored.iter().all(|&i| i == 0) {
        return image.u8(category, 0);
    }
    let width = stored.iter().map(|&i| width_of(i)).max().unwrap_or(1);
    image.u8(category, width as u8);
    image.u8(category, shift);
    let mut bits = BitWriter::default();
    stored.iter().for_each(|&i| bits.put(i as u32, width));
    image.put(category, &bits.into_bytes());
}

/// Under Rice codes (Rice 1979): each by itself and, if they ascend, their differences.
fn coded(integers: &[i32]) -> Vec<Writer> {
    let shift = trailing_zeros(integers);
    let stored: Vec<i32> = integers.iter().map(|i| i >> shift).collect();
    let each: Vec<u64> = stored.iter().map(|&i| number(i)).collect();
    let differences: Vec<u64> = stored
        .windows(2)
        .map(|pair| (i64::from(pair[1]) - i64::from(pair[0])) as u64)
        .collect();
    let first = stored.first().filter(|_| stored.is_sorted()).copied();
    let ascending = first.and_then(|first| rice(ASCENDING, shift, Some(first), &differences));
    rice(RICE, shift, None, &each)
        .into_iter()
        .chain(ascending)
        .collect()
}

/// The lowest bit is the sign.
fn number(i: i32) -> u64 {
    let doubled = i64::from(i) << 1;
    (if i < 0 { !doubled } else { doubled }) as u64
}

fn rice(form: u8, shift: u8, first: Option<i32>, numbers: &[u64]) -> Option<Writer> {
    let bits = |&k: &u8| {
        numbers
            .iter()
            .map(|n| (n >> k) + 1 + u64::from(k))
            .sum::<u64>()
    };
    let fits = |&k: &u8| numbers.iter().all(|n| n >> k <= u64::from(MAX_UNITS));
    let parameter = (0..=MAX_RICE).filter(fits).min_by_key(bits)?;
    let mut stream = BitWriter::default();
    for &n in numbers {
        let units = (n >> parameter) as usize;
        stream.put(((1u64 << (units + 1)) - 2) as u32, units + 1);
        stream.put((n & ((1 << parameter) - 1)) as u32, parameter.into());
    }
    let mut stream = stream.into_bytes();
    // A reader finds zeros past the end.
    let used = stream.iter().rposition(|&byte| byte != 0);
    stream.truncate(used.map_or(0, |last| last + 1));
    let mut writer = Writer::default();
    writer.u8(Category::Biases, form | parameter);
    writer.u8(Category::Biases, shift);
    if let Some(first) = first {
        writer.varint(Category::Biases, number(first) as usize);
    }
    writer.varint(Category::Biases, stream.len());
    writer.put(Category::Biases, &stream);
    Some(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Reads by the format's text.
    fn read(bytes: &[u8], count: usize) -> Vec<i64> {
        let (form, shift) = (bytes[0], bytes[1]);
        let mut at = 2;
        let mut varint = || {
            let (mut value, mut bits) = (0u64, 0);
            loop {
                value |= u64::from(bytes[at] & 127) << bits;
                (at, bits) = (at + 1, bits + 7);
                if bytes[at - 1] < 128 {
                    return value;
                }
            }
        };
        let signed = |n: u64| (n / 2) as i64 * (1 - 2 * (n as i64 & 1)) - (n as i64 & 1);
        let mut next = if form >= 64 { signed(varint()) } else { 0 };
        let length = varint() as usize;
        let stream = &bytes[at..];
        assert_eq!(stream.len(), length);
        let bits: String = stream.iter().map(|b| format!("{b:08b}")).collect();
        let mut bits = bits
            .chars()
            .chain(std::iter::repeat('0'))
            .map(|c| u64::from(c == '1'));
        let mut number = || {
            let units = bits.by_ref().take_while(|&bit| bit == 1).count() as u64;
            (0..form & 31).fold(units, |n, _| n * 2 + bits.next().unwrap_or(0))
        };
        let mut integer = || {
            if form < 64 {
                return signed(number()) << shift;
            }
            let taken = next;
            next += number() as i64;
            taken << shift
        };
        (0..count).map(|_| integer()).collect()
    }

    #[test]
    fn coded_integers_are_read_by_the_format() {
        let spread = |n: i32| {
            (0..n)
                .map(|i| (i * 7919 % 1009 - 500) << 4)
                .collect::<Vec<i32>>()
        };
        let mut sorted = spread(300);
        sorted.sort_unstable();
        let ends = vec![-(1 << 30), 0, (1 << 30) - 1];
        for integers in [spread(300), sorted, vec![0; 5], vec![-8], ends] {
            let forms = coded(&integers);
            let expected = if integers.is_sorted() { 2 } else { 1 };
            // No parameter reaches from one end to the other.
            assert!(
                forms.len() == expected || integers.len() == 3,
                "{integers:?}"
            );
            for form in forms {
                let read = read(form.bytes(), integers.len());
                assert!(
                    integers.iter().map(|&i| i64::from(i)).eq(read),
                    "{integers:?}"
                );
            }
        }
    }

    #[test]
    fn ascending_integers_take_the_entropy_of_a_set() {
        // 300 of 500 integers with repetitions, in no order: log2(799 choose 300) is 757 bits.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut sorted: Vec<i32> = (0..300).map(|_| random.random_range(0..500)).collect();
        sorted.sort_unstable();
        let bytes = coded(&sorted).iter().map(Writer::len).min().unwrap_or(0);
        assert!((94..=94 * 105 / 100 + 5).contains(&bytes), "{bytes}");
    }
}
