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

/// Compares a run, whose first input is there twice, to the unit.
pub(super) fn compare(
    run: &Run,
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
    for (place, inference) in run.inferences.iter().enumerate() {
        let input = place.saturating_sub(1);
        let expected = expected.get(input).map_or(&[][..], Vec::as_slice);
        if inference.output.len() != expected.len() {
            return Err(stopped(format!(
                "{} outputs, on the host {}",
                inference.output.len(),
                expected.len()
            )));
        }
        let mut pairs = inference.output.iter().zip(expected).enumerate();
        if let Some((place, (&got, &expected))) = pairs.find(|(_, (a, b))| a != b) {
            return Err(McuError::Differs {
                name: name.to_owned(),
                core: core.to_owned(),
                input,
                place,
                got,
                expected,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcu::Inference;

    fn run(outputs: &[i8]) -> Run {
        let inference = |&value: &i8| Inference {
            instructions: 1,
            output: vec![value],
        };
        Run {
            inferences: outputs.iter().map(inference).collect(),
            stack: 0,
            reach: 0,
        }
    }

    #[test]
    fn a_single_unit_is_a_difference() {
        let expected = [vec![3], vec![4]];
        assert!(compare(&run(&[3, 3, 4]), &expected, "x", "m4").is_ok());
        let error = compare(&run(&[3, 3, 5]), &expected, "x", "m4").expect_err("5 is not 4");
        assert_eq!(
            error.to_string(),
            "x on m4: output 0 of input 1 is 5, on the host 4"
        );
        assert!(compare(&run(&[3, 2, 4]), &expected, "x", "m4").is_err());
        assert!(compare(&run(&[3, 4]), &expected, "x", "m4").is_err());
    }
}
