//! The front end against a direct computation in double precision, on signals that are hardest for it.
#![allow(clippy::expect_used)]

use edge_runtime::frontend::{FrontEnd, Kind, Parameters};
use std::f64::consts::{PI, TAU};

/// Numbers of a description that the oracle needs and the parameters do not show.
struct Text<'t>(&'t str);

impl Text<'_> {
    fn number(&self, name: &str) -> f64 {
        let word = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
        self.0.split(' ').find_map(word).expect(name)
    }
}

/// The features of one frame as real numbers in units of int8, and which of them hear enough.
fn oracle(text: &str, frame: &[i16]) -> (Vec<f64>, Vec<bool>) {
    let p = Parameters::parse(text).expect("valid");
    let n = p.fft() as f64;
    let hann = |i: usize| (PI * i as f64 / frame.len() as f64).sin().powi(2);
    let windowed: Vec<f64> = frame
        .iter()
        .enumerate()
        .map(|(i, &s)| f64::from(s) * hann(i))
        .collect();
    let mel = |hertz: f64| (1.0 + hertz / 700.0).ln();
    let (low, high) = (
        mel(Text(text).number("low")),
        mel(Text(text).number("high")),
    );
    let mut energies = vec![0.0; p.mels()];
    for bin in 1..p.fft() / 2 {
        let at = (mel(bin as f64 * f64::from(p.rate()) / n) - low) / (high - low)
            * (p.mels() + 1) as f64;
        let (mut re, mut im) = (0.0, 0.0);
        for (i, x) in windowed.iter().enumerate() {
            let angle = TAU * ((bin * i) % p.fft()) as f64 / n;
            re += x * angle.cos();
            im -= x * angle.sin();
        }
        for (band, energy) in energies.iter_mut().enumerate() {
            *energy += (1.0 - (at - (band + 1) as f64).abs()).max(0.0) * (re * re + im * im);
        }
    }
    // Parseval: the energy of all bins below half the rate.
    let whole = n / 2.0 * windowed.iter().map(|x| x * x).sum::<f64>();
    let enough = (whole / 2f64.powi(24)).max(4096.0);
    let mut heard: Vec<bool> = energies.iter().map(|&e| e >= enough).collect();
    if p.kind() == Kind::Mfcc {
        heard = vec![heard.iter().all(|&h| h); p.frame_len()];
    }
    let logs: Vec<f64> = energies
        .iter()
        .map(|e| e.max(1e-9).log2() - Text(text).number("floor"))
        .collect();
    let bands = p.mels() as f64;
    let steps = Text(text).number("steps");
    let features = match p.kind() {
        Kind::LogMel => logs.iter().map(|l| l * steps - 128.0).collect(),
        Kind::Mfcc => (0..p.frame_len())
            .map(|k| {
                let cos = |m: usize| (PI * k as f64 * (m as f64 + 0.5) / bands).cos();
                let sum: f64 = logs.iter().enumerate().map(|(m, l)| l * cos(m)).sum();
                if k == 0 {
                    sum / bands * steps - 128.0
                } else {
                    sum * (2.0 / bands).sqrt() * steps
                }
            })
            .collect(),
    };
    (features, heard)
}

const SPECS: [&str; 5] = [
    "log-mel rate=8000 window=256 hop=128 fft=256 mels=32 low=60 high=3800 floor=8 steps=8 frames=3",
    "log-mel rate=8000 window=200 hop=80 fft=256 mels=20 low=0 high=4000 floor=11 steps=7 frames=5",
    "log-mel rate=16000 window=401 hop=160 fft=512 mels=40 low=20 high=7600 floor=8 steps=8 frames=4",
    "mfcc rate=16000 window=512 hop=512 fft=1024 mels=40 low=20 high=8000 floor=8 steps=8 frames=2 coefficients=13",
    "mfcc rate=44100 window=2048 hop=1000 fft=2048 mels=64 low=50 high=20000 floor=8 steps=8 frames=2 coefficients=20",
];

/// Noise, tones, squares and impulses at their loudest and softest.
fn signals(length: usize) -> Vec<(&'static str, Vec<i16>)> {
    let make = |of: &dyn Fn(usize) -> i16| (0..length).map(of).collect::<Vec<_>>();
    let noise = |i: usize| {
        let mut x = i as u64 + 1;
        for _ in 0..4 {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            x ^= x >> 29;
        }
        (x >> 20) as i16
    };
    vec![
        ("full noise", make(&noise)),
        ("soft noise", make(&|i| noise(i) >> 8)),
        (
            "square",
            make(&|i| if i / 9 % 2 == 0 { i16::MAX } else { i16::MIN }),
        ),
        (
            "alternating",
            make(&|i| if i % 2 == 0 { i16::MAX } else { i16::MIN }),
        ),
        ("least", make(&|_| i16::MIN)),
        ("most", make(&|_| i16::MAX)),
        (
            "impulse",
            make(&|i| if i % 61 == 30 { i16::MIN } else { 0 }),
        ),
        ("tone", make(&|i| ((i as f64 * 0.3).sin() * 32767.0) as i16)),
        (
            "tone in noise",
            make(&|i| ((i as f64 * 0.3).sin() * 20000.0) as i16 + (noise(i) >> 7)),
        ),
        ("silence", make(&|_| 0)),
        ("a unit", make(&|i| noise(i) & 1)),
    ]
}

