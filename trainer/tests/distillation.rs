//! Learning from teachers: the gradient of soft targets in closed form, and what labels then count.

#![allow(clippy::unwrap_used)]

mod common;
mod networks;

use networks::perceptron;
use trainer::data::{Augment, Dataset};
use trainer::graph::{Graph, Op, Parameter};
use trainer::train::{NoHook, Optimizer, Progress, Schedule, TrainConfig, TrainError, distill};

const INPUTS: [f32; 3] = [0.5, -1.0, 2.0];

/// Three outputs, `W·x` of three inputs.
fn linear(name: &str, weights: [f32; 9]) -> Graph {
    let mut graph = Graph::new(name, "x", &[3]);
    let weight = graph.add_parameter(Parameter::dense("w", &[3, 3], weights.to_vec()));
    graph
        .push("fc", Op::Gemm { weight, bias: None }, &[graph.input])
        .unwrap();
    graph
}

fn one_example(label: u32) -> Dataset {
    Dataset {
        input_shape: vec![3],
        inputs: INPUTS.to_vec(),
        labels: vec![label],
        classes: 3,
        ..Dataset::default()
    }
}

/// One plain step at rate 1.
fn taught(
    student: &Graph,
    teachers: &[Graph],
    label: u32,
    soft: f64,
    temperature: f64,
) -> Result<Graph, TrainError> {
    let mut graph = student.clone();
    let config = TrainConfig {
        epochs: 1,
        batch: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        schedule: Schedule::Constant,
        soft,
        temperature,
        ..TrainConfig::default()
    };
    let data = one_example(label);
    let silent = Progress::Silent;
    distill(
        &mut graph,
        teachers,
        &data,
        None,
        &config,
        &mut NoHook,
        silent,
    )?;
    Ok(graph)
}

/// softmax(W·x / temperature)
fn answer(graph: &Graph, temperature: f64) -> Vec<f64> {
    let weights = graph.parameters[0].free();
    let row = |w: &[f32]| -> f64 {
        let terms = w
            .iter()
            .zip(INPUTS)
            .map(|(&w, x)| f64::from(w) * f64::from(x));
        terms.sum()
    };
    let powers: Vec<f64> = weights
        .chunks(3)
        .map(|w| (row(w) / temperature).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

fn student() -> Graph {
    linear("student", [0.1, 0.3, -0.2, 0.4, -0.6, 0.2, 0.0, 0.5, -0.1])
}

fn ensemble() -> Vec<Graph> {
    vec![
        linear("one", [1.0, 0.2, 0.3, -0.5, 0.6, 0.1, 0.2, 0.2, -0.9]),
        linear("two", [0.3, -0.7, 0.5, 0.1, 0.1, 0.4, -0.6, 0.8, 0.2]),
    ]
}

#[test]
fn a_step_follows_labels_and_the_ensembles_mean_in_their_shares() {
    let (soft, temperature, label) = (0.75, 2.0, 1);
    let after = taught(&student(), &ensemble(), label, soft, temperature).unwrap();
    let (now, warm) = (answer(&student(), 1.0), answer(&student(), temperature));
    let said: Vec<Vec<f64>> = ensemble().iter().map(|g| answer(g, temperature)).collect();
    // T²·d/dv of cross-entropy with softmax(v/T) is T·(p − q).
    let slope = |class: usize| {
        let hard = now[class] - f64::from(u8::from(class == label as usize));
        (1.0 - soft) * hard
            + soft * temperature * (warm[class] - (said[0][class] + said[1][class]) / 2.0)
    };
    let (before, student) = (student(), after);
    let pairs = before.parameters[0].free().iter();
    for (place, (a, b)) in pairs.zip(student.parameters[0].free()).enumerate() {
        let expected = slope(place / 3) * f64::from(INPUTS[place % 3]);
        let moved = f64::from(a - b);
        assert!(
            (moved - expected).abs() < 1e-5,
            "{place}: {moved}, {expected}"
        );
    }
}

#[test]
fn soft_targets_alone_leave_the_labels_unused() {
    let step = |label| taught(&student(), &ensemble(), label, 1.0, 1.0).unwrap();
    assert_eq!(step(0), step(2));
    let mixed = |label| taught(&student(), &ensemble(), label, 0.5, 1.0).unwrap();
    assert_ne!(mixed(0), mixed(2));
}

#[test]
fn a_student_that_is_its_own_teacher_stays_as_it_is() {
    let after = taught(&student(), &[student()], 0, 1.0, 3.0).unwrap();
    let pairs = student().parameters[0].free().to_vec();
    let moved = pairs.iter().zip(after.parameters[0].free());
    assert!(moved.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-6);
}

#[test]
fn a_teacher_of_other_outputs_is_refused() {
    let error = taught(&student(), &[perceptron(&[3, 5])], 0, 1.0, 1.0).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'perceptron' has 5 outputs, its student 3"),
        "{error}"
    );
}

#[test]
fn examples_without_labels_teach_by_what_the_teachers_say_of_them_alone() {
    let unlabelled = Dataset {
        labels: Vec::new(),
        ..one_example(0)
    };
    let step = |teachers: &[Graph], soft| {
        let mut graph = student();
        let config = TrainConfig {
            soft,
            ..TrainConfig::default()
        };
        let silent = Progress::Silent;
        distill(
            &mut graph,
            teachers,
            &unlabelled,
            None,
            &config,
            &mut NoHook,
            silent,
        )
    };
    assert!(step(&ensemble(), 1.0).is_ok());
    for refused in [step(&ensemble(), 0.5), step(&[], 1.0)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("have no labels"), "{error}");
    }
}

