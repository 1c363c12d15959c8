use crate::names::meant;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::ops::Range;
use std::str::FromStr;

/// Random distortion of an image: affine around its centre, bilinear, zeros outside; then by whole
/// pixels; then of its values. An image of sound has frames as rows and bands as columns, and nothing
/// where it is zero. Each amount but `flip` is the bound of a uniform draw on both sides of none; all
/// zero leaves images alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pixels, vertical and horizontal.
    pub shift: f32,
    /// Degrees.
    pub rotate: f32,
    /// Relative: 0.1 draws a factor from 0.9 to 1.1, for height and width apart.
    pub scale: f32,
    /// Tangent of the shear angle.
    pub shear: f32,
    /// Pixels, vertical alone, besides `shift`: frames of sound.
    pub slide: f32,
    /// Added to every element that is not zero, and cut off at zero from where it came: the loudness of
    /// logarithms.
    pub level: f32,
    /// Standard deviation of normal noise, added likewise.
    pub noise: f32,
    /// Most rows of a band of rows set to zero: drawn from none to so many (Park et al. 2019, SpecAugment).
    pub mask_rows: f32,
    /// Likewise of columns.
    pub mask_columns: f32,
    /// Whole pixels, vertical and horizontal, the border's pixels repeated: an image padded by so many
    /// on every side and cropped to its size.
    pub crop: f32,
    /// Share of the images that are mirrored, left to right.
    pub flip: f32,
}

impl Augment {
    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The distortion that usually helps with handwritten digits.
    pub const DEFAULT: Self = Self {
        shift: 2.0,
        rotate: 10.0,
        scale: 0.1,
        shear: 0.1,
        ..Self::NONE
    };

    const NONE: Self = Self {
        shift: 0.0,
        rotate: 0.0,
        scale: 0.0,
        shear: 0.0,
        slide: 0.0,
        level: 0.0,
        noise: 0.0,
        mask_rows: 0.0,
        mask_columns: 0.0,
        crop: 0.0,
        flip: 0.0,
    };

