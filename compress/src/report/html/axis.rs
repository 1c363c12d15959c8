//! From figures to places, and figures as people write them.

/// A straight or logarithmic map from figures to places on a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    from: (f64, f64),
    to: (f64, f64),
    logarithmic: bool,
}

impl Axis {
    /// Maps the figures `low … high` to the places `first … last`.
    pub(super) fn new([low, high]: [f64; 2], [first, last]: [f64; 2]) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            from: (low, high),
            to: (first, last),
            logarithmic: false,
        }
    }

    /// The same for positive figures, equal factors at equal distances.
    pub(super) fn logarithmic([low, high]: [f64; 2], places: [f64; 2]) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let ends = [low.log10(), high.max(low).log10()];
        Self {
            logarithmic: true,
            ..Self::new(ends, places)
        }
    }

    pub(super) fn at(&self, figure: f64) -> f64 {
        let figure = if self.logarithmic {
            figure.max(f64::MIN_POSITIVE).log10()
        } else {
            figure
        };
        let part = (figure - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + part * (self.to.1 - self.to.0)
    }

    /// About `count` round figures within the axis.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        let (low, high) = self.from;
        if self.logarithmic {
            let powers = low.ceil() as i32..=high.floor() as i32;
            return powers.map(|power| 10f64.powi(power)).collect();
        }
        let step = round_step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// The smallest of 1, 2, 5, 10 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= step);
    factor.unwrap_or(10.0) * power
}

/// A place in a picture, to a tenth.
pub(super) fn px(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(count: impl TryInto<u64>) -> String {
    let digits = count.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in few characters; 1 KB = 1,000 bytes.
pub(super) fn short_bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e7 => format!("{:.0} MB", b / 1e6),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e4 => format!("{:.0} KB", b / 1e3),
        b if b >= 1e3 => format!("{:.1} KB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// A figure without zeros at its end.
pub(super) fn plain(figure: f64) -> String {
    let text = format!("{figure:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Percent of a whole.
pub(super) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let axis = Axis::new([0.0, 2.3], [0.0, 100.0]);
        assert_eq!(axis.ticks(4), [0.0, 1.0, 2.0]);
        assert_eq!(axis.ticks(6), [0.0, 0.5, 1.0, 1.5, 2.0]);
        let axis = Axis::logarithmic([50.0, 20_000.0], [0.0, 100.0]);
        assert_eq!(axis.ticks(0), [100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn ends_of_an_axis_are_its_places() {
        for axis in [Axis::new, Axis::logarithmic].map(|new| new([10.0, 1000.0], [90.0, 10.0])) {
            assert_eq!((axis.at(10.0), axis.at(1000.0)), (90.0, 10.0));
        }
        let axis = Axis::logarithmic([10.0, 1000.0], [0.0, 2.0]);
        assert_eq!(axis.at(100.0), 1.0);
        assert!(Axis::new([3.0, 3.0], [0.0, 1.0]).at(3.0).is_finite());
    }

    #[test]
    fn figures_as_people_write_them() {
        assert_eq!(
            [7u64, 1234, 1234567].map(grouped),
            ["7", "1,234", "1,234,567"]
        );
        assert_eq!(short_bytes(1_066_440.0), "1.1 MB");
        assert_eq!(
            [px(3.0), px(3.04), px(3.05)],
            ["3", "3", "3.0"].map(|s| s.trim_end_matches(".0").to_owned())
        );
        assert_eq!([plain(0.5), plain(4.0)], ["0.5", "4"]);
    }
}