/// A step on an image that is mirrored for certain, by what one teacher says, against the same step on its
/// mirror image by what two say who see every image as it is: the teacher, and one with its weights mirrored.
#[test]
fn a_teacher_answers_by_the_mean_of_an_image_and_its_mirror_image() {
    let teacher = linear("one", [1.0, 0.2, 0.3, -0.5, 0.6, 0.1, 0.2, 0.2, -0.9]);
    let in_the_mirror = linear("two", [0.3, 0.2, 1.0, 0.1, 0.6, -0.5, -0.9, 0.2, 0.2]);
    let step = |teachers: &[Graph], inputs: [f32; 3], flip: f32| {
        let mut graph = student();
        let data = Dataset {
            input_shape: vec![1, 1, 3],
            inputs: inputs.to_vec(),
            ..one_example(0)
        };
        let config = TrainConfig {
            epochs: 1,
            batch: 1,
            optimizer: Optimizer::Sgd,
            learning_rate: 1.0,
            augment: Augment {
                flip,
                ..Augment::default()
            },
            ..TrainConfig::default()
        };
        let silent = Progress::Silent;
        distill(
            &mut graph,
            teachers,
            &data,
            None,
            &config,
            &mut NoHook,
            silent,
        )
        .unwrap();
        graph.parameters[0].free().to_vec()
    };
    let [a, b, c] = INPUTS;
    let mirrored = step(std::slice::from_ref(&teacher), INPUTS, 1.0);
    let plain = step(&[teacher, in_the_mirror], [c, b, a], 0.0);
    let pairs = mirrored.iter().zip(&plain);
    assert!(
        pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
        "{mirrored:?}, {plain:?}"
    );
}

/// Without distortion teachers are asked once; with it, at every step, here about the same inputs: what is
/// the same in a mirror.
#[test]
fn teachers_asked_at_every_step_say_what_they_say_once() {
    let mirrored = Dataset {
        input_shape: vec![1, 1, 3],
        inputs: vec![0.5, -1.0, 0.5, 0.25, 2.0, 0.25],
        labels: vec![0, 2],
        ..one_example(0)
    };
    let step = |flip: f32| {
        let mut graph = student();
        let config = TrainConfig {
            epochs: 2,
            batch: 1,
            augment: Augment {
                flip,
                ..Augment::default()
            },
            temperature: 2.0,
            ..TrainConfig::default()
        };
        let silent = Progress::Silent;
        distill(
            &mut graph,
            &ensemble(),
            &mirrored,
            None,
            &config,
            &mut NoHook,
            silent,
        )
        .unwrap();
        graph
    };
    assert_eq!(step(0.0), step(1.0));
    assert_ne!(step(0.0), student());
}
