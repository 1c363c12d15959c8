use super::*;
use hound::WavWriter;
use std::fs;

const SPEC: WavSpec = WavSpec {
    channels: 1,
    sample_rate: 8000,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

/// A tone at a multiple of 100 Hz, of this many samples.
fn tone(path: &Path, spec: WavSpec, pitch: usize, length: usize) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut writer = WavWriter::create(path, spec).expect("created");
    for i in 0..length {
        let angle =
            i as f32 * std::f32::consts::TAU * pitch as f32 * 100.0 / spec.sample_rate as f32;
        let sample = (angle.sin() * 8000.0) as i16;
        for _ in 0..spec.channels {
            writer.write_sample(sample).expect("written");
        }
    }
    writer.finalize().expect("finished");
}

fn never(_: Dataset) -> Result<Splits, DataError> {
    panic!("there is a test split")
}

fn load(dir: &Path) -> Result<Splits, DataError> {
    clips(dir, &AudioFeatures::default(), never)
}

/// Digits 0 and 3 of one speaker, indices 3 to 6.
fn spoken(dir: &Path) {
    for digit in [0, 3] {
        for index in 3..7 {
            let path = dir.join(format!("{digit}_anna_{index}.wav"));
            tone(&path, SPEC, 5 + 5 * digit, 4000);
        }
    }
}

#[test]
fn digits_are_read_from_names_and_small_indices_are_the_test() {
    let dir = tempfile::tempdir().expect("a folder");
    spoken(&dir.path().join("recordings"));
    let splits = load(dir.path()).expect("read");
    assert_eq!(splits.train.labels, [0, 0, 3, 3]);
    assert_eq!((splits.test.labels.len(), splits.test.classes), (4, 10));
    assert_eq!(splits.train.input_shape, [1, 61, 32]);
    assert_eq!(load(&dir.path().join("recordings")).expect("read"), splits);
}

/// The bands of the two tones differ, and so must the features' largest ones; around a clip is
/// silence, which is 0.
#[test]
fn features_are_of_the_sound() {
    let dir = tempfile::tempdir().expect("a folder");
    spoken(dir.path());
    let data = load(dir.path()).expect("read").train;
    let loudest = |i: usize| {
        let frame = &data.input(i)[30 * 32..31 * 32];
        let most = frame.iter().copied().fold(0.0, f32::max);
        frame.iter().position(|&v| v == most).expect("a band")
    };
    // 500 and 2,000 Hz, on a scale of 32 bands between 60 and 3,800 Hz in mel.
    let mel = |hertz: f64| (1.0 + hertz / 700.0).ln();
    let band = |hertz| (33.0 * (mel(hertz) - mel(60.0)) / (mel(3800.0) - mel(60.0)) - 1.0).round();
    assert_eq!(
        [loudest(0), loudest(2)].map(|b| b as f64),
        [band(500.0), band(2000.0)]
    );
    assert!(data.input(0)[..32].iter().all(|&v| v == 0.0));
}

/// The image's input must quantize them to the integers they came from.
#[test]
fn features_stand_for_the_front_ends_integers() {
    let dir = tempfile::tempdir().expect("a folder");
    spoken(dir.path());
    for (text, zero_point) in [("d", -128), ("d,features=mfcc,mels=20,coefficients=10", 0)] {
        let (_, features) = AudioFeatures::split(text).expect("valid");
        let data = clips(dir.path(), &features, never).expect("read").train;
        let p = Parameters::parse(&data.metadata[Parameters::KEY]).expect("valid");
        let mut workspace = Workspace::of(&p);
        workspace
            .features(&p, &dir.path().join("0_anna_5.wav"))
            .expect("read");
        let back = |v: &f32| (v * 32.0) as i32 + zero_point;
        let integers: Vec<i32> = data.input(0).iter().map(back).collect();
        let expected: Vec<i32> = workspace.features.iter().map(|&q| q.into()).collect();
        assert_eq!(integers, expected);
    }
}

#[test]
fn folders_are_classes() {
    let dir = tempfile::tempdir().expect("a folder");
    for (split, count) in [("train", 3), ("test", 1)] {
        for (class, name) in ["no", "yes"].iter().enumerate() {
            for i in 0..count {
                let path = dir.path().join(split).join(name).join(format!("{i}.WAV"));
                tone(&path, SPEC, 5 + class, 100);
            }
        }
    }
    let splits = load(dir.path()).expect("read");
    assert_eq!(
        (
            splits.train.labels.as_slice(),
            splits.test.labels.as_slice()
        ),
        (&[0, 0, 0, 1, 1, 1][..], &[0, 1][..])
    );
    let kept = std::cell::Cell::new(0);
    let keep = |all: Dataset| {
        kept.set(all.len());
        Ok(Splits {
            train: all.clone(),
            test: all,
        })
    };
    clips(&dir.path().join("train"), &AudioFeatures::default(), keep).expect("read");
    assert_eq!(kept.get(), 6);
}

#[test]
fn usual_values_follow_the_rate_and_what_is_given_replaces_them() {
    let at = |text: &str, rate| AudioFeatures::split(text).expect("valid").1.at(rate);
    for rate in [8000, 11025, 16000, 22050, 44100, 48000] {
        let p = at("d", rate).expect("usual");
        let length = p.samples() as f64 / f64::from(rate);
        assert!((0.95..=1.0).contains(&length), "{p}");
        assert!(at("d,features=mfcc", rate).is_ok());
    }
    let p = at("d,mels=20,frames=3", 8000).expect("valid");
    assert_eq!((p.mels(), p.frames(), p.window()), (20, 3, 256));
    assert!(
        at("d,mels=128", 8000)
            .expect_err("too many")
            .contains("fewer mels")
    );
    assert!(
        at("d", 500)
            .expect_err("too slow")
            .contains("rate must be from 1000")
    );
    assert!(at("d", 96_000).expect_err("too fast").contains("rate"));
}

#[test]
fn what_is_wrong_names_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = || load(dir.path()).expect_err("wrong").to_string();
    assert!(error().contains("a folder for each class, with WAV files"));
    spoken(dir.path());
    let odd = dir.path().join("1_anna_9.wav");
    let says = |expected: &str| {
        let said = error();
        assert!(
            said.contains("1_anna_9.wav: ") && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains('\n'));
    };
    let stereo = WavSpec {
        channels: 2,
        ..SPEC
    };
    tone(&odd, stereo, 5, 100);
    says("2 channels; mix it down");
    tone(
        &odd,
        WavSpec {
            bits_per_sample: 24,
            ..SPEC
        },
        5,
        100,
    );
    says("24 bits a sample; convert it to 16-bit PCM");
    tone(
        &odd,
        WavSpec {
            sample_rate: 16000,
            ..SPEC
        },
        5,
        100,
    );
    says("16000 samples a second, not 8000");
    tone(&odd, SPEC, 5, 0);
    says("holds no samples");
    tone(&odd, SPEC, 5, 100);
    let whole = fs::read(&odd).expect("read");
    fs::write(&odd, &whole[..whole.len() - 10]).expect("written");
    says("truncated");
    fs::write(&odd, &whole[..30]).expect("written");
    says("not a WAV file");
    fs::write(&odd, "no sound").expect("written");
    says("not a WAV file");
    fs::write(&odd, "").expect("written");
    says("not a WAV file");
    fs::remove_file(&odd).expect("removed");
    let nameless = dir.path().join("hello.wav");
    tone(&nameless, SPEC, 5, 100);
    assert!(error().contains("hello.wav: expected a name of digit_speaker_index.wav"));
}