    /// Each amount with its name in a configuration.
    pub(crate) fn amounts(mut self) -> [(&'static str, f32); 11] {
        self.amounts_mut().map(|(name, amount)| (name, *amount))
    }

    fn amounts_mut(&mut self) -> [(&'static str, &mut f32); 11] {
        [
            ("augment.shift", &mut self.shift),
            ("augment.rotate", &mut self.rotate),
            ("augment.scale", &mut self.scale),
            ("augment.shear", &mut self.shear),
            ("augment.slide", &mut self.slide),
            ("augment.level", &mut self.level),
            ("augment.noise", &mut self.noise),
            ("augment.mask_rows", &mut self.mask_rows),
            ("augment.mask_columns", &mut self.mask_columns),
            ("augment.crop", &mut self.crop),
            ("augment.flip", &mut self.flip),
        ]
    }

    /// Writes a distorted `image` of shape `[channels, height, width]` to `out`, of equal length.
    pub fn apply(&self, image: &[f32], shape: [usize; 3], rng: &mut impl Rng, out: &mut [f32]) {
        let others = Self {
            crop: 0.0,
            flip: 0.0,
            ..*self
        };
        let moves = others != *self;
        if moves && others.is_none() {
            return self.draw_move(rng).apply(image, shape, out);
        }
        self.draw(rng).apply(image, shape, out);
        if moves {
            let distorted = out.to_vec();
            self.draw_move(rng).apply(&distorted, shape, out);
        }
        self.change_values(rng, out);
        let [_, height, width] = shape;
        let rows = strip(self.mask_rows, height, rng);
        let columns = strip(self.mask_columns, width, rng);
        for (i, value) in out.iter_mut().enumerate() {
            if rows.contains(&(i / width % height)) || columns.contains(&(i % width)) {
                *value = 0.0;
            }
        }
    }

    fn draw_move(&self, rng: &mut impl Rng) -> Move {
        let crop = self.crop as i32;
        let mut pixels = || rng.random_range(-crop..=crop) as isize;
        let shift = [pixels(), pixels()];
        let mirrored = rng.random::<f32>() < self.flip;
        Move { shift, mirrored }
    }

    fn change_values(&self, rng: &mut impl Rng, out: &mut [f32]) {
        let level = uniform(self.level, rng);
        if level == 0.0 && self.noise == 0.0 {
            return;
        }
        for value in out.iter_mut().filter(|value| **value != 0.0) {
            let noise: f32 = if self.noise > 0.0 {
                rng.sample(StandardNormal)
            } else {
                0.0
            };
            let changed = *value + level + noise * self.noise;
            *value = if changed * *value > 0.0 { changed } else { 0.0 };
        }
    }

    /// The inverse of scaling after shearing after rotation, around the centre, then a shift.
    fn draw(&self, rng: &mut impl Rng) -> Inverse {
        let mut uniform = |bound: f32| uniform(bound, rng);
        let (sin, cos) = uniform(self.rotate).to_radians().sin_cos();
        let shear = uniform(self.shear);
        let (fy, fx) = (
            1.0 / (1.0 + uniform(self.scale)),
            1.0 / (1.0 + uniform(self.scale)),
        );
        Inverse {
            matrix: [
                fy * cos,
                -fy * sin,
                fx * (sin + shear * cos),
                fx * (cos - shear * sin),
            ],
            shift: [
                uniform(self.shift) + uniform(self.slide),
                uniform(self.shift),
            ],
        }
    }
}

/// From `-bound` to `bound`; draws nothing for a bound of zero.
fn uniform(bound: f32, rng: &mut impl Rng) -> f32 {
    if bound > 0.0 {
        rng.random_range(-bound..=bound)
    } else {
        0.0
    }
}

/// A strip of at most `most` places, somewhere.
fn strip(most: f32, places: usize, rng: &mut impl Rng) -> Range<usize> {
    let most = (most as usize).min(places);
    if most == 0 {
        return 0..0;
    }
    let length = rng.random_range(0..=most);
    let start = rng.random_range(0..=places - length);
    start..start + length
}

/// Where each output pixel comes from: `matrix · (place − centre − shift) + centre`, rows first.
struct Inverse {
    matrix: [f32; 4],
    shift: [f32; 2],
}

impl Inverse {
    fn apply(&self, image: &[f32], [channels, height, width]: [usize; 3], out: &mut [f32]) {
        let [a, b, c, d] = self.matrix;
        let (cy, cx) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
        let plane = height * width;
        for y in 0..height {
            let v = y as f32 - cy - self.shift[0];
            for x in 0..width {
                let u = x as f32 - cx - self.shift[1];
                let (sy, sx) = (a * v + b * u + cy, c * v + d * u + cx);
                for channel in 0..channels {
                    let source = &image[channel * plane..(channel + 1) * plane];
                    out[channel * plane + y * width + x] =
                        bilinear(source, [height, width], sy, sx);
                }
            }
        }
    }
}

/// By whole pixels; the border is repeated.
struct Move {
    shift: [isize; 2],
    mirrored: bool,
}

impl Move {
    fn apply(&self, image: &[f32], [_, height, width]: [usize; 3], out: &mut [f32]) {
        let from = |place: usize, shift: isize, size: usize| {
            place
                .saturating_add_signed(shift)
                .min(size.saturating_sub(1))
        };
        let columns: Vec<usize> = (0..width)
            .map(|x| {
                from(
                    if self.mirrored { width - 1 - x } else { x },
                    self.shift[1],
                    width,
                )
            })
            .collect();
        for (row, out) in out.chunks_mut(width.max(1)).enumerate() {
            let (plane, y) = (row / height.max(1), row % height.max(1));
            let start = (plane * height + from(y, self.shift[0], height)) * width;
            let source = &image[start..start + width];
            out.iter_mut()
                .zip(&columns)
                .for_each(|(out, &x)| *out = source[x]);
        }
    }
}

/// Zero outside the plane.
fn bilinear(plane: &[f32], [height, width]: [usize; 2], y: f32, x: f32) -> f32 {
    let ([y0, wy], [x0, wx]) = (split(y), split(x));
    let (y0, x0) = (y0 as isize, x0 as isize);
    let inside = |v: isize, size: usize| v >= 0 && v + 1 < size as isize;
    let corners = if inside(y0, height) && inside(x0, width) {
        let at = y0 as usize * width + x0 as usize;
        let (above, below) = (&plane[at..at + 2], &plane[at + width..at + width + 2]);
        [above[0], above[1], below[0], below[1]]
    } else {
        let at = |y: isize, x: isize| {
            let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
            if inside {
                plane[y as usize * width + x as usize]
            } else {
                0.0
            }
        };
        [
            at(y0, x0),
            at(y0, x0 + 1),
            at(y0 + 1, x0),
            at(y0 + 1, x0 + 1),
        ]
    };
    let across = |left: f32, right: f32| left * (1.0 - wx) + right * wx;
    across(corners[0], corners[1]) * (1.0 - wy) + across(corners[2], corners[3]) * wy
}

/// The whole number below and the rest; a call of `floor` takes longer than all else here.
fn split(v: f32) -> [f32; 2] {
    let towards_zero = v as i32 as f32;
    let below = towards_zero - f32::from(u8::from(v < towards_zero));
    [below, v - below]
}

impl FromStr for Augment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::default()),
            "default" => return Ok(Self::DEFAULT),
            _ => {}
        }
        let mut augment = Self::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let bare = |full: &'static str| full.trim_start_matches("augment.");
            let mut amounts = augment.amounts_mut().into_iter();
            let field = amounts.find(|(full, _)| bare(full) == name);
            let known = || Self::NONE.amounts().map(|(full, _)| bare(full));
            let hint = || meant(name, ["none", "default"].into_iter().chain(known()));
            let (_, field) = field.ok_or_else(|| format!("{EXPECTED}{}", hint()))?;
            let number = value
                .parse()
                .ok()
                .filter(|v: &f32| v.is_finite() && *v >= 0.0);
            *field = number.ok_or(EXPECTED)?;
        }
        match augment {
            Self { scale: 1.0.., .. } => Err("scale must be below 1".into()),
            Self { flip, .. } if flip > 1.0 => {
                Err("flip must be at most 1, the share mirrored".into())
            }
            _ => Ok(augment),
        }
    }
}

