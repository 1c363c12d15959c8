use rand::{Rng, RngExt};

/// Random affine distortion of an image around its centre, bilinear, zeros outside. Each amount is
/// the bound of a uniform draw on both sides of none; all zero leaves images alone.
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
}

impl Augment {
    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Writes a distorted `image` of shape `[channels, height, width]` to `out`, of equal length.
    pub fn apply(
        &self,
        image: &[f32],
        [channels, height, width]: [usize; 3],
        rng: &mut impl Rng,
        out: &mut [f32],
    ) {
        let [a, b, c, d, dy, dx] = self.draw(rng);
        let (cy, cx) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
        let plane = height * width;
        for y in 0..height {
            for x in 0..width {
                let (v, u) = (y as f32 - cy - dy, x as f32 - cx - dx);
                let (sy, sx) = (a * v + b * u + cy, c * v + d * u + cx);
                for channel in 0..channels {
                    let source = &image[channel * plane..(channel + 1) * plane];
                    out[channel * plane + y * width + x] =
                        bilinear(source, [height, width], sy, sx);
                }
            }
        }
    }

    /// The inverse map `[a b; c d]` (rotation, shear, scale) and the shift.
    fn draw(&self, rng: &mut impl Rng) -> [f32; 6] {
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
        [
            fy * cos,
            -fy * sin,
            fx * (sin + shear * cos),
            fx * (cos - shear * sin),
            uniform(self.shift),
            uniform(self.shift),
        ]
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
