use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// At most N of every M neighbouring inputs of an output (of a convolution tap by tap, channels innermost)
/// are left, as in `2:4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// N.
    pub keep: usize,
    /// M.
    pub of: usize,
}

/// Longest group.
const MOST: usize = 64;

impl Pattern {
    /// Share that goes.
    pub fn share(self) -> f64 {
        1.0 - self.keep as f64 / self.of as f64
    }

    /// How many of a group stay while only this share goes.
    pub(super) fn kept(self, share: f64) -> usize {
        self.of - (share * self.of as f64).round() as usize
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').map(|(n, m)| (n.parse(), m.parse()));
        match numbers {
            Some((Ok(keep), Ok(of))) if 0 < keep && keep < of && of <= MOST => {
                Ok(Self { keep, of })
            }
            _ => Err(format!(
                "a pattern must be N:M with 1 ≤ N < M ≤ {MOST}, as in 2:4, not '{text}'"
            )),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.keep, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_written() {
        let pattern: Pattern = "2:4".parse().expect("a pattern");
        assert_eq!((pattern.keep, pattern.of), (2, 4));
        assert_eq!(pattern.to_string(), "2:4");
        assert_eq!([0.0, 0.25, 0.5].map(|s| pattern.kept(s)), [4, 3, 2]);
        for bad in ["4:2", "0:4", "4:4", "2", "2:", "a:b", "2:65", "-1:4"] {
            let error = bad.parse::<Pattern>().expect_err(bad);
            assert!(error.ends_with(&format!("not '{bad}'")), "{error}");
        }
    }
}
