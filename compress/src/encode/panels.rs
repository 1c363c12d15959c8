//! Plain matrices in panels of four rows ([`no_std_core::panels`]), as dense kernels read them fastest.

use super::ledger::Category;
use super::weights::Written;
use super::writer::Writer;
use crate::program::{Kind, Linear};
use no_std_core::numerics::Multiplier;
use no_std_core::panels::{BASE_SHIFT, COLUMNS, Layout, ODD_SHIFT, ROWS};

/// Name for people.
pub(super) const ENCODING: &str = "panels";

/// The layout that an operator's plain weights may have.
pub(super) fn layout(kind: &Kind) -> Option<Layout> {
    match kind {
        Kind::Dense(_) => Some(Layout::Shared),
        Kind::Conv { groups: 1, .. } => Some(Layout::Shared),
        Kind::Conv {
            groups,
            linear,
            window,
        } => {
            let by_channel = linear.rows == *groups && linear.columns == window.taps();
            (by_channel && groups % ROWS == 0).then_some(Layout::Channels)
        }
        _ => None,
    }
}

/// A plain matrix in panels, where they can hold it.
pub(super) fn or_panels(plain: Written, linear: &Linear, layout: Layout) -> Written {
    match written(linear, layout) {
        Some(panels) if plain.plain => Written::in_panels(panels, layout, plain.entropy_bits),
        _ => plain,
    }
}

/// The panels of a matrix; none where a number leaves its bits.
fn written(linear: &Linear, layout: Layout) -> Option<Writer> {
    let mut writer = Writer::default();
    for first in (0..linear.rows).step_by(ROWS) {
        let rows: Vec<Row> = (first..first + ROWS)
            .map(|row| Row::of(linear, layout, row))
            .collect();
        write_starts(&mut writer, &rows)?;
        match layout {
            Layout::Shared => {
                for column in (0..linear.columns).step_by(COLUMNS) {
                    write_tile(&mut writer, &rows, column)?;
                }
            }
            Layout::Channels => {
                for column in 0..linear.columns {
                    rows.iter()
                        .for_each(|row| writer.i8(Category::Values, row.weight(column)));
                }
            }
        }
        write_foot(&mut writer, &rows)?;
    }
    Some(writer)
}

/// A row of a panel, which may be beyond the last one.
struct Row<'l> {
    weights: &'l [i8],
    bias: i32,
    multiplier: Multiplier,
    /// Whether it is the odd one of two that share numbers.
    is_odd: bool,
}

impl<'l> Row<'l> {
    fn of(linear: &'l Linear, layout: Layout, row: usize) -> Self {
        let multiplier = match &linear.multipliers[..] {
            _ if row >= linear.rows => None,
            [one] => Some(*one),
            all => all.get(row).copied(),
        };
        Self {
            weights: linear.row(row),
            bias: linear.biases.get(row).copied().unwrap_or(0),
            multiplier: multiplier.unwrap_or(NOTHING),
            is_odd: layout == Layout::Shared && row % 2 == 1,
        }
    }

    fn weight(&self, column: usize) -> i8 {
        self.weights.get(column).copied().unwrap_or(0)
    }

    /// Whether every accumulator fits the bits that an odd row has.
    fn fits(&self) -> bool {
        let most: i64 = self
            .weights
            .iter()
            .map(|w| i64::from(w.unsigned_abs()) << 7)
            .sum();
        most + i64::from(self.bias).abs() < 1 << (31 - ODD_SHIFT)
    }
}

/// The factor of rows that are not there.
const NOTHING: Multiplier = Multiplier {
    mantissa: 0,
    shift: BASE_SHIFT + 1,
};

/// Biases; of two rows that share numbers the even one's and that of both.
fn write_starts(writer: &mut Writer, rows: &[Row]) -> Option<()> {
    let mut even = 0;
    for row in rows {
        let start = match row.is_odd {
            true if !row.fits() => return None,
            true => (row.bias << ODD_SHIFT).wrapping_add(even),
            false => row.bias,
        };
        writer.u32(Category::Biases, start as u32);
        even = row.bias;
    }
    Some(())
}

/// None of factors so large that lower halves of products count, nor so small that a shift leaves its range.
fn write_foot(writer: &mut Writer, rows: &[Row]) -> Option<()> {
    for row in rows {
        writer.u32(Category::Scales, row.multiplier.mantissa as u32);
    }
    for row in rows {
        let up = if row.is_odd { ODD_SHIFT } else { 0 };
        let Multiplier { mantissa, shift } = row.multiplier;
        let shift = shift.checked_sub(BASE_SHIFT).filter(|shift| *shift > 0)? + up;
        Multiplier::new(mantissa, BASE_SHIFT + shift)?;
        writer.u8(Category::Scales, shift);
    }
    Some(())
}

/// Two rows' weights in each number of 16 bits; none where these do not hold them.
fn write_tile(writer: &mut Writer, rows: &[Row], column: usize) -> Option<()> {
    for pair in rows.chunks_exact(2) {
        for column in [0, 2, 1, 3].map(|k| column + k) {
            let (even, odd) = (pair[0].weight(column), pair[1].weight(column));
            let both = i16::from(odd).checked_mul(256)?.checked_add(even.into())?;
            writer.put(Category::Values, &both.to_le_bytes());
        }
    }
    Some(())
}