fn clip(p: &Parameters, samples: &[i16]) -> Vec<i8> {
    let needed = p.workspace();
    let (mut words, mut halves) = (vec![77; needed.words], vec![-77; needed.halves]);
    let mut features = vec![99; p.features()];
    let mut front_end = FrontEnd::new(p, &mut words, &mut halves).expect("just enough");
    front_end.clip(samples, &mut features);
    features
}

/// Compared is all that hears at least 2¹² squared units, and not 72 dB less than the whole frame:
/// further down, the window's 16 bits show.
#[test]
fn features_are_those_of_a_direct_computation() {
    for text in SPECS {
        let p = Parameters::parse(text).expect("valid");
        let (mut compared, mut worst) = (0, 0.0f64);
        for (name, samples) in signals(p.samples()) {
            let features = clip(&p, &samples);
            for (f, got) in features.chunks(p.frame_len()).enumerate() {
                let (expected, heard) = oracle(text, &samples[f * p.hop()..][..p.window()]);
                for (k, (&q, real)) in got
                    .iter()
                    .zip(expected)
                    .enumerate()
                    .filter(|(k, _)| heard[*k])
                {
                    let error = (f64::from(q) - real.clamp(-128.0, 127.0)).abs();
                    assert!(
                        error < 0.55,
                        "{text}\n{name}, frame {f}, {k}: {q}, not {real}"
                    );
                    (compared, worst) = (compared + 1, worst.max(error));
                }
            }
        }
        println!("{compared} compared, worst {worst}: {text}");
        assert!(compared > 50, "{compared}: {text}");
    }
}

/// Where some band hears nothing there is no logarithm to compare with, but an end of the range.
#[test]
fn silence_is_the_floor() {
    for text in SPECS {
        let p = Parameters::parse(text).expect("valid");
        let features = clip(&p, &vec![0; p.samples()]);
        for frame in features.chunks(p.frame_len()) {
            let others = if p.kind() == Kind::Mfcc { 0 } else { -128 };
            assert!(
                frame[0] == -128 && frame[1..].iter().all(|&q| q == others),
                "{text}: {frame:?}"
            );
        }
    }
}

#[test]
fn streaming_gives_each_frame_as_if_it_were_alone() {
    for text in SPECS {
        let p = Parameters::parse(text).expect("valid");
        let one = Parameters::parse(&text.replace(&format!("frames={}", p.frames()), "frames=1"));
        let one = one.expect("valid");
        let (_, samples) = signals(3 * p.samples() + 17).swap_remove(0);
        let needed = p.workspace();
        let (mut words, mut halves) = (vec![0; needed.words], vec![0; needed.halves]);
        let mut front_end = FrontEnd::new(&p, &mut words, &mut halves).expect("just enough");
        let (mut frame, mut frames) = (vec![0; p.frame_len()], 0);
        for (i, &sample) in samples.iter().enumerate() {
            if front_end.push(sample, &mut frame) {
                assert_eq!(i + 1, frames * p.hop() + p.window());
                assert_eq!(
                    frame,
                    clip(&one, &samples[i + 1 - p.window()..=i]),
                    "{text}"
                );
                frames += 1;
            }
        }
        assert_eq!(frames, (samples.len() - p.window()) / p.hop() + 1);
    }
}

#[test]
fn clips_are_centred() {
    let p = Parameters::parse(SPECS[0]).expect("valid");
    let (_, whole) = signals(p.samples()).swap_remove(0);
    let features = clip(&p, &whole);
    let longer = [&[i16::MAX; 50][..], &whole, &[i16::MIN; 51]].concat();
    assert_eq!(clip(&p, &longer), features);
    let part = &whole[100..whole.len() - 101];
    let silent = [&[0; 100][..], part, &[0; 101]].concat();
    assert_eq!(clip(&p, part), clip(&p, &silent));
    assert_eq!(clip(&p, &[]), clip(&p, &vec![0; p.samples()]));
}

#[test]
fn too_small_a_workspace_is_refused() {
    let p = Parameters::parse(SPECS[3]).expect("valid");
    let needed = p.workspace();
    for (fewer_words, fewer_halves) in [(1, 0), (0, 1)] {
        let mut words = vec![0; needed.words - fewer_words];
        let mut halves = vec![0; needed.halves - fewer_halves];
        let error = FrontEnd::new(&p, &mut words, &mut halves).expect_err("too small");
        assert_eq!(error.needed, needed);
    }
}
