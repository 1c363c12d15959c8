use crate::names::meant;
use rand::{Rng, RngExt};
use std::str::FromStr;

/// Random distortion of an image: affine around its centre, bilinear, zeros outside; then by whole
/// pixels. Each amount is the bound of a uniform draw on both sides of none; all zero leaves images
/// alone.
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
    /// Whole pixels, vertical and horizontal, the border's pixels repeated: an image padded by so
    /// many on every side and cropped to its size.
    pub crop: u16,
    /// Whether every other image is mirrored, left to right.
    pub flip: bool,
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
        crop: 0,
        flip: false,
    };

    /// Writes a distorted `image` of shape `[channels, height, width]` to `out`, of equal length.
    pub fn apply(&self, image: &[f32], shape: [usize; 3], rng: &mut impl Rng, out: &mut [f32]) {
        let affine = Self {
            crop: 0,
            flip: false,
            ..*self
        };
        if affine.is_none() {
            return self.draw_move(rng).apply(image, shape, out);
        }
        self.draw(rng).apply(image, shape, out);
        if affine != *self {
            let distorted = out.to_vec();
            self.draw_move(rng).apply(&distorted, shape, out);
        }
    }

    fn draw_move(&self, rng: &mut impl Rng) -> Move {
        let crop = i32::from(self.crop);
        let mut pixels = || rng.random_range(-crop..=crop) as isize;
        let shift = [pixels(), pixels()];
        let mirrored = self.flip && rng.random();
        Move { shift, mirrored }
    }

    /// The inverse of scaling after shearing after rotation, around the centre, then a shift.
    fn draw(&self, rng: &mut impl Rng) -> Inverse {
        let mut uniform = |bound: f32| {
            if bound > 0.0 {
                rng.random_range(-bound..=bound)
            } else {
                0.0
            }
        };
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
            shift: [uniform(self.shift), uniform(self.shift)],
        }
    }
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

fn bilinear(plane: &[f32], [height, width]: [usize; 2], y: f32, x: f32) -> f32 {
    let (y0, x0) = (y.floor(), x.floor());
    let (wy, wx) = (y - y0, x - x0);
    let (y0, x0) = (y0 as isize, x0 as isize);
    let at = |y: isize, x: isize| {
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        if inside {
            plane[y as usize * width + x as usize]
        } else {
            0.0
        }
    };
    (at(y0, x0) * (1.0 - wx) + at(y0, x0 + 1) * wx) * (1.0 - wy)
        + (at(y0 + 1, x0) * (1.0 - wx) + at(y0 + 1, x0 + 1) * wx) * wy
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
            augment.set(part)?;
        }
        if augment.scale < 1.0 {
            Ok(augment)
        } else {
            Err("scale must be below 1".into())
        }
    }
}

impl Augment {
    /// Sets one amount from `name=value`, or `flip`.
    fn set(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let field = match name {
            "flip" if value.is_empty() => {
                self.flip = true;
                return Ok(());
            }
            "crop" => {
                self.crop = value.parse().map_err(|_| EXPECTED)?;
                return Ok(());
            }
            "shift" => &mut self.shift,
            "rotate" => &mut self.rotate,
            "scale" => &mut self.scale,
            "shear" => &mut self.shear,
            _ => {
                let known = [
                    "none", "default", "shift", "rotate", "scale", "shear", "crop", "flip",
                ];
                return Err(format!("{EXPECTED}{}", meant(name, known)));
            }
        };
        let number = value
            .parse()
            .ok()
            .filter(|v: &f32| v.is_finite() && *v >= 0.0);
        *field = number.ok_or(EXPECTED)?;
        Ok(())
    }
}

const EXPECTED: &str =
    "expected default, none, or amounts such as shift=2,rotate=10,scale=0.1,shear=0.1,crop=4,flip";

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
            rotate: 0.0,
            shear: 0.0,
            shift: 0.0,
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
            "shift",
            "shift=-1",
            "shift=NaN",
            "scale=1.5",
            "crop=x",
            "crop=0.5",
            "flip=1",
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
        let augment: Augment = "crop=1,flip".parse().expect("amounts");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let draws: Vec<Move> = (0..1000).map(|_| augment.draw_move(&mut rng)).collect();
        let shifts = draws.iter().flat_map(|d| d.shift);
        let seen: std::collections::BTreeSet<isize> = shifts.collect();
        assert_eq!(seen, [-1, 0, 1].into());
        let mirrored = draws.iter().filter(|d| d.mirrored).count();
        assert!((400..600).contains(&mirrored), "{mirrored}");
    }
}