const EXPECTED: &str = "expected default, none, or amounts such as shift=2,rotate=10,scale=0.1,shear=0.1, for sound slide=5,level=0.5,noise=0.1,mask_rows=8,mask_columns=4, for pictures crop=4,flip=0.5";

#[cfg(test)]
mod tests {
    use super::*;

    fn distort(matrix: [f32; 4], shift: [f32; 2]) -> Vec<f32> {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let mut out = vec![0.0; 9];
        Inverse { matrix, shift }.apply(&image, [1, 3, 3], &mut out);
        out
    }

    #[test]
    fn identity_shift_and_quarter_turn_are_exact() {
        let identity = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(
            distort(identity, [0.0, 0.0]),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        );
        assert_eq!(
            distort(identity, [1.0, 0.0]),
            [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        );
        assert_eq!(
            distort(identity, [0.0, -1.0]),
            [2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 8.0, 9.0, 0.0]
        );
        assert_eq!(
            distort([0.0, 1.0, -1.0, 0.0], [0.0, 0.0]),
            [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0]
        );
    }

    #[test]
    fn the_drawn_matrix_inverts_scaling_after_shearing_after_rotation() {
        use rand::SeedableRng;
        let augment = Augment {
            scale: 0.5,
            ..Augment::default()
        };
        let inverse = augment.draw(&mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
        assert!(inverse.matrix[1] == 0.0 && inverse.matrix[2] == 0.0);
        assert!(
            (1.0 / 1.5..=2.0).contains(&inverse.matrix[0]),
            "{:?}",
            inverse.matrix
        );
        let augment = Augment {
            rotate: 30.0,
            ..Augment::default()
        };
        let [a, b, c, d] = augment
            .draw(&mut rand_chacha::ChaCha8Rng::seed_from_u64(2))
            .matrix;
        assert!((a * d - b * c - 1.0).abs() < 1e-6 && (a - d).abs() < 1e-6 && (b + c).abs() < 1e-6);
    }

    fn changed(text: &str, seed: u64) -> Vec<f32> {
        use rand::SeedableRng;
        let augment: Augment = text.parse().expect("valid");
        let image = [[0.0; 24], [2.0; 24]].concat();
        let mut out = vec![9.0; 48];
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        augment.apply(&image, [1, 8, 6], &mut rng, &mut out);
        out
    }

    #[test]
    fn levels_and_noise_change_what_is_there() {
        for seed in 0..20 {
            let quiet = changed("level=0.5", seed);
            let (silent, heard) = quiet.split_at(24);
            assert!(silent.iter().all(|&v| v == 0.0));
            assert!(
                heard
                    .iter()
                    .all(|&v| v == heard[0] && (1.5..=2.5).contains(&v))
            );
            let noisy = changed("noise=0.1", seed);
            let mean = noisy[24..].iter().sum::<f32>() / 24.0;
            assert!(
                noisy[..24].iter().all(|&v| v == 0.0) && (mean - 2.0).abs() < 0.1,
                "{mean}"
            );
            assert!(noisy[24] != noisy[25]);
            assert!(changed("level=50", seed).iter().all(|&v| v >= 0.0));
        }
    }

    #[test]
    fn masks_are_strips_of_rows_and_columns() {
        let (mut rows, mut columns) = (0, 0);
        for seed in 0..50 {
            let zero = |out: &[f32], row: usize, column: usize| out[row * 6 + column] == 0.0;
            let out = changed("mask_rows=2", seed);
            let masked: Vec<usize> = (4..8).filter(|&r| zero(&out, r, 0)).collect();
            assert!(
                masked.len() <= 2
                    && (4..8).all(|r| (0..6).all(|c| zero(&out, r, c) == zero(&out, r, 0)))
            );
            let out = changed("mask_columns=3", seed);
            let strip: Vec<usize> = (0..6).filter(|&c| zero(&out, 4, c)).collect();
            assert!(strip.len() <= 3 && strip.windows(2).all(|w| w[1] == w[0] + 1));
            (rows, columns) = (rows.max(masked.len()), columns.max(strip.len()));
        }
        assert_eq!((rows, columns), (2, 3), "the bounds are reached");
    }

    #[test]
    fn sliding_moves_rows_alone() {
        for seed in 0..20 {
            let out = changed("slide=3", seed);
            assert!(
                out.chunks(6)
                    .all(|row| row.iter().all(|v| (v - row[0]).abs() < 1e-6)),
                "{out:?}"
            );
        }
    }

    #[test]
    fn amounts_are_read_and_mistakes_named() {
        assert_eq!("default".parse::<Augment>(), Ok(Augment::DEFAULT));
        assert_eq!(
            "shift=2,rotate=10,scale=0.1,shear=0.1".parse::<Augment>(),
            Ok(Augment::DEFAULT)
        );
        assert_eq!("none".parse::<Augment>(), Ok(Augment::default()));
        for bad in [
            "shft=2",
            "augment.shift=2",
            "shift",
            "shift=-1",
            "shift=NaN",
            "scale=1.5",
            "crop=x",
            "flip=2",
        ] {
            assert!(bad.parse::<Augment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn moves_repeat_the_border_and_mirror() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let moved = |shift, mirrored| {
            let mut out = vec![0.0; 6];
            Move { shift, mirrored }.apply(&image, [1, 2, 3], &mut out);
            out
        };
        assert_eq!(moved([0, 0], false), image);
        assert_eq!(moved([0, 0], true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(moved([1, -2], false), [4.0, 4.0, 4.0, 4.0, 4.0, 4.0]);
        assert_eq!(moved([-1, 1], false), [2.0, 3.0, 3.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn crops_keep_to_their_bound_and_half_the_images_are_mirrored() {
        use rand::SeedableRng;
        let augment: Augment = "crop=1,flip=0.5".parse().expect("amounts");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let draws: Vec<Move> = (0..1000).map(|_| augment.draw_move(&mut rng)).collect();
        let shifts = draws.iter().flat_map(|d| d.shift);
        let seen: std::collections::BTreeSet<isize> = shifts.collect();
        assert_eq!(seen, [-1, 0, 1].into());
        let mirrored = draws.iter().filter(|d| d.mirrored).count();
        assert!((400..600).contains(&mirrored), "{mirrored}");
    }
}
