//! The same image on the host: what the device's integers must be.

use crate::mcu::{Inputs, McuError, Run};
use edge_runtime::Session;
use no_std_core::Model;

/// The output of each input.
pub(super) fn outputs(model: &Model, inputs: &Inputs) -> Vec<Vec<i8>> {
    let mut arena = vec![0; model.arena_bytes()];
    let Ok(mut session) = Session::new(model, &mut arena) else {
        return Vec::new(); // impossible: the arena is as long as the model asks
    };
    let run = |input: &[i8]| {
        session.input_mut().copy_from_slice(input);
        session.run();
        session.output().to_vec()
    };
    inputs.iter().map(run).collect()
}

/// Compares a run, whose first input is there twice, to the unit: outputs, and the inputs where the
/// device made them of sound.
pub(super) fn compare(
    run: &Run,
    inputs: &Inputs,
    expected: &[Vec<i8>],
    name: &str,
    core: &str,
) -> Result<(), McuError> {
    let stopped = |reason: String| McuError::Stopped {
        name: name.to_owned(),
        core: core.to_owned(),
        reason,
    };
    if run.inferences.len() != expected.len() + 1 {
        return Err(stopped(format!(
            "{} inferences reported, not {}",
            run.inferences.len(),
            expected.len() + 1
        )));
    }
    let same = |what: &'static str, input, got: &[i8], expected: &[i8]| {
        if got.len() != expected.len() {
            let (got, expected) = (got.len(), expected.len());
            return Err(stopped(format!("{got} {what}s, on the host {expected}")));
        }
        let mut pairs = got.iter().zip(expected).enumerate();
        let different = pairs.find(|(_, (got, expected))| got != expected);
        different.map_or(Ok(()), |(place, (&got, &expected))| {
            Err(McuError::Differs {
                what,
                name: name.to_owned(),
                core: core.to_owned(),
                input,
                place,
                got,
                expected,
            })
        })
    };
    let fed: Vec<&[i8]> = inputs.iter().collect();
    for (place, inference) in run.inferences.iter().enumerate() {
        let input = place.saturating_sub(1);
        if inputs.is_sound() {
            let heard = inference.heard.as_ref();
            let heard = heard.map_or(&[][..], |heard| &heard.features);
            same("feature", input, heard, fed[input])?;
        }
        same("output", input, &inference.output, &expected[input])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcu::{Heard, Inference};

    fn run(outputs: &[i8], features: &[i8]) -> Run {
        let inference = |(&output, &feature): (&i8, &i8)| Inference {
            instructions: 1,
            output: vec![output],
            heard: Some(Heard {
                instructions: 1,
                features: vec![feature],
            }),
        };
        Run {
            inferences: outputs.iter().zip(features).map(inference).collect(),
            stack: 0,
            reach: 0,
        }
    }

    #[test]
    fn a_single_unit_is_a_difference() {
        let expected = [vec![3], vec![4]];
        let compare = |outputs: &[i8]| {
            let inputs = Inputs::new(1, vec![5, 6]);
            compare(&run(outputs, &[0; 3]), &inputs, &expected, "x", "m4")
        };
        assert!(compare(&[3, 3, 4]).is_ok());
        let error = compare(&[3, 3, 5]).expect_err("5 is not 4");
        assert_eq!(
            error.to_string(),
            "x on m4: output 0 of input 1 is 5, on the host 4"
        );
        assert!(compare(&[3, 2, 4]).is_err());
        assert!(compare(&[3, 4]).is_err());
    }

    #[test]
    fn so_is_one_of_a_feature() {
        let expected = [vec![3], vec![4]];
        let inputs = Inputs::sound(1, vec![5, 6], vec![vec![0]; 2]);
        let compare =
            |features: &[i8]| compare(&run(&[3, 3, 4], features), &inputs, &expected, "x", "m4");
        assert!(compare(&[5, 5, 6]).is_ok());
        let error = compare(&[5, 4, 6]).expect_err("4 is not 5");
        assert_eq!(
            error.to_string(),
            "x on m4: feature 0 of input 0 is 4, on the host 5"
        );
    }
}
